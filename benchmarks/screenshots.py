"""Draws the README's pictures from real runs: trains both models on the embedded corpus, evaluates, opens the room.

Takes about two minutes. `--runs-dir DIR` uses runs that are there already; `--png` also writes PNG files (needs
cairosvg), to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.run.runs_file import load_runs
from tui.app import RoomApp
from tui.panes.chart import ChartPane
from tui.panes.decision_tree import DecisionTreePane

TOP = Path(__file__).resolve().parent.parent
DOCS = TOP / "docs"
PICTURES = {
    # file: terminal size, pane in front
    "room": ((160, 45), ChartPane.NUMBER),
    "room-200x60": ((200, 60), ChartPane.NUMBER),
    "room-80x24": ((80, 24), ChartPane.NUMBER),
    "tree-80x24": ((80, 24), DecisionTreePane.NUMBER),
}
ENOUGH_EPOCHS = 5
TIMEOUT_S = 600


def main() -> None:
    """Make the runs if none are given, then the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path)
    parser.add_argument("--png", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = arguments.runs_dir or make_runs(Path(scratch) / "runs")
        asyncio.run(draw(runs_dir, as_png=arguments.png))
        stop_all(runs_dir)


def make_runs(runs_dir: Path) -> Path:
    """Both models of the room, trained past the smoke evaluation's epoch, and evaluated."""
    ids = [call(runs_dir, "start", name).strip() for name in ("mamba_s", "amn")]
    deadline = time.monotonic() + TIMEOUT_S
    while min(epochs(runs_dir).values()) < ENOUGH_EPOCHS:
        if time.monotonic() > deadline:
            sys.exit("the runs did not get far enough")
        time.sleep(1)
    for run_id in ids:
        call(runs_dir, "eval", run_id)
    return runs_dir


def epochs(runs_dir: Path) -> dict[str, int]:
    """Epochs done, by run; a run that has ended counts as done."""
    runs = json.loads(call(runs_dir, "status", "--json"))["runs"]
    return {run["id"]: run["epoch"] if run["state"] in {"STARTING", "RUNNING"} else ENOUGH_EPOCHS for run in runs}


def stop_all(runs_dir: Path) -> None:
    """Leave nothing running."""
    for run in json.loads(call(runs_dir, "status", "--json"))["runs"]:
        if run["state"] in {"STARTING", "RUNNING"}:
            call(runs_dir, "stop", "--wait", run["id"])


def call(runs_dir: Path, *arguments: str) -> str:
    """Run `lvm-tui`; an evaluation's exit code says whether its gates passed, which is no failure here."""
    command = [sys.executable, "-m", "tui", arguments[0], "--runs-dir", str(runs_dir), *arguments[1:]]
    return subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, text=True, check=arguments[0] != "eval").stdout


async def draw(runs_dir: Path, *, as_png: bool) -> None:
    """Open the room at each size and save what it shows."""
    DOCS.mkdir(exist_ok=True)
    for name, (size, pane) in PICTURES.items():
        app = RoomApp(load_runs(TOP / "runs.toml"), runs_dir, readonly=False)
        async with app.run_test(size=size) as pilot:
            app.action_pane(pane)
            await pilot.pause()
            svg = self_contained(app.export_screenshot(title="lvm-tui"))
        (DOCS / f"{name}.svg").write_text(svg)
        if as_png:
            import cairosvg

            cairosvg.svg2png(bytestring=svg.encode(), write_to=str(DOCS / f"{name}.png"), scale=1.0)
        print(f"docs/{name}.svg")


def self_contained(svg: str) -> str:
    """The picture without fonts fetched from elsewhere: any monospaced font will do."""
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


if __name__ == "__main__":
    main()
