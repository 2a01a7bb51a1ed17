"""A case of the scenario suite: data, settings, and the one fault that is planted in it, if any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from engine.data.corpus import FloatArray
from engine.run.directory import RunDirectory
from engine.run.settings import EvalConfig, Patch
from engine.scenarios.data import MakeData
from engine.scenarios.faults import Fault
from engine.scenarios.record import Split

Aftermath = Callable[[RunDirectory], None]
SEEDS_BETWEEN = 3
"""Every third seed is held out of every case."""

BASE: Patch = {
    "epochs": 3,
    "device": "cpu",
    "threads": 1,
    "model.width": 64,
    "model.layers": 1,
    "model.state": 16,
    "model.head_width": 32,
    "model.residual": "context_mean",
    "sampler.batch_size": 64,
    "sampler.accumulate": 1,
    "loss.contrast_space": "target",
    "loss.lambda_con": 0.3,
    "loss.lambda_ar": 0.7,
    "loss.projection_hidden": 128,
    "loss.projection_width": 64,
    "optimizer.lr": 3e-3,
}
"""Settings at which a small model gains on every floor of the planted corpora; a case says how it differs."""


Indexed = Callable[[FloatArray, int], FloatArray]
"""What is put into an index: of the (N, D) vectors that should be, and a seed."""


def as_they_are(vectors: FloatArray, _seed: int) -> FloatArray:
    """The index is the right one."""
    return vectors


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run is evaluated."""

    config: EvalConfig = field(default_factory=lambda: EvalConfig(limit=300))
    indexed: Indexed = as_they_are
    by_training: bool = False
    """Ask with the windows that the run trains on, where another corpus of the same articles is searched."""


NO_RERANKER = Asked(EvalConfig(limit=300, eff5=0.5))
"""The embedded corpus gives every model an Eff@5 of .58 to .64 where nothing is reranked; the usual bar is .68."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One labelled training."""

    name: str
    """Letters, digits and underscores; begins the name of its runs."""
    expects: str
    """The signature to be named first; empty for a healthy run."""
    planted: str
    """What was done to it, in words."""
    data: MakeData
    patch: Patch = field(default_factory=dict)
    """Settings that differ from `BASE`, by dotted key."""
    fault: Fault | None = None
    """Done to the trainer before its first step."""
    fault_is_once: bool = False
    """The fault does not come back in a run that is resumed or patched; else every child has it too."""
    mended: Patch | None = None
    """Settings, laid over `patch`, of the same training without the fault; None where no setting repairs it."""
    beyond_repair: str = ""
    """Why none does, in words. A case that fails has either this or `mended`, a healthy one neither."""
    notes: str = ""
    """The note that a healthy run must have."""
    asked: Asked | None = None
    """How it is evaluated; None for not at all."""
    aftermath: Aftermath | None = None
    """Done to the run's folder at its end."""
    looks_first: bool = True
    """Whether the preflight looks at the data, as it does unless a program trains by other means."""
    is_held: bool = False
    """It is to be judged as if its process were still there."""
    held_out: bool = False
    """Its parameters are of no use for choosing thresholds, whatever the seed."""

    @property
    def recurs(self) -> bool:
        """Whether a run that is resumed or patched has the fault again."""
        return self.fault is not None and not self.fault_is_once

    def twin(self) -> Case | None:
        """The same training without the fault, asked of an index that is right; None where nothing repairs it."""
        if self.mended is None:
            return None
        asked = self.asked and replace(
            self.asked,
            config=msgspec.structs.replace(self.asked.config, nprobe=EvalConfig().nprobe),
            indexed=as_they_are,
        )
        return replace(
            self, expects="", patch={**self.patch, **self.mended}, fault=None, asked=asked, aftermath=None, mended=None
        )

    def split(self, seed: int) -> Split:
        """Whether a run of this seed may be looked at to choose thresholds."""
        return "held_out" if self.held_out or seed % SEEDS_BETWEEN == SEEDS_BETWEEN - 1 else "tune"
