"""What the chart and the log cost: python benchmarks/widgets.py

Prints, for one run on this machine: a chart frame (new data, prepared, drawn and turned into strips), the index of a
log of a million lines, and lines cleaned. Times are CPU seconds, so that a busy machine does not count against them.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from textual.app import App, ComposeResult

from tui.text import clean
from tui.widgets.line_chart import Level, LineChart, Mark, Series
from tui.widgets.line_index import LineIndex
from tui.widgets.virtual_log import VirtualLog

NUM_LINES = 1_000_000
LOG_LINE = "2024-05-01 12:00:00 [INFO] epoch 2 step {:7d} loss 1.2345 lr 1.0e-03 windows/s 1234\n"
FRAMES = 30


class _ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineChart(levels=[Level(0.5, "gate 0.50")], marks=[Mark(2, "gate@2")], title="loss")


class _LogApp(App[None]):
    def compose(self) -> ComposeResult:
        yield VirtualLog()


async def chart_frame_ms(num_points: int, size: tuple[int, int]) -> tuple[float, float]:
    """Median and largest CPU time of a frame of four new series of that many points, in ms."""
    random_numbers = random.Random(0)
    app = _ChartApp()
    taken = []
    async with app.run_test(size=size):
        chart = app.query_one(LineChart)
        for _ in range(FRAMES):
            series = [
                Series(
                    f"series {kind}",
                    [float(x) for x in range(num_points)],
                    [math.exp(-x / num_points) + random_numbers.gauss(0, 0.05) for x in range(num_points)],
                    kind,
                )
                for kind in range(4)
            ]
            taken.append(frame_ms(chart, series))
    return statistics.median(taken), max(taken)


def frame_ms(chart: LineChart, series: list[Series]) -> float:
    """CPU time, in ms, of preparing and drawing these series and of turning every row into a strip."""
    before = chart._rows
    chart.set_reactive(LineChart.series, series)
    started = time.process_time()
    chart._draw()
    for y in range(chart.size.height):
        chart.render_line(y)
    taken = (time.process_time() - started) * 1e3
    if chart._rows is before:
        raise RuntimeError("nothing was drawn")
    return taken


async def growing_frame_ms(num_points: int, size: tuple[int, int]) -> tuple[float, float]:
    """Medians, in ms, of a frame of four smoothed series that have each grown by a point, carried on and computed anew.

    Both are drawn with raw values behind them; carried on is what a live chart does.
    """
    random_numbers = random.Random(0)
    ys = [[random_numbers.gauss(0, 1) for _ in range(num_points + FRAMES)] for _ in range(4)]
    app = _ChartApp()
    taken: dict[bool, list[float]] = {True: [], False: []}
    async with app.run_test(size=size):
        chart = app.query_one(LineChart)
        chart.smoothing = 0.9
        for frame in range(FRAMES):
            end = num_points + frame
            xs = [float(x) for x in range(end)]
            series = [Series(f"series {kind}", xs, ys[kind][:end], kind) for kind in range(4)]
            for is_carried_on in (True, False):
                if not is_carried_on:
                    chart._means.clear()
                    chart._prepared_series = None
                taken[is_carried_on].append(frame_ms(chart, series))
    return statistics.median(taken[True][1:]), statistics.median(taken[False][1:])


def index_cost(path: Path) -> tuple[float, int]:
    """CPU seconds to index the file, and how many lines it has."""
    index = LineIndex(path)
    started = time.process_time()
    index.poll()
    while index.behind:
        index.poll()
    taken = time.process_time() - started
    num_lines = len(index)
    index.close()
    return taken, num_lines


async def log_usable_s(path: Path) -> float:
    """Wall seconds from giving the file to the widget until its last line is shown."""
    app = _LogApp()
    async with app.run_test(size=(160, 45)) as pilot:
        view = app.query_one(VirtualLog)
        started = time.perf_counter()
        view.path = path
        while view.line_count < NUM_LINES:
            await pilot.pause(0)
        view.render_line(44)
        return time.perf_counter() - started


def peak_memory_mb() -> float:
    """The most memory this process has had resident, in MB."""
    status = Path("/proc/self/status").read_text()  # getrusage would count what its parent had, too
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def memory_for(path: Path) -> float:
    """MB by which a process grows that indexes the file: measured in one of its own."""
    child = [sys.executable, __file__, "--index", str(path)]
    return float(subprocess.run(child, check=True, capture_output=True, text=True).stdout)


def clean_lines_per_s() -> float:
    """Lines cleaned in a CPU second; every tenth has colours and a progress bar."""
    plain = LOG_LINE.format(1).rstrip().encode()
    lines = ([plain] * 9 + [b"\x1b[32m[INFO]\x1b[0m \x1b[1mstep\x1b[0m 12 \xe2\x96\x87\xe2\x96\x87 10%\r 20%"]) * 20_000
    started = time.process_time()
    for line in lines:
        clean(line)
    return len(lines) / (time.process_time() - started)


def main() -> None:
    """Measure and print everything."""
    if sys.argv[1:2] == ["--index"]:
        before = peak_memory_mb()
        index_cost(Path(sys.argv[2]))
        print(peak_memory_mb() - before)
        return
    for num_points, size in ((200, (100, 30)), (200, (160, 45)), (10_000, (100, 30)), (10_000, (160, 45))):
        median, largest = asyncio.run(chart_frame_ms(num_points, size))
        print(f"chart frame 4 x {num_points:6,d} at {size[0]} x {size[1]}: {median:5.2f} ms (largest {largest:.2f})")
    carried_on, anew = asyncio.run(growing_frame_ms(10_000, (160, 45)))
    print(f"the same, smoothed and a point longer: {carried_on:5.2f} ms (smoothed anew {anew:.2f})")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output.log"
        with path.open("w") as file:
            file.writelines(LOG_LINE.format(number) for number in range(NUM_LINES))
        taken, num_lines = index_cost(path)
        size_mb = path.stat().st_size / 1e6
        print(f"index of {num_lines:,d} lines ({size_mb:.0f} MB): {taken:.2f} CPU s, {memory_for(path):.0f} MB")
        print(f"log widget usable: {asyncio.run(log_usable_s(path)):.2f} s")
    print(f"clean: {clean_lines_per_s():,.0f} lines/s")


if __name__ == "__main__":
    main()
