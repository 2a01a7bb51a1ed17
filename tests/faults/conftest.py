"""The faults suite: how much of it is run, what each row has measured, and the table of all that.

`FAULTS_FULL=1` takes the full number of repetitions; `FAULTS_TABLE=FILE` writes the table to a file as well.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_rows import ROWS
from fault_runs import EPOCH_S, FAKE_ROOM, Figure, Folder, Open
from pty_room import PtyRoom
from recorded import RUNS_TOML

_ROW = "fault_row"
_FIGURE = "fault_figure"
_told: dict[int, list[str]] = {}
"""By row: what its tests came to, in the order they ended."""
_passed: dict[int, int] = {}
"""By row: how many of its tests passed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is one of a row of the table."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            marker = item.get_closest_marker("faults")
            rows = marker.args if marker else ()
            assert set(rows) & ROWS.keys(), f"{item.nodeid}: of which row is it?"
            item.user_properties.append((_ROW, rows[0]))
            # many of them start dozens of processes, and the guard against one that hangs is no bar
            item.add_marker(pytest.mark.timeout(3600 if os.environ.get("FAULTS_FULL") else 900))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test measured, or why it could not."""
    told = dict(report.user_properties)
    if _ROW not in told:
        return
    entries = _told.setdefault(told[_ROW], [])
    if report.failed:
        entries.append(f"**FAILED** {report.nodeid.rpartition('::')[2]}")
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        entries.append(f"not here: {reason.removeprefix('Skipped: ')}")
    elif report.when == "call":
        entries += [value for name, value in report.user_properties if name == _FIGURE]
        _passed[told[_ROW]] = 1 + _passed.get(told[_ROW], 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table; write it where that was asked for."""
    if not _told:
        return
    lines = ["| # | fault | expected | figure |", "|---|---|---|---|"]
    target = os.environ.get("FAULTS_TABLE")
    for number, row in ROWS.items():
        if number in _told or target:
            passed = f"{_passed[number]} passed" if number in _passed else "not run"
            figures = "; ".join(dict.fromkeys(_told.get(number, []))) or passed
            lines.append(f"| {number} | {row.fault} | {row.expected} | {figures} |")
    terminalreporter.section("faults")
    terminalreporter.write_line("\n".join(lines))
    if target:
        count = "full" if os.environ.get("FAULTS_FULL") else "quick"
        title = "# What is survived\n\nMade by `make faults TABLE=docs/faults.md`"
        title += f"{' FAULTS_FULL=1' if count == 'full' else ''}: each row was injected for real, {count} counts.\n"
        Path(target).write_text("\n".join([title, *lines]) + "\n")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Records what this test measured, for its row of the table."""

    def record(text: str) -> None:
        request.node.user_properties.append((_FIGURE, text))

    return record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A folder of runs with real processes; whatever still runs at the end is killed."""
    monkeypatch.setenv("LVM_GRACE_S", "0.3")
    made = Folder(tmp_path / "runs")
    yield made
    made.end()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A runs.toml."""
    path = tmp_path / "runs.toml"
    path.write_text(RUNS_TOML)
    return path


@pytest.fixture
def open_room(
    folder: Folder, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    """Opens rooms over the folder whose launches go to the fake engine, behind a line of shell; closes them."""
    rooms: list[PtyRoom] = []
    # compiled once, as where it is installed, whatever this environment says of that
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "compiled"))

    def make(*, before: str = "", epochs: int = 4) -> PtyRoom:
        monkeypatch.setenv("FAKE_ENGINE_OPTIONS", json.dumps(["--epochs", str(epochs), "--epoch-s", EPOCH_S]))
        program = ["sh", "-c", f'{before}exec "$0" "$@"', *FAKE_ROOM] if before else FAKE_ROOM
        rooms.append(PtyRoom(folder.path, config=config, program=program))
        return rooms[-1]

    yield make
    for room in rooms:
        room.close()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system in memory of a size, with options; skips where this user may not."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no file system can be mounted: {error}")
        if done.returncode:
            pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
