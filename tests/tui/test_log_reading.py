"""Reading a log: long lines folded or whole, copies, live search, and the way to the chart and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import missed_mamba
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.strip import Strip

from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.control.log_places import Place, place_before, place_of
from tui.panes.chart import ChartPane
from tui.panes.log import LogPane, SearchBar
from tui.screens.line_detail import LineDetailScreen
from tui.widgets.log_wrap import folded, rows_below, top_of_end
from tui.widgets.virtual_log import VirtualLog

STEP = "13:11:39 INFO epoch 2/12 step 70 loss 0.305 val_cosine 0.4721"
GATE = "13:11:39 WARNING [GATE] val_cosine@2 MISSED: 0.472"


class LogApp(App[None]):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def compose(self) -> ComposeResult:
        yield VirtualLog(self.path)

    def on_mount(self) -> None:
        self.view.focus()

    @property
    def view(self) -> VirtualLog:
        return self.query_one(VirtualLog)


def rows(view: VirtualLog) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


@given(st.text(st.characters(codec="ascii", categories=["L", "N"])), st.integers(1, 30))
def test_pieces_of_a_line_are_the_line_and_none_is_too_wide(text: str, width: int) -> None:
    pieces = folded(Strip([Segment(text)]), width)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.cell_length <= width for piece in pieces)
    assert len(pieces) == max(1, -(-len(text) // width))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 12))
def test_the_end_begins_at_the_first_row_from_which_all_the_rest_fits(counts: list[int], height: int) -> None:
    def pieces(row: int) -> list[Strip]:
        return [Strip.blank(row)] * counts[row]

    top = top_of_end(len(counts), height, pieces)
    fits = [row for row in range(len(counts)) if sum(counts[row:]) <= height]
    assert top == (fits[0] if fits else len(counts) - 1)
    seen = [row for row, _ in rows_below(top, len(counts), height, pieces)]
    assert len(seen) <= height
    assert seen == sorted(seen)
    assert not fits or seen[-1] == len(counts) - 1


async def test_folded_a_log_shows_every_character_and_still_follows_its_end(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_text("".join(f"{number:02d}{'-' * 60}|\n" for number in range(30)))
    app = LogApp(path)
    async with app.run_test(size=(40, 9)) as pilot:
        assert not any("|" in row for row in rows(app.view))
        await pilot.press("w")
        await pilot.pause()
        shown = rows(app.view)
        assert shown[-1] == "" or shown[-1].endswith("|")
        assert [row[:2] for row in shown if row[:2].isdigit()] == ["26", "27", "28", "29"]
        with path.open("a") as file:
            file.write("the last one, short\n")
        app.view.poll()
        await pilot.pause()
        assert "the last one, short" in rows(app.view)
        seen = set()
        for _ in range(40):
            seen |= {row[:2] for row in rows(app.view)}
            await pilot.press("up")
            await pilot.pause()
        assert seen >= {f"{number:02d}" for number in range(30)}, "no line is out of reach"
        assert not app.view.follow
        beside_the_bar = app.view.scrollable_content_region.width
        assert all(len(row) <= beside_the_bar for row in rows(app.view)), "nothing lies below the scroll bar"
        await pilot.press("w")
        await pilot.pause()
        assert rows(app.view)[0].startswith("00")


async def test_a_search_comes_to_its_line_where_lines_are_folded(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_text("".join(f"{number:03d} {'x' * 90}\n" for number in range(200)))
    app = LogApp(path)
    async with app.run_test(size=(40, 9)) as pilot:
        await pilot.press("w")
        app.view.search("042 ")
        await pilot.pause()
        assert any(row.startswith("042") for row in rows(app.view))


async def test_enter_shows_a_line_whole_and_y_copies_it(runs_file: RunsFile) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    long = "13:00:00 INFO " + " ".join(f"word{number}" for number in range(90)) + " \x1b[31mthe end"
    run.log_file.write_text(f"first\n{long}\nlast\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("5")
        log = app.screen.query_one(LogPane).log_view
        log.search("word89")
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, LineDetailScreen)
        shown = "".join(str(widget.render()) for widget in app.screen.query("Static"))
        assert "line 2" in shown
        assert shown.endswith("the end")
        await pilot.press("y", "escape")
        await pilot.pause()
        assert app.clipboard.endswith("the end")
        assert "\x1b" not in app.clipboard
        await pilot.press("escape")
        assert log.sought == "", "Escape ends the search"


async def test_a_secret_is_in_neither_the_whole_line_nor_its_copy(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-6f1d0c")
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text("token canary-6f1d0c was refused\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("5", "y", "enter")
        await pilot.pause()
        shown = "".join(str(widget.render()) for widget in app.screen.query("Static"))
        assert "was refused" in app.clipboard
        assert "was refused" in shown
        assert "canary" not in app.clipboard + shown


async def test_a_secret_that_is_not_shown_is_not_found_either(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-6f1d0c")
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text("token canary-6f1d0c was refused\nfetched https://me:hunter2@example.org/x\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.pause()
        pane = app.screen.query_one(LogPane)
        for text, num_found in (("canary", 0), ("hunter2", 0), ("refused", 1), ("example", 1), ("[hidden]", 2)):
            await pilot.press("slash")
            app.screen.query_one(SearchBar).value = text
            await pilot.press("enter")
            await pilot.pause()
            assert pane.log_view.num_matches == num_found, text
            assert f"{num_found} found" in str(pane.border_title)


async def test_a_short_log_is_searched_while_it_is_typed_and_escape_undoes(runs_file: RunsFile) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text("one\ntwo\nthree\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("ampersand", "t")
        await pilot.pause()
        log = app.screen.query_one(LogPane).log_view
        assert [row for row in rows(log) if row] == ["two", "three"]
        await pilot.press("h")
        await pilot.pause()
        assert [row for row in rows(log) if row] == ["three"]
        await pilot.press("escape")
        await pilot.pause()
        assert [row for row in rows(log) if row] == ["one", "two", "three"]
        await pilot.press("ampersand", *"two", "enter", "ampersand", *"on", "escape")
        await pilot.pause()
        assert [row for row in rows(log) if row] == ["two"], "what was filtered before"


async def test_a_plain_room_shows_its_log_in_ascii_and_searches_and_copies_it_as_it_is(runs_file: RunsFile) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text("one\nmargin 0.2 \u2265 0.1, \u00e9t\u00e9\n")
    app = RoomApp(runs_file, runs_file.runs_dir, plain=True)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("5")
        log = app.screen.query_one(LogPane).log_view
        assert [row for row in rows(log) if row] == ["one", "margin 0.2 >= 0.1, ?t?"]
        assert log.search("\u2265 0.1") == 1
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard == "margin 0.2 \u2265 0.1, \u00e9t\u00e9"
        log.plain = False
        await pilot.pause()
        assert "\u2265" in "".join(rows(log))


async def test_the_title_says_at_once_what_is_found_and_no_more_once_the_search_has_ended(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text("one\ntwo\nthree\nERROR four\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("5")
        monkeypatch.setattr(app, "poll", lambda: None)  # nothing is drawn anew because time goes by
        pane = app.screen.query_one(LogPane)
        for keys, said in (
            (("ampersand", *"t", "enter"), "2 shown"),
            (("e",), "2 found"),
            (("escape",), ""),
            (("w",), "wrapped"),
            (("w", "slash", *"nowhere", "enter"), "0 found"),
        ):
            await pilot.press(*keys)
            await pilot.pause()
            title = str(pane.border_title)
            assert said in title, keys
            assert sum(word in title for word in ("found", "shown", "wrapped")) == bool(said), keys


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (STEP, Place(2, 70)),
        (GATE, Place(2, None)),
        ("[CHECK] margin@3 PASSED: 0.657", Place(3, None)),
        ("Traceback (most recent call last):", None),
        ("me@4.example wrote of epoch two", None),
    ],
)
def test_a_line_names_its_moment(line: str, place: Place | None) -> None:
    assert place_of(line) == place


def test_a_line_that_names_none_stands_where_the_nearest_above_does() -> None:
    log = ["before", STEP, "Traceback", "  at x", "ValueError"]
    assert place_before(4, log.__getitem__) == Place(2, 70)
    assert place_before(0, log.__getitem__) is None


async def test_l_leads_from_a_line_to_the_chart_and_back(runs_file: RunsFile) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    run.log_file.write_text(f"start\n13:00 INFO epoch 1/12 step 35 loss 0.5\n{STEP}\nValueError: bad\nafter\n")
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("5", "e", "l")
        await pilot.pause()
        chart = app.screen.query_one(ChartPane)
        assert chart.has_focus_within
        assert chart.chart.cursor_x == 2.0
        await pilot.press("left", "l")
        await pilot.pause()
        log = app.screen.query_one(LogPane)
        assert log.has_focus_within
        await pilot.press("y")
        assert app.clipboard == "13:00 INFO epoch 1/12 step 35 loss 0.5"
        await pilot.press("2", "escape", "l")
        await pilot.pause()
        assert "put a cursor" in str(chart.border_subtitle), "without a cursor there is no epoch to go to"
