"""Runs for the faults suite: real wrappers over the fake engine, or over any command, in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from processes import FAKE_ENGINE, end, wait_until
from pty_room import PtyRoom
from recorded import make_spec

from engine.run.directory import Exit, Processes, RunDirectory, is_locked, list_runs
from engine.run.event_file import read_events
from engine.run.process import is_alive, send
from engine.run.state import RunState, Status, derive_status, fold
from tui.control.views import RunView
from tui.control.watcher import Watcher

WRAPPER = [sys.executable, "-P", "-m", "engine.run.wrapper"]
FAKE_ROOM = (sys.executable, str(Path(__file__).with_name("fake_room.py")))
EPOCH_S = "0.2"

Figure = Callable[[str], None]
Open = Callable[..., PtyRoom]


def times(full: int, quick: int) -> int:
    """How often a fault is injected: in full where that was asked for."""
    return full if os.environ.get("FAULTS_FULL") else quick


def python(code: str) -> list[str]:
    """A command that runs a few lines."""
    return [sys.executable, "-I", "-S", "-u", "-c", code]


class Folder:
    """A folder of runs and what happens in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._others: list[RunDirectory] = []

    def prepare(
        self, *options: str, argv: Sequence[str] | None = None, runs_dir: Path | None = None, number: int | None = None
    ) -> RunDirectory:
        """A run folder for the fake engine with options, or for a command; not started."""
        place = runs_dir or self.path
        number = number or 1 + len(list_runs(place))
        spec = make_spec("mamba_s", number)
        run = RunDirectory(place / spec.id)
        run.path.mkdir(mode=0o700, parents=True)
        fake = [sys.executable, str(FAKE_ENGINE), "train", "--run-dir", str(run.path), "--epoch-s", EPOCH_S, *options]
        run.spec_file.write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, argv=list(argv or fake))))
        if runs_dir:
            self._others.append(run)
        return run

    def start(self, run: RunDirectory) -> subprocess.CompletedProcess[str]:
        """Start a wrapper on it; returns once the engine runs, or with the reason why it does not."""
        return subprocess.run([*WRAPPER, str(run.path)], capture_output=True, text=True, check=False, timeout=60)

    def launch(self, *options: str, argv: Sequence[str] | None = None, runs_dir: Path | None = None) -> RunDirectory:
        """Prepare and start."""
        run = self.prepare(*options, argv=argv, runs_dir=runs_dir)
        done = self.start(run)
        assert done.returncode == 0, done.stderr
        return run

    def view(self, run: RunDirectory, stall_s: float = 60.0) -> RunView:
        """A run as a fresh watcher shows it."""
        watcher = Watcher(run.path.parent, stall_s)
        watcher.catch_up()
        return watcher.views[run.id]

    def end(self) -> None:
        """Kill what is left."""
        for run in [*list_runs(self.path), *self._others]:
            end(run)
            for job in run.evals.glob("*.job"):
                end(RunDirectory(job))


class Tmux:
    """A tmux server of its own."""

    def __init__(self) -> None:
        self._socket = f"lvm-faults-{os.getpid()}"

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=False)
        return done.stdout

    def open(self, command: str, **environment: str) -> None:
        """A session that runs a command."""
        options = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        self("-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "45", *options, command)

    def wait_shown(self, text: str) -> None:
        """Wait until a text is on the screen."""
        wait_until(lambda: text in self("capture-pane", "-p"))


def state_of(run: RunDirectory) -> RunState:
    """What its events say."""
    return fold(read_events(run.events_file))


def status_of(run: RunDirectory) -> tuple[Status, str]:
    """Status and reason, stalls aside."""
    return derive_status(state_of(run), run.read_life(), 0.0, 60.0)


def processes_of(run: RunDirectory) -> Processes:
    """Who runs it; waits until that is written down."""
    wait_until(lambda: run.read_life().processes is not None)
    found = run.read_life().processes
    assert found is not None
    return found


def wait_ended(run: RunDirectory, timeout_s: float = 30.0) -> None:
    """Wait until nobody holds its lock."""
    wait_until(lambda: not is_locked(run.lock_file), timeout_s)


def exit_of(run: RunDirectory) -> Exit:
    """How it ended, as its wrapper wrote it down; waits for that."""
    wait_ended(run)
    ended = run.read_life().exit
    assert ended is not None, "no exit was written"
    return ended


def kill_wrapper(run: RunDirectory) -> None:
    """Kill the supervising parent alone."""
    wrapper = processes_of(run).wrapper
    assert send(wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(wrapper))


def kill_engine(run: RunDirectory, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal the engine alone."""
    assert send(processes_of(run).engine, number)


def engines_in(run: RunDirectory) -> int:
    """Living engines of a run folder, counted in the table of processes and nowhere else."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        is_engine = len(argv) > 2 and argv[1] == os.fsencode(FAKE_ENGINE) and os.fsencode(run.path) in argv
        count += is_engine and state not in "ZX"
    return count
