"""Corruption of training contexts, so that the start of an article cannot be memorised and a wrong chunk is survived.

Article dropout hides a context's oldest chunks. Span corruption replaces a stretch of it by another article's chunks.
What is drawn is a function of (seed, step, micro-batch) alone: there is no random state to save or to lose, and ranks
that share a micro-batch draw the same for all of it.

Shapes: B windows of a micro-batch, b of them corrupted here, L context, D vector width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.run.settings import SamplerConfig

DONOR_DRAWS = 4
"""Draws for a donor of another article; where all fall on the window's own article its context stays whole."""


def corrupt_contexts(
    contexts: NDArray[np.float32],
    articles: NDArray[np.int64],
    config: SamplerConfig,
    *,
    seed: int,
    step: int,
    micro_batch: int,
    own: slice = slice(None),
    donated: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """Contexts with spans replaced and oldest chunks hidden; the targets are nobody's business here.

    Args:
        contexts: (b, L, D) unit vectors, oldest first; not changed.
        articles: (B,) article of each window; -1 is unknown, and then any other window may be a donor.
        config: `span_corruption` and `article_dropout`, the chances of each for a window.
        seed: of the run.
        step: optimizer steps before this one.
        micro_batch: place in the effective batch.
        own: which windows of the micro-batch the contexts are of.
        donated: (n,) places in the micro-batch to their (n, L, D) contexts; None where `own` is all of it.

    Returns:
        (b, L, D): the input itself where nothing is to be done, else a copy. Hidden chunks are zero vectors. The newest
        chunk is never hidden; a span is at most half of the context, so that its subject stays recognisable.
    """
    num_windows, length = len(articles), contexts.shape[1]
    if length < 2 or (config.article_dropout == 0 and config.span_corruption == 0):
        return contexts
    random = np.random.default_rng([seed, step, micro_batch])
    corrupted = contexts.copy()
    positions = np.arange(length)

    longest = length // 2
    lengths = random.integers(1, longest + 1, size=(num_windows,))
    starts = (random.random((num_windows,)) * (length - lengths + 1)).astype(np.int64)
    donors = _draw_donors(random, articles)
    chosen = (random.random((num_windows,)) < config.span_corruption) & (donors >= 0)
    inside = (positions >= starts[:, None]) & (positions < (starts + lengths)[:, None]) & chosen[:, None]
    row, column = np.nonzero(inside[own])
    if donated is None:
        corrupted[row, column] = contexts[donors[row], column]
    else:
        places, place_of = np.unique(donors[own][row], return_inverse=True)
        corrupted[row, column] = donated(places)[place_of.reshape(-1), column]

    num_hidden = random.integers(1, length, size=(num_windows,))
    dropped = random.random((num_windows,)) < config.article_dropout
    corrupted[((positions < num_hidden[:, None]) & dropped[:, None])[own]] = 0.0
    return corrupted


def _draw_donors(random: np.random.Generator, articles: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each window another one, of another article; -1 where none was drawn."""
    num_windows = len(articles)
    donors: NDArray[np.int64] = np.full(num_windows, -1, np.int64)
    if num_windows < 2:
        return donors
    own = np.arange(num_windows)
    for _ in range(DONOR_DRAWS):
        drawn = (own + random.integers(1, num_windows, num_windows)) % num_windows
        fits = (articles != articles[drawn]) | (articles == -1)
        donors = np.where((donors < 0) & fits, drawn, donors)
    return donors
