"""What panes and notices say: what to press first, what was judged beside its gate, nothing hidden or told twice."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from recorded_report import eval_report
from test_room import SIZES, notices, open_app, until
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from engine.run.runs_file import RunsFile
from engine.run.state import Status
from tui.acts import prepare
from tui.app import RoomApp
from tui.control.journal import Decision
from tui.control.preferences import Personal
from tui.panes.decision_tree import DecisionTreePane
from tui.panes.gates import GatesPane
from tui.panes.preflight import PreflightPane
from tui.panes.status_strip import StatusStrip
from tui.screens.confirm import ConfirmScreen
from tui.screens.room import RoomScreen
from tui.widgets.steady_text import SteadyText


async def test_notices_make_room_for_the_question_that_follows(runs_file: RunsFile, fake_engine: list[str]) -> None:
    fake_engine += ["--leaks"]
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: app.scene and "override" not in app.scene.reasons, "the engine's end")
        await until(pilot, lambda: any("nothing was trained" in notice for notice in notices(app)), "the alert")
        assert max(map(len, notices(app))) <= 240
        strip = str(app.screen.query_one(StatusStrip).render())
        assert "blocked by the preflight" in strip
        await pilot.press("O")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        assert notices(app) == []


def question_keys(app: RoomApp) -> str:
    """What the question says of its keys; empty before it is asked."""
    line = app.screen.query("#keys")
    return str(line.first(Static).render()) if line else ""


def is_drawn(app: RoomApp, *words: str) -> bool:
    """Whether the picture of the screen has each of these pieces of text."""
    drawn = [piece.replace("&#160;", " ").rstrip() for piece in re.findall(r">([^<]+)</text>", app.export_screenshot())]
    return {*words} <= {*drawn}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.usefixtures("recorded_runs")
async def test_the_tree_shows_what_to_press_without_scrolling(runs_file: RunsFile, size: tuple[int, int]) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=size) as pilot:
        await pilot.press("4")
        await pilot.pause()
        scroll = app.screen.query_one("DecisionTreePane VerticalScroll")
        shown = [scroll.query_one(SteadyText).render_line(row).text for row in range(scroll.size.height)]
        assert any("Fix 1, Temperature" in line for line in shown)
        assert any("R  loss.temperature" in line for line in shown)


@pytest.mark.usefixtures("recorded_runs")
async def test_the_row_that_the_gates_are_held_against_stands_beside_them(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("3")
        report = eval_report("full-fitted-e0004", r5=0.48)
        model = msgspec.structs.replace(report.rows["model"], exact=eval_report(r5=0.41).rows["model"].exact)
        report = msgspec.structs.replace(
            report, head="align.safetensors", rows={"model": model, "reranked": report.rows["model"]}
        )
        assert app.scene
        assert app.scene.selected
        app.scene.selected.evals["full-fitted-e0004"] = report
        app.screen.query_one(GatesPane).show(app.scene)
        text = str(app.screen.query_one(GatesPane).query_one(SteadyText).render())
        assert "model + head R@5 0.410" in text
        assert "reranked     R@5 0.480" in text
        assert "(judged)" in text.partition("reranked")[2].partition("\n")[0]


@pytest.mark.parametrize("plain", [False, True], ids=["unicode", "ascii"])
@pytest.mark.usefixtures("recorded_runs")
async def test_gates_that_are_out_of_sight_are_counted_in_the_border(runs_file: RunsFile, plain: bool) -> None:
    app = open_app(runs_file, plain=plain)
    async with app.run_test(size=SIZES["working"]) as pilot:
        await pilot.press("3")
        await pilot.pause()
        assert app.scene
        assert app.scene.selected
        app.scene.selected.evals["smoke-e0004"] = eval_report("smoke-e0004")
        pane = app.screen.query_one(GatesPane)
        pane.show(app.scene)
        scroll, text = pane.query_one(VerticalScroll), pane.query_one(SteadyText)

        def below() -> int:
            return text.size.height - scroll.size.height - round(scroll.scroll_y)

        await until(pilot, lambda: below() > 5, "the evaluation's rows below the fold")
        await until(pilot, lambda: str(pane.border_subtitle) == f"{below()} more below", "their count")
        await pilot.press("down", "down")
        await until(pilot, lambda: scroll.scroll_y == 2, "two rows on")
        assert str(pane.border_subtitle) == f"{below()} more below"
        await pilot.press("end")
        await until(pilot, lambda: str(pane.border_subtitle) == "", "the end")
        await pilot.press("home")
        width, height = SIZES["working"]
        for taller in (5, 8, 0):  # the rows inside stay as they are
            await pilot.resize_terminal(width, height + taller)
            await until(
                pilot, lambda: str(pane.border_subtitle) == f"{below()} more below" and below() > 0, "a new count"
            )
        await pilot.press("m")
        await until(pilot, lambda: str(pane.border_subtitle) == "", "room for all")


@pytest.mark.usefixtures("recorded_runs")
async def test_what_did_not_pass_the_preflight_stands_above_what_did(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("8")
        await pilot.pause()
        text = str(app.screen.query_one(PreflightPane).query_one(SteadyText).render())
        assert text.count("floor_above_gate  (should)") == 1
        assert text.index("floor_above_gate  (should)") < text.index("leak between the splits")
        assert "the gate on this data" not in text, "nothing of that group is in order"


@pytest.mark.parametrize(
    ("keys", "shown"),
    [(("O",), "locked"), (("j", "O"), "override"), (("question_mark",), "Everywhere")],
    ids=["notice", "question", "help"],
)
@pytest.mark.usefixtures("recorded_runs")
async def test_notices_questions_and_help_are_ascii_where_the_room_is(
    runs_file: RunsFile, keys: tuple[str, ...], shown: str
) -> None:
    app = open_app(runs_file, plain=True)
    async with app.run_test(size=SIZES["small"], notifications=True) as pilot:
        await pilot.press(*keys)
        await until(pilot, lambda: shown in app.export_screenshot(), shown)
        assert {character for character in app.export_screenshot() if ord(character) > 127} == set()


@pytest.mark.parametrize("plain", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("has_colour", [True, False], ids=["colour", "NO_COLOR"])
@pytest.mark.usefixtures("recorded_runs")
async def test_a_question_names_the_keys_that_answer_it(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch, plain: bool, has_colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    app = open_app(runs_file, plain=plain)
    async with app.run_test(size=SIZES["small"]) as pilot:
        assert app.no_color is not has_colour
        await pilot.press("W")
        await until(pilot, lambda: "escape or n cancel" in question_keys(app), "the keys")
        assert question_keys(app) == "y autopilot\nescape or n cancel"
        assert is_drawn(app, "y", " autopilot", "escape or n", " cancel")
        await pilot.press("n", "j", "O")
        await until(pilot, lambda: isinstance(app.focused, Input), "the field of the reason")
        assert question_keys(app) == "enter override\nescape cancel", "letters are the reason's"
        assert is_drawn(app, "enter", " override", "escape", " cancel")
        await pilot.press("tab")
        await until(pilot, lambda: "y override" in question_keys(app), "the keys outside of the field")


@pytest.mark.usefixtures("recorded_runs")
async def test_a_question_names_rebound_keys_as_they_are_bound(runs_file: RunsFile) -> None:
    personal = Personal(None, {}, {"confirm.yes": "f2", "confirm.cancel": "f3"})
    app = RoomApp(runs_file, runs_file.runs_dir, personal=personal)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("W")
        await until(pilot, lambda: question_keys(app) == "f2 autopilot\nf3 cancel", "the person's keys")


@pytest.mark.usefixtures("recorded_runs")
async def test_the_tree_says_which_fix_an_override_would_apply(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("j", "4")
        await pilot.pause()
        scene = app.scene
        assert scene
        assert scene.position
        assert scene.override, "the baseline's gate has passed, so its fixes are locked"
        scene = replace(scene, position=replace(scene.position, actions=("override",)))
        app.screen.query_one(DecisionTreePane).show(scene)
        text = str(app.screen.query_one(DecisionTreePane).query_one(SteadyText).render())
        assert "O  Fix 1, Temperature: loss.temperature = 0.05; locked, so with a written reason" in text


@pytest.mark.usefixtures("recorded_runs")
async def test_another_run_is_read_from_its_first_line(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=(80, 14)) as pilot:
        await pilot.press("3")
        scroll = app.screen.query_one(GatesPane).query_one(VerticalScroll)
        await pilot.press("end")
        await until(pilot, lambda: scroll.scroll_y > 0, "the end")
        app.poll()
        await pilot.pause()
        assert scroll.scroll_y > 0, "the same run stays where it was read"
        await pilot.press("j")
        await until(pilot, lambda: scroll.scroll_y == 0, "the top")


@pytest.mark.usefixtures("recorded_runs")
async def test_an_evaluation_beside_a_training_says_that_its_latency_is_the_machines(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.pause()
        scene = app.scene
        assert scene
        assert scene.selected
        calm = replace(scene, views=())
        assert "P95" not in prepare("evaluate", calm, app.actions).plan[0]
        busy = replace(scene, views=(replace(scene.selected, status=Status.RUNNING),))
        assert "P95 is measured while mamba_s-0001 runs" in prepare("evaluate", busy, app.actions).plan[0]
        assert "P95" not in prepare("align", busy, app.actions).plan[0]


@pytest.mark.parametrize(("size", "named"), [((80, 24), False), ((160, 45), True)])
@pytest.mark.usefixtures("recorded_runs")
async def test_an_undo_leaves_room_for_the_state(runs_file: RunsFile, size: tuple[int, int], named: bool) -> None:
    """However long the title of the fix is that can be undone."""
    title = "A residual over the context mean, with its temperature halved and the batch doubled"
    app = open_app(runs_file)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert app.scene is not None
        undo = Decision(who="person", action="restart", fix=title)
        strip = app.screen.query_one(StatusStrip)
        strip.scene = replace(app.scene, undo=undo, undo_left_s=9.0)
        words = str(strip.render())
        assert "u undoes" in words[: size[0]]
        assert "FINISHED" in words[: size[0]]
        assert "MISSED" in words[: size[0]]
        assert (title[:20] in words) is named


@pytest.mark.usefixtures("recorded_runs")
async def test_the_strip_never_shows_a_part_of_a_number_and_keeps_the_eta_before_what_bounds_it(
    runs_file: RunsFile,
) -> None:
    """`AMN 0` of `AMN 0.565`, cut off by the edge, reads as a number of its own."""
    app = open_app(runs_file)
    async with app.run_test(size=(200, 24)) as pilot:
        await pilot.pause()
        scene = app.scene
        assert scene is not None
        assert scene.selected is not None
        run = replace(scene.selected, status=Status.RUNNING, reason="")
        strip = app.screen.query_one(StatusStrip)
        app.screen.set_reactive(RoomScreen.scene, None)
        told = replace(scene, selected=run, unread=12)
        strip.scene = told
        whole = str(strip.render()).split()
        assert {"floor", "eta", "AMN"} <= {*whole}
        for width in range(130, 29, -4):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            strip.scene = replace(told)
            words = str(strip.render())
            assert len(words) <= max(width - 2, 27), width
            assert all(word in {*whole, "!12", "@2"} for word in words.split()), words
            assert ("eta" in words) or "AMN" not in words, words
            assert width < 80 or "eta" in words, words


@pytest.mark.usefixtures("recorded_runs")
async def test_the_strip_says_why_a_run_has_failed_before_what_bounds_it(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        scene = app.scene
        assert scene is not None
        assert scene.selected is not None
        strip = app.screen.query_one(StatusStrip)
        app.screen.set_reactive(RoomScreen.scene, None)
        for status, is_said in ((Status.FAILED, True), (Status.FINISHED, False)):
            run = replace(scene.selected, status=status, reason="out of memory at step 70")
            strip.scene = replace(scene, selected=run, unread=3)
            words = str(strip.render())
            assert ("out of memory" in words) is is_said
            assert ("AMN" in words) is not is_said
