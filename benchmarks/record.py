"""Reading a long record: CPU time, longest pause and memory until the state of a run of millions of steps is known.

    python benchmarks/record.py [STEPS]

CPU is what the kernel booked for this process; a pause is what a key would have to wait for.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil

from engine.run.event_file import EventReader
from engine.run.events import (
    StepLogged,
    encode_event,
)
from engine.run.state import MOST_POINTS, RunState
from tui.control.views import EVENT_BUDGET


def main() -> None:
    """Measure and print."""
    num_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "events.jsonl"
        with path.open("wb") as file:
            file.writelines(encode_event(_step(number)) for number in range(1, num_steps + 1))
        before = psutil.Process().memory_info().rss
        reader, state, longest, began = EventReader(path, MOST_POINTS), RunState(), 0.0, time.process_time()
        while reader.progress < 1.0 or state.last_step is None:
            start = time.process_time()
            for event in reader.read(EVENT_BUDGET)[0]:
                state.apply(event)
            longest = max(longest, time.process_time() - start)
        seconds = time.process_time() - began
        grown = (psutil.Process().memory_info().rss - before) / 2**20
        assert state.last_step.step == num_steps
        print(
            f"{num_steps:,} steps, {path.stat().st_size / 1e6:.0f} MB: {seconds:.1f} CPU s, longest pause "
            f"{1000 * longest:.0f} ms, {len(state.points):,} points kept, {grown:.0f} MiB"
        )


def _step(number: int) -> StepLogged:
    return StepLogged(
        seq=number,
        t=1.7e9 + number,
        epoch=1 + number // 100_000,
        step=number,
        loss=1 / number,
        infonce=0.4,
        ar_cosine=0.3,
        lr=1e-3,
        grad_norm=1.0,
        negatives_per_query=1023.0,
        windows_per_s=1000.0,
    )


if __name__ == "__main__":
    main()
