"""Rows 23 to 27, 30 and 46: whatever a file holds is read or refused by name, in time, and without a traceback."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import corpora
import numpy as np
import pytest
from click.testing import CliRunner
from corpora import BAD_ARRAYS, BAD_JSONS, BAD_TOMLS, crc_line, damaged, npz
from fault_runs import Figure, Folder, Open, exit_of, python, state_of, times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import patience, wait_until
from pty_room import PtyRoom
from recorded import AMN_HISTORY, MAMBA_HISTORY, make_spec, run_events

from engine.cli import main
from engine.data.npz import open_npz
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, take_lock
from engine.run.event_file import EventReader, EventWriter, read_events
from engine.run.events import (
    WarningRaised,
    encode_event,
)
from engine.run.runs_file import load_runs
from engine.run.state import Status, fold
from engine.verbs.check import read_record
from tui.control.watcher import Watcher
from tui.widgets.line_index import LineIndex

LOOSE = settings(
    suppress_health_check=list(HealthCheck),
    max_examples=times(3000, 150),
    deadline=None,
    derandomize=times(0, 1) == 1,
)
SLOWEST_S = 5.0
"""For any input of the corpora; a megabyte of TOML is parsed in a second."""


FOUR_NUMBERS = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"


def refusal(read: Callable[[], object], file: Path) -> str:
    """The one line with which a file was refused, within the time; empty if it was read."""
    began, message = time.monotonic(), ""
    try:
        read()
    except ConfigError as error:
        message = str(error)
    took = time.monotonic() - began
    assert took < SLOWEST_S or took < patience(SLOWEST_S)
    assert not message or (file.name in message and len(message) < 8000)
    return message


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(23)
def test_an_archive_that_lies_is_refused_before_anything_is_allocated(tmp_path: Path, figure: Figure) -> None:
    archives = {name: npz([("contexts.npy", data)]) for name, data in BAD_ARRAYS.items() if name != "future version"}
    whole = corpora.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", bytes(4))
    archives["a key twice"] = npz([("a.npy", whole), ("b.npy", whole)]).replace(b"b.npy", b"a.npy")
    archives["bomb"], archives["encrypted"], archives["no archive"] = corpora.bomb(), corpora.encrypted(), b"PK\x03\x04"
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    path = tmp_path / "hostile.npz"
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), before[1]))
        for name, data in archives.items():
            path.write_bytes(data)
            assert refusal(lambda: open_npz(path), path), f"{name} was opened"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    figure(f"{len(archives)} of {len(archives)} refused by name with 256 MB to spend")


@pytest.mark.faults(23)
@given(
    data=damaged(npz([("a.npy", corpora.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", bytes(16)))]))
)
@LOOSE
def test_any_damage_to_an_archive_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(data)
    refusal(lambda: [np.asarray(array).sum() for array in open_npz(path).values()], path)


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(24)
def test_a_record_torn_at_any_byte_costs_no_other(tmp_path: Path, figure: Figure) -> None:
    events = run_events(make_spec(), MAMBA_HISTORY)[-4:]
    lines = [encode_event(event) for event in events]
    path = tmp_path / "events.jsonl"
    for cut in range(len(lines[-1]) + 1):
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        writer = EventWriter(path)
        after = writer.write(WarningRaised(message="after"))
        writer.close()
        kept = 4 if cut >= len(lines[-1]) - 1 else 3  # whole but for its newline is whole
        assert read_events(path) == [*events[:kept], after]
    figure(f"torn at {len(lines[-1]) + 1} bytes: 0 others lost")


@pytest.mark.faults(25)
def test_a_second_trainer_is_refused_and_forced_damage_is_shown(folder: Folder, figure: Figure) -> None:
    run = folder.prepare()
    lock = take_lock(run.lock_file)
    assert lock is not None
    refused = CliRunner().invoke(main, ["train", "--run-dir", str(run.path)])
    os.close(lock)
    assert refused.exit_code == 2
    assert "its lock is held" in refused.stderr
    lines = [encode_event(event) for event in run_events(make_spec(), AMN_HISTORY)]
    torn = b"".join(lines[:5]) + lines[5][:40] + lines[6] + lines[7][:10] + b"\n" + b"".join(lines[8:])
    run.events_file.write_bytes(torn)  # two writers without a lock, each cutting into the other
    watcher = Watcher(folder.path, 60.0)
    watcher.catch_up()
    assert "2 records cannot be read" in watcher.views[run.id].reason
    assert [record.epoch for record in watcher.views[run.id].state.epochs] == [2, 3, 4]
    figure("refused by its lock; forced: 2 damaged records shown, the others kept")


@pytest.mark.faults(46)
@given(st.lists(st.one_of(corpora.event_bodies().map(crc_line), st.binary(max_size=300)), max_size=8))
@LOOSE
def test_any_events_fold_into_a_state(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"".join(lines))
    reader = EventReader(path)
    events, _ = reader.read()
    state = fold(events)
    assert [record.epoch for record in state.epochs] == sorted({record.epoch for record in state.epochs})
    assert not any(record.val_cosine is not None and not np.isfinite(record.val_cosine) for record in state.epochs)


# ── settings and histories ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(46)
def test_every_bad_runs_file_is_refused_in_a_line_that_names_it(tmp_path: Path, figure: Figure) -> None:
    path = tmp_path / "hostile.toml"
    for name, content in BAD_TOMLS.items():
        path.write_bytes(content)
        assert refusal(lambda: load_runs(path), path), f"{name} was taken"
    path.unlink()
    places = {"nothing": lambda: None, "folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}
    places["endless"] = lambda: path.symlink_to("/dev/zero")
    for name, make in places.items():
        make()
        assert refusal(lambda: load_runs(path), path), f"{name} was taken"
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    figure(f"{len(BAD_TOMLS) + len(places)} of {len(BAD_TOMLS) + len(places)} bad runs.toml")


@pytest.mark.faults(46)
@given(corpora.tomls())
@LOOSE
def test_any_settings_are_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    refusal(lambda: load_runs(path), path)


@pytest.mark.faults(46)
def test_every_bad_history_is_refused_in_a_line_that_names_it(tmp_path: Path, figure: Figure) -> None:
    path = tmp_path / "history.json"
    for name, content in BAD_JSONS.items():
        path.write_bytes(content)
        assert refusal(lambda: read_record(path, 2), path), f"{name} was judged"
        done = CliRunner().invoke(main, ["check", "--history", str(path)])
        assert done.exit_code == 2
        assert done.stderr.count("\n") == 1
    figure(f"{len(BAD_JSONS)} of {len(BAD_JSONS)} bad histories")


@pytest.mark.faults(46)
@given(damaged(b'[{"epoch": 1, "val_cosine": 0.41}, {"epoch": 2, "val_cosine": 0.52, "lr": 1e-3, "time": 12.5}]'))
@LOOSE
def test_any_history_is_judged_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    refusal(lambda: read_record(path, 2), path)
    run = RunDirectory(path.parent)
    run.history_file = path
    run.read_history()


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(26)
def test_every_line_is_counted_over_39_rotations(tmp_path: Path, figure: Figure) -> None:
    log, counted, written = tmp_path / "output.log", 0, 0
    index = LineIndex(log)
    for rotation in range(40):
        with log.open("ab", buffering=0) as file:
            for block in range(10):
                file.write(b"".join(b"%d %d %d\n" % (rotation, block, line) for line in range(500)))
                written += 500
                index.poll()
        while index.behind:
            index.poll()
        counted += len(index)
        if rotation < 39:
            match rotation % 3:
                case 0:
                    log.rename(log.with_name(f"output.log.{rotation}"))
                case 1:
                    os.truncate(log, 0)  # copytruncate
                case 2:
                    log.unlink()
            index.poll()
    index.close()
    assert counted == written == 200_000
    figure("200,000 of 200,000 lines over 39 rotations")


KEYS = (("4", "4 Decision tree"), ("5", "4 Decision tree"), ("?", "UPPER CASE changes"), ("?", "4 Decision tree"))
"""Keys of the room, each with a text that it has drawn anew: to another pane and back, help and back."""
HOSTILE_LOG = (
    "import sys, time; out = sys.stdout.buffer\n"
    "out.write(b'\\xff\\xfe\\x00 not text\\n' * 1000); out.flush()\n"
    "for n in range(50): out.write(b'x' * (1 << 20))\n"
    "out.write(b'\\n'); out.flush()\n"
    "while True:\n    out.write(b'progress %d\\r' % time.monotonic_ns()); out.flush(); time.sleep(0.001)\n"
)


def seconds_to_paint(room: PtyRoom) -> list[float]:
    """How long each of 20 keys took, with pauses in which the room comes to rest."""
    taken = []
    for key, text in KEYS * 5:
        room.read(0.2)
        taken.append(room.seconds_to_paint(key, text))
    return taken


@pytest.mark.faults(27)
def test_keys_are_answered_whatever_the_log_is_made_of(folder: Folder, open_room: Open, figure: Figure) -> None:
    calm_run = folder.launch(argv=python("import time; print('calm', flush=True); time.sleep(600)"))
    room = open_room()
    room.wait_drawn(calm_run.id)
    calm = seconds_to_paint(room)
    run = folder.launch(argv=python(HOSTILE_LOG))
    room.wait_drawn(run.id)  # the newest that is alive is the one to look at
    wait_until(lambda: run.log_file.stat().st_size > 50 << 20)
    room.read(1.0)
    before = memory_of(room.pid)
    hostile = seconds_to_paint(room)
    grown = memory_of(room.pid) - before
    assert grown < 20 << 20
    assert max(hostile) < max(1.0, 2.5 * max(calm))
    usual, over_calm = median(hostile), median(calm)
    assert usual < 1.5 * over_calm + 0.02, "the log is what keeps them waiting"
    figure(
        f"20 keys answered within {usual * 1000:.0f} ms (median) and {max(hostile) * 1000:.0f} ms (most), over a calm "
        f"log {over_calm * 1000:.0f} and {max(calm) * 1000:.0f} ms; memory +{max(0, grown) / 1e6:.0f} MB"
    )


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────────────

SHIFTED = """
import os, time
_real = time.time
def _shifted():
    try:
        return _real() + float(open(os.environ["LVM_TEST_CLOCK"]).read())
    except (OSError, ValueError):
        return _real()
time.time = _shifted
"""
"""A sitecustomize whose clock of the day is set by a file; the monotonic one is left alone, as a kernel does."""


@pytest.mark.faults(30)
@pytest.mark.parametrize("shift_s", [-3 * 3600, 86_400], ids=["3 h back", "a day ahead"])
def test_a_clock_that_is_set_in_a_run_makes_no_stall_and_no_false_duration(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure, shift_s: int
) -> None:
    site, clock = tmp_path / "site", tmp_path / "clock"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SHIFTED)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{Path(__file__).parent.parent.parent}")
    monkeypatch.setenv("LVM_TEST_CLOCK", str(clock))
    began = time.monotonic()
    run = folder.launch("--epochs", "14")
    watcher = Watcher(folder.path, stall_s=1.0)
    real, seen = time.time, set()
    wait_until(lambda: len(state_of(run).epochs) >= 3)
    watcher.catch_up()
    wait_until(lambda: watcher.poll() and len(watcher.views[run.id].state.epochs) >= 5)
    clock.write_text(str(shift_s))
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)

    def ended() -> bool:
        watcher.poll()
        seen.add(watcher.views[run.id].status)
        return watcher.views[run.id].status is Status.FINISHED

    wait_until(ended)
    lasted = time.monotonic() - began
    assert Status.STALLED not in seen
    assert exit_of(run).wall_s == pytest.approx(lasted, abs=1.0)
    events = read_events(run.events_file)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [record.epoch for record in state_of(run).epochs] == list(range(1, 15))
    assert abs(events[-1].t - events[0].t - shift_s) < 60, "the clock was set"
    figure(
        f"{shift_s / 3600:+.0f} h: duration within {abs(exit_of(run).wall_s - lasted):.1f} s, no stall, order by seq"
    )
