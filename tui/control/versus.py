"""Runs held against one of them: the numbers that decide, what they cost, the settings that differ, and what it means.

Every difference is a run's number minus the reference's; of a cost it is a ratio. The numbers of the default pair, a
Mamba-S run and its AMN baseline, come from here too, and so does `lvm-tui compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.run.spec import resolved_settings
from tui.control.report import duration, number
from tui.control.run_facts import number_of, retrieval_report
from tui.control.views import RunView

Getter = Callable[[RunView], float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    label: str
    cells: tuple[str, ...]
    """What each run says, in the runs' order."""
    differences: tuple[str, ...] = ()
    """To the reference; empty where there is none, as at the reference itself. No entries in a row of words."""
    numbers: tuple[float | None, ...] = ()
    """The cells as numbers; no entries in a row of words."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and what it is in each run."""

    key: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to say of some runs side by side."""

    runs: tuple[RunView, ...]
    reference: RunView
    rows: tuple[Row, ...]
    settings: tuple[Setting, ...]
    """All of them, in the order of the spec."""

    @property
    def differing(self) -> tuple[Setting, ...]:
        """The settings that the runs do not share."""
        return tuple(setting for setting in self.settings if setting.differs)

    def record(self) -> dict[str, Any]:
        """As plain data, for `compare --json`."""
        at = [view.id for view in self.runs].index(self.reference.id)
        return {
            "runs": [view.id for view in self.runs],
            "reference": self.reference.id,
            "rows": [
                {
                    "label": row.label,
                    "cells": row.cells,
                    "numbers": row.numbers or None,
                    "differences": [
                        _minus(value, row.numbers[at]) if told else None
                        for value, told in zip(row.numbers, row.differences, strict=True)
                    ]
                    or None,
                }
                for row in self.rows
            ],
            "settings": [{"key": one.key, "values": one.values, "differs": one.differs} for one in self.settings],
        }


def compare(runs: Sequence[RunView], reference: RunView) -> Comparison:
    """Hold runs against one of them.

    Args:
        runs: one or more, each once.
        reference: one of them.
    """
    return Comparison(tuple(runs), reference, tuple(_rows(runs, reference)), tuple(_settings(runs)))


def table(found: Comparison, *, all_settings: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    """The comparison as labelled cells of text, a difference behind its number, the settings last.

    Args:
        found: what is compared.
        all_settings: list the settings that the runs share, too.
    """
    columns = range(len(found.runs))
    named = (f"{view.id} (ref)" if view is found.reference and len(found.runs) > 1 else view.id for view in found.runs)
    rows = [("run", tuple(named))]
    for row in found.rows[1:]:
        width = max(map(len, row.cells))
        gaps = row.differences or ("",) * len(columns)
        rows.append((row.label, tuple(f"{row.cells[at]:{width}} {gaps[at]}".rstrip() for at in columns)))
    settings = found.settings if all_settings else found.differing
    return rows + [(setting.key, tuple(map(str, setting.values))) for setting in settings]


def shared_epoch(runs: Sequence[RunView]) -> int | None:
    """The last epoch that all runs have ended; None where one has ended none."""
    ended = [view.latest.epoch if view.latest else 0 for view in runs]
    return min(ended, default=0) or None


def value_at(view: RunView, epoch: int) -> float | None:
    """val_cosine at an epoch."""
    return next((row.val_cosine for row in view.state.epochs if row.epoch == epoch), None)


def best_floor(view: RunView) -> float | None:
    """What needs no training and scores best on the same windows."""
    return max(view.state.floors.values(), default=None)


def _rows(runs: Sequence[RunView], reference: RunView) -> Iterator[Row]:
    def words(label: str, say: Callable[[RunView], str]) -> Row:
        return Row(label, tuple(map(say, runs)))

    def numbers(label: str, get: Getter, tell: Callable[[float | None], str] = number) -> Row:
        return _number_row(label, runs, reference, get, tell)

    def latest(label: str, key: str) -> Row:
        """Of the last epoch: a difference between different epochs would speak of time, not of the runs."""
        row = numbers(label, lambda view: number_of(view, key))
        epochs = [view.latest.epoch if view.latest else 0 for view in runs]
        base = reference.latest.epoch if reference.latest else 0
        gaps = zip(row.differences, epochs, strict=True)
        return replace(row, differences=tuple(gap if epoch == base else "" for gap, epoch in gaps))

    yield words("run", lambda view: view.id)
    yield words("state", lambda view: str(view.status))
    yield words("epoch", lambda view: f"{view.latest.epoch if view.latest else 0}/{view.spec.config.epochs}")
    yield latest("val_cosine", "val_cosine")
    shared = shared_epoch(runs)
    if shared is not None and any(view.latest and view.latest.epoch != shared for view in runs):
        yield numbers(f"val_cosine@{shared}", lambda view: value_at(view, shared))
    yield numbers("best val_cosine", lambda view: number_of(view, "best_val_cosine"))
    yield numbers("best floor", best_floor)
    yield numbers(
        "best above floor", lambda view: _minus(number_of(view, "best_val_cosine"), best_floor(view)), _signed
    )
    for name in dict.fromkeys(gate.name for view in runs for gate in view.spec.gates):
        yield words(f"gate {name}", lambda view, name=name: _verdict(view, name))  # type: ignore[misc]
    yield words("evaluated", lambda view: getattr(retrieval_report(view), "name", "-"))
    for key, label in (("r5", "R@5"), ("contain50", "Contain@50"), ("eff5", "Eff@5")):
        yield numbers(label, lambda view, key=key: number_of(view, key))  # type: ignore[misc]
    yield numbers("R@5, best floor", lambda view: _bound(view, "copy_last", "context_mean", "ridge"))
    yield numbers("R@5, ceiling", lambda view: _bound(view, "oracle"))
    yield latest("margin", "margin")
    yield latest("top-1, searched space", "top1_target")
    costs: tuple[tuple[str, Getter, Callable[[float | None], str]], ...] = (
        ("parameters", lambda view: view.state.started.num_parameters if view.state.started else None, _millions),
        ("an epoch takes", lambda view: view.state.epoch_s, duration),
        ("trained for", lambda view: sum(row.time or 0.0 for row in view.state.epochs) or None, duration),
        ("peak memory", lambda view: (view.life.exit.maxrss_bytes or None) if view.life.exit else None, _gibibytes),
    )
    for label, get, tell in costs:
        yield _cost_row(label, runs, reference, get, tell)


def _number_row(
    label: str, runs: Sequence[RunView], reference: RunView, get: Getter, tell: Callable[[float | None], str]
) -> Row:
    found = tuple(map(get, runs))
    base = get(reference)
    gaps = (None if view is reference else _minus(value, base) for view, value in zip(runs, found, strict=True))
    told = tuple("" if gap is None else _unless_same(f"{gap:+.3f}") for gap in gaps)
    return Row(label, tuple(map(tell, found)), told, found)


def _cost_row(
    label: str, runs: Sequence[RunView], reference: RunView, get: Getter, tell: Callable[[float | None], str]
) -> Row:
    found = tuple(map(get, runs))
    base = get(reference)
    ratios = tuple(
        _unless_same(f"x{value / base:.2f}") if value is not None and base and view is not reference else ""
        for view, value in zip(runs, found, strict=True)
    )
    return Row(label, tuple(map(tell, found)), ratios, found)


def _unless_same(difference: str) -> str:
    """A difference that shows, else an equals sign: a column of zeros hides the others."""
    return "=" if difference in ("+0.000", "-0.000", "x1.00") else difference


def _settings(runs: Sequence[RunView]) -> Iterator[Setting]:
    resolved = [resolved_settings(view.spec) for view in runs]
    for key in resolved[0] if resolved else ():
        yield Setting(key, tuple(settings.get(key) for settings in resolved))


def _verdict(view: RunView, gate_name: str) -> str:
    gate = next((gate for gate in view.spec.gates if gate.name == gate_name), None)
    if gate is None:
        return "-"
    judged = view.gate_judgement(gate)
    return judged.verdict.upper() + (f" {judged.value:.3f}" if judged.value is not None else "")


def _bound(view: RunView, *names: str) -> float | None:
    """R@5 of the best of these predictors, in the report that the run's own R@5 is from."""
    report = retrieval_report(view)
    return max((report.rows[name].exact.r5 for name in names if name in report.rows), default=None) if report else None


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _millions(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.2f} M"


def _gibibytes(value: float | None) -> str:
    return "-" if value is None else f"{value / (1 << 30):.2f} GiB"
