"""What the runs cost this machine. Figures of accelerators come from the engine, not from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine.run.process import is_alive
from tui.control.views import RunView


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """One engine."""

    cpu_percent: float
    """Of one core, since the last look."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """The machine and the engines on it."""

    cores: int
    cpu_percent: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk_free_bytes: int
    processes: dict[str, ProcessUsage] = field(default_factory=dict, hash=False)


class UsageMeter:
    """Asks psutil; keeps its process handles, since CPU shares are measured between two looks."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._handles: dict[int, psutil.Process] = {}

    def read(self, views: Sequence[RunView]) -> MachineUsage:
        """Look once."""
        memory = psutil.virtual_memory()
        existing = next(folder for folder in (self._runs_dir, *self._runs_dir.parents) if folder.exists())
        return MachineUsage(
            cores=psutil.cpu_count() or 1,
            cpu_percent=psutil.cpu_percent() or 0.0,
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_free_bytes=psutil.disk_usage(str(existing)).free,
            processes={view.id: usage for view in views if (usage := self._read_run(view)) is not None},
        )

    def _read_run(self, view: RunView) -> ProcessUsage | None:
        processes = view.life.processes
        if not view.life.lock_held or processes is None or not is_alive(processes.engine):
            return None
        try:
            handle = self._handles.setdefault(processes.engine_pid, psutil.Process(processes.engine_pid))
            return ProcessUsage(handle.cpu_percent(), handle.memory_info().rss)
        except psutil.Error:
            self._handles.pop(processes.engine_pid, None)
            return None
