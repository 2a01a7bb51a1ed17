"""Records of other programs: a training history as JSON, read into the run it would have been here.

What is understood: a list of epoch dicts; a dict that holds one (`history`, `epochs`, `log_history`, ...) or has the
epochs' numbers as its keys; a dict of lists, as Keras has it. Names are compared in lower case with every other sign an
underscore, so `val/Cosine` is `val_cosine`. Epochs may count from 0 or 1, or be fractions; rows of one epoch are one.
NaN and infinity are allowed: a number that stays so until the end of the record is said to be not finite, the others
are gaps.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import Life, RunDirectory
from engine.run.evals import EvalReport
from engine.run.events import EpochRecord, NonFiniteFound
from engine.run.files import read_regular
from engine.run.runs_file import RunsFile
from engine.run.settings import DataConfig, RunConfig
from engine.run.spec import RunSpec
from engine.run.state import RunState, Status
from tui.control.answers import Situation
from tui.control.playbook import Position, playbook_of
from tui.control.views import RunView
from tui.control.walk import locate

MAX_BYTES = 16 << 20
MAX_EPOCHS = 100_000
MAX_DEPTH = 4
"""Containers within containers that are opened."""
CONTAINERS = (
    *("history", "epochs", "training_history", "train_history", "log_history", "records", "logs", "log", "results"),
    *("metrics", "rounds"),
)
"""Keys below which a history is looked for, in this order."""
ALIASES: dict[str, tuple[str, ...]] = {
    "val_cosine": (
        *("val_cos", "val_cosine_similarity", "val_cosine_sim", "val_cos_sim", "val_mean_cosine", "val_avg_cosine"),
        *("validation_cosine", "valid_cosine", "eval_cosine", "eval_cosine_similarity", "cosine_val", "cos_val"),
    ),
    "train_ar_cosine": (
        *("train_cosine", "train_cos", "train_cosine_similarity", "train_cosine_sim", "train_cos_sim", "ar_cosine"),
        *("cosine_similarity", "train_ar_cos"),
    ),
    "train_infonce": ("infonce", "train_info_nce", "info_nce", "train_contrastive", "contrastive_loss", "train_nce"),
    "train_loss": ("loss", "training_loss", "train_total_loss", "loss_train"),
    "val_loss": ("validation_loss", "valid_loss", "eval_loss", "loss_val"),
    "lr": ("learning_rate", "learningrate"),
    "grad_norm": ("gradient_norm", "grad_norm_mean", "train_grad_norm", "gradient_norm_mean"),
    "time": ("epoch_time", "seconds", "duration"),
    "step": ("global_step", "steps"),
}
"""Other names of an epoch's numbers; our own names are understood beside them and come first."""
COSINES = {"val_cosine", "train_ar_cosine", "margin", "pairwise_cosine"}
WHOLE = {"step", "same_article_negatives", "masked_candidates", "effective_rank_limit", "unseen_windows"}
TELLING = ("train_loss", "train_infonce", "val_loss", "val_cosine", "grad_norm")
"""Numbers that are not finite where a training has diverged; the others have their own reasons."""


@dataclass(frozen=True, slots=True)
class History:
    """What a record says, in our terms."""

    epochs: tuple[EpochRecord, ...]
    non_finite: NonFiniteFound | None


def read_json(path: Path) -> Any:
    """Any JSON of reasonable size; NaN and Infinity are let through.

    Raises:
        ConfigError: it is missing, too large, or no JSON.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a regular file below 16 MB.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    try:
        return json.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply for a record of a training.") from None
    except ValueError as error:  # also a whole number of thousands of digits
        raise ConfigError(f"{path}: not valid JSON: {error}.") from None


def parse_history(data: Any, where: str) -> History:
    """The epochs of a decoded history.

    Raises:
        ConfigError: no history is found in it, or a number in it cannot be what its name says.
    """
    rows = _find_rows(data)
    if rows is None:
        raise ConfigError(
            f"{where}: no training history in it. What is understood is a list of epochs, such as "
            '[{"epoch": 1, "val_cosine": 0.41}], a dict that holds one under "history" or "epochs", or a dict of lists.'
        )
    if len(rows) > MAX_EPOCHS:
        raise ConfigError(f"{where}: {len(rows):,} rows; at most {MAX_EPOCHS:,} are read. Keep one row an epoch.")
    numbered = _by_epoch(rows, where)
    merged = [_numbers(numbered[epoch], f"{where}, epoch {epoch}") for epoch in sorted(numbered)]
    if not any(merged):
        known = "val_cosine, val_loss, train_loss, train_infonce"
        raise ConfigError(f"{where}: its epochs have no number that is known here, such as {known}.")
    epochs = []
    for epoch, row in zip(sorted(numbered), merged, strict=True):
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        epochs.append(msgspec.convert({"epoch": epoch, **finite}, EpochRecord))
    return History(tuple(epochs), _diverged(sorted(numbered), merged))


def as_run(path: Path, history: History, report: EvalReport | None, file: RunsFile) -> RunView:
    """The run that a record would be here: ended, with the gates and bars of a runs.toml, nothing else known."""
    spec = RunSpec(
        id=path.name,
        name="",
        created="",
        config=RunConfig(),
        data=DataConfig(),
        gates=list(file.gate),
        check=file.check,
        evals=dict(file.eval),
    )
    return RunView(
        directory=RunDirectory(path),
        spec=spec,
        state=RunState(epochs=list(history.epochs), non_finite=history.non_finite),
        life=Life(lock_held=False, supervised=False, processes=None, exit=None),
        status=Status.FINISHED,
        evals={report.name: report} if report else {},
    )


def place(run: RunView, file: RunsFile) -> Position:
    """Where such a run stands in the decision tree. Its sanity checks are not on record, so they are not asked for."""
    playbook = playbook_of(file)

    def past_checks(name: str) -> str:
        node = playbook.node[name]
        return past_checks(node.answers["yes"]) if node.asks == "sanity_clean" else name

    nodes = {
        name: msgspec.structs.replace(node, answers={branch: past_checks(to) for branch, to in node.answers.items()})
        for name, node in playbook.node.items()
    }
    unasked = msgspec.structs.replace(playbook, start=past_checks(playbook.start), node=nodes)
    return locate(Situation(run, [run], file.fix, file.room.compare[1]), unasked)


def key_of(name: object) -> str:
    """A name as names are compared: `val/Cosine` and `Val Cosine` are `val_cosine`."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def number_of(value: Any, where: str) -> float | None:
    """A number, also written as "nan" or "inf"; None for anything else.

    Raises:
        ConfigError: a whole number that no float holds.
    """
    if isinstance(value, str) and key_of(value) in {"nan", "inf", "infinity"}:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{where}: a number of {len(str(value))} digits is none that a training gives.") from None


def _find_rows(data: Any, depth: int = 0) -> list[Mapping[str, Any]] | None:
    """The epochs of whatever holds them; None where nothing does."""
    if isinstance(data, list):
        return data if data and all(isinstance(row, dict) for row in data) else None
    if not isinstance(data, dict) or depth > MAX_DEPTH:
        return None
    if data and all(str(key).isdecimal() and isinstance(row, dict) for key, row in data.items()):
        return [{"epoch": key, **row} for key, row in data.items()]
    named = {key_of(key): value for key, value in data.items()}
    for name in CONTAINERS:
        if (rows := _find_rows(named.get(name), depth + 1)) is not None:
            return rows
    columns = {key: value for key, value in data.items() if isinstance(value, list) and value}
    known = {_known_name(key) for key in columns} - {None}
    if not known:
        return None
    length = max(len(columns[key]) for key in columns if _known_name(key))
    return [{key: column[place] for key, column in columns.items() if place < len(column)} for place in range(length)]


def _known_name(key: object) -> str | None:
    """Our name of a number, if it is one."""
    name = key_of(key)
    if name in EpochRecord.__struct_fields__:
        return None if name == "epoch" else name
    return next((ours for ours, others in ALIASES.items() if name in others), None)


def _by_epoch(rows: Sequence[Mapping[str, Any]], where: str) -> dict[int, dict[str, Any]]:
    """Rows by epoch, counted from 1; of several rows of an epoch the later ones add to the earlier."""
    epochs: list[int] = []
    rows = [_flat(row) for row in rows]
    for place, row in enumerate(rows, start=1):
        named = {key_of(key): value for key, value in row.items()}
        given = named.get("epoch", named.get("epoch_num", named.get("epoch_idx")))
        epochs.append(_epoch(given, place, f"{where}, row {place}"))
    shift = 1 if min(epochs) == 0 else 0
    merged: dict[int, dict[str, Any]] = {}
    for epoch, row in zip(epochs, rows, strict=True):
        merged.setdefault(epoch + shift, {}).update({key: value for key, value in row.items() if value is not None})
    return merged


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its inner tables opened: `{"val": {"cosine": ...}}` is `val_cosine`, `{"metrics": {...}}` is flat."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            prefix = "" if key_of(key) in CONTAINERS else f"{key}_"
            flat.update({f"{prefix}{inner}": number for inner, number in value.items()})
        else:
            flat[key] = value
    return flat


def _epoch(given: Any, place: int, where: str) -> int:
    if given is None:
        return place
    value = float(given) if isinstance(given, str) and re.fullmatch(r"\d{1,9}(\.\d*)?", given) else given
    number = number_of(value, where)
    if number is None or not 0 <= number <= MAX_EPOCHS:
        shown = repr(given)[:40]
        raise ConfigError(f"{where}: epoch is {shown}; it must be a number from 0 to {MAX_EPOCHS:,}.")
    return math.ceil(number)


def _numbers(row: Mapping[str, Any], where: str) -> dict[str, float]:
    """What is known of a row by our names, not finite values included; our own names come before others' names."""
    numbers: dict[str, float] = {}
    for key in sorted(row, key=lambda key: (_known_name(key) != key_of(key), key)):
        name = _known_name(key)
        value = number_of(row[key], f"{where}, {str(key)[:40]}") if name else None
        if name is None or value is None or name in numbers:
            continue
        if name in COSINES and math.isfinite(value) and abs(value) > 1.001:
            raise ConfigError(f"{where}: {str(key)[:40]} is {value:g}; a cosine is between -1 and 1.")
        whole = name in WHOLE and math.isfinite(value)
        numbers[name] = int(min(max(value, 0.0), 2.0**53)) if whole else value
    return numbers


def _diverged(epochs: Sequence[int], rows: Sequence[Mapping[str, float]]) -> NonFiniteFound | None:
    """The first number that became NaN or infinite and never came back; one gap in between is no divergence."""
    found: list[tuple[int, int, str, float]] = []
    for order, name in enumerate(TELLING):
        values = [(epoch, row[name]) for epoch, row in zip(epochs, rows, strict=True) if name in row]
        broken = [pair for pair in values if not math.isfinite(pair[1])]
        if values and not math.isfinite(values[-1][1]):
            finite_until = max((epoch for epoch, value in values if math.isfinite(value)), default=-1)
            epoch, value = next(pair for pair in broken if pair[0] > finite_until)
            found.append((epoch, order, name, value))
    if not found:
        return None
    epoch, _, name, value = min(found)
    return NonFiniteFound(what=name, value=str(value), epoch=epoch, step=0)
