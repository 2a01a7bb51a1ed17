"""RunView: one run as the room sees it, its spec, folded events and life together; and the watcher that keeps them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar, cast

from engine.run.convert import ConfigError
from engine.run.directory import Life, RunDirectory, list_runs
from engine.run.evals import EvalReport
from engine.run.event_file import EventReader
from engine.run.events import (
    EpochRecord,
    Verdict,
)
from engine.run.gates import Judgement, judge_gate
from engine.run.heads import HeadReport, RerankReport, read_head_report, read_rerank_report
from engine.run.launch import Launch
from engine.run.preflight import PreflightReport, read_preflight
from engine.run.settings import Gate
from engine.run.spec import RunSpec
from engine.run.state import MOST_POINTS, RunState, Status, derive_status
from tui.control.labels import read_note, tags_of
from tui.control.launching.scheduler_watch import SchedulerWatch
from tui.control.probe.record import ProbeReport, probe_file, read_probe

Report = TypeVar("Report")
CLOCK_SLACK_S = 1.0
"""Reports are stamped in whole seconds, events in fractions of them."""
EVENT_BUDGET = 1 << 21
"""Bytes of events taken in from one run in one pass, about 15,000 events: some 50 ms."""


@dataclass(slots=True)
class RunView:
    """What is known of one run now. Replaced fields, never shared: panes read it and write nothing."""

    directory: RunDirectory
    spec: RunSpec
    state: RunState
    life: Life
    status: Status
    reason: str = ""
    """Why, where the status needs it: exit code and last line, silence, lost."""
    preflight: PreflightReport | None = None
    """What the data are like; None where they were not looked at, or the report is damaged."""
    evals: dict[str, EvalReport] = field(default_factory=dict)
    head: HeadReport | None = None
    """The alignment head that was fitted to its best checkpoint, and what it changed."""
    reranker: RerankReport | None = None
    """The reranker, likewise."""
    probe: ProbeReport | None = None
    """What short runs of the ladder's fixes have found; None where it was not probed."""
    jobs: dict[str, Life] = field(default_factory=dict)
    """Evaluations started, by name, with how they fare."""
    note: str = ""
    """What a person wrote on it."""
    archived: bool = False
    """Whether a person has put it away."""
    catching_up: bool = False
    """More events are on disk than have been read yet."""
    progress: float = 1.0
    """Share of the events that has been read."""
    version: int = 0
    """Grows with every change, so that only what changed is drawn."""

    @property
    def id(self) -> str:
        """Folder name."""
        return self.directory.id

    @property
    def tags(self) -> tuple[str, ...]:
        """The words of its note that begin with #, without it."""
        return tags_of(self.note)

    @property
    def is_put_away(self) -> bool:
        """Whether lists leave it out: one that was archived and does not train, or train again."""
        return self.archived and not self.status.is_alive

    @property
    def latest(self) -> EpochRecord | None:
        """The last epoch that ended."""
        return self.state.latest

    def gate_judgement(self, gate: Gate) -> Judgement:
        """The gate's verdict: as the engine recorded it; judged from the record if its event was lost; else pending."""
        recorded = self.state.gates.get(gate.name)
        if recorded is not None:
            # a verdict without a number behind it is none, whoever recorded it
            told: Verdict = "undecidable" if recorded.value is None else recorded.verdict
            return Judgement(told, recorded.value, recorded.bar, recorded.detail)
        record = next((row for row in self.state.epochs if row.epoch == gate.epoch), None)
        if record is not None:
            return judge_gate(gate, record, self.state.floors)
        verdict: Verdict = "pending" if self.status.is_alive or self.status is Status.QUEUED else "undecidable"
        detail = f"judged after epoch {gate.epoch}" if verdict == "pending" else f"ended before epoch {gate.epoch}"
        return Judgement(verdict, None, gate.at_least, detail)

    @property
    def fitted(self) -> dict[str, HeadReport | RerankReport]:
        """What was fitted to the best checkpoint as it is now, by its name in words; a newer checkpoint voids it."""
        reports = {"alignment head": self.head, "reranker": self.reranker}
        return {name: report for name, report in reports.items() if report and not self.is_outdated(report)}

    def is_outdated(self, report: HeadReport | RerankReport) -> bool:
        """Whether the best checkpoint is newer than what was fitted to it."""
        best = self.state.checkpoints.get("best")
        try:
            made = datetime.fromisoformat(report.judged.created).timestamp()
        except ValueError:
            return False
        return best is not None and made - report.judged.seconds + CLOCK_SLACK_S < best.t

    @property
    def gate(self) -> Gate:
        """The gate that the decision tree stands on: the first one."""
        return self.spec.gates[0] if self.spec.gates else Gate()

    @property
    def is_blocked(self) -> bool:
        """Whether the preflight kept it from being trained."""
        judged = self.state.preflight
        return judged is not None and judged.verdict == "missed" and not judged.override

    def eta_s(self, epoch: int, now: float) -> float | None:
        """Seconds to the end of an epoch; None if the run is not alive or its pace unknown."""
        return self.state.eta_s(epoch, now) if self.status.is_alive else None


class Watcher:
    """Keeps a view of every run in a folder. A pass over ten runs takes well under a millisecond."""

    def __init__(self, runs_dir: Path, stall_s: float) -> None:
        self.scheduler = SchedulerWatch()
        self.runs_dir = runs_dir
        self.stall_s = stall_s
        self.views: dict[str, RunView] = {}
        self.unreadable: dict[str, str] = {}
        """Run folders whose spec cannot be read, with the reason."""
        self._readers: dict[str, EventReader] = {}
        self._heard: dict[str, float] = {}
        """By run: when this watcher last saw it say something new, by a clock that nobody sets."""
        self._settled: dict[str, tuple[int, ...]] = {}
        self._reports: dict[str, dict[Path, tuple[int, object]]] = {}
        """By run and file: when a report was written, and what it says. They are large and seldom change."""

    def poll(self) -> bool:
        """Take in what changed on disk, and have the scheduler asked where that is due; True if anything did."""
        changed = self._look()
        self.scheduler.ask(self._launches())
        return changed

    def _look(self) -> bool:
        changed = False
        found = list_runs(self.runs_dir)
        there = {run.id for run in found}
        self.unreadable = {run_id: reason for run_id, reason in self.unreadable.items() if run_id in there}
        for gone in self.views.keys() - there:
            del self.views[gone]
            self._readers.pop(gone, None)
            self._heard.pop(gone, None)
            self._settled.pop(gone, None)
            self._reports.pop(gone, None)
            changed = True
        for run in found:
            if run.id not in self.views:
                changed |= self._adopt(run)
            if run.id in self.views:
                changed |= self._refresh(self.views[run.id])
        self.views = {run.id: self.views[run.id] for run in found if run.id in self.views}
        return changed

    def catch_up(self) -> None:
        """Poll until every event on disk is read, and wait for the scheduler; for commands that answer once."""
        self._look()
        while any(view.catching_up for view in self.views.values()):
            self._look()
        if self.scheduler.look(self._launches()):
            self._look()

    def _launches(self) -> list[Launch]:
        """What schedulers were handed and has not ended, runs and their evaluations."""
        lives = [life for view in self.views.values() for life in (view.life, *view.jobs.values())]
        return [life.launch for life in lives if life.launch is not None and life.is_busy]

    def _adopt(self, run: RunDirectory) -> bool:
        try:
            spec = run.read_spec()
        except ConfigError as error:
            is_news = self.unreadable.get(run.id) != str(error)
            self.unreadable[run.id] = str(error)
            return is_news
        self.unreadable.pop(run.id, None)
        self._readers[run.id] = EventReader(run.events_file, MOST_POINTS)
        life = run.read_life()
        self.views[run.id] = RunView(run, spec, RunState(), life, Status.QUEUED)
        return True

    def _refresh(self, view: RunView) -> bool:
        marks = _marks(view.directory)
        if self._settled.get(view.id) == marks:
            return False
        # life before events: an engine writes its last event before it lets go of the lock
        life = self.scheduler.told(view.directory.read_life())
        reader = self._readers[view.id]
        events, restarted = reader.read(EVENT_BUDGET)
        if restarted:
            view.state = RunState()
        elif events and view.state.last_t and not view.catching_up:
            self._heard[view.id] = time.monotonic()
        for event in events:
            view.state.apply(event)
        evals = view.directory.read_evals()
        jobs = {name: self.scheduler.told(job) for name, job in read_jobs(view.directory).items()}
        preflight = self._read(view.directory, view.directory.preflight_file, read_preflight)
        head = self._read(view.directory, view.directory.evals / "align.json", read_head_report)
        reranker = self._read(view.directory, view.directory.evals / "rerank.json", read_rerank_report)
        probe = self._read(view.directory, probe_file(view.directory), read_probe)
        note = self._read(view.directory, view.directory.note_file, read_note) or ""
        archived = os.path.exists(view.directory.archived_file)
        heard = self._heard.get(view.id)  # the clock of the day may be set while a run goes on
        now_s = time.time() if heard is None else view.state.last_t + time.monotonic() - heard
        status, reason = derive_status(view.state, life, now_s, self.stall_s)
        if reader.skipped:
            damaged = f"{reader.skipped} record{'s' if reader.skipped > 1 else ''} cannot be read"
            reason = "; ".join(filter(None, (reason, damaged)))
        catching_up = reader.behind
        if catching_up and status is Status.STALLED:  # its newest events are not read yet
            status, reason = Status.RUNNING, ""
        now = (life, preflight, evals, head, reranker, probe, jobs, note, archived, status, reason, catching_up)
        changed = bool(events) or restarted or now != _known(view)
        view.life, view.preflight, view.evals, view.head, view.reranker, view.probe = now[:6]
        view.jobs, view.note, view.archived, view.status, view.reason, view.catching_up = now[6:]
        view.progress = reader.progress
        view.version += changed
        is_busy = status.is_alive or catching_up or any(job.is_busy for job in jobs.values())
        if is_busy or status is Status.QUEUED:
            self._settled.pop(view.id, None)
        else:
            self._settled[view.id] = marks
        return changed

    def _read(self, run: RunDirectory, path: Path, reader: Callable[[Path], Report]) -> Report | None:
        """A report, read when it was written; None where there is none or it is damaged."""
        known = self._reports.setdefault(run.id, {})
        written = _written_ns(path)
        if path not in known or known[path][0] != written:
            report = None
            if written:
                with suppress(ConfigError):
                    report = reader(path)
            known[path] = (written, report)
        return cast("Report | None", known[path][1])


def read_jobs(run: RunDirectory) -> dict[str, Life]:
    """The evaluations that were started on a run, by name."""
    return {folder.name.removesuffix(".job"): RunDirectory(folder).read_life() for folder in run.evals.glob("*.job")}


def _known(view: RunView) -> tuple[object, ...]:
    reports, label = (view.head, view.reranker, view.probe), (view.note, view.archived)
    fate = (view.status, view.reason, view.catching_up)
    return (view.life, view.preflight, view.evals, *reports, view.jobs, *label, *fate)


def _marks(run: RunDirectory) -> tuple[int, ...]:
    """Modification times that tell whether an ended run has woken up, was evaluated or was written on."""
    files = (run.processes_file, run.events_file, run.exit_file, run.preflight_file, run.launch_file, run.evals)
    return tuple(map(_written_ns, (*files, run.note_file, run.archived_file)))


def _written_ns(path: Path) -> int:
    """Modification time; 0 where there is nothing."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
