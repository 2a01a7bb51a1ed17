"""A stand-in for the engine: real processes, events, stops and crashes, without a model.

`python fake_engine.py train --run-dir DIR [behaviour]` walks through epochs of a twentieth of a second, records them as
the engine would and obeys the stop file; `evaluate --out FILE` writes a report. Behaviours make it end badly.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.event_file import EventWriter
from engine.run.events import (
    CheckJudged,
    CheckpointSaved,
    EpochEnded,
    EpochRecord,
    GateJudged,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
)
from engine.run.files import write_atomically
from engine.run.gates import judge_checks, judge_gate
from engine.run.settings import CheckBars, Gate

sys.path.insert(0, str(Path(__file__).parent))
from recorded_preflight import as_event, preflight_report

STEPS = 10
"""Steps of an epoch; the stop file is looked for after each."""


def main() -> int:
    """Do what the command line says; returns the exit code."""
    options = parse()
    if options.verb == "evaluate":
        time.sleep(600 if options.sleep else 0)
        return evaluate(options.out)
    if options.verb in {"align", "rerank"}:
        return fit(options.verb, options.out)
    if options.verb == "preflight":
        write_atomically(RunDirectory(options.run_dir).preflight_file, msgspec.json.encode(preflight_report()))
        return 0
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.stubborn_child:
        spawn_stubborn_child(options.run_dir)
    if options.print:
        sys.stdout.write(options.print + "\n")
        sys.stdout.flush()
    code = train(options)
    if options.raises:
        raise RuntimeError(options.raises)
    if options.segfault:
        os.kill(os.getpid(), signal.SIGSEGV)
    return code or options.exit_code


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["train", "evaluate", "align", "rerank", "preflight"])
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epoch-s", type=float, default=0.05)
    parser.add_argument("--values", default="0.4123,0.4719,0.4944,0.5071", help="val_cosine by epoch; the last repeats")
    parser.add_argument("--update-per-lr", type=float, help="steps change so much of the weights per learning rate")
    parser.add_argument("--print")
    parser.add_argument("--log-lines", type=int, default=0, help="lines that every step writes")
    parser.add_argument("--exit-code", type=int, default=0)
    parser.add_argument("--save-last", action="store_true", help="every epoch leaves a checkpoint to go on from")
    parser.add_argument("--once", action="store_true", help="end with code 3, but not when resumed")
    parser.add_argument("--raises")
    parser.add_argument("--segfault", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--stubborn-child", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--leaks", action="store_true", help="train: the preflight finds a leak")
    parser.add_argument("--sleep", action="store_true", help="evaluate: never come to an end")
    return parser.parse_known_args()[0]


def train(options: argparse.Namespace) -> int:
    """Record epoch after epoch; a checkpoint is a file that holds the number of steps."""
    run = RunDirectory(options.run_dir)
    try:
        gates = run.read_spec().gates
    except ConfigError:
        gates = [Gate()]
    values = [float(value) for value in options.values.split(",")]
    saved = run.path / "steps"
    step = int(saved.read_text()) if options.resume and saved.exists() else 0
    writer = EventWriter(run.events_file)
    if options.leaks and not look_at_data(run, writer):
        return 2
    writer.write(
        RunStarted(
            epochs=options.epochs,
            steps_per_epoch=STEPS,
            num_train=100,
            num_val=10,
            num_parameters=1,
            device="cpu",
            threads=1,
            resumed_step=step,
        )
    )
    history = [msgspec.to_builtins(record) for record in run.read_history()]
    while step < options.epochs * STEPS:
        time.sleep(options.epoch_s / STEPS)
        step += 1
        epoch = -(-step // STEPS)
        sys.stdout.write(f"INFO epoch {epoch} step {step} loss {1 / step:.4f}\n" * options.log_lines)
        sys.stdout.flush()
        if run.stop_file.exists():
            write_atomically(saved, str(step).encode())
            writer.write(CheckpointSaved(label="last", epoch=epoch, step=step, val_cosine=None, bytes=2, seconds=0.0))
            writer.write(RunStopped(epoch=epoch, step=step))
            return 0
        if step % STEPS == 0:
            value = values[min(epoch, len(values)) - 1]
            record = make_record(epoch, step, value, options.epoch_s)
            if options.update_per_lr is not None:
                lr = run.read_spec().config.optimizer.lr
                record = msgspec.structs.replace(record, lr=lr, update_ratio=lr * options.update_per_lr)
            write_epoch(writer, record, gates)
            write_atomically(saved, str(step).encode())
            for label in ("best", "last") if options.save_last else ("best",):
                saved_as = CheckpointSaved(label=label, epoch=epoch, step=step, val_cosine=value, bytes=2, seconds=0.0)
                writer.write(saved_as)
            history.append(msgspec.to_builtins(record))
            write_atomically(run.history_file, json.dumps(history).encode())
    if options.once and not options.resume:
        return 3
    if not (options.raises or options.segfault or options.exit_code):
        writer.write(RunFinished(reason="epochs", epoch=options.epochs, best_epoch=1, best_val_cosine=values[0]))
    return 0


def look_at_data(run: RunDirectory, writer: EventWriter) -> bool:
    """Find a leak, as the engine records it; whether the training may go on all the same."""
    report = preflight_report(leaks=True, override=run.read_spec().preflight_override)
    write_atomically(run.preflight_file, msgspec.json.encode(report))
    writer.write(as_event(report))
    if not report.override:
        writer.write(RunFailed(message=f"preflight: {report.blocking[0].detail}"))
    return bool(report.override)


def make_record(epoch: int, step: int, value: float, seconds: float) -> EpochRecord:
    """A healthy epoch's record."""
    return EpochRecord(
        epoch=epoch,
        step=step,
        val_cosine=value,
        time=seconds,
        margin=0.31,
        same_article_negatives=0,
        pairwise_cosine=0.08,
        effective_rank=96.0,
    )


def write_epoch(writer: EventWriter, record: EpochRecord, gates: list[Gate]) -> None:
    """An epoch's end, with the checks and gates of that epoch judged as the engine judges them."""
    writer.write(EpochEnded(record=record))
    for name, judged in judge_checks(CheckBars(), record).items():
        writer.write(CheckJudged(name=name, epoch=record.epoch, **msgspec.to_builtins(judged)))
    for gate in gates:
        if gate.epoch == record.epoch:
            judged = judge_gate(gate, record, {})
            writer.write(GateJudged(name=gate.name, epoch=record.epoch, **msgspec.to_builtins(judged)))


def evaluate(out: Path) -> int:
    """Write a report whose gates pass but for Eff@5, which the real engine answers with exit code 1."""
    from recorded_report import eval_report

    report = eval_report(out.stem)
    write_atomically(out, msgspec.json.encode(report))
    sys.stdout.write(report.eval_line + "\n")
    return 0 if report.passed else 1


def fit(verb: str, out: Path) -> int:
    """Write what was fitted, and a report that says it lifts."""
    from recorded_heads import head_report, rerank_report

    out.write_text("fitted")
    report = head_report() if verb == "align" else rerank_report()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report = msgspec.structs.replace(report, judged=msgspec.structs.replace(report.judged, created=now, seconds=0.0))
    write_atomically(out.with_suffix(".json"), msgspec.json.encode(report))
    return 0


def spawn_stubborn_child(run_dir: Path) -> None:
    """Leave a child behind that ignores TERM; its pid is in `child.pid` once it does."""
    code = (
        "import os, signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1] + '.new').write_text(str(os.getpid()))\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(600)\n"
    )
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code, str(run_dir / "child.pid")], start_new_session=False)
    while not (run_dir / "child.pid").exists():
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
