"""Every kind of model, trained and evaluated alike: the same data, split, seed, batches and steps, one after another.

Each training and each evaluation is the command that a person would give, in a process of its own: its peak of memory
is its own, and every figure is in a run directory.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from msgspec import Struct

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, launch_lock
from engine.run.evals import EvalReport, Intervals, RetrievalFigures, read_report
from engine.run.event_file import read_events
from engine.run.events import (
    EpochRecord,
    RunFinished,
    RunStopped,
)
from engine.run.runs_file import RunsFile
from engine.run.secrets import shown_argv
from engine.run.settings import ModelConfig, PatchValue, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.state import RunState, fold

Variant = tuple[str, str]
"""Kind of model, and its residual."""
KINDS: tuple[str, ...] = get_args(get_type_hints(ModelConfig)["kind"])
EVAL_NAME = "compared"
"""Of the report in each run's `evals`."""
_TAIL = 4096


class TrainedModel(Struct, frozen=True, kw_only=True):
    """One model's row."""

    kind: str
    residual: str
    run: str
    """Folder of the run."""
    ending: Literal["finished", "stopped", "failed"]
    num_parameters: int
    """Its projection head's among them."""
    epochs: int
    """That were finished."""
    gate: str
    """Name of the first gate, such as `val_cosine@2`; empty where there is none."""
    gate_value: float | None
    gate_verdict: str
    """Empty where the run ended before it."""
    best_val_cosine: float | None
    best_epoch: int
    seconds: float
    """Of the epochs, validation included, from a wall clock."""
    cpu_s: float
    """Of the whole process, start-up and floors included."""
    peak_bytes: int
    """Resident memory of the process at its highest. For small models that is where the ridge floor is fitted."""
    figures: RetrievalFigures | None
    """Of the best checkpoint on the test windows; None where none was kept."""
    intervals: Intervals | None
    """95 %, by article."""


class Reference(Struct, frozen=True, kw_only=True):
    """A floor, or the ceiling."""

    val_cosine: float | None
    """On the validation windows; None for the ceiling."""
    figures: RetrievalFigures
    intervals: Intervals | None


class ModelTable(Struct, frozen=True, kw_only=True):
    """The whole comparison."""

    schema: Literal[1] = 1
    created: str
    """UTC, ISO 8601."""
    argv: list[str]
    """The command that made it."""
    corpus: str
    num_queries: int
    payload_rule: str
    config: RunConfig
    """Of all of them, apart from kind and residual."""
    models: list[TrainedModel]
    floors: dict[str, Reference]
    ceiling: Reference | None
    """None, and no floors, where no model could be evaluated."""


def variants(kinds: Iterable[str]) -> list[Variant]:
    """What is trained: every kind without and with the context mean as its base; AMN always has it."""
    both = ("none", "context_mean")
    return [(kind, residual) for kind in kinds for residual in (both[1:] if kind == "amn" else both)]


def compare_models(
    runs: RunsFile,
    config: RunConfig,
    kinds: Iterable[str],
    *,
    folder: Path,
    evaluation: list[str],
    say: Callable[[str], None],
) -> ModelTable:
    """Train and evaluate every variant of the kinds.

    Args:
        runs: where data, gates and bars are from; its corpus is embedded or an absolute folder.
        config: what all of them share.
        kinds: of model.
        folder: where to make the run directories.
        evaluation: further arguments of `lvm-engine evaluate`.
        say: told of every model that is done.

    Raises:
        ConfigError: the settings do not fit a kind, told before anything is trained; or a process failed.
    """
    patches: dict[Variant, dict[str, PatchValue]] = {
        variant: {"model.kind": variant[0], "model.residual": variant[1]} for variant in variants(kinds)
    }
    configs = {variant: apply_patch(config, patch) for variant, patch in patches.items()}
    rows, report, floors = [], None, dict[str, float]()
    for (kind, residual), one in configs.items():
        run = _create_run(runs, one, folder, f"{kind}_{residual}")
        state, usage = _train(run)
        evaluated = _evaluate(run, evaluation)
        rows.append(_row(run, state, usage, evaluated))
        report, floors = evaluated or report, state.floors
        say(f"{kind}, residual {residual}: {rows[-1].ending} after {rows[-1].epochs} epochs, {rows[-1].seconds:.1f} s")
    references = {
        name: Reference(val_cosine=floors.get(name), figures=row.exact, intervals=row.intervals)
        for name, row in (report.rows.items() if report else ())
        if name != "model"
    }
    return ModelTable(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=shown_argv(sys.argv),
        corpus=runs.data.corpus,
        num_queries=report.num_queries if report else 0,
        payload_rule=report.payload_rule if report else "",
        config=config,
        models=rows,
        floors={name: reference for name, reference in references.items() if name != "oracle"},
        ceiling=references.get("oracle"),
    )


def _create_run(runs: RunsFile, config: RunConfig, folder: Path, name: str) -> RunDirectory:
    def spec_for(run_id: str) -> RunSpec:
        return RunSpec(
            id=run_id,
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            data=runs.data,
            gates=runs.gate,
            check=runs.check,
            argv=[sys.executable, "-m", "engine", "train", "--run-dir", str(folder / run_id)],
            revision=metadata.version("lvm-tui"),
        )

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with launch_lock(folder):
        return RunDirectory.create(folder, name, spec_for)


def _train(run: RunDirectory) -> tuple[RunState, resource.struct_rusage]:
    """What the run's events say once it has ended, and what it used."""
    code, usage = _run_quietly(run.read_spec().argv, run.log_file)
    state = fold(read_events(run.events_file)) if run.events_file.exists() else RunState()
    if code not in (0, 1) or state.started is None:
        raise ConfigError(f"{run.path}: the training ended with exit code {code}: {_last_line(run.log_file)}")
    return state, usage


def _evaluate(run: RunDirectory, arguments: list[str]) -> EvalReport | None:
    """The report on the run's best checkpoint; None where no epoch was worth keeping."""
    if not (run.checkpoints / "best").is_dir():
        return None
    out, log = run.evals / f"{EVAL_NAME}.json", run.evals / f"{EVAL_NAME}.log"
    out.parent.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "engine", "evaluate", "--checkpoint", str(run.path), "--out", str(out), *arguments]
    code, _ = _run_quietly(command, log)
    if code not in (0, 1):  # 1: a gate was missed
        raise ConfigError(f"{run.path}: the evaluation ended with exit code {code}: {_last_line(log)}")
    return read_report(out)


def _row(run: RunDirectory, state: RunState, usage: resource.struct_rusage, report: EvalReport | None) -> TrainedModel:
    spec = run.read_spec()
    gate = spec.gates[0].name if spec.gates else ""
    judged = state.gates.get(gate)
    best = max((record for record in state.epochs if record.val_cosine is not None), key=_val_cosine, default=None)
    return TrainedModel(
        kind=spec.config.model.kind,
        residual=spec.config.model.residual,
        run=str(run.path),
        ending=_ending(state),
        num_parameters=state.started.num_parameters if state.started else 0,
        epochs=len(state.epochs),
        gate=gate,
        gate_value=judged.value if judged else None,
        gate_verdict=judged.verdict if judged else "",
        best_val_cosine=best.val_cosine if best else None,
        best_epoch=best.epoch if best else 0,
        seconds=sum(record.time or 0.0 for record in state.epochs),
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        figures=report.rows["model"].exact if report else None,
        intervals=report.rows["model"].intervals if report else None,
    )


def _val_cosine(record: EpochRecord) -> float:
    return -math.inf if record.val_cosine is None else record.val_cosine


def _ending(state: RunState) -> Literal["finished", "stopped", "failed"]:
    if isinstance(state.ending, RunFinished):
        return "finished"
    return "stopped" if isinstance(state.ending, RunStopped) else "failed"


def _run_quietly(command: list[str], log: Path) -> tuple[int, resource.struct_rusage]:
    """Run a command to its end, its output in a file; exit code (-n for signal n) and what it used.

    Whatever interrupts the wait ends the command too; a training keeps its checkpoint.
    """
    # Threads that spin while they wait take the processor from whatever else runs here, and the seconds would be its.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    ended = False
    try:
        _, status, usage = os.wait4(child.pid, 0)
        ended = True
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if not ended:
            child.terminate()
            child.wait()
    return child.returncode, usage


def _last_line(log: Path) -> str:
    """What a command said last: its error, where it ended with one."""
    lines = log.read_bytes()[-_TAIL:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
