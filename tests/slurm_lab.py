"""A person with a cluster: the fake engine behind the Slurm launcher, and what is asked of it in tests."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from processes import FAKE_ENGINE, end, wait_until
from slurm_cluster import Cluster

from engine.run.directory import RunDirectory, list_runs
from engine.run.launch import Launch, read_launch
from engine.run.runs_file import load_runs
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.views import RunView
from tui.control.watcher import Watcher

TOML = """
[room]
runs_dir = "runs"
undo_s = 60
[run.mamba_s]
epochs = 12
launcher = "lab"
[run.whole]
epochs = 12
launcher = "whole"
[run.shut]
launcher = "shut"
[run.amn]
launcher = "lab"
[run.amn.model]
kind = "amn"
layers = 2
[eval.smoke]
launcher = "lab"
[[gate]]
[[fix]]
title = "Temperature"
reason = "sharper"
tries = [{ "loss.temperature" = 0.05 }, { "loss.temperature" = 0.04 }]
[launcher.lab]
kind = "slurm"
partition = "main"
time = "30"
poll_s = 1
[launcher.whole]
kind = "slurm"
cpus = 60
poll_s = 1
[run.wide]
nodes = 2
launcher = "wide"
[launcher.wide]
kind = "slurm"
partition = "wide"
poll_s = 1
[launcher.shut]
kind = "slurm"
partition = "shut"
"""
LONG = ["--epochs", "10000"]
"""Options of an engine that goes on until it is stopped."""
SHORT = ["--epochs", "2"]


class Lab:
    """Starts and ends runs on a cluster, and looks at what comes of it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        path = folder / "runs.toml"
        path.write_text(TOML)
        self.file = load_runs(path)
        self.runs_dir = self.file.runs_dir
        self.engine: list[str] = []
        self.actions = Actions(self.file, self.runs_dir, "person")
        self._is_over = threading.Event()
        self._most: dict[str, int] = {}
        self._counting = threading.Thread(target=self._count, daemon=True)
        self._counting.start()

    def argv(self, verb: str, *arguments: str) -> list[str]:
        """What stands for the engine's command line."""
        return [sys.executable, str(FAKE_ENGINE), verb, *arguments, *self.engine]

    def start(self, *options: str, name: str = "mamba_s") -> RunDirectory:
        """Start `[run.NAME]` with these options of the fake engine."""
        self.engine[:] = options
        return self.actions.start(name)

    def view(self, run: RunDirectory) -> RunView:
        """A run as it is now, to a watcher that has just come, the scheduler asked."""
        watcher = Watcher(self.runs_dir, 120.0)
        watcher.catch_up()
        return watcher.views[run.id]

    def wait(self, run: RunDirectory, *statuses: Status, timeout_s: float = 60.0) -> RunView:
        """Wait until a run has one of these statuses."""
        deadline = time.monotonic() + timeout_s
        while (view := self.view(run)).status not in statuses:
            told = f"{run.id} is {view.status}: {view.reason}; {self.cluster.states()}; {self.said(run)}"
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        return view

    def said(self, run: RunDirectory) -> str:
        """What Slurm and the engine wrote in its folder."""
        logs = [run.path / "slurm.log", run.log_file]
        return "; ".join(log.read_text(errors="replace")[-500:] for log in logs if log.exists())

    def launch(self, run: RunDirectory) -> Launch:
        """What was handed to Slurm."""
        found = read_launch(run.path)
        assert found is not None
        return found

    def engines(self, run: RunDirectory) -> list[psutil.Process]:
        """The engines that are alive in a run's folder."""
        return [process for process in psutil.process_iter() if _is_engine(process, run.path)]

    def jobs(self, run: RunDirectory) -> dict[str, str]:
        """Every job that Slurm remembers of this run, by id, with its state."""
        listed = self.cluster("squeue", "--noheader", "--states=all", "--format=%i|%T|%Z")
        rows = [line.split("|") for line in listed.splitlines()]
        return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == str(run.path)}

    def most_engines(self) -> int:
        """The largest number of engines that were ever seen at once in one folder."""
        return max(self._most.values(), default=0)

    def end(self) -> None:
        """End what is left."""
        self._is_over.set()
        self._counting.join()
        self.cluster("scancel", "--user=root")
        for run in list_runs(self.runs_dir):
            for folder in (run.path, *run.evals.glob("*.job")):
                end(RunDirectory(folder))
        wait_until(lambda: not set(self.cluster.states().values()) & {"RUNNING", "COMPLETING", "PENDING"}, 60.0)
        assert self.most_engines() <= 1, f"engines at once in one folder: {self._most}"

    def _count(self) -> None:
        while not self._is_over.wait(0.05):
            for run in list_runs(self.runs_dir):
                if (run.path / "run.json").exists():
                    self._most[run.id] = max(self._most.get(run.id, 0), len(self.engines(run)))


def shim(folder: Path, program: str, script: str) -> Path:
    """A program that stands before one of Slurm's on PATH; `$REAL` is the real one. Returns the folder for PATH."""
    real = subprocess.run(["which", program], capture_output=True, text=True, check=True).stdout.strip()
    folder.mkdir(exist_ok=True)
    path = folder / program
    path.write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
    path.chmod(0o755)
    return folder


def _is_engine(process: psutil.Process, folder: Path) -> bool:
    try:
        argv = process.cmdline()
    except psutil.Error:
        return False
    return any(part.endswith("fake_engine.py") for part in argv[:3]) and str(folder) in argv
