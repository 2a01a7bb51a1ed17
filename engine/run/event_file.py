"""The file of a run's events: one writer that appends, and readers that stand whatever they find in it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.run.events import MAX_LINE, Event, decode_event, encode_event


class EventWriter:
    """Appends events to a file that has no other writer. Sequence numbers go on where the last writer ended."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._seq = max((event.seq for event in read_events(path)), default=0)
        size = os.fstat(self._fd).st_size
        self._is_torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        """The file ends within a line; the next record begins with a newline, so that only the torn one is lost."""

    def write(self, event: Event) -> Event:
        """Number, stamp and append `event`; returns it as written.

        Raises:
            OSError: the disk is full or gone; what a short write left is closed with a newline by the next record.
        """
        self._seq += 1
        stamped = msgspec.structs.replace(event, seq=self._seq, t=time.time())
        line = encode_event(stamped)
        for _ in range(2):  # a full disk cuts the first write short and refuses the second
            data = b"\n" + line if self._is_torn else line
            self._is_torn = os.write(self._fd, data) != len(data)
            if not self._is_torn:
                return stamped
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


_STEP_LINE = b'{"kind":"step_logged"'
_STEP_BYTES = 212
"""Of a line about a step, about."""
_HASTE = 4
"""Times as many bytes a read takes where most lines are passed over."""


class EventReader:
    """Reads what was appended since the last call; stands a file that is missing, cut, torn or replaced.

    Args:
        path: the file.
        most_steps: about how many steps are taken from what a long file holds at first, evenly; every other line is
            read whatever it is, and so is every step that comes later. None takes all. Steps that are passed over are
            not looked at: a damaged one among them is not counted.
    """

    def __init__(self, path: Path, most_steps: int | None = None) -> None:
        self.path = path
        self.skipped = 0
        """Whole lines that were no event: damaged, or of a kind this version does not know."""
        self.behind = False
        """Whether the last read left bytes on disk."""
        self.progress = 1.0
        """Share of the file that was read."""
        self._most_steps = most_steps
        self._every = 1
        """One of so many steps is read."""
        self._num_steps = 0
        self._offset = 0
        self._inode = 0
        self._rest = b""

    def read(self, max_bytes: int = 1 << 22) -> tuple[list[Event], bool]:
        """New events, and whether the file started over, so that what was folded so far must be dropped."""
        try:
            info = os.stat(self.path)
            if self._offset and info.st_size == self._offset and info.st_ino == self._inode:
                self.behind = False
                return [], False
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            self.behind = False
            return [], False
        try:
            info = os.fstat(fd)
            restarted = self._offset > 0 and (info.st_ino != self._inode or info.st_size < self._offset)
            if restarted:
                self._offset, self._rest, self.skipped = 0, b"", 0
            self._inode = info.st_ino
            if self._offset == 0 and self._most_steps is not None:
                self._every = max(1, info.st_size // (_STEP_BYTES * self._most_steps))
            data = os.pread(fd, max_bytes * (_HASTE if self._every > 1 else 1), self._offset)
        except OSError:
            self.behind = False
            return [], False
        finally:
            os.close(fd)
        self._offset += len(data)
        self.behind = self._offset < info.st_size
        self.progress = min(1.0, self._offset / info.st_size) if info.st_size else 1.0
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            self._rest = self._rest[:MAX_LINE]  # endless line: keep enough to know that it is no event
        events = list(self._decoded(lines))
        if not self.behind:
            self._every = 1
        return events, restarted

    def _decoded(self, lines: list[bytes]) -> Iterator[Event]:
        for line in self._sampled(lines) if self._every > 1 else lines:
            event = decode_event(line)
            if event is not None:
                yield event
            elif line.strip():
                self.skipped += 1

    def _sampled(self, lines: list[bytes]) -> Iterator[bytes]:
        """Every line that is no step, one of so many that are, and the last one, which tells how things stand."""
        for place, line in enumerate(lines, start=1):
            if line.startswith(_STEP_LINE):
                self._num_steps += 1
                if self._num_steps % self._every and place < len(lines):
                    continue
            yield line


def read_events(path: Path) -> list[Event]:
    """Every event of a file, in order."""
    reader = EventReader(path)
    events: list[Event] = []
    while True:
        news, restarted = reader.read()
        if restarted:
            events.clear()
        events += news
        if not reader.behind:
            return events
