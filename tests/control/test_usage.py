"""What a run costs: one process, or the launcher and every rank that it started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from processes import wait_until
from recorded import make_life, make_spec, make_view

from engine.run.process import identify
from engine.run.settings import RunConfig
from tui.control.usage import ProcessUsage, UsageMeter
from tui.control.views import RunView

_RANK = "held = b'x' * (30 << 20)\nwhile True: pass"
_LAUNCHER = f"""
import subprocess, sys
ranks = [subprocess.Popen([sys.executable, "-c", {_RANK!r}]) for _ in range(2)]
print("started", flush=True)
sys.stdin.read()
for rank in ranks:
    rank.kill(), rank.wait()
"""
"""Waits while its children work, as the launcher of ranks does; it ends with whoever started it."""


@contextmanager
def launched(nproc: int) -> Iterator[RunView]:
    """A run whose engine is such a launcher."""
    argv = [sys.executable, "-c", _LAUNCHER]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdin
        assert engine.stdout
        engine.stdout.readline()
        who, life = identify(engine.pid), make_life()
        assert who
        assert life.processes
        processes = msgspec.structs.replace(
            life.processes, boot_id=who.boot_id, engine_pid=who.pid, engine_ticks=who.start_ticks
        )
        run = make_view(make_spec(config=RunConfig(epochs=12, nproc=nproc)), [])
        run.life = msgspec.structs.replace(life, processes=processes)
        try:
            yield run
        finally:
            engine.stdin.close()
            engine.wait()


def test_a_run_in_ranks_costs_what_its_ranks_cost(tmp_path: Path) -> None:
    with launched(2) as run:
        meter, seen = UsageMeter(tmp_path), list[ProcessUsage]()

        def is_busy() -> bool:
            seen.append(meter.read([run]).processes[run.id])
            return seen[-1].cpu_percent > 20 and seen[-1].memory_bytes > 60 << 20

        wait_until(is_busy)
        assert seen[0].cpu_percent == 0, "shares are measured between two looks"
    assert meter.read([run]).processes == {}, "it has ended"


def test_of_a_run_in_one_process_only_that_is_asked(tmp_path: Path) -> None:
    with launched(1) as run:
        meter = UsageMeter(tmp_path)
        assert [meter.read([run]).processes[run.id].memory_bytes < 60 << 20 for _ in range(2)] == [True, True]
