"""What the runs cost this machine. Figures of accelerators come from the engine, not from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine.run.process import is_alive
from tui.control.views import RunView


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """One engine; of one that trains in ranks, all processes that it started."""

    cpu_percent: float
    """Of one core, since the last look."""
    memory_bytes: int
    """Memory that processes share counts for each of them."""


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
        known, self._handles = self._handles, {}
        return MachineUsage(
            cores=psutil.cpu_count() or 1,
            cpu_percent=psutil.cpu_percent() or 0.0,
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_free_bytes=psutil.disk_usage(str(existing)).free,
            processes={view.id: usage for view in views if (usage := self._read_run(view, known)) is not None},
        )

    def _read_run(self, view: RunView, known: Mapping[int, psutil.Process]) -> ProcessUsage | None:
        processes, config = view.life.processes, view.spec.config
        if not view.life.lock_held or processes is None or not is_alive(processes.engine):
            return None
        try:
            engine = psutil.Process(processes.engine_pid)
            # with ranks it is the children that train; for one process alone the machine's are not searched
            ranks = engine.children(recursive=True) if config.nproc * config.nodes > 1 else []
        except psutil.Error:
            return None
        costs = [cost for process in (engine, *ranks) if (cost := self._read_process(process, known)) is not None]
        return ProcessUsage(sum(cpu for cpu, _ in costs), sum(memory for _, memory in costs)) if costs else None

    def _read_process(self, process: psutil.Process, known: Mapping[int, psutil.Process]) -> tuple[float, int] | None:
        """Its share of a core since the last look and its memory; None where it is gone."""
        before = known.get(process.pid)
        handle = before if before is not None and before == process else process  # a pid may be another's by now
        try:
            cost = handle.cpu_percent(), handle.memory_info().rss
        except psutil.Error:
            return None
        self._handles[handle.pid] = handle
        return cost
