"""The driver of a probe: `python -m tui.control.probe.driver RUN_DIR`, detached, so that the room may be closed.

Every trial is an ordinary run below a wrapper of its own: whatever becomes of the driver, trials come to their end at
the gate's epoch by themselves, and the next driver takes up what they have found. `probe.json` is replaced as it goes.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.spec import RunSpec
from tui.control.probe.record import (
    FOLDER,
    ProbePlan,
    ProbeReport,
    ProbeState,
    Row,
    Trial,
    Try,
    probe_file,
    read_plan,
    write_json,
)
from tui.control.probe.rules import is_hopeless, judge_rows, leaders, recommend
from tui.control.probe.trial import TrialRun, gate_of, trial_config, trial_spec
from tui.control.watcher import Watcher

POLL_S = 0.1
STALL_S = 3600.0
"""A trial that is silent for so long is left alone, and so is the probe: a person decides."""


class Driver:
    """Walks the tries of a plan, a few at a time, then gives the leaders a second seed."""

    def __init__(self, run: RunDirectory, plan: ProbePlan) -> None:
        self.run = run
        self.plan = plan
        self.spec = run.read_spec()
        self.folder = run.path / FOLDER
        self.watcher = Watcher(self.folder, STALL_S)
        self.tracks = [TrialRun(tried, self.spec.config.seed) for tried in plan.tries]
        self.began = time.monotonic()
        self._written: ProbeReport | None = None

    def drive(self, stop_requested: Callable[[], bool]) -> ProbeReport:
        """Go on until every trial has ended, or until asked to stop: then the trials are, at a step's end."""
        while not stop_requested():
            self.watcher.poll()
            self._advance()
            if all(track.has_ended for track in self.tracks) and not self._add_second_seeds():
                return self._write("done")
            self._write("running")
            time.sleep(POLL_S)
        for track in self.tracks:
            track.stop()
        return self._write("stopped")

    def _advance(self) -> None:
        for track in self.tracks:
            if track.is_under_way:
                track.follow(self.watcher, self.plan)
                self._give_up_hopeless(track)
        for track in self.tracks:
            if sum(other.is_under_way for other in self.tracks) >= self.plan.at_once:
                return
            if track.trial.state == "waiting":
                self._begin(track)

    def _begin(self, track: TrialRun) -> None:
        """Take up the trial that is there already, else start one."""
        config = trial_config(self.spec, track.tried, track.seed)
        # the newest: another one is made only where the one before could not be used
        known = next((view for view in reversed(self.watcher.views.values()) if view.spec.config == config), None)
        try:
            track.begin(known, lambda: self._create(track))
        except (ConfigError, OSError) as error:
            track.fail(str(error))

    def _create(self, track: TrialRun) -> RunDirectory:
        def spec_for(run_id: str) -> RunSpec:
            return trial_spec(self.spec, track.tried, track.seed, self.folder / run_id, self.plan.train)

        return RunDirectory.create(self.folder, self.spec.name, spec_for)

    def _give_up_hopeless(self, track: TrialRun) -> None:
        if track.trial.state != "training" or track.trial.epoch != 1 or not track.tried.patch:
            return
        others = [other.first for other in self.tracks if other.tried != track.tried and other.first is not None]
        if is_hopeless(track.first, others):
            track.give_up(f"after epoch 1 at {track.first:.3f}, below half of the lowest other, {min(others):.3f}")

    def _add_second_seeds(self) -> bool:
        """A second seed for the leaders, once; whether there are any."""
        seed = self.spec.config.seed + 1
        if any(track.seed == seed for track in self.tracks):
            return False
        chosen = leaders(judge_rows(self._rows()), self.plan.leaders)
        self.tracks += [TrialRun(row.tried, seed) for row in chosen]
        return bool(chosen)

    def _rows(self) -> list[Row]:
        return [Row(tried=tried, trials=self._trials(tried)) for tried in self.plan.tries]

    def _trials(self, tried: Try) -> list[Trial]:
        return [track.trial for track in self.tracks if track.tried == tried]

    def _write(self, state: ProbeState) -> ProbeReport:
        report = self._report(state)
        before = self._written
        # the clock alone is no news
        if before is None or msgspec.structs.replace(before, seconds=report.seconds, created=report.created) != report:
            write_json(probe_file(self.run), report)
            self._written = report
        return report

    def _report(self, state: ProbeState) -> ProbeReport:
        rows = judge_rows(self._rows())
        gate = gate_of(self.spec)
        fix, words = recommend(rows) if state == "done" else (0, [])
        base = next((self.watcher.views.get(track.trial.run) for track in self.tracks), None)
        return ProbeReport(
            run=self.run.id,
            metric=gate.metric,
            epoch=gate.epoch,
            bar=gate.at_least,
            state=state,
            seconds=round(time.monotonic() - self.began, 1),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            num_queries=max((track.num_queries for track in self.tracks), default=0),
            floors=base.state.floors if base else {},
            rows=rows,
            fix=fix,
            recommendation=words,
        )


class _StopRequest:
    """TERM asks the driver to end."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def main(arguments: Sequence[str]) -> int:
    """Drive the probe of a run folder; 0 when it is done or was stopped, 2 if it could not be read."""
    run = RunDirectory(Path(arguments[0]).absolute())
    stop = _StopRequest()
    try:
        report = Driver(run, read_plan(run.path / FOLDER)).drive(lambda: stop.asked)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"probe {report.state} after {report.seconds:.0f} s: {'; '.join(report.recommendation)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
