"""Events: a torn, damaged or foreign line is never a fact, however the bytes come."""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import MAMBA_HISTORY, make_record, make_spec, run_events

from engine.run.event_file import EventReader, EventWriter, read_events
from engine.run.events import (
    MAX_LINE,
    EpochEnded,
    Event,
    NonFiniteFound,
    RunFailed,
    RunStopped,
    StepLogged,
    WarningRaised,
    decode_event,
    encode_event,
    finite,
)

EVENTS = run_events(make_spec(), MAMBA_HISTORY, is_finished=True)
LINES = [encode_event(event) for event in EVENTS]


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def events() -> st.SearchStrategy[Event]:
    numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    return st.one_of(
        st.builds(lambda message: WarningRaised(message=message), texts()),
        st.builds(lambda message: RunFailed(message=message), texts()),
        st.builds(lambda value: EpochEnded(record=make_record(3, value)), numbers),
        st.builds(
            lambda what, epoch: NonFiniteFound(what=what, value="nan", epoch=epoch, step=epoch),
            texts(),
            st.integers(0, 2**53),
        ),
    )


def sealed(body: bytes) -> bytes:
    """A line with a right checksum, whatever it holds."""
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


@given(events())
def test_an_event_survives_its_line(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_a_recorded_run_has_every_line_whole() -> None:
    assert [decode_event(line) for line in LINES] == EVENTS


def test_a_number_that_is_not_finite_is_none() -> None:
    assert [finite(value) for value in (0.5, float("nan"), float("inf"), -float("inf"))] == [0.5, None, None, None]


def test_a_line_torn_at_any_byte_is_not_an_event() -> None:
    line = LINES[0]
    for cut in range(len(line) - 1):
        assert decode_event(line[:cut]) is None
        assert decode_event(line[:cut] + b"\n") is None
    assert decode_event(line[:-1]) == EVENTS[0]


@given(st.sampled_from(LINES), st.data())
def test_a_flipped_bit_is_noticed(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 2))
    damaged = bytearray(line)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    assert decode_event(bytes(damaged)) is None


@given(st.binary(max_size=200))
def test_noise_is_not_an_event(noise: bytes) -> None:
    assert decode_event(noise) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"run_paused"}',
        b'{"kind":"run_failed"}',
        b'{"kind":"run_failed","message":"\xff\xfe"}',
        b'{"kind":"epoch_ended","record":null}',
        b"[" * 100_000 + b"]",
        b'{"kind":"gate_judged","name":"g","epoch":2,"value":NaN,"bar":0.5,"verdict":"passed"}',
        b"null",
    ],
)
def test_a_whole_line_that_says_nothing_known_is_skipped_and_counted(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + sealed(body) + LINES[1])
    reader = EventReader(path)
    assert reader.read() == (EVENTS[:2], False)
    assert reader.skipped == 1


@settings(max_examples=60)
@given(st.lists(st.integers(0, sum(map(len, LINES))), max_size=12), st.integers(1, 4096))
def test_the_reader_yields_the_same_events_however_the_bytes_come(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], max_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    raw = b"".join(LINES)
    reader, found, last = EventReader(path), [], 0
    for cut in [*sorted(cuts), len(raw)]:
        with path.open("ab") as file:
            file.write(raw[last:cut])
        last = cut
        found += reader.read(max_bytes)[0]
    while reader.behind:
        found += reader.read(max_bytes)[0]
    assert found == EVENTS
    assert reader.skipped == 0


def test_a_damaged_line_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    damaged = LINES[1].replace(b'"t":', b'"u":')
    path.write_bytes(LINES[0] + damaged + LINES[2] + b"\0" * 512 + b"\n\n" + LINES[3])
    reader = EventReader(path)
    assert reader.read()[0] == [EVENTS[0], EVENTS[2], EVENTS[3]]
    assert reader.skipped == 2


def test_an_endless_line_is_skipped_without_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + b"x" * (4 * MAX_LINE) + b"\n" + LINES[1])
    reader = EventReader(path)
    found = reader.read(MAX_LINE)[0]
    while reader.behind:
        found += reader.read(MAX_LINE)[0]
        assert len(reader._rest) <= MAX_LINE
    assert found == EVENTS[:2]
    assert reader.skipped == 1


def a_step(number: int, **changes: float | None) -> StepLogged:
    numbers = {"loss": 0.5, "infonce": 0.4, "ar_cosine": 0.3, "lr": 1e-3, "grad_norm": 1.0}
    return StepLogged(
        seq=number,
        t=1.7e9 + number,
        epoch=1,
        step=number,
        negatives_per_query=100.0,
        windows_per_s=1000.0,
        **{**numbers, **changes},  # type: ignore[arg-type]
    )


def test_of_a_long_record_some_steps_are_read_and_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [encode_event(a_step(number)) for number in range(1, 3001)]
    told = [event for event in EVENTS if not isinstance(event, StepLogged)]
    for place, event in enumerate(told):
        lines.insert(place * 50, encode_event(event))
    path.write_bytes(b"".join(lines))
    reader, found = EventReader(path, most_steps=200), list[Event]()
    shares = []
    while not shares or reader.behind:
        found += reader.read(max_bytes=20_000)[0]
        shares.append(reader.progress)
    assert [event for event in found if not isinstance(event, StepLogged)] == told
    steps = [event.step for event in found if isinstance(event, StepLogged)]
    assert 150 <= len(steps) <= 300, "one of so many, and the last one of every read"
    assert steps == sorted(steps)
    assert steps[-1] == 3000, "how things stand"
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with path.open("ab") as file:
        file.write(b"".join(encode_event(a_step(number)) for number in range(3001, 3051)))
    assert [event.step for event in reader.read()[0]] == [*range(3001, 3051)], "what comes later is read whole"


def test_a_short_record_is_read_whole_whatever_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(encode_event(a_step(number)) for number in range(1, 101)))
    assert len(EventReader(path, most_steps=100).read()[0]) == 100


def test_a_missing_file_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events.jsonl") == []
    assert EventReader(tmp_path / "events.jsonl").read() == ([], False)


def test_a_pipe_or_a_folder_in_the_files_place_has_no_events(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert read_events(tmp_path / "pipe") == []
    assert read_events(tmp_path / "folder") == []


def test_a_file_cut_short_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(LINES[:5]))
    reader = EventReader(path)
    assert reader.read() == (EVENTS[:5], False)
    path.write_bytes(b"".join(LINES[:2]))
    assert reader.read() == (EVENTS[:2], True)
    assert reader.read() == ([], False)


def test_a_replaced_file_starts_over(tmp_path: Path) -> None:
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    path.write_bytes(b"".join(LINES[:3]))
    reader = EventReader(path)
    reader.read()
    other.write_bytes(b"".join(LINES[3:9]))
    other.replace(path)
    assert reader.read() == (EVENTS[3:9], True)


def test_a_file_that_vanishes_while_it_is_read_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(LINES))
    reader = EventReader(path)
    reader.read(max_bytes=len(LINES[0]))
    assert reader.behind
    path.unlink()
    assert reader.read() == ([], False)
    assert not reader.behind


def test_a_second_writer_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for message in ("one", "two"):
        writer = EventWriter(path)
        writer.write(WarningRaised(message=message))
        writer.write(RunStopped(epoch=1, step=2))
        writer.close()
    assert [event.seq for event in read_events(path)] == [1, 2, 3, 4]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [LINES[0][:-1], LINES[1][:40], b"\0" * 100, b"{"])
def test_a_writer_closes_the_line_that_a_crash_left_open(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + torn)
    writer = EventWriter(path)
    written = writer.write(RunStopped(epoch=1, step=2))
    writer.close()
    assert read_events(path)[-1] == written
    assert read_events(path)[0] == EVENTS[0]


class FullDisk:
    """`os.write` on a disk that takes only so many more bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.real = os.write

    def write(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.real(fd, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 1, 50, len(LINES[0]) - 1])
def test_a_full_disk_raises_and_costs_only_the_record_that_did_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    first = writer.write(EVENTS[0])
    disk = FullDisk(room)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", disk.write)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                writer.write(EVENTS[0])
    after = writer.write(RunStopped(epoch=1, step=2))
    writer.close()
    assert read_events(path) == [first, after]


def test_a_short_write_on_a_disk_with_room_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    real, calls = os.write, []

    def cut_once(fd: int, data: bytes) -> int:
        calls.append(data)
        return real(fd, data[:30] if len(calls) == 1 else data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", cut_once)
        written = writer.write(EVENTS[0])
    writer.close()
    assert len(calls) == 2
    assert read_events(path) == [written]


def test_a_record_keeps_the_playbooks_names() -> None:
    names = set(msgspec.to_builtins(make_record(1, 0.5)))
    assert {"epoch", "train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "lr", "time"} <= names
