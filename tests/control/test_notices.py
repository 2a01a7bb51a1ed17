"""`lvm-tui watch`: what happens is said once, and the person's command gets it as data."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from person import LONG, Person
from processes import wait_until
from recorded import AMN_HISTORY, make_spec, make_view, missed_mamba, run_events, write_run

from engine.run.convert import ConfigError
from engine.run.directory import Exit, is_locked
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.alerts import alerts_since, look
from tui.control.journal import Decision, Journal
from tui.control.news import News
from tui.control.noticed import Alert
from tui.control.pilot_seat import LOCK, PilotSeat
from tui.control.probe.record import ProbeReport, ProbeState
from tui.control.watcher import Watcher
from tui.notices import Notifier, follow_alerts, watch


def test_what_was_there_is_no_news_and_what_comes_is_told_once(tmp_path: Path) -> None:
    missed_mamba(tmp_path)
    spec = make_spec("amn", 2)
    run = write_run(tmp_path, spec, run_events(spec, AMN_HISTORY[:1]))
    alerts = follow_alerts(Watcher(tmp_path, 60.0), Journal(tmp_path), lambda: True)
    assert next(alerts) is None
    more = write_run(tmp_path / "later", spec, run_events(spec, AMN_HISTORY[:2]))
    run.events_file.write_bytes(more.events_file.read_bytes())
    told = next(alerts)
    assert told is not None
    assert (told.run, told.title) == ("amn-0002", "val_cosine@2 PASSED")
    assert next(alerts) is None
    assert next(alerts) is None


def test_a_run_that_had_ended_before_its_first_look_is_told(tmp_path: Path) -> None:
    missed_mamba(tmp_path)
    alerts = follow_alerts(Watcher(tmp_path, 60.0), Journal(tmp_path), lambda: True)
    assert next(alerts) is None, "what was there at first"
    spec = make_spec("amn", 2)
    run = write_run(tmp_path, spec, [], ended=Exit(code=1, kind="exited", last_line="RuntimeError: at once"))
    told = next(alerts)
    assert told is not None
    assert (told.run, told.title) == (run.id, "FAILED")
    assert "RuntimeError: at once" in told.text
    assert next(alerts) is None, "once"


def test_the_command_gets_what_happened_as_data_and_no_shell_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "told"
    code = "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(os.environ['LVM_TEXT'])"
    notifier = Notifier([sys.executable, "-c", code, str(out)], pytest.fail)
    notifier.tell(Alert("mamba_s-0001", "FAILED", "$(touch owned); \x1b]0;owned\x07 `id`", "error"))
    wait_until(lambda: out.exists() and out.read_text())
    assert out.read_text() == "$(touch owned);  `id`"
    wait_until(lambda: (notifier.tidy(), not notifier._running)[1])


def test_a_command_that_cannot_be_started_is_named_once() -> None:
    complaints: list[str] = []
    notifier = Notifier(["/nonexistent/notify"], complaints.append)
    for _ in range(3):
        notifier.tell(Alert("r", "t", "x", "error"))
    assert len(complaints) == 1
    assert "/nonexistent/notify" in complaints[0]


def test_it_ends_when_nothing_is_alive_any_more(room: Person, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no run is alive"):
        watch(room.actions, until_idle=True)
    room.engine[:] = LONG
    run = room.start("--epochs", "40", "--epoch-s", "0.05")
    watch(room.actions, until_idle=True)
    assert f"{run.id}: FINISHED" in capsys.readouterr().out
    assert room.view(run).status is Status.FINISHED


@pytest.mark.parametrize(
    ("state", "recommendation", "fix", "text", "severity"),
    [
        ("done", ["fix 6 helps: +0.21", "more"], 6, "fix 6 helps: +0.21", "information"),
        ("done", ["no fix helps"], 0, "no fix helps", "warning"),
        ("stopped", [], 0, "ended before its time; a probe goes on with it", "warning"),
    ],
)
def test_a_probe_that_ended_is_told_once_with_what_it_recommends(
    state: ProbeState, recommendation: list[str], fix: int, text: str, severity: str
) -> None:
    spec = make_spec()
    run = make_view(spec, run_events(spec, [0.1, 0.3]))
    before = look(run)
    running = ProbeReport(run=run.id, metric="val_cosine", epoch=2, bar=0.5, seconds=12.0)
    run.probe = running
    assert alerts_since(before, run) == [], "it is under way"
    run.probe = msgspec.structs.replace(running, state=state, recommendation=recommendation, fix=fix)
    assert alerts_since(before, run) == [Alert(run.id, "PROBE", text, severity)]  # type: ignore[arg-type]
    assert alerts_since(look(run), run) == []


def test_what_autopilots_do_is_news_whoever_offers_their_seat(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    did = Decision(
        who="autopilot", action="restart", run="a-0001", patch={"loss.temperature": 0.05}, evidence=["missed"]
    )
    journal.close(journal.record(did), child="a-0002")
    news = News(Watcher(tmp_path, 60.0), journal)
    assert news.poll()
    assert list(news.alerts()) == [], "what was there is no news"
    journal.close(journal.record(msgspec.structs.replace(did, id="second")), child="a-0003")
    journal.close(journal.record(Decision(who="autopilot", action="start", run="amn")), child="amn-0004")
    journal.close(journal.record(Decision(who="person", action="stop", run="a-0001")))
    journal.close(journal.record(Decision(who="cli", action="autopilot", run="a-0001")), detail="max_runs = 1")
    assert news.poll(), "the journal has grown"
    assert list(news.alerts()) == [
        Alert("a-0001", "AUTOPILOT ACTED", "restart → a-0003 with loss.temperature = 0.05 (missed)", "information"),
        Alert("amn-0004", "AUTOPILOT ACTED", "start → amn-0004", "information"),
        Alert("a-0001", "AUTOPILOT OVER", "max_runs = 1", "warning"),
    ]
    assert not news.poll()
    assert list(news.alerts()) == []


def test_a_watch_with_an_autopilot_tells_each_step_and_its_end_and_the_command_too(
    room: Person, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "2", "--values", "0.45,0.49"]
    told = tmp_path / "told"
    code = "import os, sys; open(sys.argv[1], 'a').write(os.environ['LVM_TITLE'] + '\\n')"
    limits = msgspec.structs.replace(room.file.autopilot, allow=["restart"], max_runs=1)
    notify = msgspec.structs.replace(room.file.room, notify=[sys.executable, "-c", code, str(told)])
    file = msgspec.structs.replace(room.file, autopilot=limits, room=notify)
    actions = Actions(file, file.runs_dir, "cli")
    watch(actions, seat=PilotSeat(actions, room.view(run), room.views(), "a test"))
    said = capsys.readouterr().out
    assert said.count("AUTOPILOT ACTED: restart → mamba_s-0002 with loss.temperature = 0.05") == 1
    assert said.splitlines()[-1].endswith("AUTOPILOT OVER: it has started 1 runs; max_runs = 1")
    wait_until(lambda: told.exists() and "AUTOPILOT OVER" in told.read_text())
    assert "AUTOPILOT ACTED" in told.read_text()
    entries = [entry for entry in room.actions.journal.read() if entry.action == "autopilot"]
    assert [(entry.who, entry.phase, entry.run) for entry in entries] == [
        ("cli", "intent", run.id),
        ("cli", "done", run.id),
    ]
    assert not is_locked(run.path / LOCK)
