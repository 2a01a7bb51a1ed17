"""Faults planted in a training: what a defect in the code would do, done to a trainer before its first step.

A fault of a part that the trainer does not have does nothing: a child may be patched so that it does without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from engine.run.directory import Processes, RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    encode_event,
)
from engine.run.files import write_atomically
from engine.run.process import boot_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from engine.models.heads import ProjectionHead
    from engine.training.trainer import Trainer

Fault = Callable[["Trainer"], None]
NO_PROCESS = 2**22 + 1
"""Beyond the largest process id that Linux gives."""
SILENCE_S = 3600.0


class AbandonedError(Exception):
    """The training ends here without a word, as a killed process does."""


def scale_gradients(factor: float, *, after: int = 0, until: int | None = None) -> Fault:
    """Multiply every gradient, from the backward pass `after` on; 0 freezes the weights, NaN poisons them.

    Args:
        factor: what a gradient is multiplied by.
        after: backward passes before the first one.
        until: backward passes before it ends; None for never.
    """

    def plant(trainer: Trainer) -> None:
        for parameter in trainer.learner.parameters:
            _hook(parameter, _scaling(factor, after, until))

    return plant


def grow_gradients(factor: float) -> Fault:
    """Multiply gradients by so much more with every backward pass, and clip nothing."""

    def plant(trainer: Trainer) -> None:
        for parameter in trainer.learner.parameters:
            _hook(parameter, _growing(factor))

    return plant


def bias_the_head(trainer: Trainer) -> None:
    """Give the head's last layer a bias, longer than what it is added to."""
    import torch
    from torch import nn

    head = trainer.learner.head
    if head is None:
        return
    last = _layer(head, -1)
    biased = nn.Linear(last.in_features, last.out_features)
    biased.weight = last.weight
    with torch.no_grad():
        biased.bias.fill_(3.0)
    head.mlp[-1] = biased


def unnormalise_the_head(trainer: Trainer) -> None:
    """Leave out the head's L2 norm."""
    head = trainer.learner.head
    if head is not None:
        head.forward = head.mlp.forward  # type: ignore[method-assign]


def silence_the_head(trainer: Trainer) -> None:
    """Let the head give almost the same for everything: its first layer's weights are gone and stay gone."""
    import torch

    head = trainer.learner.head
    if head is None:
        return
    first = _layer(head, 0)
    with torch.no_grad():
        first.weight.zero_()
    _hook(first.weight, _scaling(0.0))


def leave_the_queue(trainer: Trainer) -> None:
    """Fill the queue once and never again."""
    queue = trainer.learner.queue
    if queue is None:
        return
    push = queue.push

    def push_until_full(windows: NDArray[np.int64], vectors: Tensor) -> None:
        if queue.fill < queue.capacity:
            push(windows, vectors)

    queue.push = push_until_full  # type: ignore[method-assign]


def abandon(at_step: int) -> Fault:
    """End without a word at a step."""

    def plant(trainer: Trainer) -> None:
        take_step = trainer.learner.take_step

        def take_or_end(*args: Any, step: int, lr: float) -> Any:  # Any: as `take_step`
            if step >= at_step:
                raise AbandonedError
            return take_step(*args, step=step, lr=lr)

        trainer.learner.take_step = take_or_end  # type: ignore[method-assign, assignment]

    return plant


def lose_process(run: RunDirectory) -> None:
    """Let a run look as after its wrapper was killed: started in this boot, and nobody is there."""
    gone = Processes(
        boot_id=boot_id(),
        host="",
        started=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        wrapper_pid=NO_PROCESS,
        wrapper_ticks="0",
    )
    write_atomically(run.processes_file, msgspec.json.encode(gone))


def fall_silent(run: RunDirectory) -> None:
    """Date a run's events back by an hour; who ran it cannot be asked any more."""
    lose_process(run)
    events = [msgspec.structs.replace(event, t=event.t - SILENCE_S) for event in read_events(run.events_file)]
    write_atomically(run.events_file, b"".join(map(encode_event, events)))


def _scaling(factor: float, after: int = 0, until: int | None = None) -> Callable[[Tensor], Tensor]:
    calls = iter(range(1 << 62))
    end = 1 << 62 if until is None else until

    def scale(gradient: Tensor) -> Tensor:
        return gradient * factor if after <= next(calls) < end else gradient

    return scale


def _growing(factor: float) -> Callable[[Tensor], Tensor]:
    calls = iter(range(1 << 62))

    def scale(gradient: Tensor) -> Tensor:
        return gradient * factor ** next(calls)

    return scale


def _hook(parameter: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    parameter.register_hook(change)  # type: ignore[no-untyped-call]


def _layer(head: ProjectionHead, place: int) -> nn.Linear:
    from torch import nn

    layer = head.mlp[place]
    assert isinstance(layer, nn.Linear)
    return layer
