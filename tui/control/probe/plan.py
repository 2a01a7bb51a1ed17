"""What a probe of a run will try, and the command that drives it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.run.convert import ConfigError
from engine.run.settings import Fix, Patch
from engine.run.spec import RunSpec, apply_patch
from tui.control import launcher
from tui.control.probe.record import ProbePlan, Try
from tui.control.views import RunView

JOB = "probe"
"""Name of the driver's job below the run."""


@dataclass(frozen=True, slots=True)
class ProbeIntent:
    """What a probe will do, before it does it."""

    run: RunView
    tries: list[Try]

    def lines(self) -> list[str]:
        """It in words."""
        epochs = self.run.gate.epoch
        return [
            f"trains {self.run.id} and each of {len(self.tries) - 1} tries of the ladder for {epochs} epochs, two at a "
            "time, one thread each",
            "evaluates each one's retrieval, and gives the two that lead a second seed",
            "stops one early that stands below half of every other one after its first epoch",
            f"their records stay in {self.run.id}/probes, their weights do not; the run itself is left as it is",
        ]


def tries_of(spec: RunSpec, fixes: Sequence[Fix]) -> list[Try]:
    """The run itself, then every try of every fix, in the ladder's order, that would change something."""
    tries = [Try(number=0, title="as it is")]
    for number, fix in enumerate(fixes, start=1):
        tries += [Try(number=number, title=fix.title, patch=patch) for patch in fix.tries if _changes(spec, patch)]
    return tries


def make_plan(intent: ProbeIntent, index_dir: Path) -> ProbePlan:
    """The plan for the driver."""
    return ProbePlan(
        run=intent.run.id,
        tries=intent.tries,
        train=launcher.engine_argv("train"),
        evaluate=launcher.engine_argv("evaluate"),
        index_dir=str(index_dir),
    )


def driver_argv(run: RunView) -> list[str]:
    """The driver's command line."""
    return [sys.executable, "-P", "-m", "tui.control.probe.driver", str(run.directory.path)]


def _changes(spec: RunSpec, patch: Patch) -> bool:
    try:
        return apply_patch(spec.config, patch) != spec.config
    except ConfigError:  # a patch that does not fit this run is no try of it
        return False
