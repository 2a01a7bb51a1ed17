"""What the room asks of the world around it: whether its terminal is still there, whether its files were edited."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.run.runs_file import RunsFile


def file_mark(file: RunsFile) -> tuple[int, ...]:
    """Modification times and sizes of the runs.toml and of the room's own playbook; zeros where there is none."""
    return (*_mark(Path(file.path)), *(_mark(file.playbook_path) if file.playbook_path else (0, 0)))


def _mark(path: Path) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


def has_terminal() -> bool:
    """Whether standard input is a terminal that has not been hung up."""
    return sys.__stdin__ is not None and sys.__stdin__.isatty()
