"""Row 47: rooms, wrappers and engines killed in any order and at any moment; what must hold holds after each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fault_runs import FAKE_ROOM, WRAPPER, Figure, Folder, engines_in, times, wait_ended
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from processes import wait_until
from recorded import RUNS_TOML

from engine.run.directory import RunDirectory, is_locked, list_runs
from engine.run.event_file import EventReader, read_events
from engine.run.events import (
    CheckpointSaved,
    RunStarted,
)
from engine.run.process import send
from engine.run.state import Status
from tui.control.watcher import Watcher

OPTIONS = ["--epochs", "20", "--epoch-s", "0.2", "--save-last"]
ENDED = {Status.FINISHED, Status.FAILED, Status.STOPPED, Status.LOST, Status.QUEUED}
MAX_RUNS = 3

which = st.integers(0, MAX_RUNS - 1)
moment = st.floats(0.0, 0.35)
"""Seconds: a room takes some 0.3 s to launch, a wrapper 0.05 s, an engine 4 s to its end."""
sometimes = st.one_of(st.none(), moment)


class Kills(RuleBasedStateMachine):
    """A folder of runs, and everybody who may die in it."""

    counts: ClassVar[Counter[str]] = Counter()
    """What was done, over all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="lvm-kills-"))
        self.folder = Folder(self.top / "runs")
        self.config = self.top / "runs.toml"
        self.config.write_text(RUNS_TOML)
        self.environment = {**os.environ, "FAKE_ENGINE_OPTIONS": json.dumps(OPTIONS), "LVM_GRACE_S": "0.3"}

    def run(self, number: int) -> RunDirectory:
        """One of the runs there are."""
        runs = list_runs(self.folder.path)
        return runs[number % len(runs)]

    def living_run(self, number: int) -> RunDirectory:
        """One of the runs that are alive; any where none is. What a rule asks for must not depend on that."""
        runs = list_runs(self.folder.path)
        living = [run for run in runs if is_locked(run.lock_file)] or runs
        return living[number % len(living)]

    def act(self, command: list[str], kill_after_s: float | None) -> None:
        """Let a process act, and kill it at some moment of that."""
        acting = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.top
        )
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            acting.kill()
            self.counts["kills"] += 1
        acting.wait(30)

    def room(self, *arguments: str, kill_after_s: float | None) -> None:
        """A room, or its command, that does something."""
        where = ("--config", str(self.config), "--runs-dir", str(self.folder.path))
        self.act([*FAKE_ROOM, arguments[0], *where, *arguments[1:]], kill_after_s)

    @initialize()
    def first_run(self) -> None:
        self.room("start", "mamba_s", kill_after_s=None)

    @rule(after=sometimes)
    def launch(self, after: float | None) -> None:
        if len(list_runs(self.folder.path)) < MAX_RUNS:
            self.room("start", "mamba_s", kill_after_s=after)

    @rule(number=which, after=sometimes)
    def resume(self, number: int, after: float | None) -> None:
        self.room("resume", self.run(number).id, kill_after_s=after)

    @rule(number=which, after=sometimes)
    def start_a_wrapper(self, number: int, after: float | None) -> None:
        self.act([*WRAPPER, str(self.run(number).path)], after)

    @rule(number=which, before_s=moment)
    def kill_a_wrapper(self, number: int, before_s: float) -> None:
        self.kill(number, before_s, "wrapper")

    @rule(number=which, before_s=moment)
    def kill_an_engine(self, number: int, before_s: float) -> None:
        self.kill(number, before_s, "engine")

    @rule(number=which, before_s=moment)
    def kill_both(self, number: int, before_s: float) -> None:
        self.kill(number, before_s, "wrapper", "engine")

    def kill(self, number: int, before_s: float, *whom: str) -> None:
        """Kill processes of a run, which is started for that if none is alive."""
        run = self.living_run(number)
        if not is_locked(run.lock_file):
            self.act([*WRAPPER, str(run.path)], None)
        time.sleep(before_s)
        processes = run.read_life().processes
        for who in whom if processes is not None else ():
            self.counts["kills"] += send(getattr(processes, who), signal.SIGKILL)

    @rule(number=which)
    def stop(self, number: int) -> None:
        self.run(number).stop_file.touch()

    @invariant()
    def at_most_one_engine_a_folder_and_it_holds_the_lock(self) -> None:
        for run in list_runs(self.folder.path):
            engines = engines_in(run)
            assert engines <= 1, f"{engines} engines in {run.id}"
            if engines and not is_locked(run.lock_file):
                # it may have ended between the two looks
                wait_until(lambda run=run: not engines_in(run), 1.0)

    @invariant()
    def an_ended_run_has_one_final_state(self) -> None:
        for run in list_runs(self.folder.path):
            if is_locked(run.lock_file):
                continue
            told = {self.status_of(run), self.status_of(run)}
            if not is_locked(run.lock_file):
                assert len(told) == 1
                assert next(iter(told))[0] in ENDED
            self.counts["ends looked at"] += 1

    def status_of(self, run: RunDirectory) -> tuple[Status, str]:
        watcher = Watcher(run.path.parent, 60.0)
        watcher.catch_up()
        return watcher.views[run.id].status, watcher.views[run.id].reason

    @invariant()
    def no_checkpoint_that_was_whole_is_lost(self) -> None:
        for run in list_runs(self.folder.path):
            saved = 0
            for event in read_events(run.events_file):  # before the file, which only grows
                if isinstance(event, CheckpointSaved):
                    saved = max(saved, event.step)
                elif isinstance(event, RunStarted):
                    assert event.resumed_step >= saved, f"{run.id} went back from {saved} to {event.resumed_step}"
            if saved:
                assert int((run.path / "steps").read_text()) >= saved

    @invariant()
    def every_record_is_whole_and_in_order(self) -> None:
        for run in list_runs(self.folder.path):
            reader = EventReader(run.events_file)
            events, _ = reader.read()
            numbers = [event.seq for event in events]
            assert numbers == sorted(set(numbers))
            assert reader.skipped == 0

    def teardown(self) -> None:
        for run in list_runs(self.folder.path):
            life = run.read_life()
            if life.lock_held and life.supervised:
                wait_ended(run)
                assert run.read_life().exit is not None, f"{run.id} was supervised to its end and no exit was written"
                self.counts["exits"] += 1
        self.folder.end()
        assert not any(map(engines_in, list_runs(self.folder.path)))
        shutil.rmtree(self.top)


@pytest.mark.faults(47)
def test_random_kills_double_nothing_and_lose_nothing(figure: Figure) -> None:
    Kills.counts.clear()
    kept: dict[str, Any] = {"database": None, "deadline": None, "phases": [Phase.generate], "print_blob": False}
    run_state_machine_as_test(
        Kills,
        settings=settings(
            max_examples=times(250, 6),
            stateful_step_count=times(25, 12),
            derandomize=times(0, 1) == 1,
            suppress_health_check=list(HealthCheck),
            **kept,
        ),
    )
    counts = Kills.counts
    assert counts["kills"] >= times(500, 4)
    figure(
        f"{counts['kills']} kills in {times(250, 6)} sequences: 0 double engines, 0 lost exits ({counts['exits']} "
        f"supervised ends), 0 checkpoints lost, {counts['ends looked at']} looks at an ended run"
    )
