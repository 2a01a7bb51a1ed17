"""Optimizer steps out of windows: shuffled, each window once an epoch, articles spread over the micro-batches."""

from __future__ import annotations

import numpy as np

from engine.data.corpus import IndexArray
from engine.run.convert import ConfigError


class EffectiveBatchSampler:
    """Deals windows to micro-batches and groups those into optimizer steps.

    With a cap, windows are dealt like cards, article after article: consecutive windows go to different micro-batches,
    so that an article of n windows puts at most ceil(n / micro-batches) into one. Where an article is too long for its
    cap, there are more and smaller micro-batches; the cap holds always.

    Args:
        windows: (W,) int64 window numbers, each once.
        articles: (W,) int64, aligned with `windows`; negative where unknown, which no cap can apply to.
        batch_size: windows in a micro-batch.
        accumulate: micro-batches in an optimizer step.
        max_per_article: windows of an article in a micro-batch; 0 sets no cap.
        seed: with the epoch's number decides the order.

    Raises:
        ConfigError: there are fewer than two windows: nothing to contrast.
    """

    def __init__(
        self,
        windows: IndexArray,
        articles: IndexArray,
        *,
        batch_size: int,
        accumulate: int,
        max_per_article: int,
        seed: int,
    ) -> None:
        if len(windows) < 2:
            raise ConfigError(f"{len(windows)} training windows leave nothing to contrast. Train on more data.")
        self._windows = windows
        self._accumulate = accumulate
        self._cap = max_per_article
        self._seed = seed
        known = articles >= 0
        _, groups = np.unique(articles, return_inverse=True)
        # a window of unknown article is its own group
        self._groups = np.where(known, groups.reshape(-1), len(windows) + np.arange(len(windows)))
        longest = int(np.bincount(groups.reshape(-1)[known]).max()) if max_per_article and known.any() else 0
        self._sizes = _micro_batch_sizes(len(windows), batch_size, longest, max_per_article)
        self.steps_per_epoch = -(-len(self._sizes) // accumulate)
        """Optimizer steps; the same in every epoch."""

    def epoch(self, number: int) -> list[list[IndexArray]]:
        """The optimizer steps of an epoch: lists of micro-batches of window numbers.

        A pure function of the seed and `number`: a resumed training asks for the same epoch and skips what it has done.
        """
        generator = np.random.default_rng([self._seed, number])
        order = generator.permutation(len(self._windows))
        if self._cap:
            order = self._deal(order, generator)
        batches = np.split(self._windows[order], np.cumsum(self._sizes)[:-1])
        return [batches[start : start + self._accumulate] for start in range(0, len(batches), self._accumulate)]

    def _deal(self, order: IndexArray, generator: np.random.Generator) -> IndexArray:
        """Reorder so that cutting it into micro-batches spreads every article evenly over them."""
        _, groups = np.unique(self._groups, return_inverse=True)
        turn_of_group = generator.permutation(int(groups.max()) + 1)
        cards = order[np.argsort(turn_of_group[groups.reshape(-1)[order]], kind="stable")]
        # Full micro-batches first in every round, in an order of this epoch's own; only the last can be the odd one.
        odd = self._sizes[-1] < self._sizes[0]
        seats = generator.permutation(len(self._sizes) - odd)
        seats = np.append(seats, len(self._sizes) - 1) if odd else seats
        seats = seats[np.argsort(-self._sizes[seats], kind="stable")]
        rounds = np.arange(int(self._sizes.max()))[:, None] < self._sizes[seats]  # (rounds, micro-batches)
        seat_of_card = np.broadcast_to(seats, rounds.shape)[rounds]
        return cards[np.argsort(seat_of_card, kind="stable")]


def _micro_batch_sizes(num_windows: int, batch_size: int, longest: int, cap: int) -> IndexArray:
    """Sizes of the micro-batches of an epoch: full ones and a remainder, or even ones where the cap needs more of them.

    Args:
        num_windows: W.
        batch_size: the most windows in one.
        longest: windows of the longest article; 0 without a cap.
        cap: windows of an article in one.
    """
    full, rest = divmod(num_windows, batch_size)
    sizes = np.full(full, batch_size, np.int64)
    if rest == 1 and full:
        sizes[-1] += 1  # a window by itself has nothing to be contrasted against
    elif rest:
        sizes = np.append(sizes, rest)
    rounds_at_the_end = len(sizes) - (1 if rest > 1 and full else 0)
    if not longest or longest <= cap * rounds_at_the_end:
        return sizes
    num_batches = max(len(sizes), -(-longest // cap))
    smallest, larger = divmod(num_windows, num_batches)
    if smallest < 2:
        raise ConfigError(
            f"[run.NAME.sampler] max_per_article = {cap}: an article has {longest} of {num_windows} training windows, "
            "so micro-batches would be single windows with nothing to contrast. Raise the cap, or set 0 for none."
        )
    sizes = np.full(num_batches, smallest, np.int64)
    sizes[:larger] += 1
    return sizes
