"""The corpus that a checkpoint's predictions are searched in, split as the model was trained on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.data.corpus import Corpus, open_corpus
from engine.data.split import Split, split_windows
from engine.data.windows import CorpusWindows
from engine.run.convert import ConfigError
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig
from engine.training.checkpoint import CheckpointMeta


@dataclass(frozen=True, slots=True)
class Searched:
    """A corpus, split as the model was trained on it."""

    source: CorpusWindows
    split: Split
    notes: list[str] = field(default_factory=list)
    """What a reader should know: of a corpus that the model was not trained on nobody can say what it saw."""


def open_searched(checkpoint: Path, meta: CheckpointMeta, named: str) -> Searched:
    """Open the corpus to search.

    Args:
        checkpoint: its folder, for messages.
        meta: what it says of its training.
        named: folder or `embedded:NAME`; empty for the corpus it was trained on.

    Raises:
        ConfigError: there is no such corpus, it is of another encoder, or it was changed since the training.
    """
    if meta.data.train_npz and not named:
        raise ConfigError(
            f"{checkpoint}: was trained on {meta.data.train_npz}, which holds windows but no corpus to search. "
            "Name the corpus its chunks come from with --corpus; `lvm-engine data import` makes one of a payload."
        )
    chosen = corpus_folder(DataConfig(corpus=named or meta.data.corpus), Path.cwd())
    corpus = open_corpus(chosen)
    if corpus.dim != meta.dim:
        raise ConfigError(
            f"{checkpoint}: predicts vectors of {meta.dim} dimensions, but {chosen} holds {corpus.dim}: they come from "
            "different encoders. Name the corpus the model was trained on with --corpus."
        )
    is_own = has_learned_from(meta, corpus, named)
    if not (is_own or named):
        raise ConfigError(
            f"{chosen}: the corpus was changed since {checkpoint} was trained on it, and with it the split: articles "
            "it has learned from would be queried. Restore the corpus, or name it with --corpus to go on all the same."
        )
    source = CorpusWindows(corpus, meta.context)
    return Searched(source, split_for(meta, source, named), [] if is_own else [unknown_articles(meta)])


def split_for(meta: CheckpointMeta, source: CorpusWindows, named: str) -> Split:
    """The split a model was trained with; of a corpus that it did not learn from, the usual one.

    Whatever is fitted to a checkpoint's predictions is fitted on the validation articles of this split.
    """
    shares = meta.data if has_learned_from(meta, source.corpus, named) else DataConfig()
    return split_windows(source, val_share=shares.val_share, test_share=shares.test_share, seed=shares.split_seed)


def has_learned_from(meta: CheckpointMeta, corpus: Corpus, named: str) -> bool:
    """Whether a model learned from this corpus as it is now, so that the split it was trained with applies."""
    if meta.data.train_npz:
        return False
    return meta.corpus_sha256 == corpus.sha256 if meta.corpus_sha256 else named in ("", meta.data.corpus)


def unknown_articles(meta: CheckpointMeta) -> str:
    """The note for articles of which it is not known whether the model saw them."""
    trained_on = meta.data.train_npz or meta.data.corpus
    return f"the model was trained on {trained_on}: whether it saw these articles is not known"
