"""What learns: a model, its projection head, their optimizer, and one optimizer step over an effective batch.

Shapes: V validation windows, E windows of an effective batch, B those of a micro-batch that are this rank's, L context,
D vector width.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.data.windows import WindowSource
from engine.device import autocast, has_fused_optimizer, keep_norms_in_float32
from engine.models.registry import build_head, build_model
from engine.run.convert import ConfigError
from engine.run.settings import RunConfig
from engine.training.corruption import corrupt_contexts
from engine.training.losses import (
    Candidates,
    ContrastMask,
    MicroLoss,
    QueueCounts,
    mask_candidates,
    micro_loss,
    project_candidates,
)
from engine.training.negative_queue import NegativeQueue
from engine.training.queue_view import QueueView
from engine.training.ranks import OneProcess

VALIDATION_BATCH = 1024


class StepFigures(Struct, frozen=True, kw_only=True):
    """What an optimizer step came to."""

    num_windows: int
    loss: float
    """Mean over the windows, like the next two."""
    infonce: float
    """Nats."""
    ar_cosine: float
    grad_norm: float
    """Global norm before clipping."""
    num_negatives: int
    """Negatives that reached the loss, the queue's included, summed over the queries, like the next three."""
    num_masked: int
    """Of the batch; the queue's are not counted."""
    num_same_article: int
    """Of batch and queue."""
    num_unknown: int
    """Queries without an article."""
    num_queue_negatives: int = 0
    """Those of the queue."""
    num_with_queue: int = 0
    """Queries that saw any of the queue."""
    queue_topic_shares: float = 0.0
    """Sum over those of the share of the queue's negatives that are of the query's topic and another article."""
    update_ratio: float = 0.0
    """|change of the weights| / |weights|."""

    @property
    def non_finite(self) -> tuple[str, float] | None:
        """The first number that is not finite, by name; a weight update of such a size leaves nothing worth saving."""
        numbers = {"loss": self.loss, "gradient norm": self.grad_norm, "weight update": self.update_ratio}
        return next(((name, value) for name, value in numbers.items() if not math.isfinite(value)), None)


class Objective(nn.Module):
    """A micro-batch's share of the loss, as one module: its gradients are what ranks exchange.

    Args:
        model: predicts.
        head: projects predictions, or None to contrast them as they are.
        config: the run's.
        device: where they are.
    """

    def __init__(self, model: nn.Module, head: nn.Module | None, config: RunConfig, device: torch.device) -> None:
        super().__init__()
        self.model, self.head = model, head
        self._config, self._device = config, device

    def forward(
        self,
        contexts_BLD: Tensor,
        targets_BD: Tensor,
        candidates: Candidates,
        mask: ContrastMask,
        first: int,
        queue: QueueView | None,
    ) -> MicroLoss:
        """See `micro_loss`."""
        predictions = self._predict(contexts_BLD)
        return micro_loss(predictions, targets_BD, candidates, mask, first, self._config.loss, self.head, queue)

    def _predict(self, contexts: Tensor) -> Tensor:
        """(B, L, D) to (B, D) float32 unit vectors, in the run's precision."""
        if self._config.precision == "float32":
            prediction: Tensor = self.model(contexts)
            return prediction
        with autocast(self._device, self._config.precision):
            prediction = self.model(contexts)
        # Eight bits of mantissa are enough for a direction and too few for a length of 1.
        return functional.normalize(prediction.float(), dim=-1)


class Learner:
    """Model, head and optimizer of a run.

    Args:
        config: the run's.
        source: the windows it learns from.
        device: where to compute.
        queue: where the targets of a step go, as negatives of the following ones; None for nowhere.
        ranks: with whom it learns; None for nobody.
    """

    def __init__(
        self,
        config: RunConfig,
        source: WindowSource,
        device: torch.device,
        queue: NegativeQueue | None = None,
        ranks: OneProcess | None = None,
    ) -> None:
        self.config, self.source, self.device, self.queue = config, source, device, queue
        self.ranks = ranks or OneProcess(device)
        self.model = build_model(config.model, dim=source.dim, context=source.context, seed=config.seed).to(device)
        if config.precision != "float32":
            keep_norms_in_float32(self.model)
        head = build_head(config.loss, dim=source.dim, seed=config.seed)
        self.head = None if head is None else head.to(device)
        modules = [self.model] if self.head is None else [self.model, self.head]
        self.parameters = [parameter for module in modules for parameter in module.parameters()]
        self._objective = self.ranks.wrap(Objective(self.model, self.head, config, device))
        self.optimizer = _build_optimizer(self.parameters, config, device)
        # Kept from step to step: fresh memory of the model's size would cost more than the arithmetic on it.
        self._before = [torch.empty_like(parameter, requires_grad=False) for parameter in self.parameters]

    def take_step(self, micro_batches: list[NDArray[np.int64]], *, step: int, lr: float) -> StepFigures:
        """One optimizer step over an effective batch.

        Where loss or gradient are not finite, neither weights nor optimizer have moved.

        Args:
            micro_batches: window numbers, each micro-batch an array.
            step: optimizer steps before this one.
            lr: learning rate.
        """
        figures, candidates = self.accumulate_gradients(micro_batches, step)
        if figures.non_finite is None:
            figures = msgspec.structs.replace(figures, update_ratio=self._update_weights(lr))
            if self.queue is not None:  # after the step: a batch never meets itself
                self.queue.push(np.concatenate(micro_batches), candidates.vectors)
        self.optimizer.zero_grad(set_to_none=True)
        return figures

    def predict(self, windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Predictions and targets of windows as they are, uncorrupted: (V, D) float32 unit vectors each, on the CPU.

        There, because figures of them are taken in float64, which not every device has.
        """
        return self.predict_from(self.source, windows)

    @torch.no_grad()
    def predict_from(self, source: WindowSource, windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """`predict` for the windows of another source of the same shape."""
        self.model.eval()
        batches = [
            np.arange(start, min(start + VALIDATION_BATCH, len(windows)))
            for start in range(0, len(windows), VALIDATION_BATCH)
        ]
        predictions, targets = [], []
        # Dealt whole, so that each is computed as one process would.
        for batch in batches[self.ranks.rank :: self.ranks.count]:
            contexts, answers = source.gather(windows[batch])
            predictions.append(self.model(torch.from_numpy(contexts).to(self.device)).cpu())
            targets.append(torch.from_numpy(answers))
        self.model.train()
        none = torch.zeros(0, source.dim)
        places = [
            np.concatenate([np.arange(0), *batches[rank :: self.ranks.count]]) for rank in range(self.ranks.count)
        ]
        return (
            self.ranks.gather(torch.cat([none, *predictions]), places),
            self.ranks.gather(torch.cat([none, *targets]), places),
        )

    @torch.no_grad()
    def project(self, vectors: Tensor) -> Tensor:
        """Vectors behind the head, themselves where there is none: (V, D) to (V, P), on the CPU both."""
        return vectors if self.head is None else self.head(vectors.to(self.device)).cpu()

    def measure_drift(self) -> float | None:
        """1 - mean cosine of what the queue holds with the same targets projected anew; None while it is empty."""
        if self.queue is None or not self.queue.fill:
            return None
        if self.head is None:
            return 0.0
        windows, held = self.queue.sample()
        anew = self.project(torch.from_numpy(self.source.gather(windows)[1]))
        return 1 - float((anew * held.cpu()).sum(dim=1, dtype=torch.float64).mean())

    def state(self) -> dict[str, Any]:
        """Optimizer and queue; the weights are stored apart. For `torch.save`."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.queue is not None:
            state["queue"] = self.queue.state(with_vectors=self.head is not None)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Raises:
            ConfigError: it has no queue where the run has one, or one of another size.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is None:
            return
        if "queue" not in state:
            raise ConfigError("the checkpoint holds no queue, and the run has one: it was saved under other settings.")
        held = state["queue"]
        vectors = held.get("vectors")
        if vectors is None:  # what is contrasted are the targets themselves
            vectors = self._gather_targets(held["windows"].numpy())
        self.queue.load(held, vectors)

    def accumulate_gradients(self, micro_batches: list[NDArray[np.int64]], step: int) -> tuple[StepFigures, Candidates]:
        """Gradients of the effective batch's loss, clipped; one micro-batch of activations in memory at a time.

        Returns:
            What it came to, and the targets as they were contrasted.
        """
        parts = [self.ranks.part(len(windows)) for windows in micro_batches]
        gathered = [self.source.gather(windows[part]) for windows, part in zip(micro_batches, parts, strict=True)]
        articles = self.source.articles[np.concatenate(micro_batches)]
        own_targets = torch.from_numpy(np.concatenate([targets for _, targets in gathered])).to(self.device)
        candidates = self._gather_candidates(own_targets, articles, [len(windows) for windows in micro_batches])
        totals = torch.zeros(3, device=self.device)  # stays on the device: one wait a step, not one a micro-batch
        masks, queue_counts = list[ContrastMask](), list[QueueCounts]()
        first = done = 0
        for index, (windows, part) in enumerate(zip(micro_batches, parts, strict=True)):
            corrupted = self._corrupt(gathered[index][0], windows, part, step=step, micro_batch=index)
            count, is_last = len(corrupted), index + 1 == len(micro_batches)
            mask = mask_candidates(
                articles, first + part.start, count, mask_same_article=self.config.loss.mask_same_article
            )
            seen = self.queue.view(windows[part]) if self.queue is not None and self.queue.fill else None
            share = self._objective(
                torch.from_numpy(corrupted).to(self.device),
                own_targets[done : done + count],
                candidates,
                mask,
                first + part.start,
                seen,
                exchange=is_last,
            )
            self.ranks.backward(share.loss, exchange=is_last)
            totals += torch.stack([share.loss.detach(), share.infonce, share.ar_cosine])
            masks.append(mask)
            queue_counts += [] if share.queue is None else [share.queue]
            first, done = first + len(windows), done + count
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.optimizer.clip_norm)
        *means, grad_norm = torch.cat([totals, norm.reshape(1)]).tolist()
        counts = _add_up(masks, queue_counts)
        loss, infonce, ar_cosine, *sums = self.ranks.add_up([*means, *counts.values()])
        counts = dict(zip(counts, sums, strict=True))
        figures = StepFigures(
            num_windows=first,
            loss=loss,
            infonce=infonce,
            ar_cosine=ar_cosine,
            grad_norm=grad_norm,
            **counts,
        )
        return figures, candidates

    def _gather_candidates(self, own_targets: Tensor, articles: NDArray[np.int64], sizes: list[int]) -> Candidates:
        """What the effective batch is contrasted against: every rank projects its own targets.

        Args:
            own_targets: (e, D) of this rank, micro-batch after micro-batch.
            articles: (E,).
            sizes: windows of each micro-batch.
        """
        own = project_candidates(own_targets, articles, self.head)
        starts = np.cumsum([0, *sizes[:-1]])
        everywhere = np.arange(len(articles))
        places = [
            np.concatenate(
                [everywhere[start:][self.ranks.part(size, rank)] for start, size in zip(starts, sizes, strict=True)]
            )
            for rank in range(self.ranks.count)
        ]
        return dataclasses.replace(own, vectors=self.ranks.gather(own.vectors, places))

    def _corrupt(
        self, contexts: NDArray[np.float32], windows: NDArray[np.int64], part: slice, *, step: int, micro_batch: int
    ) -> NDArray[np.float32]:
        """The contexts of this rank's part of a micro-batch, as they are trained on."""
        is_whole = len(contexts) == len(windows)
        return corrupt_contexts(
            contexts,
            self.source.articles[windows],
            self.config.sampler,
            seed=self.config.seed,
            step=step,
            micro_batch=micro_batch,
            own=part,
            donated=None if is_whole else lambda places: self.source.gather(windows[places])[0],
        )

    def _gather_targets(self, windows: NDArray[np.int64]) -> Tensor:
        """(W, D) targets, a batch at a time: their contexts come with them."""
        parts = [windows[start : start + VALIDATION_BATCH] for start in range(0, len(windows), VALIDATION_BATCH)]
        gathered = [torch.from_numpy(self.source.gather(part)[1]) for part in parts]
        return torch.cat(gathered) if gathered else torch.zeros(0, self.source.dim)

    def _update_weights(self, lr: float) -> float:
        """Move the weights; returns |change| / |weights| over all of them."""
        for kept, parameter in zip(self._before, self.parameters, strict=True):
            kept.copy_(parameter.detach())
        size = torch.stack([kept.norm() for kept in self._before]).norm()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        for kept, parameter in zip(self._before, self.parameters, strict=True):
            kept.sub_(parameter.detach())
        change = torch.stack([kept.norm() for kept in self._before]).norm()
        return float(change / size)


def _add_up(masks: list[ContrastMask], queue_counts: list[QueueCounts]) -> dict[str, Any]:
    """The counts of `StepFigures`, over the micro-batches."""
    num_queue_negatives = sum(counts.num_negatives for counts in queue_counts)
    return {
        "num_negatives": sum(mask.num_negatives for mask in masks) + num_queue_negatives,
        "num_masked": sum(mask.num_masked for mask in masks),
        "num_same_article": sum(mask.num_same_article for mask in masks)
        + sum(counts.num_same_article for counts in queue_counts),
        "num_unknown": sum(mask.num_unknown for mask in masks),
        "num_queue_negatives": num_queue_negatives,
        "num_with_queue": sum(counts.num_with_negatives for counts in queue_counts),
        "queue_topic_shares": sum(counts.same_topic_shares for counts in queue_counts),
    }


def _build_optimizer(parameters: list[nn.Parameter], config: RunConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone."""
    settings = config.optimizer
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=has_fused_optimizer(device))
