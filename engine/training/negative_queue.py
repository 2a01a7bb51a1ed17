"""The queue: targets of earlier optimizer steps as further negatives, first in, first out.

An entry is a window and its target's vector in the space of the contrast, as it was when the step was taken. A batch
is pushed after its step, so that it never meets itself. A query sees of the queue

- nothing of its own article (where that is unknown: not its own window),
- all s entries of its own topic,
- the newest floor(s (1 - q) / q) entries of other topics, so that at least a share q is of its topic; all of them where
  q or s is 0.

What is left out is so a matter of article, topic and age, compared block by block: no matrix of all queries and all
entries is ever made.

Shapes: B queries, K entries held, P width of the contrast's space, W windows of the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.topics import TopicArray, topics_of_windows
from engine.data.windows import WindowSource
from engine.run.convert import ConfigError
from engine.run.settings import QueueConfig, RunConfig
from engine.training.queue_view import QueuePart, QueueView

IndexArray = NDArray[np.int64]

MAX_DRIFT_ENTRIES = 512
"""Entries whose staleness is measured, evenly spaced."""


def queue_capacity(size: int, *, num_train: int, effective_batch: int) -> int:
    """Entries that a queue of `size` may hold: with more than the other training windows, some are held twice always.

    With fewer some still are for a while after an epoch's end, when a window comes again before its old entry is gone.
    """
    return min(size, max(0, num_train - effective_batch))


def open_queue(
    config: RunConfig, source: WindowSource, train: IndexArray, device: torch.device
) -> NegativeQueue | None:
    """The queue that a run asks for, empty; None where it asks for none or the data leave no room for one.

    Args:
        config: the run's.
        source: its windows.
        train: (W,) int64 training windows.
        device: where to keep the vectors.
    """
    capacity = queue_capacity(
        config.queue.size,
        num_train=len(train),
        effective_batch=config.sampler.batch_size * config.sampler.accumulate,
    )
    if capacity == 0:
        return None
    is_projected = config.loss.contrast_space == "projected"
    return NegativeQueue(
        config.queue,
        capacity=capacity,
        width=config.loss.projection_width if is_projected else source.dim,
        articles=source.articles,
        topics=topics_of_windows(source, train, count=config.queue.topics, seed=config.seed),
        mask_same_article=config.loss.mask_same_article,
        device=device,
    )


class NegativeQueue:
    """A ring of past targets.

    Args:
        config: share of the same topic.
        capacity: entries it holds at most, at least 1.
        width: P.
        articles: (W,) int64 article of each window; -1 where unknown.
        topics: (W,) int32 topic of each window.
        mask_same_article: leave out entries of the query's article; a query's own window is left out in any case.
        device: where the vectors are kept.
    """

    def __init__(
        self,
        config: QueueConfig,
        *,
        capacity: int,
        width: int,
        articles: IndexArray,
        topics: TopicArray,
        mask_same_article: bool,
        device: torch.device,
    ) -> None:
        self.capacity = capacity
        self.fill = 0
        """Entries held."""
        self._position = 0
        """Where the next entry goes."""
        self._same_topic_share = config.same_topic_share
        self._windows = np.zeros(capacity, np.int64)
        self._vectors = torch.zeros(capacity, width, device=device)
        self._articles = _number_articles(articles)
        self._topics = topics - topics.min()  # windows that are not trained on have a topic of -1
        self._num_topics = int(self._topics.max()) + 1
        pairs, self._pairs = np.unique(self._articles * self._num_topics + self._topics, return_inverse=True)
        self._num_pairs = len(pairs)
        self._hidden = self._articles if mask_same_article else np.arange(len(articles))

    @property
    def windows(self) -> IndexArray:
        """(fill,) int64 windows held, in the ring's order."""
        return self._windows[: self.fill]

    @property
    def vectors(self) -> Tensor:
        """(fill, P) their vectors."""
        return self._vectors[: self.fill]

    def num_bytes(self, *, with_vectors: bool) -> int:
        """What `state` takes once the queue is full."""
        vectors = self._vectors.numel() * self._vectors.element_size() if with_vectors else 0
        return self._windows.nbytes + vectors

    def push(self, windows: IndexArray, vectors: Tensor) -> None:
        """Add a step's targets; the oldest entries make room.

        Args:
            windows: (E,) int64 window numbers.
            vectors: (E, P) unit vectors, row i of window i.
        """
        windows, vectors = windows[-self.capacity :], vectors[-self.capacity :]
        slots = (self._position + np.arange(len(windows))) % self.capacity
        self._windows[slots] = windows
        self._vectors[torch.from_numpy(slots).to(vectors.device)] = vectors.detach().to(self._vectors.dtype)
        self._position = int((self._position + len(windows)) % self.capacity)
        self.fill = min(self.capacity, self.fill + len(windows))

    def view(self, queries: IndexArray) -> QueueView:
        """What the (B,) windows `queries` are contrasted against."""
        topics, same_topic = self._topics[queries], self._count_same_topic(queries)
        held_topics, ages = self._topics[self.windows], self._ages()
        if not self._same_topic_share:
            whole = np.full(len(queries), self.fill)
            parts = [self._part(queries, np.arange(len(queries)), np.arange(self.fill), whole, ages)]
            return QueueView(self.vectors, parts, same_topic)
        # The slot of the entry of age a is the age of the entry in slot a: both count back from the position.
        newest = self._newest_of_others(topics, same_topic, held_topics[ages])
        parts = []
        for topic in np.unique(topics):
            rows = np.flatnonzero(topics == topic)
            is_same = held_topics == topic
            slots = np.flatnonzero(is_same | (ages < newest[rows].max()))
            parts.append(self._part(queries, rows, slots, newest[rows], np.where(is_same, -1, ages)[slots]))
        return QueueView(self.vectors, parts, same_topic)

    def _part(
        self, queries: IndexArray, rows: IndexArray, slots: IndexArray, newest: IndexArray, ages: IndexArray
    ) -> QueuePart:
        device = self._vectors.device
        asking, held = queries[rows], self.windows[slots]

        def tensor(numbers: NDArray[np.integer[Any]]) -> Tensor:
            return torch.from_numpy(numbers.astype(np.int32)).to(device)

        return QueuePart(
            rows=torch.from_numpy(rows).to(device),
            slots=torch.from_numpy(slots).to(device),
            hidden_by=tensor(self._hidden[asking])[:, None],
            hidden_as=tensor(self._hidden[held]),
            query_articles=tensor(self._articles[asking])[:, None],
            articles=tensor(self._articles[held]),
            newest=tensor(newest)[:, None],
            ages=tensor(ages),
        )

    def sample(self) -> tuple[IndexArray, Tensor]:
        """At most `MAX_DRIFT_ENTRIES` entries, evenly spaced: their windows and vectors."""
        count = min(self.fill, MAX_DRIFT_ENTRIES)
        slots = np.arange(count) * self.fill // max(1, count)
        return self._windows[slots], self._vectors[torch.from_numpy(slots).to(self._vectors.device)]

    def state(self, *, with_vectors: bool) -> dict[str, Any]:
        """What a resume needs; vectors that the source holds anyway need not be written again."""
        state: dict[str, Any] = {
            "windows": torch.from_numpy(self.windows.copy()),
            "position": self._position,
            "capacity": self.capacity,
        }
        return state | ({"vectors": self.vectors.detach().cpu().clone()} if with_vectors else {})

    def load(self, state: dict[str, Any], vectors: Tensor) -> None:
        """Go back to a state; `vectors` (fill, P) are those of its windows.

        Raises:
            ConfigError: it is of a queue of another size or width.
        """
        windows = state["windows"].numpy()
        if state["capacity"] != self.capacity or vectors.shape != (len(windows), self._vectors.shape[1]):
            raise ConfigError(
                f"the checkpoint's queue holds {state['capacity']:,} vectors of width {vectors.shape[-1]}, this run's "
                f"{self.capacity:,} of width {self._vectors.shape[1]}. queue.size, the batch and the data must be the "
                "same."
            )
        self.fill, self._position = len(windows), int(state["position"])
        self._windows[: self.fill] = windows
        self._vectors[: self.fill] = vectors

    def _ages(self) -> IndexArray:
        """(fill,) int64: how many entries were pushed after each."""
        ages: IndexArray = (self._position - 1 - np.arange(self.fill)) % self.capacity
        return ages

    def _count_same_topic(self, queries: IndexArray) -> IndexArray:
        """(B,) int64 entries of each query's topic and another article."""
        held = self.windows
        of_topic = np.bincount(self._topics[held], minlength=self._num_topics)[self._topics[queries]]
        own_article = np.bincount(self._pairs[held], minlength=self._num_pairs)[self._pairs[queries]]
        counted: IndexArray = of_topic - own_article
        return counted

    def _newest_of_others(self, topics: TopicArray, same_topic: IndexArray, topics_by_age: TopicArray) -> IndexArray:
        """(B,) int64: from which age on a query's other-topic entries are left out.

        The newest n entries hold n - c others, c of them being of the topic. The k-th entry of the topic, of age p_k,
        has p_k - k others before it, so the n that holds `most` others is `most` + #(k: p_k - k <= most).

        Args:
            topics: (B,) of the queries.
            same_topic: (B,) entries of topic and other article.
            topics_by_age: (fill,) topics of the entries, newest first.
        """
        newest = np.full(len(topics), self.fill, np.int64)
        share = self._same_topic_share
        # The product may fall a rounding short of a whole number.
        most = np.floor(same_topic * ((1 - share) / share) + 1e-9).astype(np.int64)
        for topic in np.unique(topics):
            mine = (topics == topic) & (same_topic > 0)
            ages = np.flatnonzero(topics_by_age == topic)
            others_before = ages - np.arange(len(ages))
            newest[mine] = most[mine] + np.searchsorted(others_before, most[mine], side="right")
        return newest


def _number_articles(articles: IndexArray) -> IndexArray:
    """(W,) int64 numbers from 0, equal where the article is; every window of unknown article has one of its own."""
    known = articles >= 0
    _, numbers = np.unique(articles, return_inverse=True)
    return np.where(known, numbers.reshape(-1), len(articles) + np.arange(len(articles)))
