"""`lvm-engine check`: hold an epoch's numbers against its gate and the sanity bars, and verify a saved head."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.directory import MAX_JSON, RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    EpochRecord,
)
from engine.run.gates import Judgement, judge_checks, judge_gate
from engine.run.settings import CheckBars, Gate
from engine.run.state import fold
from engine.training.recorder import PROJECTION_CHECK


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """What an epoch's numbers come to."""

    epoch: int
    """0 where a checkpoint's head alone was judged."""
    verdict: str
    """`missed` if anything was, else `undecidable` if anything was or nothing was judged, else `passed`."""
    gates: dict[str, Judgement]
    checks: dict[str, Judgement]
    """Those that the file has a number for, or a NaN."""


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="A run directory: its own gates, bars and floors.")
@click.option("--history", type=click.Path(path_type=Path), help="A history.json, also one of another program.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    help="A checkpoint folder, or any safetensors file: verify the projection head in it.",
)
@click.option("--epoch", type=click.IntRange(min=1), default=2, show_default=True, help="Epoch to judge.")
@click.option("--gate", "bar", type=float, help="Bar for val_cosine; 0.50 where a history file is judged.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@user_errors
def command(
    run_dir: Path | None, history: Path | None, checkpoint: Path | None, epoch: int, bar: float | None, as_json: bool
) -> int:
    """Judge the gate and the sanity checks of an epoch, and the projection head that a run has saved.

    Exit codes: 0 passed, 1 missed, 2 not decidable: the epoch is not done, or a number is missing or not finite.
    """
    if [run_dir, history, checkpoint].count(None) != 2:
        raise ConfigError(
            "check needs one of --run-dir DIR, --history FILE and --checkpoint DIR. See `lvm-engine check --help`."
        )
    if bar is not None and not math.isfinite(bar):
        raise ConfigError(f"--gate: {bar} is no bar; give a number such as 0.50.")
    if run_dir is not None:
        verdicts = _judge_run(RunDirectory(run_dir.absolute()), epoch, bar)
    elif checkpoint is not None:
        verdicts = _sum_up(0, {}, {PROJECTION_CHECK: judge_saved_head(checkpoint.absolute())})
    else:
        assert history is not None
        gate = Gate(epoch=epoch, at_least=0.50 if bar is None else bar)
        record, known = read_record(history, epoch)
        verdicts = _judge(record, [gate], CheckBars(), {}, known)
    if as_json:
        click.echo(msgspec.json.encode(verdicts).decode())
    else:
        _print(verdicts)
    return {"passed": 0, "missed": 1}.get(verdicts.verdict, 2)


def read_record(history: Path, epoch: int) -> tuple[EpochRecord, set[str]]:
    """An epoch's row of a history file, and what it has a word for; numbers that are not finite become None.

    Raises:
        ConfigError: the file cannot be read, has no such epoch, or has rows of it that disagree.
    """
    rows = [row for row in _read_rows(history) if isinstance(row, dict)]
    wanted = [row for row in rows if row.get("epoch") == epoch]
    found = [_read_row(history, row) for row in wanted]
    if not found:
        done = max((row["epoch"] for row in rows if isinstance(row.get("epoch"), int)), default=0)
        raise ConfigError(f"{history}: epoch {epoch} is not done; the last finished one is {done}. Check again later.")
    if any(record != found[0] for record in found):
        raise ConfigError(f"{history}: {len(found)} rows of epoch {epoch} disagree, so nothing can be decided.")
    return found[0], set().union(*wanted)


def _judge_run(run: RunDirectory, epoch: int, bar: float | None) -> Verdicts:
    spec = run.read_spec()
    gates = [gate for gate in spec.gates if gate.epoch == epoch]
    if bar is not None:
        gates = [Gate(epoch=epoch, at_least=bar)]
    state = fold(read_events(run.events_file))
    record, known = read_record(run.history_file, epoch)
    verdicts = _judge(record, gates, spec.check, state.floors, known)
    if spec.config.loss.contrast_space == "target":
        return verdicts  # there is no head
    saved = next((folder for label in ("best", "last") if (folder := run.checkpoints / label).is_dir()), None)
    projection = state.checks.get(epoch, {}).get(PROJECTION_CHECK)
    if projection is not None and (projection.verdict != "passed" or saved is None):
        judged = Judgement(projection.verdict, None, 0.0, projection.detail)
    elif saved is not None:
        judged = judge_saved_head(saved)
    else:
        return verdicts
    return _sum_up(epoch, verdicts.gates, {**verdicts.checks, PROJECTION_CHECK: judged})


def judge_saved_head(place: Path) -> Judgement:
    """Whether the projection head of a checkpoint is built right, from its weights.

    Args:
        place: a checkpoint folder or a safetensors file.

    Raises:
        ConfigError: it cannot be read, or holds no head.
    """
    from engine.models.heads import head_of_weights, verify_projection
    from engine.training.checkpoint import load_head_weights, try_first

    try_first(place)
    head = head_of_weights(load_head_weights(place))
    if head is None:
        raise ConfigError(
            f"{place}: holds no projection head, so there is nothing to verify: the contrast was in the target space, "
            "or its tensors are not named head.*, proj.* or projection.*."
        )
    holds, detail = verify_projection(head)
    return Judgement("passed" if holds else "missed", None, 0.0, f"{detail} ({place.name})")


def _judge(
    record: EpochRecord, gates: list[Gate], bars: CheckBars, floors: dict[str, float], known: set[str]
) -> Verdicts:
    """Gates, and those checks whose number is `known` to the file, be it finite or not."""
    known = known | {"lift_gap"}  # of numbers that `judge_checks` itself asks for
    checks = {name: judged for name, judged in judge_checks(bars, record).items() if name in known}
    return _sum_up(record.epoch, {gate.name: judge_gate(gate, record, floors) for gate in gates}, checks)


def _sum_up(epoch: int, gates: dict[str, Judgement], checks: dict[str, Judgement]) -> Verdicts:
    verdicts = [judged.verdict for judged in (*gates.values(), *checks.values())]
    if "missed" in verdicts:
        verdict = "missed"
    else:
        verdict = "passed" if verdicts and set(verdicts) == {"passed"} else "undecidable"
    return Verdicts(epoch=epoch, verdict=verdict, gates=gates, checks=checks)


def _print(verdicts: Verdicts) -> None:
    for kind, judgements in (("GATE", verdicts.gates), ("CHECK", verdicts.checks)):
        for name, judged in judgements.items():
            click.echo(f"[{kind}] {name} {judged.verdict.upper()}: {judged.detail}")
    if not verdicts.gates and verdicts.epoch:
        click.echo(f"epoch {verdicts.epoch} has no gate; set one with --gate 0.50")


def _read_rows(history: Path) -> list[Any]:
    """The rows of a history file. `json`, because other programs write NaN into theirs."""
    try:
        with history.open("rb") as file:
            raw = file.read(MAX_JSON + 1)
        rows = json.loads(raw.decode("utf-8-sig")) if len(raw) <= MAX_JSON else None
    except OSError as error:
        raise ConfigError(f"{history}: cannot be read ({error.strerror}). Has the run finished an epoch?") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{history}: not JSON: {error}.") from None
    if not isinstance(rows, list):
        raise ConfigError(f"{history}: not a history: a list of one object an epoch, below {MAX_JSON:,} bytes.")
    return rows


def _read_row(history: Path, row: dict[str, Any]) -> EpochRecord:
    numbers = {name: value for name, value in row.items() if name in EpochRecord.__struct_fields__}
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
    finite["epoch"] = int(row["epoch"])  # some programs write all numbers as floats
    if isinstance(numbers.get("unseen_lift"), float):  # be it finite or not, it was measured
        finite.setdefault("unseen_windows", 0)
    try:
        return msgspec.convert(finite, EpochRecord)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{history}: epoch {row['epoch']}: {error}.") from None
