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
    files = (run.processes_file, run.events_file, run.exit_file, run.preflight_file, run.launch_file, run.evals)
    return tuple(map(written_ns, (*files, run.note_file, run.archived_file)))


def written_ns(path: Path) -> int:
    """Modification time; 0 where there is nothing."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
