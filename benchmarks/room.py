"""The room's costs: first paint, idle CPU and memory, on a runs folder that is there already (empty without one).

    python benchmarks/room.py [RUNS_DIR]

Prints the least of several starts, since these machines are noisy; CPU is what the kernel booked for the process.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests"))

from pty_room import PtyRoom  # noqa: E402

STARTS = 5
WATCHED_S = 20.0


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        paints = [first_paint(runs_dir) for _ in range(STARTS)]
        wall, cpu = min(paint[0] for paint in paints), min(paint[1] for paint in paints)
        print(f"first paint at 160x45: {wall:.2f} s, {cpu:.2f} CPU s (least of {STARTS} starts)")
        share, pss = watch(runs_dir)
        print(f"over {WATCHED_S:.0f} s untouched: {share:.1%} of a core, {pss / 2**20:.0f} MiB PSS")


def first_paint(runs_dir: Path) -> tuple[float, float]:
    """Seconds from the start of the process until every pane is on the screen: wall, CPU."""
    began = time.perf_counter()
    room = PtyRoom(runs_dir)
    try:
        while b"Decision tree" not in room.read(0.01):
            pass
        return time.perf_counter() - began, sum(psutil.Process(room.pid).cpu_times()[:2])
    finally:
        room.close()


def watch(runs_dir: Path) -> tuple[float, int]:
    """Share of a core and bytes of memory while nobody touches it."""
    room = PtyRoom(runs_dir)
    try:
        room.read(3.0)
        process = psutil.Process(room.pid)
        before = sum(process.cpu_times()[:2])
        room.read(WATCHED_S)
        used = sum(process.cpu_times()[:2]) - before
        return used / WATCHED_S, int(process.memory_full_info().pss) if os.path.exists("/proc") else 0
    finally:
        room.close()


if __name__ == "__main__":
    main()
