"""The room's costs: first paint, idle CPU and memory, on a runs folder that is there already (empty without one).

    python benchmarks/room.py [RUNS_DIR]

Beside the same of a Textual application that shows two words: what a room cannot get below, whatever the machine.
Prints the least of several starts, taken in turn, since these machines are noisy; CPU is what the kernel booked for the
process.
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

from pty_room import PROGRAM, PtyRoom  # noqa: E402

STARTS = 5
WATCHED_S = 20.0
WORDS = "Decision tree"
TWO_WORDS = f"""
from textual.app import App
from textual.widgets import Static

class TwoWords(App):
    def compose(self):
        yield Static("{WORDS}")

TwoWords().run()
"""
PROGRAMS = {"a room": PROGRAM, "two words": (sys.executable, "-c", TWO_WORDS)}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        paints = [{name: first_paint(runs_dir, name) for name in PROGRAMS} for _ in range(STARTS)]
        for name in PROGRAMS:
            wall, cpu = (min(paint[name][part] for paint in paints) for part in (0, 1))
            print(f"{name}: first paint at 160x45 after {wall:.2f} s, {cpu:.2f} CPU s (least of {STARTS} starts)")
        for name in PROGRAMS:
            share, pss = watch(runs_dir, name)
            print(f"{name}: {share:.2%} of a core over {WATCHED_S:.0f} s untouched, {pss / 2**20:.0f} MiB PSS")


def first_paint(runs_dir: Path, name: str) -> tuple[float, float]:
    """Seconds from the start of the process until every pane is on the screen: wall, CPU."""
    began = time.perf_counter()
    room = PtyRoom(runs_dir, program=PROGRAMS[name])
    try:
        while WORDS.encode() not in room.read(0.01):
            pass
        return time.perf_counter() - began, sum(psutil.Process(room.pid).cpu_times()[:2])
    finally:
        room.close()


def watch(runs_dir: Path, name: str) -> tuple[float, int]:
    """Share of a core and bytes of memory while nobody touches it."""
    room = PtyRoom(runs_dir, program=PROGRAMS[name])
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
