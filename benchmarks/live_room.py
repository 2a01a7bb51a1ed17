"""A room beside a training that logs ten steps a second: what all metrics as small charts cost, and how fast keys are.

    python benchmarks/live_room.py

CPU is what the kernel booked for the room. A key's time is from its byte to the byte of the frame that answers it, as
the terminal has them; keys are pressed at moments that have nothing to do with the room's looks.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
from pathlib import Path

import psutil

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests"))

from many_runs import make_runs, talk  # noqa: E402
from pty_room import PtyRoom  # noqa: E402

from engine.run.directory import RunDirectory  # noqa: E402

STEP_S = 0.1
WATCHED_S = 20.0
PRESSES = 100


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = Path(scratch) / "runs"
        make_runs(runs_dir, 2, epochs=12, steps=400)
        alive = [RunDirectory(path) for path in sorted(runs_dir.iterdir()) if path.is_dir()]
        stop = threading.Event()
        talking = threading.Thread(target=talk, args=(alive, stop, STEP_S))
        talking.start()
        room = PtyRoom(runs_dir, size=(200, 60))
        try:
            measure(room)
        finally:
            room.close()
            stop.set()
            talking.join()


def measure(room: PtyRoom) -> None:
    """What all charts cost, then how long keys take."""
    room.wait_drawn("Decision tree")
    room.press("2mg")
    room.read(3.0)
    process = psutil.Process(room.pid)
    before = sum(process.cpu_times()[:2])
    room.read(WATCHED_S)
    share = (sum(process.cpu_times()[:2]) - before) / WATCHED_S
    pss = process.memory_full_info().pss / 2**20
    print(f"all metrics as small charts at 200x60, a step every {STEP_S:g} s: {share:.1%} of a core, {pss:.0f} MiB PSS")
    room.press("g")
    room.read(1.0)
    chance = random.Random(0)
    times = []
    for press in range(PRESSES):
        room.read(chance.uniform(0.05, 0.25))
        number = 2 + press % 2 * -1  # to the next metric and back
        times.append(room.seconds_to_paint("[" if press % 2 else "]", f"metric {number} of"))
    times.sort()
    median, late = times[PRESSES // 2] * 1e3, times[int(PRESSES * 0.95)] * 1e3
    print(f"from key to paint: median {median:.0f} ms, p95 {late:.0f} ms ({PRESSES} keys)")


if __name__ == "__main__":
    main()
