"""The shelf: what is said of an ended run from its brief is what its own files say, and nothing stale is ever said."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from recorded import (
    AMN_HISTORY,
    BEGAN,
    MAMBA_HISTORY,
    eval_report,
    make_spec,
    missed_mamba,
    passed_amn,
    run_events,
    stamp,
    write_run,
)
from recorded_preflight import preflight_report

from engine.run.directory import Exit, RunDirectory, take_lock
from engine.run.events import NonFiniteFound, WarningRaised, encode_event
from engine.run.state import Status
from tui.control import watcher as watcher_module
from tui.control.alerts import history, look
from tui.control.journal import Journal
from tui.control.labels import write_note
from tui.control.listing import Listing
from tui.control.news import News
from tui.control.report import status_record, status_table
from tui.control.run_facts import NUMBERS, number_of
from tui.control.run_filter import parse_filter
from tui.control.shelf import Shelf
from tui.control.views import RECORD, RunView
from tui.control.watcher import Watcher
from tui.panes.run_rows import cells_of

ENDED = Exit(code=0, kind="exited", wall_s=240.0)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Runs of every kind of ending, long enough ended that nothing of them can still change unseen."""
    folder = tmp_path / "runs"
    missed_mamba(folder)
    passed_amn(folder)
    failed = make_spec("mamba_s", 3)
    write_run(folder, failed, run_events(failed, [0.1]), ended=Exit(code=1, kind="exited", last_line="ValueError: no"))
    lost = make_spec("mamba_s", 4)
    write_run(folder, lost, run_events(lost, MAMBA_HISTORY))
    diverged = make_spec("mamba_s", 5)
    nan = NonFiniteFound(what="loss", value="nan", epoch=2, step=30)
    write_run(folder, diverged, stamp([*run_events(diverged, [0.4]), nan]), ended=ENDED)
    blocked = make_spec("mamba_s", 6)
    leaks = preflight_report(leaks=True)
    write_run(folder, blocked, run_events(blocked, [], preflight=leaks), ended=ENDED, preflight=leaks)
    write_note(RunDirectory(folder / "amn-0002"), "the one to beat #keep")
    return folder


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of tests are younger than what is taken for settled."""
    monkeypatch.setattr("tui.control.marks.SETTLED_NS", 0)


def shelved(runs_dir: Path) -> Watcher:
    """A watcher that finds every ended run on the shelf."""
    Watcher(runs_dir, 60.0, Shelf(runs_dir)).catch_up()
    time.sleep(0.01)
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.poll()
    return watcher


def facts(view: RunView) -> dict[str, object]:
    """What lists, filters, alerts and gates take from a run."""
    listing = Listing(parse_filter("gate:missed | val_cosine>0.5"))
    return {
        "cells": {name: cell.markup for name, cell in cells_of(view, listing, now=BEGAN + 7200).items()},
        "numbers": {name: number_of(view, name) for name in NUMBERS},
        "gates": [view.gate_judgement(gate) for gate in view.spec.gates],
        "is evaluated": parse_filter("is:evaluated").finds(view),
        "seen": look(view),
        "alerts": history([view], []),
        "fate": (view.status, view.reason, view.life, view.note, view.archived, view.spec),
        "epochs": (view.latest, view.best, list(view.curve)),
    }


def test_a_shelved_run_says_in_lists_what_its_files_say(runs_dir: Path) -> None:
    read = Watcher(runs_dir, 60.0)
    read.catch_up()
    put = shelved(runs_dir)
    assert list(put.views) == list(read.views)
    assert len(put.views) == 6
    for run_id, view in put.views.items():
        assert facts(view) == facts(read.views[run_id])
        assert not view.is_read, "lists do not open a run"


def test_a_shelved_run_is_read_when_it_is_opened(runs_dir: Path) -> None:
    read = Watcher(runs_dir, 60.0)
    read.catch_up()
    for run_id, view in shelved(runs_dir).views.items():
        for name in RECORD:
            assert getattr(view, name) == getattr(read.views[run_id], name), name
        assert view.is_read
    everything = list(shelved(runs_dir).views.values())
    assert status_record(everything) == status_record(list(read.views.values()))


def test_a_name_that_no_run_has_is_still_an_error(runs_dir: Path) -> None:
    view = shelved(runs_dir).views["amn-0002"]
    with pytest.raises(AttributeError):
        view.stat  # type: ignore[attr-defined]  # noqa: B018


def annotate(run: RunDirectory) -> None:
    write_note(run, "another word")


def evaluate(run: RunDirectory) -> None:
    run.evals.mkdir(exist_ok=True)
    (run.evals / "smoke-e0009.json").write_bytes(msgspec.json.encode(eval_report("smoke-e0009", epoch=9)))


def write_in_place(run: RunDirectory) -> None:
    with run.events_file.open("ab") as file:
        file.write(encode_event(WarningRaised(seq=999, t=BEGAN, message="late words")))


CHANGES: list[tuple[Callable[[RunDirectory], None], Callable[[RunView], bool]]] = [
    (annotate, lambda view: view.note == "another word"),
    (evaluate, lambda view: "smoke-e0009" in view.evals),
    (write_in_place, lambda view: "late words" in view.state.warnings),
]


@pytest.mark.parametrize(("change", "shows"), CHANGES)
@pytest.mark.parametrize("is_open", [False, True])
def test_what_happens_to_a_shelved_run_is_seen(
    runs_dir: Path, change: Callable[[RunDirectory], None], shows: Callable[[RunView], bool], *, is_open: bool
) -> None:
    Watcher(runs_dir, 60.0, Shelf(runs_dir)).catch_up()
    if not is_open:
        change(RunDirectory(runs_dir / "mamba_s-0001"))
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.poll()
    if is_open:
        change(RunDirectory(runs_dir / "mamba_s-0001"))
        assert watcher.poll()
    assert shows(watcher.views["mamba_s-0001"])


def test_a_run_that_was_resumed_meanwhile_lives(runs_dir: Path) -> None:
    watcher = shelved(runs_dir)
    run = RunDirectory(runs_dir / "mamba_s-0004")
    lock = take_lock(run.lock_file)
    assert lock is not None
    run.processes_file.write_bytes(run.processes_file.read_bytes())
    for opened in (watcher, Watcher(runs_dir, 60.0, Shelf(runs_dir))):
        opened.poll()
        assert opened.views[run.id].status.is_alive
        assert opened.views[run.id].brief is None
    os.close(lock)
    watcher.poll()
    assert watcher.views[run.id].status is Status.LOST


def test_only_what_is_new_is_told_of_a_shelved_run(runs_dir: Path) -> None:
    watcher = shelved(runs_dir)
    news = News(watcher, Journal(runs_dir))
    news.poll()
    assert list(news.alerts()) == []
    evaluate(RunDirectory(runs_dir / "amn-0002"))
    news.poll()
    assert [(alert.run, alert.title) for alert in news.alerts()] == [("amn-0002", "EVAL smoke-e0009")]
    assert list(news.alerts()) == []


def test_what_nobody_looks_at_is_let_go_of(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "KEPT_POINTS", 0)
    monkeypatch.setattr(watcher_module, "KEPT_RUNS", 2)
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.catch_up()
    watcher.poll()
    assert sum(view.is_read for view in watcher.views.values()) == 2
    for view in watcher.views.values():
        assert view.state.starts == 1
    watcher.poll()
    assert sum(view.is_read for view in watcher.views.values()) == 2


def test_a_long_record_that_is_opened_is_read_bit_by_bit(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = shelved(runs_dir)
    monkeypatch.setattr(watcher_module, "EVENT_BUDGET", 1000)
    view = watcher.views["mamba_s-0001"]
    assert len(view.state.epochs) < len(MAMBA_HISTORY)
    assert view.catching_up
    while view.catching_up:
        watcher.poll()
    assert len(view.state.epochs) == len(MAMBA_HISTORY)


def test_a_pass_has_an_end_and_the_living_come_first(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "PASS_S", 0.0)
    run = RunDirectory(runs_dir / "mamba_s-0001")
    lock = take_lock(run.lock_file)
    assert lock is not None
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    monkeypatch.setattr(time, "monotonic", iter(float(second) for second in range(1000)).__next__)
    watcher.poll()
    unread = [run_id for run_id, view in watcher.views.items() if view.catching_up]
    assert set(unread) == set(watcher.views), "no time at all: all are listed, none is read"
    monkeypatch.setattr(watcher_module, "PASS_S", 1.5)
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.poll()
    assert [run_id for run_id, view in watcher.views.items() if not view.catching_up] == ["mamba_s-0001"]
    os.close(lock)


def test_a_damaged_shelf_is_made_anew(runs_dir: Path) -> None:
    shelf = Shelf(runs_dir)
    shelved(runs_dir)
    assert len(shelf.entries()) == 6
    shelf.file.write_bytes(b"no database" * 100)
    assert shelf.entries() == {}
    watcher = shelved(runs_dir)
    watcher.catch_up()
    assert len(Shelf(runs_dir).entries()) == 6
    with sqlite3.connect(shelf.file) as changed:
        changed.execute("UPDATE run SET entry = ? WHERE id = 'amn-0002'", (b"\xc1",))
    assert len(Shelf(runs_dir).entries()) == 5
    with sqlite3.connect(shelf.file) as changed:
        changed.execute("UPDATE run SET made_by = 'another version'")
    assert Shelf(runs_dir).entries() == {}


def test_a_shelf_is_the_persons_alone_and_a_readonly_room_makes_none(runs_dir: Path) -> None:
    Watcher(runs_dir, 60.0, Shelf(runs_dir, readonly=True)).catch_up()
    assert not Shelf(runs_dir).file.exists()
    shelved(runs_dir)
    assert Shelf(runs_dir).file.stat().st_mode & 0o077 == 0


def test_a_deleted_run_leaves_the_shelf(runs_dir: Path) -> None:
    watcher = shelved(runs_dir)
    (runs_dir / "amn-0002").rename(runs_dir / "put aside")
    watcher.poll()
    assert "amn-0002" not in watcher.views
    assert "amn-0002" not in Shelf(runs_dir).entries()


def test_a_run_in_another_folder_of_the_same_name_is_another(runs_dir: Path, tmp_path: Path) -> None:
    shelved(runs_dir)
    spec = make_spec("amn", 2)
    write_run(tmp_path / "other", spec, run_events(spec, AMN_HISTORY[:1]), ended=ENDED)
    watcher = Watcher(tmp_path / "other", 60.0, Shelf(tmp_path / "other"))
    watcher.catch_up()
    assert len(watcher.views["amn-0002"].curve) == 1


def test_what_could_not_be_put_while_another_room_wrote_is_put_later(runs_dir: Path) -> None:
    shelved(runs_dir)
    shelf = Shelf(runs_dir)
    with sqlite3.connect(shelf.file) as emptied:
        emptied.execute("DELETE FROM run")
    busy = sqlite3.connect(shelf.file, isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.catch_up()
    assert all(view.brief is not None for view in watcher.views.values())
    busy.execute("ROLLBACK")
    busy.close()
    assert Shelf(runs_dir).entries() == {}
    watcher.poll()
    assert len(Shelf(runs_dir).entries()) == 6


def test_of_many_ended_runs_each_is_looked_at_within_some_passes(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "LOOKS", 2)
    monkeypatch.setattr(watcher_module, "FULL_LOOKS", 2)
    watcher = shelved(runs_dir)
    for number, run_id in enumerate(watcher.views):
        write_note(RunDirectory(runs_dir / run_id), f"note {number}")
    seen = []
    for _ in range(3):  # of six runs two a pass
        watcher.poll()
        seen.append(sum(view.note.startswith("note ") for view in watcher.views.values()))
    assert seen == [2, 4, 6]
    (runs_dir / "amn-0002").rename(runs_dir / "put aside")
    watcher.poll()
    assert "amn-0002" not in watcher.views, "one that is gone is missed at once"


def test_who_asks_once_reads_nothing_of_what_is_on_the_shelf_and_misses_nothing_written_since(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = status_table([*shelved(runs_dir).views.values()])
    asked: list[str] = []
    read_in = Watcher._read_in
    monkeypatch.setattr(Watcher, "_read_in", lambda watcher, view: (asked.append(view.id), read_in(watcher, view)))
    monkeypatch.setattr(watcher_module, "FULL_LOOKS", 1)
    once = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    once.catch_up()
    assert status_table([*once.views.values()]) == table
    assert asked == []
    folders = {path: os.stat(path).st_mtime_ns for path in runs_dir.iterdir()}
    for run_id in ("mamba_s-0001", "amn-0002"):
        with open(runs_dir / run_id / "events.jsonl", "ab") as events:
            events.write(encode_event(WarningRaised(message="said afterwards")))
    assert {path: os.stat(path).st_mtime_ns for path in runs_dir.iterdir()} == folders, "in place: only the files tell"
    once = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    once.catch_up()
    assert [run_id for run_id, view in once.views.items() if "said afterwards" in view.state.warnings] == [
        "mamba_s-0001",
        "amn-0002",
    ]
