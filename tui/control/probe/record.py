"""A probe on disk: what it was asked (`plan.json`) and what it has found so far (`probe.json`, replaced as it goes).

Both are in `probes/` below the run that is probed. Beside them is one ordinary run folder for every try and seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.evals import Interval
from engine.run.files import read_regular, write_atomically
from engine.run.settings import Patch

FOLDER = "probes"
"""Below a run; the folders in it are not shown among the runs."""
PLAN = "plan.json"
MAX_BYTES = 1 << 20
"""A probe of a hundred tries is a tenth of this."""

TryState = Literal["waiting", "training", "evaluating", "done", "hopeless", "failed"]
ProbeState = Literal["running", "done", "stopped"]
Verdict = Literal["base", "helps", "no difference", "worse", "unknown"]


class Try(Struct, frozen=True, kw_only=True):
    """One patch of a fix; the one without is the run itself."""

    number: int
    """1-based place of the fix in the ladder; 0 for the run itself."""
    title: str
    patch: Patch = field(default_factory=dict)

    @property
    def words(self) -> str:
        """`6 loss.contrast_space = target`."""
        changes = ", ".join(f"{key} = {value}" for key, value in self.patch.items())
        return f"{self.number} {changes}" if self.patch else self.title


class ProbePlan(Struct, frozen=True, kw_only=True):
    """What a probe tries and how; `plan.json`, written by who starts it."""

    run: str
    tries: list[Try]
    """The run itself first, then the ladder in its order."""
    train: list[str]
    """The engine's command that trains, without its arguments."""
    evaluate: list[str]
    """The engine's command that evaluates, without its arguments."""
    index_dir: str
    """Where evaluations keep the index, which all tries share."""
    at_once: int = 2
    """Tries under way at the same time, each with one thread."""
    leaders: int = 2
    """Tries that get a second seed."""


class Trial(Struct, frozen=True, kw_only=True):
    """One try with one seed: a run of its own, cut to the gate's epoch."""

    seed: int
    run: str = ""
    """Its folder; empty before it was started."""
    state: TryState = "waiting"
    epoch: int = 0
    """Epochs that ended."""
    gate: float | None = None
    """The gate's metric at the gate's epoch."""
    r5: float | None = None
    """R@5 of its best checkpoint on held-out queries."""
    r5_interval: Interval | None = None
    """95 % interval of it."""
    contain50: float | None = None
    seconds: float = 0.0
    """Wall time of training and evaluation, start-up included."""
    detail: str = ""
    """Why it failed, or was stopped early."""


class Row(Struct, frozen=True, kw_only=True):
    """A try and what is known of it; means over the seeds that are done."""

    tried: Try
    trials: list[Trial]
    gate: float | None = None
    gate_gain: float | None = None
    """Against the run itself."""
    gate_noise: float = 0.0
    """A smaller gain than this says nothing."""
    r5: float | None = None
    r5_gain: float | None = None
    r5_noise: float = 0.0
    contain50: float | None = None
    verdict: Verdict = "unknown"
    rank: int = 0
    """1 is best; 0 has none."""

    @property
    def seconds(self) -> float:
        """What it cost."""
        return sum(trial.seconds for trial in self.trials)


class ProbeReport(Struct, frozen=True, kw_only=True):
    """All that a probe has found; `probe.json`."""

    schema: int = 1
    run: str
    metric: str
    """The gate's."""
    epoch: int
    """The gate's epoch, to which every try is trained."""
    bar: float
    state: ProbeState = "running"
    seconds: float = 0.0
    """Wall time since it was started."""
    created: str = ""
    """When it was written: UTC, ISO 8601; empty in those of older versions."""
    num_queries: int = 0
    floors: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    fix: int = 0
    """Number of the fix that the evidence recommends; 0 for none."""
    recommendation: list[str] = field(default_factory=list)
    """It in words, with its uncertainty."""

    @property
    def num_done(self) -> int:
        """Trials that have come to an end, well or badly."""
        return sum(trial.state in {"done", "hopeless", "failed"} for row in self.rows for trial in row.trials)

    @property
    def num_trials(self) -> int:
        """Trials there are so far; the leaders' second seeds come later."""
        return sum(len(row.trials) for row in self.rows)


def probe_folder(run: RunDirectory) -> Path:
    """Where a run's probe is kept."""
    return run.path / FOLDER


def probe_file(run: RunDirectory) -> Path:
    """Where its report is."""
    return probe_folder(run) / "probe.json"


def read_probe(path: Path) -> ProbeReport:
    """A probe's report.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        return msgspec.json.decode(read_regular(path, MAX_BYTES), type=ProbeReport)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as a probe's report: {error}") from None


def read_plan(folder: Path) -> ProbePlan:
    """What a probe was asked.

    Raises:
        ConfigError: it is missing or damaged.
    """
    path = folder / PLAN
    try:
        return msgspec.json.decode(read_regular(path, MAX_BYTES), type=ProbePlan)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as a probe's plan: {error}") from None


def write_json(path: Path, record: ProbePlan | ProbeReport) -> None:
    """Replace a record whole."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
