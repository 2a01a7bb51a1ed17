"""A run as a row of the list: what each column says of it, and which columns there is room for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from textual.content import Content

from engine.run.events import Verdict
from engine.run.state import Status
from tui.control.listing import Listing
from tui.control.report import age
from tui.control.run_facts import age_s
from tui.control.views import RunView
from tui.panes.words import number, say, status_mark, verdict_mark

COLUMNS = ("", "run", "state", "epoch", "val_cos", "curve", "gate", "age", "about")
"""Their headings, in order; the first has the marks."""
FIRST_TO_GO = ("curve", "age", "epoch", "gate")
"""What a narrow list leaves out, in this order. Name, state and val_cosine stay."""
WORTH_LESS_THAN_A_NOTE = ("curve", "age")
ABOUT_LEAST = 10
"""Cells below which a note or a fix says nothing."""
CURVE_CELLS = 8
LEAST_RISE = 0.02
"""A smaller range of val_cosine than this is drawn within it: a run that stands still must look like one."""
_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", "_.,-~=*#"
_MARK, _REFERENCE = ("●", "*"), ("◆", "@")
_WORST: tuple[Verdict, ...] = ("missed", "undecidable", "pending", "passed")


@dataclass(frozen=True, slots=True)
class Row:
    """What the columns say of a run."""

    cells: Mapping[str, Content]
    widths: tuple[int, ...] = field(init=False)
    """Cells that they take, in the order of `COLUMNS`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.cells[name].cell_length for name in COLUMNS))


class Rows:
    """The rows of a list. A run's row is the same object until something in it is another."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Hashable, str, Row]] = {}
        self._minute = 0

    def of(
        self, views: Sequence[RunView], listing: Listing, *, now: float, undone: frozenset[str], plain: bool
    ) -> dict[str, Row]:
        """The rows of these runs, by their ids, in their order."""
        made: dict[str, tuple[Hashable, str, Row]] = {}
        was_minute, self._minute = self._minute, int(now // 60)
        for view in views:
            run_id = view.id
            is_named = (run_id == listing.reference, run_id in listing.marked, run_id in undone)
            key = (view, view.turn, is_named, listing.wanted, plain)
            known_key, moment, row = self._made.get(run_id, (None, "", None))
            if self._minute != was_minute:  # its age in words changes without anything being new of it
                known_key = known_key if moment == (moment := age(age_s(view, now))) else None
            if row is None or known_key != key:
                row = Row(cells_of(view, listing, now=now, undone=run_id in undone, plain=plain))
            made[run_id] = key, moment, row
        self._made = made
        return {run_id: row for run_id, (_, _, row) in made.items()}


def cells_of(
    view: RunView, listing: Listing, *, now: float, undone: bool = False, plain: bool = False
) -> dict[str, Content]:
    """What each column says of a run."""
    latest = view.latest
    is_wanted = listing.wanted.finds(view)
    return {
        "": _mark(view, listing, plain=plain),
        "run": say(view.id, "" if is_wanted else "$foreground-muted", plain=plain),
        "state": status_mark(view.status, plain=plain),
        "epoch": say(f"{latest.epoch if latest else 0}/{view.spec.config.epochs}", plain=plain),
        "val_cos": say(number(latest.val_cosine if latest else None), plain=plain),
        "curve": Content(sparkline(view.curve, CURVE_CELLS, plain=plain)),
        "gate": _gates(view, plain=plain),
        "age": say(age(age_s(view, now)), "$foreground-muted", plain=plain),
        "about": Content(" ").join(_about(view, is_wanted=is_wanted, undone=undone, plain=plain)),
    }


def fit_columns(rows: Sequence[Row], room: int) -> dict[str, int]:
    """The columns there is room for, each with its width in cells, the blank behind it included.

    Args:
        rows: what the columns say of each run.
        room: cells; the last column takes what is left over.
    """
    widest = map(max, zip(map(len, COLUMNS), *(row.widths for row in rows), strict=True))
    widths = {name: 1 + width for name, width in zip(COLUMNS, widest, strict=True)}
    del widths["about"]
    widths[""] = 2
    wants_about = any(row.widths[-1] for row in rows)
    for name in FIRST_TO_GO:
        beside = ABOUT_LEAST if wants_about and name in WORTH_LESS_THAN_A_NOTE else 0
        if sum(widths.values()) + beside <= room:
            break
        del widths[name]
    left = room - sum(widths.values())
    return widths | ({"about": left} if wants_about and left >= ABOUT_LEAST else {})


def sparkline(values: Sequence[float | None], width: int, *, plain: bool = False) -> str:
    """The course of some values in one row of cells, the newest last; a blank where there is no number.

    Args:
        values: in order. Of more values than cells, each cell has the last of its share.
        width: cells at most.
        plain: ASCII only.
    """
    bars = _ASCII_BARS if plain else _BARS
    count = min(width, len(values))
    shown = [values[(at + 1) * len(values) // count - 1] for at in range(count)]
    finite = [value for value in shown if value is not None and math.isfinite(value)]
    if not finite:
        return ""
    middle = min(finite) / 2 + max(finite) / 2
    reach = max(LEAST_RISE / 2, max(finite) / 2 - min(finite) / 2)

    def bar(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        height = 0.5 + (value / 2 - middle / 2) / reach
        return bars[min(len(bars) - 1, max(0, int(height * len(bars))))]

    return "".join(map(bar, shown))


def _mark(view: RunView, listing: Listing, *, plain: bool) -> Content:
    if view.id == listing.reference:
        return Content.styled(_REFERENCE[plain], "bold $text-accent")
    return Content.styled(_MARK[plain], "$text-accent") if view.id in listing.marked else Content("")


def _gates(view: RunView, *, plain: bool) -> Content:
    """The verdict where there is one gate; of several the worst, and how many have passed."""
    verdicts = [view.gate_judgement(gate).verdict for gate in view.spec.gates]
    if not verdicts:
        return say("-", "$foreground-muted", plain=plain)
    worst = min(verdicts, key=_WORST.index)
    mark = verdict_mark(worst, plain=plain, word=worst != "undecidable")
    parts = [" UNDECID."] if worst == "undecidable" else []  # in full it would cost the curve its place at 80 columns
    parts += [f" {verdicts.count('passed')}/{len(verdicts)}"] if len(verdicts) > 1 else []
    return Content.assemble(mark, *parts)


def _about(view: RunView, *, is_wanted: bool, undone: bool, plain: bool) -> Iterator[Content]:
    """What a person should know of it: why it is listed or was undone, the note, and which fix made it."""
    if view.archived:
        yield say("archived", "$text-warning", plain=plain)
    elif not is_wanted:
        yield say("not in the filter", "$text-warning", plain=plain)
    if view.status in {Status.SUBMITTED, Status.PENDING, Status.UNKNOWN}:
        yield say(view.reason, "$text-warning", plain=plain)
    if undone:
        yield say("undone", "$text-warning", plain=plain)
    if view.note:
        yield say(view.note, plain=plain)
    for key, value in view.spec.patch.items():
        yield say(f"{key.rpartition('.')[2]}={value}", "$foreground-muted", plain=plain)
