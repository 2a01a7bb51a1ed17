"""Rows 26 to 29: hostile text, impossible numbers and files that never end, on a real terminal."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import corpora
import msgspec
import pytest
from corpora import ESCAPES, MARKUP
from fault_runs import Figure, Tmux, times
from hypothesis import given, settings
from processes import patience
from pty_room import PtyRoom, wait_for
from recorded import MAMBA_HISTORY, eval_report, make_spec, missed_mamba, run_events, stamp, write_run
from textual.events import MouseDown, MouseUp

from engine.run.directory import Exit
from engine.run.events import CheckJudged, FloorsMeasured, GateJudged, NonFiniteFound, RunFailed, WarningRaised
from engine.run.runs_file import load_runs
from tui.app import RoomApp
from tui.control.journal import Decision, Journal
from tui.text import clean

PAYLOAD = "|".join((*(text for text in ESCAPES if len(text) < 100 and "\ud800" not in text), *MARKUP))
FORBIDDEN = (
    *(
        f"\x1b{opener}".encode()
        for opener in ("]0;", "]2;", "]7;", "]8;", "]52", "]1337", "P", "_", "^", "X", "c", "k")
    ),
    *(character.encode() for character in "\x9b\x9d\u202e\u2066\u200b\U000e0041"),
    b"\x1b[6n",
    b"PWNED",
)
"""Bytes that the room itself never sends; PWNED is text that only a sequence holds."""


Rooms = Callable[[], PtyRoom]


@pytest.fixture
def open_real(tmp_path: Path, config: Path) -> Iterator[Rooms]:
    """Opens rooms on `tmp_path / "runs"` with its runs.toml; closes them."""
    rooms: list[PtyRoom] = []

    def make() -> PtyRoom:
        rooms.append(PtyRoom(tmp_path / "runs", config=config))
        return rooms[-1]

    yield make
    for room in rooms:
        room.close()


def leaves_on_request(room: PtyRoom) -> bool:
    """Whether the room still answers: `q` closes it with code 0."""
    room.press("q")
    wait_for(room.has_ended, 5, "the room answered q")
    return room.exit_code == 0


def write_hostile_run(runs_dir: Path) -> None:
    """A run that failed, with the payload wherever a stranger's text has a place."""
    spec = make_spec()
    hostile = msgspec.structs.replace(spec, name=PAYLOAD, fix=PAYLOAD, patch={PAYLOAD: PAYLOAD}, argv=[PAYLOAD])
    events = stamp(
        [
            *run_events(spec, MAMBA_HISTORY),
            FloorsMeasured(floors={PAYLOAD: 0.4}, num_windows=1),
            GateJudged(name=PAYLOAD, epoch=2, value=0.3, bar=0.5, verdict="missed", detail=PAYLOAD),
            CheckJudged(name=PAYLOAD, epoch=99, value=1.0, bar=2.0, verdict="missed", detail=PAYLOAD),
            WarningRaised(message=PAYLOAD),
            NonFiniteFound(what=PAYLOAD, value=PAYLOAD, epoch=1, step=1),
            RunFailed(message=PAYLOAD),
        ]
    )
    report = msgspec.structs.replace(eval_report(), payload_rule=PAYLOAD, eval_line=PAYLOAD, notes=[PAYLOAD])
    run = write_run(
        runs_dir,
        hostile,
        events,
        ended=Exit(code=1, kind="exited", last_line=PAYLOAD),
        evals={"smoke": report},
        log_lines=[
            *(attack.encode("utf-8", "surrogatepass") for attack in ESCAPES),
            f"ValueError: {PAYLOAD}".encode(),
            b"\x9b6n\xff",
        ],
    )
    named = make_spec(number=2)  # not a name of ours: not listed, and no harm in its being there
    write_run(runs_dir, named, run_events(named, MAMBA_HISTORY)).path.rename(runs_dir / "\x1b]0;PWNED\x07[red]-0002")
    restarted = Decision(who="person", action="restart", phase="done", run=run.id, child=run.id, fix=PAYLOAD)
    Journal(runs_dir).record(restarted)


@pytest.mark.faults(28)
def test_no_byte_of_a_strangers_escape_sequence_reaches_the_terminal(
    tmp_path: Path, open_real: Rooms, figure: Figure
) -> None:
    write_hostile_run(tmp_path / "runs")
    room = open_real()
    room.wait_drawn("FAILED")
    for key in "123456789":
        room.press(key + "m")
        room.read(0.2)
        room.press("m")
    (tmp_path / "runs.toml").write_text('["\\u001b]0;PWNED\\u0007[red]"]\nx = 1\n')
    room.wait_drawn("unknown")
    assert [bytes_ for bytes_ in FORBIDDEN if bytes_ in room.output] == []
    assert leaves_on_request(room)
    figure(f"{len(ESCAPES)} payloads in every text of a run, 9 panes: 0 bytes in {len(room.output):,}")


@pytest.mark.faults(28)
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_title_of_the_terminal_stays(tmp_path: Path, config: Path, figure: Figure) -> None:
    write_hostile_run(tmp_path / "runs")
    command = shlex.join([sys.executable, "-m", "tui", "--config", str(config), "--runs-dir", str(tmp_path / "runs")])
    tmux = Tmux()
    try:
        tmux.open(command)
        before = tmux("display", "-p", "#{pane_title}|#{buffer_size}")
        tmux.wait_shown("2 val_cosine")  # at 80 columns a long title leaves the strip no room for the state
        for pane in ("4 Decision tree", "5 Log", "6 Mamba-S", "7 System"):
            tmux("send-keys", pane[0])
            tmux.wait_shown(pane)
        assert tmux("display", "-p", "#{pane_title}|#{buffer_size}") == before
        assert tmux("display", "-p", "#{window_name}").strip() in {"bash", "sh", "python", "python3"}, "the program's"
    finally:
        tmux("kill-server")
    figure("tmux title, window name and clipboard unchanged")


@pytest.mark.faults(28)
@given(corpora.texts())
@settings(max_examples=times(20_000, 500))
def test_any_text_is_harmless_once_cleaned(text: str) -> None:
    shown = clean(text)
    assert not [bytes_ for bytes_ in FORBIDDEN if bytes_ in shown.encode("utf-8", "surrogatepass")]
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs"}


# ── markup ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(29)
async def test_markup_of_strangers_is_text_wherever_it_is_clicked(
    tmp_path: Path, config: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hostile_run(tmp_path / "runs")
    acted: list[str] = []
    for name in ("act", "leave"):
        monkeypatch.setattr(RoomApp, f"action_{name}", lambda self, *given, name=name: acted.append(f"{name}{given}"))
    app = RoomApp(load_runs(config), tmp_path / "runs")
    width, height = 120, 36
    across, down, clicks = times(1, 7), times(1, 3), 0
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        for key in "123456789":
            await pilot.press(key)
            for y in range(1, height - 1, down):
                for x in range(1 + y % across, width, across):
                    app.screen.post_message(MouseDown(None, x, y, 0, 0, 1, False, False, False, x, y))
                    app.screen.post_message(MouseUp(None, x, y, 0, 0, 1, False, False, False, x, y))
                    clicks += 1
            await pilot.pause()
            await pilot.press("escape")
        assert app.is_running
    assert acted == []
    assert app.return_code in (None, 0)
    figure(f"{len(MARKUP)} strings, {clicks:,} clicks in 9 panes: 0 crashes, 0 actions")


# ── numbers that nobody can draw ─────────────────────────────────────────────────────────────────────────────────────


def epoch_line(record: dict[str, float | int]) -> bytes:
    """A whole `epoch_ended` line, with the checksum that its body has."""
    event = {"kind": "epoch_ended", "seq": 999, "t": 1.0, "record": {"epoch": 7, **record}}
    body = json.dumps(event, separators=(",", ":")).encode()
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


@pytest.mark.faults(46)
@pytest.mark.parametrize(
    "record",
    [
        {"val_cosine": 1e308, "lr": 1e308},
        {"val_cosine": -1e308, "time": 1e308},
        {"epoch": 10**400, "val_cosine": 0.5},
        {"epoch": -(2**63), "val_cosine": 0.5},
    ],
    ids=["huge value", "endless epoch", "epoch beyond float", "epoch before the first"],
)
def test_a_number_that_cannot_be_drawn_does_not_close_the_room(
    tmp_path: Path, open_real: Rooms, record: dict[str, float | int]
) -> None:
    run = missed_mamba(tmp_path / "runs")
    with run.events_file.open("ab") as file:
        file.write(epoch_line(record) + epoch_line({"epoch": 8, **record}))
    room = open_real()
    room.wait_drawn("mamba_s-0001")
    room.press("3]]7")
    room.read(0.3)
    assert not room.has_ended()
    assert leaves_on_request(room)


# ── files that are none ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(26)
@pytest.mark.parametrize("name", ["runs/mamba_s-0001/output.log", "runs/decisions.jsonl", "runs.toml"])
def test_a_file_that_becomes_a_fifo_does_not_freeze_the_room(tmp_path: Path, open_real: Rooms, name: str) -> None:
    missed_mamba(tmp_path / "runs")
    room = open_real()
    room.wait_drawn("mamba_s-0001")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    room.read(1.2)  # two looks at the disk
    room.press("j")
    assert leaves_on_request(room)


# ── no terminal at all ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults(3)
def test_a_room_without_a_terminal_ends_at_once_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tui", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience(10), check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: the room needs a terminal")
    assert done.stderr.count(b"\n") == 1
