"""Stretches: chunks in reading order, of which the lag curve and the limits of prediction are measured.

Legend: M chunks, S stretches, G groups, K principal directions, D vector width, H lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray, IndexArray
from engine.data.windows import CorpusWindows, WindowSource
from engine.preflight.subject import spread

MAX_CHUNKS = 24_000
"""Looked at: 74 MB at 768 dimensions. The embedded corpus is smaller, so it is looked at whole."""
NUM_LAGS = 10
NUM_DIRECTIONS = 128
NUM_BLOCKS = 200
"""Groups that windows of unknown articles are put in, by their place in the file."""

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stretches:
    """Consecutive chunks: whole articles of a corpus, or the windows of a file."""

    vectors: FloatArray
    """(M, D) unit vectors."""
    first: IndexArray
    """(S + 1,): stretch s holds chunks first[s] to first[s + 1] - 1."""
    group: IndexArray
    """(S,) 0 to G - 1: stretches that are not independent of each other share one: those of an article."""

    @property
    def num_groups(self) -> int:
        """G."""
        return int(self.group.max()) + 1

    @cached_property
    def basis(self) -> FloatArray:
        """(D, K) orthonormal: the directions that hold most of the mean square."""
        _, directions = np.linalg.eigh(self.vectors.T @ self.vectors)
        return np.ascontiguousarray(directions[:, ::-1][:, :NUM_DIRECTIONS])

    def pairs(self, lag: int) -> IndexArray:
        """Chunks i for which chunk i + `lag` is of the same stretch."""
        left = np.arange(max(0, len(self.vectors) - lag))
        stretch = self.stretch_of_chunk
        within: IndexArray = left[stretch[left] == stretch[left + lag]]
        return within

    @cached_property
    def stretch_of_chunk(self) -> IndexArray:
        """(M,)"""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def sums(self, lag: int, values: Figures) -> tuple[Figures, Figures]:
        """(G,) sums of the values of `pairs(lag)`, and (G,) how many they are."""
        groups = self.group[self.stretch_of_chunk[self.pairs(lag)]]
        totals = np.bincount(groups, values, self.num_groups).astype(np.float64)
        return totals, np.bincount(groups, minlength=self.num_groups).astype(np.float64)

    def cosines(self, lag: int) -> Figures:
        """Of the chunks of `pairs(lag)` with those `lag` further on."""
        left = self.pairs(lag)
        cosines: Figures = np.einsum("md,md->m", self.vectors[left], self.vectors[left + lag]).astype(np.float64)
        return cosines


def read_stretches(source: WindowSource) -> Stretches:
    """Stretches of a corpus or of a file of windows; of large ones evenly spaced articles or windows."""
    if isinstance(source, CorpusWindows):
        corpus = source.corpus
        lengths = np.diff(corpus.first_chunk)
        articles = spread(np.arange(len(lengths)), max(1, int(MAX_CHUNKS / lengths.mean())))
        chunks = np.concatenate([np.arange(*corpus.first_chunk[article : article + 2]) for article in articles])
        first = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[articles])])
        return Stretches(corpus.vectors(chunks), first, np.arange(len(articles)))
    length = source.context + 1
    windows = spread(np.arange(source.num_windows), max(1, MAX_CHUNKS // length))
    contexts, targets = source.gather(windows)
    vectors = np.concatenate([contexts, targets[:, None]], axis=1).reshape(-1, source.dim)
    group = np.arange(len(windows)) * NUM_BLOCKS // len(windows)
    if source.has_articles:
        group = np.unique(source.articles[windows], return_inverse=True)[1].reshape(-1)
    else:
        group = np.unique(group, return_inverse=True)[1].reshape(-1)
    return Stretches(vectors, np.arange(len(windows) + 1) * length, group.astype(np.int64))


def lag_curve(stretches: Stretches) -> list[float | None]:
    """c(h) = mean cosine of chunks that stand h = 1 to 10 apart; None where no stretch is so long."""
    means = [stretches.cosines(lag) for lag in range(1, NUM_LAGS + 1)]
    return [float(cosines.mean()) if len(cosines) else None for cosines in means]
