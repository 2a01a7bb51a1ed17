"""The timeline of a run: its gates, its evaluations, its end; when each is due at the pace measured so far.

What the playbook gives in minutes of its own machine is counted here in epochs of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from engine.run.state import Status
from tui.control.answers import newest_eval
from tui.control.views import RunView

When = Literal["done", "due", "overdue", "never"]
"""`overdue`: its epoch has ended and nobody has asked for it. `never`: the run ended before."""


@dataclass(frozen=True, slots=True)
class Milestone:
    """A moment at which the playbook decides something."""

    what: str
    """`gate val_cosine@2`, `smoke evaluation`, `end`."""
    epoch: int
    """It is due when this epoch ends."""
    when: When
    eta_s: float | None = None
    """Seconds from now until that epoch ends; None where it has ended, never will, or no pace is known."""
    trained_s: float | None = None
    """Seconds of training after which that epoch had ended, resumes' waits left out; None before, or without times."""

    def record(self) -> dict[str, Any]:
        """Plain data, for `status --json`."""
        return {
            "what": self.what,
            "epoch": self.epoch,
            "when": self.when,
            "eta_s": self.eta_s,
            "trained_s": self.trained_s,
        }


def timeline(run: RunView, now: float) -> list[Milestone]:
    """What a run has passed and what is ahead of it, in order of epochs.

    Args:
        run: any run; one that early stopping, a person or a fault ended reached its end with its last epoch.
        now: Unix time.
    """
    ended = run.latest.epoch if run.latest else 0
    is_over = not run.status.is_alive and run.status is not Status.QUEUED
    last = ended if is_over else run.spec.config.epochs
    moments = [(f"gate {gate.name}", gate.epoch, gate.epoch <= ended) for gate in run.spec.gates]
    for name, evaluation in run.spec.evals.items():  # at_epoch = 0 asks for it at the end
        moments.append((f"{name} evaluation", evaluation.at_epoch or last, newest_eval(run, name) is not None))
    moments.append(("end", last, is_over))
    milestones = []
    for what, epoch, is_done in sorted(moments, key=lambda moment: moment[1]):
        if is_done:
            milestones.append(Milestone(what, epoch, "done", trained_s=_trained_s(run, epoch)))
        elif 0 < epoch <= ended:
            milestones.append(Milestone(what, epoch, "due" if what == "end" else "overdue"))
        else:
            milestones.append(Milestone(what, epoch, "never" if is_over else "due", eta_s=run.eta_s(epoch, now)))
    return milestones


def _trained_s(run: RunView, epoch: int) -> float | None:
    """Seconds of training until an epoch ended; None where a time is missing."""
    times = [record.time for record in run.state.epochs if record.epoch <= epoch]
    known = [time for time in times if time is not None]
    return sum(known) if epoch and len(known) == len(times) == epoch else None
