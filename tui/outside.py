"""What the room asks of the world around it: its interpreter, its terminal, edits of its files, being told to end."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.run.runs_file import RunsFile

LOOK_S = 0.5
"""Between two looks at the terminal."""
LEAVE_S = 1.0
"""For a room without a terminal to close itself."""
USUALLY, WHILE_READING = (700, 10, 10), (20_000, 20, 50)
"""Objects made, and collections of the younger ones, between two searches for cycles; Python's own pace comes first."""


def collect_seldom() -> None:
    """Until everything on disk is read, search for garbage less often; and never among what was imported.

    A view of a run is thousands of small objects without cycles. At Python's own pace, searching them takes a third of
    the time of a room that opens over a thousand runs.
    """
    gc.freeze()
    gc.set_threshold(*WHILE_READING)


def collect_as_usual() -> None:
    """Search for garbage at Python's own pace: at the other, a room of some minutes holds a quarter more memory."""
    gc.set_threshold(*USUALLY)


def file_mark(file: RunsFile) -> tuple[int, ...]:
    """Modification times and sizes of the runs.toml and of the room's own playbook; zeros where there is none."""
    return (*_mark(file.path), *(_mark(file.playbook_path) if file.playbook_path else (0, 0)))


def _mark(path: Path | str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


def end_with_terminal() -> None:
    """From now on, end this process when the terminal or the server that shows it is gone; else does nothing.

    The room is hung up on first, and closes itself. It may not be able to: the toolkit's writing thread dies with the
    terminal, and the event loop then waits for it for ever. So this looks from a thread of its own, and ends the
    process after a second whatever the loop does.
    """
    if _is_shown():
        threading.Thread(target=_wait_for_hang_up, name="terminal", daemon=True).start()


def _wait_for_hang_up() -> None:
    while _is_shown():
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(LEAVE_S)
    os._exit(128 + signal.SIGHUP)


def is_served() -> bool:
    """Whether the room is drawn by a server, which holds the other end of standard input, instead of a terminal."""
    return "TEXTUAL_DRIVER" in os.environ


def _is_shown() -> bool:
    """Whether standard input is a terminal that has not been hung up, or a pipe whose other end is held."""
    if sys.__stdin__ is None or not is_served():
        return sys.__stdin__ is not None and sys.__stdin__.isatty()
    poll = select.poll()
    poll.register(sys.__stdin__, 0)  # a hang-up is told without being asked for; what was typed is left alone
    return not any(event & select.POLLHUP for _, event in poll.poll(0))


def on_signals(leave: Callable[[int], None]) -> None:
    """Have the room leave the terminal as it was found when told to end or hung up on; it is given the exit code."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)
