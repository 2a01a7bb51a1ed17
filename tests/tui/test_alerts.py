"""The list of what has happened: whole, newest first, and a way to each run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from recorded import make_spec, make_view, missed_mamba, passed_amn, run_events, stamp, write_run
from recorded_report import eval_report

from engine.run.directory import Exit
from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.control.alerts import history
from tui.control.journal import Decision
from tui.panes.status_strip import StatusStrip
from tui.screens.alerts import AlertsScreen


def test_history_holds_gates_evaluations_ends_and_autopilots_newest_first() -> None:
    spec = make_spec()
    run = make_view(spec, run_events(spec, [0.1, 0.3]))
    report = msgspec.structs.replace(eval_report(), created="2033-05-18T03:33:20+00:00")
    run.evals = {"smoke": report}
    did = Decision(t=1.9e9, who="autopilot", action="stop", phase="done", run=run.id)
    person = Decision(t=1.95e9, who="person", action="stop", phase="done", run=run.id)
    alerts = history([run], [did, person])
    assert [alert.t for alert in alerts] == sorted((alert.t for alert in alerts), reverse=True)
    titles = [alert.title for alert in alerts]
    assert titles[:2] == ["EVAL smoke", "AUTOPILOT ACTED"]
    assert "val_cosine@2 MISSED" in titles
    gate = next(alert for alert in alerts if alert.title == "val_cosine@2 MISSED")
    assert gate.t == run.state.gates["val_cosine@2"].t
    assert len(history([run], [did] * 500, most=20)) == 20


async def test_the_list_says_what_happened_while_nobody_looked_and_enter_goes_there(runs_file: RunsFile) -> None:
    runs = Path(runs_file.runs_dir)
    missed_mamba(runs)
    passed_amn(runs)
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert isinstance(app.screen, AlertsScreen)
        rows = [str(app.screen._row(alert)) for alert in app.screen._alerts]
        assert any("mamba_s-0001: val_cosine@2 MISSED" in row for row in rows)
        assert any("amn-0002: val_cosine@2 PASSED" in row for row in rows)
        place = next(number for number, alert in enumerate(app.screen._alerts) if alert.run == "mamba_s-0001")
        await pilot.press(*["j"] * place, "enter")
        await pilot.pause()
        assert not isinstance(app.screen, AlertsScreen)
        assert app.selected_id == "mamba_s-0001"


async def test_news_is_counted_until_the_list_is_opened(runs_file: RunsFile) -> None:
    runs = Path(runs_file.runs_dir)
    missed_mamba(runs)
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(160, 45)) as pilot:
        strip = app.screen.query_one(StatusStrip)
        assert "new" not in str(strip.render()), "what was there at first is no news"
        spec = make_spec(number=2)
        write_run(runs, spec, stamp(run_events(spec, [0.1, 0.2])))
        app.poll()
        await pilot.pause()
        assert f"! {app.announcer.unread} new" in str(strip.render())
        assert app.announcer.unread > 0
        await pilot.press("exclamation_mark", "escape")
        app.poll()
        await pilot.pause()
        assert "new" not in str(strip.render())


async def test_an_empty_list_says_what_will_stand_there(runs_file: RunsFile) -> None:
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert "Nothing has happened yet" in str(app.screen.query("Static").first().render())


@pytest.mark.parametrize("plain", [False, True])
async def test_hostile_words_of_a_run_are_text(runs_file: RunsFile, plain: bool) -> None:
    run = missed_mamba(Path(runs_file.runs_dir))
    ended = Exit(code=1, kind="exited", last_line="[@click=app.exit]x[/] \x1b]0;owned\x07")
    run.exit_file.write_bytes(msgspec.json.encode(ended).ljust(4096))
    app = RoomApp(runs_file, runs_file.runs_dir, plain=plain)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert isinstance(app.screen, AlertsScreen)
        rows = "\n".join(str(app.screen._row(alert)) for alert in app.screen._alerts)
        assert "[@click=app.exit]x[/]" in rows
        assert "\x1b" not in rows
        assert not plain or rows.isascii()
