"""A folder with many runs: how long until the room lists them, what a look at them all costs, and an untouched room.

    python benchmarks/many_runs.py [--known 1000] [--active 50] [--epochs 50] [--steps 400] [--folder DIR]

Recorded runs, the active ones with their locks held by this process, which says something new of each once a second.
The room is opened twice: the second time it has its index of ended runs. It is 200x60, where the list and what each
living run costs are in sight, and has started when it lists every run. CPU is what the kernel booked.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import psutil

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests"))

from pty_room import PtyRoom  # noqa: E402
from recorded import AMN_HISTORY, STEPS, make_spec, run_events, stamp, write_run  # noqa: E402

from engine.run.directory import Exit, RunDirectory, take_lock  # noqa: E402
from engine.run.event_file import EventWriter, read_events  # noqa: E402
from engine.run.events import Event, StepLogged  # noqa: E402
from engine.run.files import write_atomically  # noqa: E402
from engine.run.process import boot_id  # noqa: E402
from tui.control.shelf import Shelf  # noqa: E402
from tui.control.watcher import Watcher  # noqa: E402

WATCHED_S = 20.0
PASSES = 20
MOST_READING_S = 300.0
SETTLED_S = 5.0
"""Until a room that has read everything is left alone."""


def main() -> None:
    """Make the runs, or take those of an earlier call, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=1000)
    parser.add_argument("--active", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=400, help="logged steps of a run")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = f"{scratch}/xdg"
        runs_dir = asked.folder or Path(scratch) / "runs"
        if not runs_dir.exists():
            make_runs(runs_dir, asked.known + asked.active, asked.epochs, asked.steps)
        alive = [RunDirectory(path) for path in sorted(runs_dir.iterdir()) if path.is_dir()][-asked.active :]
        stop = threading.Event()
        talking = threading.Thread(target=talk, args=(alive, stop))
        talking.start()
        try:
            measure(runs_dir, asked.known, asked.active)
        finally:
            stop.set()
            talking.join()


def measure(runs_dir: Path, ended: int, active: int) -> None:
    """Print what it costs."""
    known = ended + active
    watcher = Watcher(runs_dir, stall_s=600.0)
    began = time.process_time()
    watcher.catch_up()
    print(f"first look at {known} runs: {time.process_time() - began:.2f} CPU s")
    passes = []
    for _ in range(PASSES):
        time.sleep(0.05)
        began = time.perf_counter()
        watcher.poll()
        passes.append(time.perf_counter() - began)
    print(f"a pass: {sorted(passes)[PASSES // 2] * 1e3:.1f} ms (median of {PASSES}, longest {max(passes) * 1e3:.1f})")
    for opened in ("first", "second"):
        room = PtyRoom(runs_dir, size=(200, 60))
        try:
            began = time.perf_counter()
            while f"1 Runs  {known}, ".encode() not in room.read(0.01):
                pass
            process = psutil.Process(room.pid)
            cpu = sum(process.cpu_times()[:2])
            print(f"{opened} room: all runs listed after {time.perf_counter() - began:.2f} s, {cpu:.2f} CPU s")
            while len(Shelf(runs_dir).entries()) < ended and time.perf_counter() - began < MOST_READING_S:
                room.read(1.0)
            print(f"{opened} room: every record read after {time.perf_counter() - began:.0f} s")
            watch(room, "untouched")
        finally:
            room.close()
    room = PtyRoom(runs_dir, size=(160, 45))
    try:
        room.wait_drawn("Decision tree")
        watch(room, "untouched at 160x45, the list out of sight")
    finally:
        room.close()


def watch(room: PtyRoom, what: str) -> None:
    """Print what a room costs that nobody touches."""
    process = psutil.Process(room.pid)
    room.read(SETTLED_S)
    cpu = sum(process.cpu_times()[:2])
    room.read(WATCHED_S)
    share = (sum(process.cpu_times()[:2]) - cpu) / WATCHED_S
    print(f"{what}: {share:.1%} of a core, {process.memory_full_info().pss / 2**20:.0f} MiB PSS")


def make_runs(runs_dir: Path, count: int, epochs: int, steps: int) -> None:
    """Ended runs, each with its epochs and logged steps."""
    values = [AMN_HISTORY[min(epoch, len(AMN_HISTORY) - 1)] for epoch in range(epochs)]
    for number in range(1, count + 1):
        spec = make_spec("amn" if number % 2 else "mamba_s", number)
        events = run_events(spec, values, is_finished=True)
        logged = [_step(step) for step in range(1, steps + 1)]
        events = stamp([events[0], *logged, *events[1:]])
        write_run(runs_dir, spec, events, ended=Exit(code=0, kind="exited", wall_s=240.0))


def talk(runs: list[RunDirectory], stop: threading.Event, step_s: float = 1.0) -> None:
    """Be the engine of these runs: hold their locks, log a step of each every so many seconds."""
    locks = [take_lock(run.lock_file) for run in runs]
    for run in runs:
        processes = msgspec.json.decode(run.processes_file.read_bytes())
        processes |= {"boot_id": boot_id(), "attempt": 2}
        write_atomically(run.processes_file, msgspec.json.encode(processes))
    writers = [EventWriter(run.events_file) for run in runs]
    last = [max(event.step for event in read_events(run.events_file) if isinstance(event, StepLogged)) for run in runs]
    step = 0
    while not stop.wait(step_s):
        step += 1
        for before, writer in zip(last, writers, strict=True):
            writer.write(_step(before + step))
    for lock in locks:
        if lock is not None:
            os.close(lock)


def _step(step: int) -> Event:
    """A logged step, restless as losses are."""
    noise = random.Random(step).gauss(0.0, 0.05)
    return StepLogged(
        epoch=1 + step // STEPS,
        step=step,
        loss=1.0 + noise + 10 / (10 + step),
        infonce=1.0 + noise,
        ar_cosine=0.5 - noise,
        lr=1e-3 / (1 + step / 1000),
        grad_norm=1.0 + 4 * noise**2,
        negatives_per_query=255.0,
        windows_per_s=1000.0 * (1 + noise),
    )


if __name__ == "__main__":
    main()
