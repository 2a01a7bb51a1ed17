"""The journal: intent before act, whole records only, and what can still be undone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.control.journal import Decision, Journal

RESTART = Decision(who="person", action="restart", run="a-0001", fix="Temperature", patch={"loss.temperature": 0.05})


def test_an_intent_and_its_outcome_share_an_id(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs")
    journal.record(RESTART)
    journal.close(RESTART, child="a-0002")
    intent, outcome = journal.read()
    assert (intent.phase, outcome.phase) == ("intent", "done")
    assert intent.id == outcome.id
    assert (outcome.child, outcome.patch, outcome.fix) == ("a-0002", {"loss.temperature": 0.05}, "Temperature")
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_failure_is_recorded_with_its_reason(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record(RESTART)
    assert journal.close(RESTART, failed="no disk").detail == "no disk"
    assert [entry.phase for entry in journal.read()] == ["intent", "failed"]


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "nowhere").read() == []


@given(st.integers(0, 10_000), st.binary(max_size=30))
def test_a_torn_record_costs_no_other(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"))
    journal.record(RESTART)
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: cut % len(whole)] + noise.replace(b"\n", b""))
    after = journal.record(Decision(who="cli", action="stop", run="a-0002"))
    entries = journal.read()
    assert entries[0] == RESTART
    assert entries[-1] == after


@pytest.mark.parametrize(
    "line", [b"[" * 50_000, b'{"who":"nobody"}', b'{"who":"cli","action":"stop","run":"\xff"}', b"1"]
)
def test_a_damaged_line_is_left_out(tmp_path: Path, line: bytes) -> None:
    journal = Journal(tmp_path)
    journal.path.write_bytes(line + b"\n" + msgspec.json.encode(RESTART) + b"\n")
    assert journal.read() == [RESTART]


def test_an_intent_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: real(fd, data[:40]))
        with pytest.raises(OSError, match="No space left"):
            Journal(tmp_path).record(RESTART)
    assert Journal(tmp_path).read() == []


def restart(journal: Journal, child: str, *, age_s: float = 0.0) -> Decision:
    intent = journal.record(Decision(who="person", action="restart", run="a-0001"))
    done = msgspec.structs.replace(intent, phase="done", child=child, t=time.time() - age_s)
    return journal.record(done)


def undo(journal: Journal, child: str, *, failed: str = "") -> None:
    intent = journal.record(Decision(who="person", action="undo", run="a-0001", child=child))
    journal.close(intent, child=child, failed=failed)


def test_the_newest_restart_can_be_undone_while_it_is_fresh(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.undoable(10) is None
    restart(journal, "a-0002")
    newest = restart(journal, "a-0003")
    assert journal.undoable(10) == newest


def test_an_old_restart_cannot_be_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    restart(journal, "a-0002", age_s=11)
    assert journal.undoable(10) is None
    assert journal.undoable(12) is not None


def test_a_restart_from_the_future_cannot_be_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    restart(journal, "a-0002", age_s=-100)
    assert journal.undoable(10) is None


def test_a_restart_is_undone_once_and_the_one_before_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    restart(journal, "a-0002")
    restart(journal, "a-0003")
    undo(journal, "a-0003")
    assert journal.undoable(10) is None


def test_an_undo_is_under_way_from_its_intent_to_its_end_as_long_as_its_owner_lives(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    restart(journal, "a-0002")
    assert journal.undoing() is None
    intent = journal.record(Decision(who="person", action="undo", run="a-0001", child="a-0002"))
    assert journal.undoing() == intent
    journal.close(intent, child="a-0002")
    assert journal.undoing() is None
    restart(journal, "a-0003")
    undo(journal, "a-0003", failed="it has not ended")
    assert journal.undoing() is None
    journal.record(Decision(who="person", action="undo", run="a-0001", child="a-0003", owner="boot/1/1"))
    assert journal.undoing() is None, "nobody is at it any more"


def test_an_undo_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    newest = restart(journal, "a-0002")
    undo(journal, "a-0002", failed="it has not ended")
    assert journal.undoable(10) == newest


def test_a_restart_that_failed_cannot_be_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close(journal.record(RESTART), failed="no disk")
    assert journal.undoable(10) is None
