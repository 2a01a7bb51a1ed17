"""The queue's cost against the naive one's: all logits at once, in time and in memory, on vectors drawn by chance.

Memory is the largest sum of the storages of tensors that operations made and that are alive at once, seen by a
`TorchDispatchMode`: what is there before (queries, keys, masks' ingredients) does not count, scratch memory within a
single operation's kernel is not seen, on either side.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.run.settings import QueueConfig
from engine.training.losses import contrast_with_queue, info_nce
from engine.training.negative_queue import NegativeQueue
from engine.training.queue_view import QueueView

QUEUE, WIDTH, QUERIES = 65_536, 256, 1024
"""The playbook's queue, its projection's width, and an effective batch of it."""
NUM_TOPICS = 16
NUM_ARTICLES = 8192
TEMPERATURE = 0.07


class QueueTask:
    """One effective batch's contrast, forward and backward, in two ways that give the same gradient."""

    def __init__(self, *, size: int = QUEUE, queries: int = QUERIES, width: int = WIDTH, share: float) -> None:
        self.size = size
        generator = np.random.default_rng(0)
        num_windows = size + queries
        articles = generator.integers(0, NUM_ARTICLES, num_windows)
        queue = NegativeQueue(
            QueueConfig(size=size, same_topic_share=share),
            capacity=size,
            width=width,
            articles=articles,
            topics=(articles % NUM_TOPICS).astype(np.int32),
            mask_same_article=True,
            device=torch.device("cpu"),
        )
        seeded = torch.Generator().manual_seed(0)
        queue.push(np.arange(size), functional.normalize(torch.randn(size, width, generator=seeded), dim=-1))
        self._queue, self._windows = queue, np.arange(size, num_windows)
        self._query = functional.normalize(torch.randn(queries, width, generator=seeded), dim=-1)
        self._candidates = functional.normalize(torch.randn(queries, width, generator=seeded), dim=-1)
        self._own = torch.arange(queries)
        self._masked = torch.from_numpy(articles[size:, None] == articles[None, size:]).fill_diagonal_(False)

    def streamed(self) -> Tensor:
        """The queue in blocks; returns the (B, P) gradient."""
        query = self._query.clone().requires_grad_()
        log_sum_exp, _ = contrast_with_queue(query, self._queue.view(self._windows), temperature=TEMPERATURE)
        loss = info_nce(
            query,
            self._candidates,
            self._own,
            self._masked,
            temperature=TEMPERATURE,
            queue_log_sum_exp_B=log_sum_exp,
        )
        return torch.autograd.grad(loss, query)[0]

    def naive(self) -> Tensor:
        """All logits of batch and queue in one matrix; returns the (B, P) gradient."""
        query = self._query.clone().requires_grad_()
        view = self._queue.view(self._windows)
        keys = torch.cat([self._candidates, view.vectors])
        masked = torch.cat([self._masked, whole_mask(view, len(query))], dim=1)
        logits = ((query / TEMPERATURE) @ keys.T).masked_fill_(masked, -torch.inf)  # naive, not wasteful
        loss = functional.cross_entropy(logits, self._own, reduction="sum")
        return torch.autograd.grad(loss, query)[0]


def whole_mask(view: QueueView, num_queries: int) -> Tensor:
    """(B, K) bool: what `QueuePart.mask_block` does, for the whole queue at once."""
    masked = torch.ones(num_queries, len(view.vectors), dtype=torch.bool)
    for part in view.parts:
        left_out = (part.ages >= part.newest) | (part.hidden_by == part.hidden_as)
        masked[part.rows[:, None], part.slots] = left_out
    return masked


def peak_bytes(task: Callable[[], object]) -> int:
    """The most bytes of tensors made by `task` that were alive at once; see the module."""
    with _LiveStorages() as live:
        task()
    peak: int = live.peak
    return peak


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds a storage when an operation returns it for the first time, and takes it off when it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # torch's own
        kwargs = kwargs or {}
        before = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _key(leaf) not in before:
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key in self._known:
            return
        self._known.add(key)
        self._live += storage.nbytes()
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._drop, key, storage.nbytes())

    def _drop(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self._live -= num_bytes


def _key(tensor: Tensor) -> int:
    """The identity of its storage, for as long as that lives."""
    key: int = tensor.untyped_storage()._cdata
    return key
