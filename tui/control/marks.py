"""Marks: what tells that a run folder has changed, without reading it.

Whatever is made, replaced or removed in a folder changes the folder's own time, and so do other permissions. Appending
to a file, or writing into one, does not: that takes the full mark, which costs several times as much.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from engine.run.directory import RunDirectory

Mark = tuple[int, int]
"""Inode and change time, in ns, of the run's folder; zeros for none."""
FullMark = tuple[int, ...]
"""Modification times of what an ended run may still be written in."""
NO_MARK: Mark = (0, 0)
_WRITTEN_AGAIN = tuple(
    file.name
    for file in (
        RunDirectory.processes_file,
        RunDirectory.events_file,
        RunDirectory.exit_file,
        RunDirectory.preflight_file,
        RunDirectory.launch_file,
        RunDirectory.evals,
        RunDirectory.note_file,
        RunDirectory.archived_file,
    )
)
"""What of an ended run may be written in place, or, of folders, into."""
SETTLED_NS = 2_000_000_000
"""A folder that changed less than this ago may change again within the same tick of the disk's clock."""


def mark_of(folder: str) -> Mark:
    """The mark of a run's folder; `NO_MARK` for what is none, links included."""
    try:
        info = os.lstat(folder)
    except OSError:
        return NO_MARK
    return (info.st_ino, info.st_ctime_ns) if stat.S_ISDIR(info.st_mode) else NO_MARK


def is_old(mark: Mark) -> bool:
    """Whether a change since it was taken is sure to show. False where the disk's clock is ahead of this one."""
    return time.time_ns() - mark[1] > SETTLED_NS


def full_mark_of(run: RunDirectory) -> FullMark:
    """Tells whether an ended run has woken up, was evaluated or was written on, even in place."""
    folder = str(run.path)  # joining paths would cost twice as much as asking
    return tuple([written_ns(f"{folder}/{name}") for name in _WRITTEN_AGAIN])


def written_ns(path: Path | str) -> int:
    """Modification time; 0 where there is nothing."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
