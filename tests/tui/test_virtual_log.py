"""The log as a widget: following, searching, filtering, and files that misbehave."""

from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult

from tui.widgets.virtual_log import VirtualLog

RECORDED = (
    "".join(f"[INFO] step {step} loss {1 / (step + 1):.4f}\n" for step in range(40))
    + "10%\r 50%\r100% of epoch 2\n"
    + "\x1b]0;stolen title\x07[GATE] val_cosine@2 0.472 < 0.500 missed by 0.028\n"
    + "\x1b[33mUserWarning: few negatives\x1b[0m\n"
    + "[EVAL] Contain@50=0.680 R@5=0.450\n"
    + "ValueError: bad [/tmp/x]\n"
    + "not yet a whole li"
)


class LogApp(App[None]):
    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.log_path = path
        self.told: list[bool] = []
        self.noticed: list[str] = []

    def compose(self) -> ComposeResult:
        yield VirtualLog(self.log_path)

    def on_mount(self) -> None:
        self.query_one(VirtualLog).focus()

    def on_virtual_log_follow_changed(self, message: VirtualLog.FollowChanged) -> None:
        self.told.append(message.follow)

    def on_virtual_log_noticed(self, message: VirtualLog.Noticed) -> None:
        self.noticed.append(message.text)

    @property
    def view(self) -> VirtualLog:
        return self.query_one(VirtualLog)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "output.log"
    path.write_bytes(RECORDED.encode())
    return path


def lines(view: VirtualLog) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_log_at_80_by_24(log: Path, snap_compare: Any) -> None:
    """The end of the log in clean lines: gate, warning, evaluation and error stand out; 'step 3' is marked."""

    async def search(pilot: Any) -> None:
        pilot.app.view.search("step 3")
        pilot.app.view.follow = True
        await pilot.pause()

    assert snap_compare(LogApp(log), terminal_size=(80, 24), run_before=search)


async def test_the_end_is_shown_clean_and_followed(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)):
        assert lines(app.view) == [
            "100% of epoch 2",
            "[GATE] val_cosine@2 0.472 < 0.500 missed by 0.028",
            "UserWarning: few negatives",
            "[EVAL] Contain@50=0.680 R@5=0.450",
            "ValueError: bad [/tmp/x]",
            "not yet a whole li",
        ]
        append(log, "ne\nnext\n")
        assert app.view.poll()
        assert lines(app.view)[-2:] == ["not yet a whole line", "next"]
        assert app.view.follow
        assert not app.view.poll()


async def test_scrolling_up_pauses_counts_what_is_missed_and_says_so(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        await pilot.press("up")
        before = lines(app.view)
        append(log, "ne\nx\ny\n")
        app.view.poll()
        assert (app.view.follow, app.view.unseen) == (False, 2)
        assert lines(app.view)[:5] == before[:5]
        await pilot.press("G")
        assert (app.view.follow, app.view.unseen) == (True, 0)
        assert lines(app.view)[-1] == "y"
    assert app.told == [False, True]


@pytest.mark.parametrize("keys", [["pageup", "pagedown", "pagedown"], ["up", "down"], ["home", "end"], ["f", "f"]])
async def test_back_at_the_end_it_follows_again(log: Path, keys: list[str]) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        await pilot.press(keys[0])
        assert not app.view.follow
        await pilot.press(*keys[1:])
        assert app.view.follow


async def test_the_wheel_pauses_too(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        app.view._scroll_up_for_pointer(animate=False)
        await pilot.pause()
        assert not app.view.follow


async def test_a_smaller_window_does_not_lose_the_end(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.resize_terminal(60, 5)
        await pilot.pause()
        assert app.view.follow
        assert lines(app.view)[-1] == "not yet a whole li"


async def test_a_search_marks_jumps_and_goes_on(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        assert app.view.search("step 3") == 11
        await pilot.pause()
        assert not app.view.follow
        assert "step 39" in "\n".join(lines(app.view))
        await pilot.press("N")
        assert "step 38" in "\n".join(lines(app.view))
        await pilot.press("n", "n")
        assert "step 3 " in "\n".join(lines(app.view))  # round from the last to the first
        row = next(y for y, line in enumerate(lines(app.view)) if "step 3 " in line)
        marked = [piece.text for piece in app.view.render_line(row) if piece.style and piece.style.reverse]
        assert marked == ["step 3"]
        append(log, "\nstep 3 again\n")
        app.view.poll()
        assert app.view.num_matches == 12
        assert app.view.search("") == 0


async def test_a_text_without_capitals_is_found_in_any_case(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)):
        assert app.view.search("valueerror") == 1
        assert app.view.search("VALUEERROR") == 0


async def test_the_next_error_key_goes_round(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 3)) as pilot:
        await pilot.press("g", "e")
        assert "UserWarning: few negatives" in lines(app.view)
        await pilot.press("e")
        assert "ValueError: bad [/tmp/x]" in lines(app.view)
        await pilot.press("e")
        assert "UserWarning: few negatives" in lines(app.view)
    assert app.noticed == ["no further error or warning: began again at the other end"]


async def test_a_filter_shows_matching_lines_only_and_new_ones_too(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        assert app.view.filter("step 1") == 11
        await pilot.pause()
        assert all("step 1" in line for line in lines(app.view))
        append(log, "\nstep 1 new\n")
        app.view.poll()
        assert lines(app.view)[-1] == "step 1 new"
        app.view.filter("")
        assert lines(app.view)[-1] == "step 1 new"
        assert "not yet a whole li" in lines(app.view)
        app.view.filter("nowhere")
        assert lines(app.view)[0] == "no line matches"


async def test_a_filter_does_not_resume_following(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        await pilot.press("up")
        app.view.filter("step 1")
        await pilot.pause()
        assert not app.view.follow


async def test_a_replaced_log_is_shown_from_its_new_beginning_and_said(log: Path) -> None:
    app = LogApp(log)
    async with app.run_test(size=(60, 6)) as pilot:
        await pilot.press("up")
        log.write_text("again\n")
        app.view.poll()
        await pilot.pause()
        assert lines(app.view)[0] == "again"
        assert app.view.line_count == 1
    assert app.noticed == ["the log was truncated or replaced: shown from its new beginning"]


async def test_what_cannot_be_shown_says_why(tmp_path: Path) -> None:
    app = LogApp(None)
    async with app.run_test(size=(120, 6)):
        assert lines(app.view)[0] == "no log"
        app.view.path = tmp_path / "later.log"
        assert lines(app.view)[0] == f"{tmp_path}/later.log does not exist yet"
        app.view.path = tmp_path
        assert lines(app.view)[0] == f"{tmp_path} is not a regular file"
        (tmp_path / "empty.log").touch()
        app.view.path = tmp_path / "empty.log"
        assert lines(app.view)[0] == "the log is empty so far"


async def test_another_path_is_read_from_its_end_with_the_same_search(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    other.write_text("step 3\n" * 30)
    app = LogApp(log)
    async with app.run_test(size=(60, 6)):
        app.view.search("step 3")
        app.view.path = other
        assert (app.view.follow, app.view.num_matches, app.view.line_count) == (True, 30, 30)


async def test_a_large_log_is_taken_in_slice_by_slice(tmp_path: Path) -> None:
    path = tmp_path / "large.log"
    path.write_bytes(b"a line of some length, as trainers write them\n" * 500_000)
    app = LogApp(path)
    async with app.run_test(size=(60, 6)) as pilot:
        while app.view.line_count < 500_000:  # 23 MB: more than one slice; nobody calls poll
            await pilot.pause()
        assert lines(app.view)[-1] == "a line of some length, as trainers write them"


async def test_long_lines_scroll_sideways(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_text("".join(f"{column:<10}" for column in range(0, 100, 10)) + "\n")
    app = LogApp(path)
    async with app.run_test(size=(40, 3)) as pilot:
        await pilot.press("right")
        assert lines(app.view)[0].startswith("  10")
        await pilot.press("left")
        assert lines(app.view)[0].startswith("0 ")


async def test_binary_stays_harmless(tmp_path: Path) -> None:
    path = tmp_path / "binary.log"
    path.write_bytes(bytes(range(256)) * 40)
    app = LogApp(path)
    async with app.run_test(size=(40, 10)):
        assert all(line.isprintable() for line in lines(app.view))
