"""The shelf: the briefs of ended runs on disk, so that a folder of thousands opens without being read anew.

A cache in the XDG cache folder, one file per runs folder. It may be deleted at any time, by hand or by a room that
finds it damaged or of another version: whatever is missing is read from the run's own files and put there again. An
entry counts only while the marks of its run, see `tui.control.marks`, are what they were.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from engine.run.directory import Life
from engine.run.files import user_cache
from engine.run.spec import RunSpec
from engine.run.state import Status
from tui.control.brief import Brief
from tui.control.marks import FullMark, Mark

FORMAT = 1
"""Of an entry; raised when its meaning changes. Another version of the program makes its own entries."""
_WAIT_S = 0.05
"""For another room that writes at this moment."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An ended run as it was left."""

    mark: Mark
    full_mark: FullMark
    spec: RunSpec
    life: Life
    status: Status
    reason: str
    note: str
    archived: bool
    brief: Brief


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class Shelf:
    """The entries of one runs folder. Never raises: what cannot be kept is read again."""

    def __init__(self, runs_dir: Path, *, readonly: bool = False) -> None:
        """Nothing is read or made yet.

        Args:
            runs_dir: whose runs they are.
            readonly: what others have put there is used, nothing is put.
        """
        name = hashlib.sha256(str(runs_dir.resolve()).encode()).hexdigest()[:16]
        self.file = user_cache("shelves") / f"{name}.sqlite"
        self._readonly = readonly
        self._made_by = f"{FORMAT} {_version()}"

    def entries(self) -> dict[str, Entry]:
        """What is there, by the run's id; a damaged entry is as good as none."""
        found: dict[str, Entry] = {}
        try:
            with closing(self._open("ro")) as shelf:
                for run_id, packed in shelf.execute("SELECT id, entry FROM run WHERE made_by = ?", (self._made_by,)):
                    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                        found[run_id] = _decoder.decode(packed)
        except (OSError, sqlite3.Error):
            return {}
        return found

    def put(self, entries: Mapping[str, Entry]) -> bool:
        """Put entries there, or replace them, all at once; False where another room is at it, and later may do."""
        if self._readonly or not entries:
            return True
        rows = [(run_id, self._made_by, _encoder.encode(entry)) for run_id, entry in entries.items()]
        try:
            with closing(self._open("rwc")) as shelf, shelf:
                shelf.executemany("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", rows)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # in use, or without room
                return False
            self._throw_away()
        except OSError:
            return False
        return True

    def forget(self, run_ids: set[str]) -> None:
        """Let go of runs that are gone."""
        if self._readonly or not run_ids:
            return
        with suppress(OSError, sqlite3.Error), closing(self._open("rwc")) as shelf, shelf:
            shelf.executemany("DELETE FROM run WHERE id = ?", [(run_id,) for run_id in run_ids])

    def _open(self, mode: str) -> sqlite3.Connection:
        if mode == "rwc":
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        shelf = sqlite3.connect(f"{self.file.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_S)
        if mode == "rwc":
            shelf.execute("PRAGMA synchronous = OFF")  # a cache that a crash spoils is thrown away
            shelf.execute("CREATE TABLE IF NOT EXISTS run (id TEXT PRIMARY KEY, made_by TEXT, entry BLOB)")
        return shelf

    def _throw_away(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


def _version() -> str:
    try:
        return version("lvm-tui")
    except PackageNotFoundError:
        return "unknown"
