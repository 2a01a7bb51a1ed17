"""Any sequence of events, read bit by bit: one branch a question, one act a gate, and no gate passed on NaN."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import FIXES, RUNS_TOML, make_spec, make_view, run_events

from engine.run.directory import RunDirectory
from engine.run.events import EpochEnded, Event, GateJudged, NonFiniteFound, RunStarted
from engine.run.runs_file import RunsFile, load_runs
from engine.run.state import Status
from tui.control.actions import JOURNALED_AS, Actions
from tui.control.answers import Situation
from tui.control.autopilot import Autopilot
from tui.control.jobs import make_job
from tui.control.journal import Decision, Outcome, measured
from tui.control.mending import ailing
from tui.control.views import RunView
from tui.control.walk import locate

SPEC = make_spec()
STATUSES = st.sampled_from(
    [Status.RUNNING, Status.STALLED, Status.STOPPED, Status.FINISHED, Status.FAILED, Status.LOST]
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Event]:
    """A run's events, with NaN for any number: some lost, some repeated, some out of order, resumed anywhere."""
    values = draw(st.lists(st.none() | st.floats(0.0, 1.0), max_size=5))
    events: list[Event] = list(run_events(SPEC, values, margin=draw(st.none() | st.just(0.31))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(events)))
        what = draw(st.sampled_from(["lose", "repeat", "swap", "resume", "nan", "lie"]))
        if what == "lose":
            del events[at : at + 1]
        elif what == "repeat":
            events[at:at] = events[max(0, at - 3) : at]
        elif what == "swap":
            events[at : at + 2] = reversed(events[at : at + 2])
        elif what == "resume":
            started = next(event for event in run_events(SPEC, []) if isinstance(event, RunStarted))
            events.insert(at, started)
        elif what == "nan":
            events.insert(at, NonFiniteFound(what="loss", value="nan", epoch=1, step=3))
        else:
            verdict = draw(st.sampled_from(["passed", "missed", "undecidable"]))
            events.insert(at, GateJudged(name="val_cosine@2", epoch=2, value=None, bar=0.5, verdict=verdict))
    return events


def number_at_the_gate(run: RunView) -> float | None:
    """What is on record of the gate, from whichever event tells of it first."""
    recorded = run.state.gates.get("val_cosine@2")
    rows = [record.val_cosine for record in run.state.epochs if record.epoch == 2]
    return recorded.value if recorded else rows[0] if rows else None


@given(sequences(), STATUSES, st.booleans())
def test_at_every_moment_a_run_is_on_one_path_and_passes_no_gate_on_nan(
    events: list[Event], status: Status, has_fixes: bool
) -> None:
    for end in range(len(events) + 1):
        if end < len(events) and not isinstance(events[end - 1], EpochEnded | GateJudged | NonFiniteFound):
            continue
        run = make_view(SPEC, events[:end], status=status if end == len(events) else Status.RUNNING)
        path = locate(Situation(run, [run], FIXES if has_fixes else [])).path
        asked = [step.asked for step in path]
        assert len(asked) == len(set(asked)), "one question, one answer"
        answers = {step.asked: step.branch for step in path}
        if number_at_the_gate(run) is None:
            assert answers.get("gate_passed") in {None, "undecidable"}
            assert "narrow_miss" not in answers, "nor is it missed"


class Recorder(Actions):
    """Journals what it is asked to do, and lets the runs come to be in memory alone."""

    def __init__(self, file: RunsFile, views: list[RunView]) -> None:
        super().__init__(file, file.runs_dir, "autopilot")
        self._known = views

    def _note(self, **fields: Any) -> None:
        intent = self.journal.record(Decision(who="autopilot", **fields))
        done = self.journal.close(intent)
        self.journal.record(measured(done, Outcome(words="it was noticed at once")))

    def restart(self, plan: Any) -> RunDirectory:
        number = len(self._known) + 1
        spec = make_spec(number=number, parent=plan.base.spec, patch=plan.rung.patch, fix=plan.rung.fix.title)
        self._known.append(make_view(spec, [], status=Status.QUEUED))
        self._note(action="restart", run=plan.stops.id, child=spec.id, patch=plan.rung.patch)
        return self._known[-1].directory

    def start(self, name: str, **_: Any) -> RunDirectory:
        spec = make_spec(name, len(self._known) + 1)
        self._known.append(make_view(spec, [], status=Status.QUEUED))
        self._note(action="start", run=name, child=spec.id)
        return self._known[-1].directory

    def start_job(self, run: RunView, action: Any) -> RunDirectory:
        self._note(action=JOURNALED_AS[action], run=run.id, detail=make_job(action, run, self.index_dir).name)
        return run.directory

    def probe(self, intent: Any) -> RunDirectory:
        self._note(action="probe", run=intent.run.id)
        return RunDirectory(intent.run.directory.path)

    def resume(self, run: RunDirectory) -> None:
        self._note(action="resume", run=run.id)

    def kill(self, run: RunDirectory) -> None:
        self._note(action="kill", run=run.id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sequences")


def restarts(journal: Sequence[Decision]) -> list[str]:
    return [entry.run for entry in journal if entry.action == "restart" and entry.phase == "done"]


@settings(max_examples=40)
@given(events=sequences(), status=STATUSES, steps=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_an_autopilot_acts_once_for_a_gate_however_often_it_looks(
    folder: Path, events: list[Event], status: Status, steps: list[int]
) -> None:
    path = folder / f"{time.monotonic_ns()}"
    path.mkdir()
    (path / "runs.toml").write_text(RUNS_TOML)
    file = load_runs(path / "runs.toml")
    views = [make_view(SPEC, [], status=Status.RUNNING)]
    actions = Recorder(file, views)
    at = 0
    for step in [*steps, len(events), 0]:
        at = min(len(events), at + step)
        views[0] = make_view(SPEC, events[:at], status=status if at == len(events) else Status.RUNNING)
        has_cause = number_at_the_gate(views[0]) is not None or ailing(views[0]) is not None
        before = restarts(actions.journal.read())
        for _ in range(2):  # one that is started again knows no more than the journal
            pilot = Autopilot(actions, SPEC.id, file.autopilot, time.time())
            pilot.look(list(views), time.time())
            pilot.look(list(views), time.time())
        after = restarts(actions.journal.read())
        assert after.count(SPEC.id) <= 1
        assert len(after) == len(set(after)), "one restart of a run"
        if not has_cause:
            assert after == before, "no gate and no alarm, no restart"
    jobs = [(entry.run, entry.detail) for entry in actions.journal.read() if entry.phase == "done" and entry.detail]
    assert len(jobs) == len(set(jobs))
