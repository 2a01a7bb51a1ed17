"""The queue as a micro-batch's queries see it: which entries there are for whom, and which are masked.

Shapes: B queries of a micro-batch, b of a part, K entries of the queue, k of a part, P width of the contrast's space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class QueuePart:
    """Queries that see the same entries but for few: those of one topic, or all where topics do not matter.

    Only entries that one of them sees are in it. With the playbook's share of 0.3 and 16 topics that is a fifth of the
    queue, and the other four fifths cost nothing.
    """

    rows: Tensor
    """(b,) int64 places of the queries in the micro-batch."""
    slots: Tensor
    """(k,) int64 places of the entries in the queue."""
    hidden_by: Tensor
    """(b, 1) int32: entries of the same number in `hidden_as` are left out."""
    hidden_as: Tensor
    """(k,) int32."""
    query_articles: Tensor
    """(b, 1) int32 numbers of articles; a window of unknown article has one of its own."""
    articles: Tensor
    """(k,) int32 likewise."""
    newest: Tensor
    """(b, 1) int32: entries are left out from this age on."""
    ages: Tensor
    """(k,) int32: 0 for the entry that was pushed last, -1 for all of the queries' topic."""

    def mask_block(self, block: slice, masked: Tensor, scratch: tuple[Tensor, Tensor]) -> Tensor:
        """Which entries of a block are left out.

        Args:
            block: of the part's entries.
            masked: (b, width of the block) bool to be overwritten: True where an entry is left out.
            scratch: two more of the same shape.

        Returns:
            Scalar int64: entries of the queries' own articles that are not left out.
        """
        first, second = scratch
        torch.ge(self.ages[block], self.newest, out=first)
        torch.eq(self.hidden_by, self.hidden_as[block], out=second)
        torch.logical_or(first, second, out=masked)
        torch.eq(self.query_articles, self.articles[block], out=first)
        torch.gt(first, masked, out=second)
        return torch.count_nonzero(second)


@dataclass(frozen=True)
class QueueView:
    """The queue as a micro-batch's queries see it."""

    vectors: Tensor
    """(K, P) unit vectors without gradient; K may be 0."""
    parts: list[QueuePart]
    """Every query is in one of them."""
    num_same_topic: NDArray[np.int64]
    """(B,) entries of the query's topic and another article. They are never left out."""
