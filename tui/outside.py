"""What the room asks of the world it runs in: whether its terminal is still there, and whether runs.toml was edited."""

from __future__ import annotations

import os
import sys

from engine.run.runs_file import RunsFile


def file_mark(file: RunsFile) -> tuple[int, int]:
    """Modification time and size of the file it was read from; zeros where there is none."""
    try:
        info = os.stat(file.path)
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


def has_terminal() -> bool:
    """Whether standard input is a terminal that has not been hung up."""
    return sys.__stdin__ is not None and sys.__stdin__.isatty()
