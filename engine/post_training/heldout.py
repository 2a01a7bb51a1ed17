"""Two samples of a checkpoint's predictions: one to fit a head or a reranker on, one to judge it by.

What is fitted sees the validation articles, which the training never learned from: predictions on training articles are
better than any that a user will get, and a correction learned there would be one of the wrong errors. What is judged
is the test articles, which nothing saw. (The best checkpoint was chosen by its cosine on the validation articles; that
favours none of them over another.)

Legend: Q queries, L context length, D vector width, N chunks, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.corpus import Corpus, FloatArray, IndexArray, open_corpus
from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation.baselines import POOL, Queries
from engine.evaluation.evaluator import sample_queries
from engine.evaluation.metrics import Ranks
from engine.evaluation.reranked import first_without
from engine.evaluation.retrieval import search_exactly
from engine.run.convert import ConfigError
from engine.run.heads import Judged
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig
from engine.training.checkpoint import CheckpointMeta, LoadedModel, load_model

FOLDS = 5
"""Of cross-validation on the fitting articles."""
_WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries, and what the model predicts for them."""

    queries: Queries
    predicted: FloatArray
    """(Q, D) float32 unit vectors."""

    @property
    def num_articles(self) -> int:
        """Articles the queries come from."""
        return len(np.unique(self.queries.articles))

    def cosines(self, predicted: FloatArray) -> npt.NDArray[np.float64]:
        """(Q,) cosines of (Q, D) predictions for the same queries with the truth."""
        cosines: npt.NDArray[np.float64] = np.einsum("qd,qd->q", predicted, self.queries.targets, dtype=np.float64)
        return cosines


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A checkpoint's two samples, and the corpus that is searched."""

    fit: Sample
    """Of validation articles."""
    judge: Sample
    """Of test articles; none of them is among the former."""
    corpus: Corpus
    vectors: FloatArray
    """(N, D) float32 unit vectors of the corpus."""
    checkpoint: Path
    meta: CheckpointMeta
    notes: list[str]

    @property
    def weights_sha256(self) -> str:
        """Identity of the checkpoint's weights."""
        return self.meta.sha256["model.safetensors"]

    @property
    def payload_rule(self) -> str:
        """What is searched and what is left out, in words."""
        return f"all {self.corpus.num_chunks:,} chunks, without the query's own {self.meta.context} context chunks"

    def judged(self, *, argv: list[str], seed: int, seconds: float) -> Judged:
        """What a report says of both samples."""
        return Judged(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            argv=argv,
            checkpoint=str(self.checkpoint.absolute()),
            checkpoint_sha256=self.weights_sha256,
            corpus=self.corpus.manifest.name,
            corpus_sha256=self.corpus.sha256,
            payload_rule=self.payload_rule,
            num_fit_articles=self.fit.num_articles,
            num_fit_queries=len(self.fit.predicted),
            num_judge_articles=self.judge.num_articles,
            num_judge_queries=len(self.judge.predicted),
            seed=seed,
            seconds=round(seconds, 3),
            notes=self.notes,
        )


def open_held_out(checkpoint: Path, corpus_name: str, *, fit_limit: int, limit: int, seed: int) -> HeldOut:
    """Predict for the fitting and the judging queries of a checkpoint.

    Args:
        checkpoint: its folder.
        corpus_name: folder or `embedded:NAME`; empty for the one it was trained on.
        fit_limit: fitting queries at most.
        limit: judging queries at most; 0 takes all.
        seed: of the samples.

    Raises:
        ConfigError: there is no such checkpoint or corpus, they do not fit together, the split keeps no test articles
            or too few validation articles, or a prediction is not finite.
    """
    import torch

    loaded = load_model(checkpoint, torch.device("cpu"))
    meta = loaded.meta
    corpus, is_own = _open_corpus(checkpoint, meta, corpus_name)
    source = CorpusWindows(corpus, meta.context)
    shares = meta.data if is_own else DataConfig()  # the split it was trained with says nothing of other articles
    split = split_windows(source, val_share=shares.val_share, test_share=shares.test_share, seed=shares.split_seed)
    judge = sample_queries(split.test, limit, seed)
    fit = sample_queries(split.val, fit_limit, seed)
    num_fit_articles = len(np.unique(source.articles[fit]))
    if num_fit_articles < FOLDS:
        raise ConfigError(
            f"[data] val_share = {shares.val_share}: {num_fit_articles} validation articles are too few to fit on; "
            f"cross-validation needs {FOLDS}. Train with a larger val_share, or name a larger corpus with --corpus."
        )
    trained_on = meta.data.train_npz or meta.data.corpus
    unknown = f"the model was trained on {trained_on}: whether it saw these articles is not known"
    return HeldOut(
        fit=_predict(loaded, checkpoint, Queries.gather(source, fit)),
        judge=_predict(loaded, checkpoint, Queries.gather(source, judge)),
        corpus=corpus,
        vectors=corpus.all_vectors(),
        checkpoint=checkpoint,
        meta=meta,
        notes=[] if is_own else [unknown],
    )


def article_folds(articles: IndexArray, seed: int) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Rows to fit on and rows to try on, `FOLDS` times: no article is on both sides, and every row is tried once.

    Args:
        articles: (Q,) int64, of at least `FOLDS` articles.
        seed: of the deal.
    """
    names, article_of_row = np.unique(articles, return_inverse=True)
    fold_of_article = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold_of_row = fold_of_article[article_of_row]
    for fold in range(FOLDS):
        yield np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)


def first_candidates(vectors: FloatArray, sample: Sample) -> IndexArray:
    """The exactly best 50 chunks of every query, best first, its own context left out.

    Returns:
        (Q, K) int64; -1, at the end of a row, where a small corpus has no more.
    """
    queries = sample.queries
    asked = min(POOL + int(queries.context_chunks.shape[1]), len(vectors))
    top = search_exactly(vectors, sample.predicted, queries.truth_chunks, queries.context_chunks, k=asked).top
    return first_without(top, queries.context_chunks)


def positions_of(candidates: IndexArray, truths: IndexArray) -> Ranks:
    """(Q,) int64 ranks of the truths (Q,) in lists of candidates (Q, K); 0 where a list has it not."""
    hit = candidates == truths[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def _open_corpus(checkpoint: Path, meta: CheckpointMeta, named: str) -> tuple[Corpus, bool]:
    """The corpus to search, and whether the model learned from it as it is now."""
    if meta.data.train_npz and not named:
        raise ConfigError(
            f"{checkpoint}: was trained on {meta.data.train_npz}, which holds windows but no corpus to search. "
            "Name the corpus its chunks come from with --corpus."
        )
    folder = corpus_folder(DataConfig(corpus=named or meta.data.corpus), Path.cwd())
    corpus = open_corpus(folder)
    if corpus.dim != meta.dim:
        raise ConfigError(
            f"{checkpoint}: predicts vectors of {meta.dim} dimensions, but {folder} holds {corpus.dim}: they come from "
            "different encoders. Name the corpus the model was trained on with --corpus."
        )
    is_own = not meta.data.train_npz and (
        meta.corpus_sha256 == corpus.sha256 if meta.corpus_sha256 else named in ("", meta.data.corpus)
    )
    if not (is_own or named):
        raise ConfigError(
            f"{folder}: the corpus was changed since {checkpoint} was trained on it, and with it the split: articles "
            "it has learned from would be queried. Restore the corpus, or name it with --corpus to go on all the same."
        )
    return corpus, is_own


def _predict(loaded: LoadedModel, checkpoint: Path, queries: Queries) -> Sample:
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(queries.contexts), _WINDOWS_AT_ONCE):
            contexts = torch.from_numpy(queries.contexts[start : start + _WINDOWS_AT_ONCE])
            parts.append(loaded.model(contexts).float().numpy())
    predicted: FloatArray = np.concatenate(parts)
    lengths = np.linalg.norm(predicted, axis=1, keepdims=True)
    if not (np.isfinite(predicted).all() and (lengths > 0).all()):
        broken = int(np.count_nonzero(~np.isfinite(predicted).all(axis=1) | (lengths[:, 0] == 0)))
        raise ConfigError(
            f"{checkpoint}: {broken:,} of {len(predicted):,} predictions are zero or not finite; nothing can be fitted "
            "to them. Use a checkpoint of an earlier epoch, or train again."
        )
    return Sample(queries, (predicted / lengths).astype(np.float32))
