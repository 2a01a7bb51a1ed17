"""A run as a row: its words, its course in one line, and the columns that a narrow list leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import BEGAN, MAMBA_HISTORY, make_spec, make_view, run_events

from engine.run.settings import Gate
from engine.run.state import Status
from tui.control.listing import Listing
from tui.control.run_filter import parse_filter
from tui.control.views import RunView
from tui.panes.run_rows import ABOUT_LEAST, COLUMNS, Row, cells_of, fit_columns, sparkline


@pytest.fixture
def view() -> RunView:
    """The child of a run, with a note that would write on the screen's other parts."""
    spec = make_spec("mamba_s", 2, parent=make_spec(), patch={"loss.temperature": 0.05})
    made = make_view(spec, run_events(spec, MAMBA_HISTORY), status=Status.FINISHED)
    made.note = "\x1b[2J[b]hot[/b] #keep"
    return made


def told(view: RunView, listing: Listing | None = None, *, plain: bool = False) -> dict[str, str]:
    cells = cells_of(view, listing or Listing(), now=BEGAN + 7200, plain=plain)
    return {name: cell.plain for name, cell in cells.items()}


def test_a_row_says_state_numbers_verdict_age_note_and_fix(view: RunView) -> None:
    assert told(view) == {
        "": "",
        "run": "mamba_s-0002",
        "state": "■ FINISHED",
        "epoch": "6/12",
        "val_cos": "0.413",
        "curve": "▁▆▇███",
        "gate": "✖ MISSED",
        "age": "2h",
        "about": "[b]hot[/b] #keep temperature=0.05",
    }


def test_a_row_without_unicode_is_ascii_and_keeps_every_word(view: RunView) -> None:
    listing = Listing().with_mark(view.id)
    row = told(view, listing, plain=True)
    assert all(cell.isascii() for cell in row.values())
    assert (row[""], row["state"], row["gate"], row["curve"]) == ("*", "# FINISHED", "x MISSED", "_=*###")
    assert told(view, listing.with_reference(view.id), plain=True)[""] == "@"


def test_marks_are_shapes_that_differ(view: RunView) -> None:
    marked = Listing().with_mark(view.id)
    assert told(view, marked)[""] == "●"
    assert told(view, marked.with_reference(view.id))[""] == "◆"


def test_a_row_that_the_filter_does_not_want_says_why_it_is_there(view: RunView) -> None:
    assert told(view, Listing(parse_filter("gate:passed")))["about"].startswith("not in the filter ")
    view.archived = True
    assert told(view)["about"].startswith("archived ")


def test_of_several_gates_the_worst_is_named_and_how_many_passed() -> None:
    gates = [Gate(epoch=1, at_least=0.1), Gate(epoch=2), Gate(epoch=9)]
    spec = make_spec(gates=gates)
    assert told(make_view(spec, run_events(spec, MAMBA_HISTORY)))["gate"] == "✖ MISSED 1/3"
    assert told(make_view(spec, run_events(spec, (0.2,)), status=Status.LOST))["gate"] == "? UNDECID. 1/3"
    none = make_spec(gates=[])
    assert told(make_view(none, run_events(none, MAMBA_HISTORY)))["gate"] == "-"


@pytest.mark.parametrize(
    ("room", "gone"),
    [
        (196, set()),
        (76, set()),
        (69, {"curve"}),
        (60, {"curve", "age"}),
        (49, {"curve", "age", "about"}),
        (44, {"curve", "age", "epoch", "about"}),
        (34, {"curve", "age", "epoch", "gate", "about"}),
    ],
)
def test_a_narrow_list_leaves_out_what_matters_least(view: RunView, room: int, gone: set[str]) -> None:
    columns = fit_columns([Row(cells_of(view, Listing(), now=BEGAN))], room)
    assert set(COLUMNS) - set(columns) == gone
    assert list(columns) == [name for name in COLUMNS if name in columns]
    assert sum(columns.values()) <= room


def test_without_a_note_or_a_fix_there_is_no_column_for_them() -> None:
    spec = make_spec()
    plain = Row(cells_of(make_view(spec, run_events(spec, MAMBA_HISTORY)), Listing(), now=BEGAN))
    assert "about" not in fit_columns([plain], 196)
    assert "curve" in fit_columns([plain], 66)
    assert list(fit_columns([], 80)) == list(COLUMNS[:-1])


def test_a_course_is_drawn_from_its_lowest_to_its_highest_with_gaps_left_open() -> None:
    assert sparkline([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.1, None, float("nan"), 0.8], 8) == "▁  █"
    assert sparkline([], 8) == sparkline([None, None], 8) == ""


def test_a_course_that_stands_still_does_not_look_like_a_rise() -> None:
    assert len(set(sparkline([0.5000, 0.5001, 0.4999, 0.5000], 8))) <= 2


def test_a_long_course_ends_with_its_newest_value() -> None:
    assert sparkline([*range(100), -1.0], 8)[-1] == "▁"


@given(st.lists(st.one_of(st.none(), st.floats())), st.integers(1, 12), st.booleans())
def test_any_course_fits_its_cells(values: list[float | None], width: int, plain: bool) -> None:
    drawn = sparkline(values, width, plain=plain)
    assert len(drawn) <= min(width, len(values))
    assert not plain or drawn.isascii()


def test_a_note_has_at_least_the_room_to_say_something(view: RunView) -> None:
    for room in range(30, 120):
        assert fit_columns([Row(cells_of(view, Listing(), now=BEGAN))], room).get("about", ABOUT_LEAST) >= ABOUT_LEAST
