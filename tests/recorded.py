"""Recorded runs: specs, events, evaluation reports and logs that need no engine, with times that never change.

Two kinds of result. `make_view` gives a `RunView` in memory, as a pane or a predicate gets it. `write_run` gives the
same run as a folder on disk, as a watcher finds it. Both take the events of `run_events`; `missed_mamba` and
`passed_amn` are the two runs that most tests need.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import tomli
from recorded_preflight import as_event, preflight_report
from recorded_report import eval_report

from engine.run.convert import convert_section
from engine.run.directory import Exit, Life, Processes, RunDirectory
from engine.run.evals import EvalReport
from engine.run.events import (
    CheckJudged,
    CheckpointSaved,
    EpochEnded,
    EpochRecord,
    Event,
    FloorsMeasured,
    GateJudged,
    RunFinished,
    RunStarted,
    StepLogged,
    encode_event,
)
from engine.run.gates import judge_checks, judge_gate
from engine.run.preflight import PreflightReport
from engine.run.settings import DataConfig, Fix, Gate, ModelConfig, RunConfig
from engine.run.spec import RunSpec
from engine.run.state import Status, fold
from tui.control.views import RunView

BEGAN = 1_700_000_000.0
"""When every recorded run began: 2023-11-14 22:13:20 UTC."""
EPOCH_S = 60.0
"""What every recorded epoch took."""
STEPS = 20
"""Optimizer steps of a recorded epoch."""

RUNS_TOML = """
[room]
undo_s = 60

[run.mamba_s]
epochs = 12
[run.amn]
epochs = 12
[run.amn.model]
kind = "amn"
layers = 2

[eval.smoke]
at_epoch = 4

[[fix]]
title = "Temperature"
reason = "Sharper."
tries = [{ "loss.temperature" = 0.05 }, { "loss.temperature" = 0.10 }]
[[fix]]
title = "More contrast"
reason = "Less memorising."
tries = [{ "loss.lambda_con" = 0.85, "loss.lambda_ar" = 0.15 }]
[[fix]]
title = "Larger batch"
reason = "More negatives."
tries = [{ "sampler.batch_size" = 512 }]
[[fix]]
title = "Projection head"
reason = "Verified, not changed."
verify = "projection_head"
[[fix]]
title = "Batch mixing"
reason = "Two windows of an article at most."
tries = [{ "sampler.max_per_article" = 2 }]
"""
"""A room with the playbook's five fixes."""
FIXES = [convert_section(table, Fix, where="recorded") for table in tomli.loads(RUNS_TOML)["fix"]]
"""The ladder of that room."""

PLAYBOOK_HISTORY = (0.4123, 0.4719, 0.4944, 0.5071, 0.5122, 0.5133, 0.5149)
"""The public record: missed the gate at epoch 2 by 0.028, would have passed at epoch 4."""
MAMBA_HISTORY = (0.121, 0.312, 0.352, 0.381, 0.402, 0.413)
"""A model without a skip on the embedded corpus: far below the gate."""
AMN_HISTORY = (0.572, 0.577, 0.579, 0.581)
"""The baseline on the same data: it starts at the context mean and passes."""
FLOORS = {"copy_last": 0.479, "context_mean": 0.579, "ridge": 0.502}
"""Of the embedded corpus."""

HOSTILE_LINES = (
    b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m",
    b"[INFO] ok [/tmp/x] [@click=app.quit]click[/]",
    b"progress 10%\rprogress 90%",
    "bidi \u202etxt.exe and a \u200bzero width, 漢字, e\u0301".encode(),
    b"not utf-8 \xff\xfe \x00 end",
    b"x" * 5000,
    b"Traceback (most recent call last):",
)
"""Lines of output that try to move the cursor, rename the window, press a button or break a parser."""

LOG_LINES = (
    b"INFO corpus wikileads: 21,805 chunks, 768 dimensions",
    b"INFO split: 5331 train, 677 val, 637 test windows, article-disjoint",
    b"INFO epoch 1 val_cosine 0.121",
    b"WARNING warm-up cut to a tenth of the run",
    *HOSTILE_LINES,
    b"ERROR gate val_cosine@2 missed by 0.188",
    b"INFO epoch 3 val_cosine 0.352",
)
"""The output of a recorded run, hostile lines included."""


def make_spec(
    name: str = "mamba_s",
    number: int = 1,
    *,
    config: RunConfig | None = None,
    gates: Sequence[Gate] = (Gate(),),
    parent: RunSpec | None = None,
    patch: Mapping[str, float | int | str | bool] | None = None,
    fix: str | None = None,
) -> RunSpec:
    """The spec of run `<name>-<number>`; with `parent` and `patch` the spec of that run's child.

    Args:
        name: `amn` gives the baseline's model unless `config` says otherwise.
        number: the run's number, unique in its folder.
        config: 12 epochs of the default model where it is None.
    """
    if config is None:
        kind = ModelConfig(kind="amn", layers=2) if name == "amn" else ModelConfig()
        config = RunConfig(epochs=12, model=kind)
    if parent is not None:
        config = parent.patched(patch or {})
    return RunSpec(
        id=f"{name}-{number:04d}",
        name=name,
        created="2023-11-14T22:13:20+00:00",
        config=config,
        data=DataConfig(),
        gates=list(gates),
        parent=parent.id if parent else None,
        patch=dict(patch or {}),
        fix=fix,
        argv=["lvm-engine", "train", "--run-dir", f"runs/{name}-{number:04d}"],
        resume_argv=["--resume"],
        revision="0.1.0",
    )


def make_record(epoch: int, val_cosine: float | None, **changes: float | int | None) -> EpochRecord:
    """The numbers of a healthy epoch with this val_cosine; keywords replace single ones."""
    numbers: dict[str, float | int | None] = {
        "step": epoch * STEPS,
        "train_loss": round(4.0 / epoch**0.5, 4),
        "train_infonce": round(5.0 / epoch**0.5, 4),
        "train_ar_cosine": val_cosine,
        "val_loss": None if val_cosine is None else round(1.0 - val_cosine, 4),
        "lr": 1e-3,
        "time": EPOCH_S,
        "margin": 0.31,
        "same_article_negatives": 0,
        "masked_candidates": 840,
        "negatives_per_query": 1018.5,
        "effective_rank": 96.0,
        "pairwise_cosine": 0.08,
        "top1_projected": 0.22,
        "top1_target": 0.17,
        "grad_norm": 0.9,
        "update_ratio": 0.002,
    }
    return EpochRecord(epoch=epoch, val_cosine=val_cosine, **(numbers | changes))  # type: ignore[arg-type]


def run_events(
    spec: RunSpec,
    values: Sequence[float | None],
    *,
    floors: Mapping[str, float] = FLOORS,
    is_finished: bool = False,
    head_is_right: bool = True,
    steps_of_next: int = 0,
    preflight: PreflightReport | None = None,
    **changes: float | int | None,
) -> list[Event]:
    """What an engine records over the epochs whose val_cosine are `values`, numbered and stamped from `BEGAN` on.

    Gates and checks are judged by the code that the engine uses. Keywords other than those named replace numbers of
    every epoch's record.

    Args:
        spec: whose gates and bars are held against the numbers.
        values: one per epoch that ended.
        floors: empty where they were not measured.
        is_finished: close with `RunFinished`.
        head_is_right: the verdict of the check `projection_head`.
        steps_of_next: steps logged of the epoch that follows.
        preflight: what was found of the data; None for a run without one.
    """
    events: list[Event] = [
        RunStarted(
            epochs=spec.config.epochs,
            steps_per_epoch=STEPS,
            num_train=5331,
            num_val=677,
            num_parameters=2_450_000,
            device="cpu",
            threads=1,
        )
    ]
    if preflight is not None:
        events.append(as_event(preflight))
    if floors:
        events.append(FloorsMeasured(floors=dict(floors), num_windows=677))
    for epoch, value in enumerate(values, start=1):
        record = make_record(epoch, value, **changes)
        events += [_step(epoch, step) for step in range(5, STEPS + 1, 5)]
        events.append(EpochEnded(record=record))
        for name, judged in judge_checks(spec.check, record).items():
            events.append(_check(name, epoch, judged.value, judged.bar, judged.verdict, judged.detail))
        verdict, detail = ("passed", "L2 norm, no bias") if head_is_right else ("missed", "its last layer has a bias")
        events.append(_check("projection_head", epoch, None, None, verdict, detail))
        for gate in spec.gates:
            if gate.epoch == epoch:
                judged = judge_gate(gate, record, floors)
                events.append(
                    GateJudged(
                        name=gate.name,
                        epoch=epoch,
                        value=judged.value,
                        bar=judged.bar,
                        verdict=judged.verdict,
                        detail=judged.detail,
                    )
                )
        events += [_checkpoint(label, epoch, value) for label in ("last", "best")]
    events += [_step(len(values) + 1, step) for step in range(1, steps_of_next + 1)]
    if is_finished:
        best = max((value, epoch) for epoch, value in enumerate(values, start=1) if value is not None)
        events.append(RunFinished(reason="epochs", epoch=len(values), best_epoch=best[1], best_val_cosine=best[0]))
    return stamp(events)


def stamp(events: Iterable[Event], *, first: int = 1) -> list[Event]:
    """The events numbered from `first` on, ten seconds apart, as a writer would have done."""
    return [
        msgspec.structs.replace(event, seq=seq, t=BEGAN + 10.0 * seq) for seq, event in enumerate(events, start=first)
    ]


def make_view(
    spec: RunSpec,
    events: Sequence[Event],
    *,
    status: Status = Status.RUNNING,
    reason: str = "",
    evals: Mapping[str, EvalReport] | None = None,
    runs_dir: Path = Path("/nonexistent/runs"),
) -> RunView:
    """A run in memory, as a watcher would show it; nothing is on disk unless `runs_dir` holds it."""
    return RunView(
        directory=RunDirectory(runs_dir / spec.id),
        spec=spec,
        state=fold(events),
        life=make_life(lock_held=status.is_alive, ended=status in {Status.FINISHED, Status.STOPPED}),
        status=status,
        reason=reason,
        evals=dict(evals or {}),
    )


def make_life(*, lock_held: bool = True, supervised: bool = True, ended: bool = False) -> Life:
    """A life whose processes belong to another boot, so that no signal can ever reach anybody."""
    processes = Processes(
        boot_id="recorded",
        host="recorded",
        started="2023-11-14T22:13:20+00:00",
        wrapper_pid=1,
        wrapper_ticks="recorded",
        engine_pid=1,
        engine_ticks="recorded",
    )
    return Life(
        lock_held=lock_held,
        supervised=lock_held and supervised,
        processes=processes,
        exit=Exit(code=0, kind="exited", wall_s=240.0) if ended else None,
    )


def write_run(
    runs_dir: Path,
    spec: RunSpec,
    events: Sequence[Event],
    *,
    ended: Exit | None = None,
    evals: Mapping[str, EvalReport] | None = None,
    preflight: PreflightReport | None = None,
    log_lines: Sequence[bytes] = LOG_LINES,
) -> RunDirectory:
    """The same run as a folder below `runs_dir`.

    Args:
        ended: content of exit.json; without it the run is LOST (nobody holds its lock).
        log_lines: lines of output.log, written as they are.
    """
    run = RunDirectory(runs_dir / spec.id)
    run.path.mkdir(parents=True)
    run.spec_file.write_bytes(msgspec.json.encode(spec))
    run.events_file.write_bytes(b"".join(map(encode_event, events)))
    run.log_file.write_bytes(b"".join(line + b"\n" for line in log_lines))
    processes = make_life().processes
    if ended is None:  # of this boot, so that it is lost for want of an exit code, not by a reboot
        boot = Path("/proc/sys/kernel/random/boot_id")
        processes = msgspec.structs.replace(processes, boot_id=boot.read_text().strip() if boot.exists() else "")
    run.processes_file.write_bytes(msgspec.json.encode(processes))
    rows = [msgspec.to_builtins(record) for record in fold(events).epochs]
    run.history_file.write_text(json.dumps(rows))
    if ended is not None:
        run.exit_file.write_bytes(msgspec.json.encode(ended).ljust(4096))
    if preflight is not None:
        run.preflight_file.write_bytes(msgspec.json.encode(preflight))
    if evals:
        run.evals.mkdir()
        for name, report in evals.items():
            (run.evals / f"{name}.json").write_bytes(msgspec.json.encode(report))
    return run


def missed_mamba(runs_dir: Path, number: int = 1) -> RunDirectory:
    """A Mamba-S run on disk that missed the gate by far and was stopped by its engine after six epochs."""
    spec = make_spec("mamba_s", number)
    found = preflight_report()
    events = run_events(spec, MAMBA_HISTORY, is_finished=True, preflight=found)
    return write_run(runs_dir, spec, events, ended=Exit(code=0, kind="exited", wall_s=360.0), preflight=found)


def passed_amn(runs_dir: Path, number: int = 2) -> RunDirectory:
    """An AMN run on disk that passed the gate and its smoke evaluation."""
    spec = make_spec("amn", number)
    events = run_events(spec, AMN_HISTORY, is_finished=True)
    evals = {"smoke-e0004": eval_report(r5=0.48)}
    return write_run(runs_dir, spec, events, ended=Exit(code=0, kind="exited", wall_s=240.0), evals=evals)


def _step(epoch: int, step: int) -> StepLogged:
    total = (epoch - 1) * STEPS + step
    return StepLogged(
        epoch=epoch,
        step=total,
        loss=round(4.0 / (1.0 + 0.05 * total), 4),
        infonce=round(5.0 / (1.0 + 0.05 * total), 4),
        ar_cosine=0.3,
        lr=1e-3,
        grad_norm=0.9,
        negatives_per_query=1018.5,
        windows_per_s=850.0,
    )


def _check(name: str, epoch: int, value: float | None, bar: float | None, verdict: str, detail: str) -> CheckJudged:
    return CheckJudged(name=name, epoch=epoch, value=value, bar=bar, verdict=verdict, detail=detail)  # type: ignore[arg-type]


def _checkpoint(label: str, epoch: int, value: float | None) -> CheckpointSaved:
    step, size = epoch * STEPS, 9_800_000
    return CheckpointSaved(label=label, epoch=epoch, step=step, val_cosine=value, bytes=size, seconds=0.1)
