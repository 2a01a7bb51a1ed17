"""`lvm-tui watch`: what happens is said once, and the person's command gets it as data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from person import LONG, Person
from processes import wait_until
from recorded import AMN_HISTORY, make_spec, missed_mamba, run_events, write_run

from engine.run.convert import ConfigError
from engine.run.state import Status
from tui.control.alerts import Alert
from tui.control.views import Watcher
from tui.notices import Notifier, follow_alerts, watch


def test_what_was_there_is_no_news_and_what_comes_is_told_once(tmp_path: Path) -> None:
    missed_mamba(tmp_path)
    spec = make_spec("amn", 2)
    run = write_run(tmp_path, spec, run_events(spec, AMN_HISTORY[:1]))
    alerts = follow_alerts(Watcher(tmp_path, 60.0), lambda: True)
    assert next(alerts) is None
    more = write_run(tmp_path / "later", spec, run_events(spec, AMN_HISTORY[:2]))
    run.events_file.write_bytes(more.events_file.read_bytes())
    told = next(alerts)
    assert told is not None
    assert (told.run, told.title) == ("amn-0002", "val_cosine@2 PASSED")
    assert next(alerts) is None
    assert next(alerts) is None


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
    watcher = Watcher(room.file.runs_dir, 60.0)
    with pytest.raises(ConfigError, match="no run is alive"):
        watch(watcher, [], until_idle=True)
    room.engine[:] = LONG
    run = room.start("--epochs", "40", "--epoch-s", "0.05")
    watch(watcher, [], until_idle=True)
    assert f"{run.id}: FINISHED" in capsys.readouterr().out
    assert room.view(run).status is Status.FINISHED
