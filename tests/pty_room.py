"""The room as a person has it: a real process on a real pseudo-terminal, keys in, bytes out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "tui")


def wait_for(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)


class PtyRoom:
    """`lvm-tui` on a pseudo-terminal of 160x45."""

    def __init__(
        self,
        runs_dir: Path,
        *,
        config: Path = TOP / "runs.toml",
        size: tuple[int, int] = (160, 45),
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.output = b""
        self.exit_code: int | None = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(size[0]), LINES=str(size[1]))
            command = [*program, "--config", str(config), "--runs-dir", str(runs_dir)]
            os.execvp(command[0], command)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def read(self, seconds: float = 0.1) -> bytes:
        """Take in what the room has drawn; returns all of it so far."""
        deadline = time.monotonic() + seconds
        while self.master >= 0 and time.monotonic() < deadline and self._take_in():
            pass
        return self.output

    def wait_drawn(self, text: str, timeout_s: float = 20, *, since: int = 0) -> float:
        """Wait until a text has been drawn, after so many bytes of output; returns the seconds that took.

        Raises:
            AssertionError: it was not within the time.
        """
        began = time.monotonic()
        wanted = text.encode()
        while wanted not in self.output[since:]:
            is_open = self.master >= 0 and self._take_in()
            if not is_open or time.monotonic() > began + timeout_s:
                raise AssertionError(f"not within {timeout_s} s: {text!r} on the screen")
        return time.monotonic() - began

    def seconds_to_paint(self, key: str, text: str) -> float:
        """Press a key; the seconds until a text that it shows was drawn."""
        known = len(self.output)
        self.press(key)
        return self.wait_drawn(text, since=known)

    def wait_while_drawing(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for a condition and keep reading, so that the room never blocks on its terminal."""
        wait_for(lambda: self.read(0.05) is None or condition(), timeout_s, what)

    def _take_in(self) -> bool:
        """Take in what is drawn now or shortly; False where the terminal is gone."""
        ready, _, _ = select.select([self.master], [], [], 0.02)
        try:
            self.output += os.read(self.master, 1 << 16) if ready else b""
        except OSError:
            return False
        return True

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the room alone."""
        os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether the room's process is gone; keeps its exit code."""
        if self.exit_code is None:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def hang_up(self) -> None:
        """Close the terminal under it."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        """Leave nothing behind."""
        if not self.has_ended():
            self.kill()
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.master >= 0:
            self.hang_up()
