"""The vectors themselves: whether they are what was written and have a direction, how long they are, how they lie.

Legend: N chunks, B rows, D vector width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.corpus import Corpus, FloatArray, check_digests
from engine.data.npz import check_whole
from engine.data.vector_files import SHORTEST, map_vectors
from engine.data.windows import ArrayWindows, CorpusWindows, WindowSource
from engine.preflight.leaks import row_keys
from engine.preflight.subject import Side, Subject, sampled
from engine.run.convert import ConfigError
from engine.run.preflight import PreflightItem

UNIT_TOLERANCE = 1e-2
"""Lengths this close to 1 were normalised; float16 rounding moves them by 1e-3."""
DUPLICATES_BAR = 0.01
MAX_ROWS = 65_536
MAX_SPREAD_ROWS = 8192
"""Rows that the principal components are taken of."""
_ROWS_AT_ONCE = 8192


def judge_unchanged(subject: Subject) -> PreflightItem:
    """Every file of data against the digests of its making: a flipped bit leaves a vector that looks like any other.

    Never of what is kept of an earlier look: what rots on a disk keeps its size and its time of change.
    """
    sources = [source for source in (subject.source, subject.unseen) if source]
    corpora = [source.corpus for source in sources if isinstance(source, CorpusWindows)]
    corpora += [subject.payload] if subject.payload else []
    checks = {corpus.folder: partial(check_digests, corpus) for corpus in corpora}
    checks |= {source.path: partial(check_whole, source.path) for source in sources if isinstance(source, ArrayWindows)}
    changed = []
    for check in checks.values():
        try:
            check()
        except ConfigError as error:
            changed.append(str(error))
    return PreflightItem(
        name="data_unchanged",
        group="vectors",
        level="must",
        verdict="missed" if changed else "passed",
        value=float(len(changed)),
        bar=0.0,
        detail="; ".join(changed).removesuffix(".")
        if changed
        else f"every byte of {', '.join(path.name for path in checks)} is as it was written, by its checksums",
    )


def judge_finite(subject: Subject) -> tuple[PreflightItem, FloatArray]:
    """Rows that are not finite or shorter than 1e-6: there must be none, since they have no direction.

    Every stored row is read: training, evaluation and payload.

    Returns:
        The item, and the lengths of the training rows, float32, as stored.
    """
    every = [StoredRows.of(source) for source in (subject.source, subject.unseen) if source]
    every += [StoredRows.of_corpus(subject.payload)] if subject.payload else []
    measured = [rows.lengths() for rows in every]
    bad, total, first = 0, 0, ""
    for rows, found in zip(every, measured, strict=True):
        broken = np.flatnonzero(~(np.isfinite(found) & (found > SHORTEST)))
        total += len(found)
        if len(broken) and not first:
            first = f" The first is {rows.describe(int(broken[0]))}."
        bad += len(broken)
    item = PreflightItem(
        name="vectors_finite",
        group="vectors",
        level="must",
        verdict="missed" if bad else "passed",
        value=float(bad),
        bar=0.0,
        detail=f"{bad:,} of {total:,} vectors are zero or not finite, so they have no direction.{first} "
        "Embed those chunks again, or leave them out"
        if bad
        else f"all {total:,} vectors are finite and none is zero",
    )
    return item, measured[0]


def judge_lengths(subject: Subject, lengths: FloatArray) -> PreflightItem:
    """Lengths |x| as stored: they should be 1 where the manifest says that they were normalised.

    Whatever they are, vectors are normalised when they are read. int8 rows keep a direction and no length.
    """
    corpus = subject.corpus
    spread_of = f"lengths {lengths.min():.3f} to {lengths.max():.3f}, mean {lengths.mean():.3f}"
    if corpus is not None and corpus.manifest.dtype == "int8":
        return _inform("vector_lengths", None, "stored as int8, which keeps directions and no lengths")
    off = float(np.abs(lengths - 1).max())
    promised = corpus is not None and corpus.manifest.norm == "l2_once"
    if not promised:
        unit = "unit vectors" if off <= UNIT_TOLERANCE else "not unit vectors; they are normalised when they are read"
        return _inform("vector_lengths", float(lengths.mean()), f"{spread_of}: {unit}")
    missed = off > UNIT_TOLERANCE
    remedy = "; the manifest says l2_once, which is not so. Import the corpus again" if missed else ": unit vectors"
    return PreflightItem(
        name="vector_lengths",
        group="vectors",
        level="should",
        verdict="missed" if missed else "passed",
        value=off,
        bar=UNIT_TOLERANCE,
        detail=f"{spread_of}{remedy}",
    )


def judge_duplicates(subject: Subject) -> PreflightItem:
    """Share of chunks that are copies of an earlier one: 1 - distinct / all.

    A copy of the truth in the payload is as good an answer, and counts as a miss.
    """
    side = Side.of(subject.source, np.arange(subject.source.num_windows), MAX_ROWS)
    blocks = range(0, len(side.numbers), _ROWS_AT_ONCE)
    keys = np.concatenate([row_keys(side.vectors(slice(start, start + _ROWS_AT_ONCE))) for start in blocks])
    share = 1 - len(np.unique(keys)) / len(keys)
    missed = share > DUPLICATES_BAR
    remedy = ". A copy of the truth counts as a miss: remove repeated boilerplate" if missed else ""
    return PreflightItem(
        name="exact_duplicates",
        group="vectors",
        level="should",
        verdict="missed" if missed else "passed",
        value=share,
        bar=DUPLICATES_BAR,
        detail=f"{share:.2%} of the chunks are copies of others (bar {DUPLICATES_BAR:.0%})"
        f"{sampled(len(keys), side.total)}{remedy}",
    )


def describe_spread(subject: Subject) -> PreflightItem:
    """Anisotropy: the mean cosine of two chunks, (N |mean|^2 - 1) / (N - 1), and the first component's share of the
    variance, lambda_1 / sum of lambda.

    Where all vectors point one way, a prediction that says nothing has a high cosine.
    """
    vectors = Side.of(subject.source, np.arange(subject.source.num_windows), MAX_SPREAD_ROWS).vectors()
    mean = vectors.mean(axis=0, dtype=np.float64)
    pairwise = float((len(vectors) * mean @ mean - 1) / (len(vectors) - 1))
    centred = vectors - mean.astype(np.float32)
    variances = np.linalg.eigvalsh(centred.T @ centred)
    first = float(variances[-1] / max(float(variances.sum()), SHORTEST))
    return _inform(
        "anisotropy",
        pairwise,
        f"two chunks have a cosine of {pairwise:.3f} on average, so much of any val_cosine comes for nothing; the "
        f"first principal component holds {first:.1%} of the variance",
    )


class StoredRows:
    """Stored rows, before anything is normalised.

    Args:
        parts: files; what one of the first dimension of the array in it is called; and what opens the array, (..., D).
    """

    def __init__(self, parts: Sequence[tuple[Path, str, Callable[[], npt.NDArray[Any]]]]) -> None:
        self._parts = parts

    @classmethod
    def of(cls, source: WindowSource) -> StoredRows:
        """Of windows of either kind."""
        if isinstance(source, CorpusWindows):
            return cls.of_corpus(source.corpus)
        assert isinstance(source, ArrayWindows)
        targets, contexts = source.stored
        return cls(
            [
                (source.path, "target of window", lambda: targets),
                (source.path, "context of window", lambda: contexts),
            ]
        )

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> StoredRows:
        """(N, D) of a corpus."""
        return cls([(path, "row", partial(map_vectors, path)) for path in corpus.stored.paths])

    def describe(self, row: int) -> str:
        """Where a row, counted over all parts, is to be found."""
        for path, what, opened in self._parts:
            array = opened()
            each = int(np.prod(array.shape[1:-1]))
            if row < len(array) * each:
                return f"{what} {row // each} of {path}"
            row -= len(array) * each
        raise IndexError(row)

    def lengths(self) -> FloatArray:
        """Of every row, float32; not finite where the row is not."""
        with np.errstate(all="ignore"):  # what overflows is what is looked for
            return np.concatenate([np.sqrt(np.einsum("bd,bd->b", block, block)) for block in self._blocks()])

    def _blocks(self) -> Iterator[FloatArray]:
        for _path, _what, opened in self._parts:
            array = opened()
            for start in range(0, len(array), _ROWS_AT_ONCE):
                block = np.asarray(array[start : start + _ROWS_AT_ONCE], np.float32)
                yield block.reshape(-1, block.shape[-1])


def _inform(name: str, value: float | None, detail: str) -> PreflightItem:
    return PreflightItem(
        name=name, group="vectors", level="info", verdict="passed", value=value, bar=None, detail=detail
    )
