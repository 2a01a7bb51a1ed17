"""Repairing a scenario suite: the autopilot is given every planted failure, and what comes of it is held against the
same training without the fault.

Each repair is a runs folder of its own, `repairs/<run>/`, with a copy of the planted run, the autopilot's children, its
journal and all their files: a room opens it like any other.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.files import read_regular, write_atomically
from engine.run.process import send
from engine.run.runs_file import AutopilotConfig, RoomConfig, RunsFile
from engine.scenarios.record import RUNS, TWINS, PlantedRun, read_suite
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.answers import newest_eval
from tui.control.autopilot import Autopilot
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import gather
from tui.control.ladder import gate_value
from tui.control.probe.rules import SEED_NOISE
from tui.control.views import RunView
from tui.control.watcher import Watcher

FOLDER = "repairs"
NAME = "repairs.json"
MAX_BYTES = 4 << 20
POLL_S = 0.2
STALL_S = 30.0
"""For an engine to be there."""
PATIENCE_S = 600.0
"""For one repair: three restarts and their evaluations take one."""
ERRORS = 2.0
"""Standard errors by which a share of queries may stay below the twin's: it is another training."""
MAY = AutopilotConfig(allow=["mend", "resume", "kill", "evaluate", "evaluate_tuned", "rerank", "evaluate_fitted"])
"""No ladder, no probe: what is judged is the remedy."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a run came to."""

    gate: float | None = None
    """The gate's metric at the gate's epoch."""
    has_passed: bool = False
    r5: float | None = None
    contain50: float | None = None
    num_queries: int = 0


class Repair(Struct, frozen=True, kw_only=True):
    """What the autopilot made of a planted failure."""

    run: str
    name: str
    seed: int
    split: str
    expects: str
    steps: list[str]
    """What it did, in words."""
    alarms: list[str]
    """Signatures that are left in its last run."""
    before: Outcome
    after: Outcome
    twin: Outcome
    """Of the same training without the fault."""
    why_not: str = ""
    """Why it is no repair; empty where it is one."""
    seconds: float

    @property
    def is_repaired(self) -> bool:
        """Whether nothing ails its last run, and that is as good as the twin."""
        return not self.why_not


def repair_suite(folder: Path, workers: int) -> Iterator[Repair]:
    """Give every repairable failure of a suite to the autopilot, as they come to their end; `repairs.json` keeps them.

    Args:
        folder: made by `lvm-engine scenarios --twins`.
        workers: repairs at a time, a thread of training each.

    Raises:
        ConfigError: the suite has no twins, or was repaired already.
    """
    planted = [run for run in read_suite(folder).runs if run.twin]
    if not planted:
        raise ConfigError(
            f"{folder}: no run has a twin to be held against. Make it with `lvm-engine scenarios --twins`."
        )
    if (folder / FOLDER).exists():
        raise ConfigError(f"{folder / FOLDER} exists: this suite was repaired already. Make another one.")
    found: list[Repair] = []
    with ThreadPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(repair_run, folder, run) for run in planted]):
            found.append(done.result())
            places = {run.run: place for place, run in enumerate(planted)}
            found.sort(key=lambda repair: places[repair.run])
            write_atomically(folder / NAME, msgspec.json.format(msgspec.json.encode(found)) + b"\n")
            yield done.result()


def read_repairs(folder: Path) -> list[Repair]:
    """The repairs of a suite; empty where none were made.

    Raises:
        ConfigError: they are damaged.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(read_regular(path, MAX_BYTES), type=list[Repair])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as repairs: {error}. Remove it, and repair again.") from None


def repair_run(folder: Path, planted: PlantedRun) -> Repair:
    """Give one planted run to the autopilot until it will act no more, and judge what is left."""
    began = time.monotonic()
    runs_dir = folder.absolute() / FOLDER / planted.run
    run = _copied(folder, planted, runs_dir)
    spec = run.read_spec()
    file = RunsFile(
        path=str(runs_dir / "runs.toml"), data=spec.data, gate=spec.gates, check=spec.check, eval=spec.evals
    )
    actions = Actions(file, runs_dir, "autopilot", train=planted.train)
    if planted.is_held:
        _stall(run)
    room = _Room(actions, run, began + PATIENCE_S)
    before = outcome_of(room.newest())
    in_time = room.walk()
    last = room.newest()
    if in_time and spec.evals and newest_eval(last, "smoke") is None and "best" in last.state.checkpoints:
        actions.start_job(last, "evaluate")  # a gate that was missed asks for none, and it is to be judged by it
        in_time = room.walk()
        last = room.newest()
    alarms = [diagnosis.signature for diagnosis in diagnose(gather(last)) if not diagnosis.is_note]
    after, twin = outcome_of(last), outcome_of(_twin(folder, planted))
    why_not = shortfall(alarms, before, after, twin) if in_time else f"no end within {PATIENCE_S:.0f} s"
    return Repair(
        run=planted.run,
        name=planted.name,
        seed=planted.seed,
        split=planted.split,
        expects=planted.expects,
        steps=room.steps,
        alarms=alarms,
        before=before,
        after=after,
        twin=twin,
        why_not=why_not,
        seconds=round(time.monotonic() - began, 1),
    )


class _Room:
    """A runs folder with nobody in it but the autopilot."""

    def __init__(self, actions: Actions, run: RunDirectory, deadline: float) -> None:
        self._pilot = Autopilot(actions, run.id, MAY, time.time())
        self._watcher = Watcher(actions.runs_dir, RoomConfig().stall_s)
        self._deadline = deadline
        self.steps: list[str] = []

    def walk(self) -> bool:
        """Let it act until it is over and nothing is under way; False if that takes too long."""
        while time.monotonic() < self._deadline:
            self._watcher.catch_up()
            turn = self._pilot.look(list(self._watcher.views.values()), time.time())
            if turn.acted:
                self.steps.append(turn.words)
            elif turn.is_over and not self._is_busy():
                return True
            time.sleep(POLL_S)
        return False

    def newest(self) -> RunView:
        """The last run of the family."""
        self._watcher.catch_up()
        return list(self._watcher.views.values())[-1]

    def _is_busy(self) -> bool:
        views = self._watcher.views.values()
        return any(view.status.is_alive or any(job.is_busy for job in view.jobs.values()) for view in views)


def outcome_of(view: RunView) -> Outcome:
    """What a run came to: its gate, and its newest evaluation's figures, behind a reranker where there is one."""
    report = max(view.evals.values(), key=lambda report: (report.created, report.name), default=None)
    figures = report.judged.exact if report else None
    return Outcome(
        gate=gate_value(view),
        has_passed=view.gate_judgement(view.gate).verdict == "passed",
        r5=figures.r5 if figures else None,
        contain50=figures.contain50 if figures else None,
        num_queries=report.num_queries if report else 0,
    )


def shortfall(alarms: Sequence[str], before: Outcome, after: Outcome, twin: Outcome) -> str:
    """Why what is left is no repair, in words; empty where it is one.

    Args:
        alarms: signatures that are left.
        before: the planted run; a remedy that makes it worse has repaired nothing, whatever the twin came to.
        after: the autopilot's last run.
        twin: the same training without the fault.
    """
    if alarms:
        return f"still {', '.join(alarms)}"
    if not after.has_passed and (
        twin.has_passed or after.gate is None or twin.gate is None or after.gate < twin.gate - SEED_NOISE
    ):
        return f"gate at {_figure(after.gate)}, {_figure(twin.gate)} without the fault"
    # a gate that is passed may be passed by less than before: contrast trades cosine for retrieval
    if not after.has_passed and before.gate is not None and (after.gate or -1.0) < before.gate - SEED_NOISE:
        return f"gate at {_figure(after.gate)}, {_figure(before.gate)} before"
    for other, words in ((twin, "without the fault"), (before, "before")):
        n, m = after.num_queries, other.num_queries
        worse = _worse("R@5", after.r5, n, other.r5, m) or _worse("Contain@50", after.contain50, n, other.contain50, m)
        if worse:
            return f"{worse} {words}"
    return ""


def _worse(name: str, ours: float | None, num_ours: int, its: float | None, num_its: int) -> str:
    """Whether a share of queries is lower by more than noise, in words; empty where it is not, or `its` unknown."""
    if its is None:
        return ""
    if ours is None:
        return f"{name} was not measured,"
    error = math.sqrt(max(0.0, ours * (1 - ours) / max(1, num_ours) + its * (1 - its) / max(1, num_its)))
    return f"{name} {ours:.3f}, {its:.3f}" if ours < its - ERRORS * error else ""


def _figure(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3f}"


def _copied(folder: Path, planted: PlantedRun, runs_dir: Path) -> RunDirectory:
    """The planted run in a runs folder of its own, with a command that runs it there."""
    runs_dir.mkdir(mode=0o700, parents=True)
    run = RunDirectory(runs_dir / planted.run)
    shutil.copytree(folder / RUNS / planted.run, run.path)
    spec = run.read_spec()
    spec = msgspec.structs.replace(spec, argv=[*planted.train, "--run-dir", str(run.path)])
    write_atomically(run.spec_file, msgspec.json.format(msgspec.json.encode(spec)))
    return run


def _stall(run: RunDirectory) -> None:
    """Start a run for real and halt its engine where it stands, as a machine that swaps does."""
    launcher.start(run.path)
    deadline = time.monotonic() + STALL_S
    while time.monotonic() < deadline:
        processes = run.read_life().processes
        if processes is not None and processes.engine is not None and send(processes.engine, signal.SIGSTOP):
            return
        time.sleep(POLL_S)
    raise ConfigError(f"{run.path}: its engine was not there to be halted within {STALL_S:.0f} s.")


def _twin(folder: Path, planted: PlantedRun) -> RunView:
    watcher = Watcher(folder / TWINS, RoomConfig().stall_s)
    watcher.catch_up()
    if planted.twin not in watcher.views:
        raise ConfigError(f"{folder / TWINS / planted.twin}: cannot be read. Make the suite anew.")
    return watcher.views[planted.twin]
