"""The queue entry by entry, and InfoNCE over batch and queue with every logit written out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class PlainQueue:
    """A list of windows, oldest first."""

    capacity: int
    articles: list[int]
    """Of every window; -1 is unknown."""
    topics: list[int]
    share: float
    held: list[tuple[int, Tensor]] = field(default_factory=list)

    def push(self, windows: list[int], vectors: Tensor) -> None:
        self.held = (self.held + list(zip(windows, vectors, strict=True)))[-self.capacity :]

    def is_own(self, query: int, window: int) -> bool:
        """Of the query's article, or where that is unknown the query itself."""
        article = self.articles[query]
        return window == query if article == -1 else self.articles[window] == article

    def same_topic(self, query: int) -> list[int]:
        """Places of entries of the query's topic and another article."""
        return [
            place
            for place, (window, _) in enumerate(self.held)
            if self.topics[window] == self.topics[query] and not self.is_own(query, window)
        ]

    def seen(self, query: int) -> list[int]:
        """Places of the entries that a query is contrasted against."""
        same = self.same_topic(query)
        others = [place for place, (window, _) in enumerate(self.held) if self.topics[window] != self.topics[query]]
        if self.share and same:
            most = math.floor(round(len(same) * (1 - self.share) / self.share, 6))
            others = others[len(others) - min(most, len(others)) :]
        return sorted(same + [place for place in others if not self.is_own(query, self.held[place][0])])


def plain_queue_info_nce(
    queries: Tensor,
    candidates: Tensor,
    windows: list[int],
    queue: PlainQueue,
    *,
    temperature: float,
) -> Tensor:
    """Sum over the queries of -log softmax of the own candidate among candidates and queue.

    Args:
        queries: (B, P), row i answered by candidate i.
        candidates: (B, P).
        windows: of the queries.
        queue: its entries' articles mask candidates too.
        temperature: divides the products.
    """
    losses = []
    for i, query in enumerate(queries):
        kept = [
            candidates[j]
            for j in range(len(candidates))
            if j == i or queue.articles[windows[i]] == -1 or queue.articles[windows[j]] != queue.articles[windows[i]]
        ]
        keys = torch.stack([*kept, *(queue.held[place][1] for place in queue.seen(windows[i]))])
        losses.append(torch.logsumexp(keys @ query / temperature, dim=0) - candidates[i] @ query / temperature)
    return torch.stack(losses).sum()
