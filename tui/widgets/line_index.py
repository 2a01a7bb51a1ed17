"""Where the lines of a growing file begin, so that any of them can be read without reading the others.

Eight bytes for each line; the lines themselves stay on disk. The file belongs to someone else: it may not exist yet,
grow, end in half a line, be truncated, replaced, or not be a file at all. Each is noticed at the next `poll`.
"""

from __future__ import annotations

import os
import re
import stat
from array import array
from bisect import bisect_right
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

CHUNK: Final = 1 << 18
"""Bytes read at a time; larger ones are no faster."""
BUDGET: Final = 1 << 24
"""Bytes taken in by one poll unless told otherwise: some 30 ms, so that keys are answered in between."""
LINE_LIMIT: Final = 1 << 13
"""Bytes of a line that are read; what is longer is cut."""
_TAIL: Final = 64
"""Bytes remembered from before the end. If they have changed, so has everything: the file was rewritten in place."""
_NEWLINE: Final = re.compile(b"\n")


class Change(Enum):
    """What a poll found."""

    NONE = "none"
    GREW = "grew"
    """Lines were added, or the last one became longer."""
    REPLACED = "replaced"
    """All lines known before are void; those of the new content are being taken in."""


class RawLine(NamedTuple):
    """A line as it stands in the file, without its newline."""

    data: bytes
    """At most LINE_LIMIT bytes: its beginning, or its last carriage-return segment."""
    num_bytes: int
    """Length of the whole line."""
    is_cut: bool
    """Whether `data` leaves out text that would be visible."""


class LineIndex:
    """The lines of a file, by number from 0."""

    def __init__(self, path: Path) -> None:
        """Nothing is read before the first `poll`."""
        self.path = path
        self.problem = ""
        """Why nothing can be read, in words; empty while all is well."""
        self.size = 0
        """Bytes taken in."""
        self.behind = False
        """Whether the last poll left bytes for the next one."""
        self._starts = array("Q", [0])
        self._file: int | None = None
        self._identity = (0, 0)
        self._tail = b""

    def __len__(self) -> int:
        """How many lines there are; a last one without its newline counts."""
        return len(self._starts) - (self._starts[-1] == self.size)

    def poll(self, budget: int = BUDGET) -> Change:
        """Take in what was appended.

        Args:
            budget: Bytes to read at most, about; `behind` says whether some are left.
        """
        try:
            replaced = self._look()
            grew = self._file is not None and self._take_in(budget)
        except OSError as error:
            self.problem = f"cannot read {self.path}: {error.strerror or error}"
            self.behind = False
            return Change.NONE
        return Change.REPLACED if replaced else Change.GREW if grew else Change.NONE

    def line(self, number: int) -> RawLine:
        """A line's bytes, read now.

        Raises:
            IndexError: There is no such line.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        begin, end = self.start_of(number), self.end_of(number)
        if end - begin <= LINE_LIMIT:
            return RawLine(self.read(begin, end - begin), end - begin, False)
        # a progress bar may have redrawn its line for hours: what counts is what it showed last
        last_state = self.read(end - LINE_LIMIT, LINE_LIMIT).rstrip(b"\r").rpartition(b"\r")
        if last_state[1]:
            return RawLine(last_state[2], end - begin, False)
        return RawLine(self.read(begin, LINE_LIMIT), end - begin, True)

    def line_at(self, position: int) -> int:
        """The number of the line that holds the byte at a position."""
        return bisect_right(self._starts, position) - 1

    def start_of(self, number: int) -> int:
        """Where a line begins; for the number after the last, where the file ends."""
        return self._starts[number] if number < len(self._starts) else self.size

    def end_of(self, number: int) -> int:
        """Where a line ends, its newline not included."""
        return self._starts[number + 1] - 1 if number + 1 < len(self._starts) else self.size

    def read(self, position: int, num_bytes: int) -> bytes:
        """Bytes of the file; fewer, or none, where it has become shorter or cannot be read."""
        if self._file is None:
            return b""
        try:
            return os.pread(self._file, num_bytes, position)
        except OSError:
            return b""  # the next poll says why

    def close(self) -> None:
        """Let go of the file. A later poll opens it again, and reads it from the start."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _look(self) -> bool:
        """Open the file, or find out that it is another one now; True if what was known is void."""
        known_lines = len(self)
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self.problem = f"{self.path} does not exist" + (" any more" if known_lines else " yet")
            return False
        if not stat.S_ISREG(found.st_mode):
            # opening a FIFO or a device would wait for it, or worse
            self.close()
            self._forget()
            self.problem = f"{self.path} is not a regular file"
            return known_lines > 0
        self.problem = ""
        if self._file is None or (found.st_dev, found.st_ino) != self._identity:
            self.close()
            self._forget()
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            opened = os.fstat(self._file)
            if not stat.S_ISREG(opened.st_mode):  # changed between the two looks
                self.close()
            self._identity = (opened.st_dev, opened.st_ino)
        elif found.st_size < self.size or self.read(self.size - len(self._tail), len(self._tail)) != self._tail:
            self._forget()
        return known_lines > 0 and self.size == 0

    def _take_in(self, budget: int) -> bool:
        assert self._file is not None
        before = self.size
        while self.size - before < budget:
            chunk = os.pread(self._file, CHUNK, self.size)
            if not chunk:
                break
            after_newline = self.size + 1
            self._starts.extend([match.start() + after_newline for match in _NEWLINE.finditer(chunk)])
            self.size += len(chunk)
            self._tail = (self._tail + chunk)[-_TAIL:]
        self.behind = os.fstat(self._file).st_size > self.size
        return self.size > before

    def _forget(self) -> None:
        self._starts = array("Q", [0])
        self.size, self._tail, self.behind = 0, b"", False
