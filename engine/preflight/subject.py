"""What a preflight looks at: the windows that train, those that judge, and what is searched.

Legend: N chunks, W windows, B rows, D vector width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.data.corpus import Corpus, FloatArray, IndexArray, open_corpus
from engine.data.identity import source_digest
from engine.data.split import Split, split_windows
from engine.data.windows import ArrayWindows, CorpusWindows, WindowSource, open_windows
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig, Gate
from engine.training.validation import open_unseen

MAX_QUOTE = 60
"""Characters of a chunk's text that are shown."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Data as a run would train on them."""

    data: DataConfig
    gates: Sequence[Gate]
    source: WindowSource
    split: Split
    unseen: WindowSource | None = None
    """`data.eval_npz`, opened."""
    payload: Corpus | None = None
    """What is searched, where it is not the corpus that trains."""

    @property
    def name(self) -> str:
        """The corpus or file, as it was named."""
        return self.data.train_npz or self.data.corpus

    @property
    def corpus(self) -> Corpus | None:
        """The corpus that trains; None for a file of windows."""
        return self.source.corpus if isinstance(self.source, CorpusWindows) else None

    @property
    def searched(self) -> Corpus | None:
        """The corpus that retrieval searches; None where nobody named one."""
        return self.payload or self.corpus

    def digest(self) -> str:
        """sha256 of all data: training, evaluation and payload."""
        parts = [source_digest(self.source)]
        parts += [source_digest(self.unseen)] if self.unseen else []
        parts += [self.payload.sha256] if self.payload else []
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def files(self) -> list[Path]:
        """Every file that vectors are read from."""
        sources = [self.source, *([self.unseen] if self.unseen else [])]
        corpora = [source.corpus for source in sources if isinstance(source, CorpusWindows)]
        corpora += [self.payload] if self.payload else []
        return [source.path for source in sources if isinstance(source, ArrayWindows)] + [
            path for corpus in corpora for path in corpus.stored.paths
        ]


@dataclass(frozen=True, slots=True)
class Side:
    """The chunks of some windows: of a corpus every chunk of their articles, of a file the windows' targets."""

    source: WindowSource
    numbers: IndexArray
    """(N,) int64: chunks of the corpus, or windows of the file; ascending."""
    total: int
    """Of how many chunks these are a sample."""

    @classmethod
    def of(cls, source: WindowSource, windows: IndexArray, limit: int) -> Side:
        """The side of (W,) windows; of more than `limit` chunks an evenly spaced sample."""
        numbers = windows
        if isinstance(source, CorpusWindows):
            articles = np.unique(source.articles[windows])
            numbers = np.flatnonzero(np.isin(source.corpus.article_of_chunk, articles)).astype(np.int64)
        return cls(source, spread(numbers, limit), len(numbers))

    def vectors(self, rows: IndexArray | slice = slice(None)) -> FloatArray:
        """(B, D) float32 unit vectors."""
        if isinstance(self.source, CorpusWindows):
            return self.source.corpus.vectors(self.numbers[rows])
        return self.source.gather(self.numbers[rows])[1]

    def describe(self, row: int) -> str:
        """Title and beginning of a chunk; of a file the number of the window."""
        number = int(self.numbers[row])
        if not isinstance(self.source, CorpusWindows):
            return f"target of window {number}"
        corpus = self.source.corpus
        return f'{_printable(corpus.titles[corpus.article_of_chunk[number]])} "{_printable(corpus.text(number))}"'


def open_subject(data: DataConfig, gates: Sequence[Gate], base: Path, payload: Path | None = None) -> Subject:
    """Open and split what is to be looked at.

    Args:
        data: the run's settings.
        gates: the run's gates.
        base: folder where relative paths start.
        payload: corpus folder that is searched; None for the one that trains.

    Raises:
        ConfigError: something is missing, damaged, or does not fit the settings.
    """
    source = open_windows(data, base)
    split = split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    return subject_of(data, gates, base, source, split, open_corpus(payload) if payload else None)


def subject_of(
    data: DataConfig,
    gates: Sequence[Gate],
    base: Path,
    source: WindowSource,
    split: Split,
    payload: Corpus | None = None,
) -> Subject:
    """The same of windows that are open already.

    Raises:
        ConfigError: `data.eval_npz` is missing, damaged, or has windows of another shape.
    """
    opened = open_unseen(data, base, source)
    return Subject(data, tuple(gates), source, split, opened[0] if opened else None, payload)


def embedded_or_folder(corpus: str) -> Path:
    """The folder of a corpus that was named on the command line.

    Raises:
        ConfigError: there is none.
    """
    return corpus_folder(DataConfig(corpus=corpus), Path.cwd())


def spread(numbers: IndexArray, limit: int) -> IndexArray:
    """At most `limit` of the numbers, evenly spaced, in their order."""
    if len(numbers) <= limit:
        return numbers
    return numbers[np.arange(limit) * len(numbers) // limit]


def sampled(kept: int, total: int) -> str:
    """` (a sample of 1,000 of 20,000)`, or nothing where all were looked at; for an item's detail."""
    return f" (a sample of {kept:,} of {total:,})" if kept < total else ""


def _printable(text: str) -> str:
    """The beginning of a foreign text, without what a terminal would act on."""
    shown = text if len(text) <= MAX_QUOTE else f"{text[: MAX_QUOTE - 1]}…"
    return "".join(letter if letter.isprintable() else " " for letter in shown)
