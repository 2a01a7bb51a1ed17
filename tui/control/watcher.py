"""The watcher: keeps a view of every run in a folder, and reads as little as it can to do so.

A run that lives or is in sight is looked at in every pass; where there are many, the others are in turn. One that has
ended is read once, then left alone until its folder changes; with a shelf, what lists say of it is kept there, and the
rest is let go of until somebody opens it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from engine.run.convert import ConfigError
from engine.run.directory import Life, RunDirectory, run_number
from engine.run.event_file import EventReader
from engine.run.events import RanksMeasured, StepLogged
from engine.run.heads import read_head_report, read_rerank_report
from engine.run.launch import Launch
from engine.run.preflight import read_preflight
from engine.run.state import MOST_POINTS, RunState, Status, derive_status
from tui.control.briefing import brief_of
from tui.control.census import Census
from tui.control.labels import read_note
from tui.control.launching.scheduler_watch import SchedulerWatch
from tui.control.marks import NO_MARK, FullMark, Mark, full_mark_of, is_old, mark_of, written_ns
from tui.control.probe.record import probe_file, read_probe
from tui.control.shelf import Entry, Shelf
from tui.control.views import RunView, put_away

Report = TypeVar("Report")
EVENT_BUDGET = 1 << 21
"""Bytes of events taken in from one run in one pass, about 15,000 events: some 50 ms."""
PASS_S = 0.1
"""Reading that one pass does at most, or one run where that takes longer: between passes, keys are heard."""
LIVING_LOOKS, LOOKS, FULL_LOOKS = 8, 120, 12
"""Living runs beside those in sight that are looked at in one pass; ended ones whose folder is, and whose every file.
More of them take several passes: of fifty that live, each is looked at every 3.5 s."""
KEPT_POINTS = 60_000
"""Logged steps of ended runs that are kept at hand, some 25 MB; at least `KEPT_RUNS` runs are, whatever they have."""
KEPT_RUNS = 8


@dataclass(slots=True)
class _Look:
    """What the last look at a run found, so that the next one reads only what is new."""

    folder: str
    mark: Mark = NO_MARK
    full_mark: FullMark = ()
    evals_ns: int = 0
    """When the folder of evaluations changed last, which the mark does not tell."""
    is_settled: bool = False
    """It has ended and was read: nothing is new before its marks are."""
    reader: EventReader | None = None
    heard: float | None = None
    """When this watcher last saw it say something new, by a clock that nobody sets."""
    reports: dict[Path, tuple[int, object]] = field(default_factory=dict)
    """By file: when a report was written, and what it says. They are large and seldom change."""


class Watcher:
    """Keeps a view of every run in a folder. A pass over ten runs takes well under a millisecond."""

    def __init__(self, runs_dir: Path, stall_s: float, shelf: Shelf | None = None) -> None:
        """Nothing is read yet.

        Args:
            runs_dir: where the runs are.
            stall_s: seconds of silence after which a run that lives is called stalled.
            shelf: of the briefs of ended runs; without one everything is read, and kept.
        """
        self.scheduler = SchedulerWatch()
        self.runs_dir = runs_dir
        self.stall_s = stall_s
        self.views: dict[str, RunView] = {}
        self.unreadable: dict[str, str] = {}
        """Run folders whose spec cannot be read, with the reason."""
        self._looks: dict[str, _Look] = {}
        self._shelf = shelf
        self._shelved: dict[str, Entry] | None = None
        self._to_put: dict[str, Entry] = {}
        """Entries that are not on the shelf yet."""
        self._at_hand: list[str] = []
        """Ended runs on the shelf whose record was read, in the order of reading."""
        self.in_sight: frozenset[str] = frozenset()
        """Runs that somebody watches; they are looked at in every pass."""
        self._census = Census(runs_dir)
        self.turns = 0
        """How often anything has happened but steps and what they cost: what a judgement can hang on."""
        self._pass_s = PASS_S
        self._is_asked_once = False
        """No turns: somebody asks once, and is told of everything."""
        self._lock = threading.RLock()
        """A record may be asked for by the thread that carries an action out."""

    def poll(self) -> bool:
        """Take in what changed on disk, and have the scheduler asked where that is due; True if anything did."""
        changed = self._look_at_all()
        self.scheduler.ask(self._launches())
        return changed

    def _look_at_all(self) -> bool:
        with self._lock:
            due, marks, changed = self._find()
            self.turns += changed
            deadline = time.monotonic() + self._pass_s
            settled: dict[str, RunView] = {}
            for view in due:
                if time.monotonic() > deadline:
                    break
                changed |= self._refresh(view, marks[view.id])
                if self._shelf is not None and self._looks[view.id].is_settled:
                    settled[view.id] = view
            self._put_on_shelf(settled)
            return changed

    def catch_up(self) -> None:
        """Poll until every event on disk is read, and wait for the scheduler; for commands that answer once."""
        self._pass_s, self._is_asked_once = math.inf, True
        self._look_at_all()
        while any(view.catching_up for view in self.views.values()):
            self._look_at_all()
        if self.scheduler.look(self._launches()):
            self._look_at_all()
        self._is_asked_once = False

    def _launches(self) -> list[Launch]:
        """What schedulers were handed and has not ended, runs and their evaluations."""
        awake = [self.views[run_id] for run_id, look in self._looks.items() if not look.is_settled]
        lives = [life for view in awake for life in (view.life, *view.jobs.values())]
        return [life.launch for life in lives if life.launch is not None and life.is_busy]

    # ── which runs there are ─────────────────────────────────────────────────────────────────────────────────────────

    def _find(self) -> tuple[list[RunView], dict[str, Mark], bool]:
        """Views to look at now, with the marks of their folders; and whether any came, went or became unreadable.

        Those that live come first, then the newest of those that have changed or were never read.
        """
        awake, settled, wholly = self._in_turn()
        marks = {run_id: mark_of(self._looks[run_id].folder) for run_id in (*awake, *settled, *wholly)}
        moved = {run_id for run_id, mark in marks.items() if not mark == self._looks[run_id].mark != NO_MARK}
        there = self._census.take(self.views.keys() - moved, is_doubtful=bool(moved or self.unreadable))
        gone = self.views.keys() - there
        for run_id in gone:
            del self.views[run_id], self._looks[run_id]
        if gone and self._shelf is not None:
            self._shelf.forget(gone)
            self._at_hand = [run_id for run_id in self._at_hand if run_id not in gone]
        self.unreadable = {run_id: reason for run_id, reason in self.unreadable.items() if run_id in there}
        changed = bool(gone)
        for run_id in there - self.views.keys():
            run = RunDirectory(self.runs_dir / run_id)
            marks[run_id] = mark_of(str(run.path))
            changed |= self._adopt(run, marks[run_id])
        if changed:
            self.views = {run_id: self.views[run_id] for run_id in sorted(self.views, key=run_number)}
        due = [
            view
            for run_id, mark in marks.items()
            if (view := self.views.get(run_id))
            and self._is_due(view, mark, wholly=self._is_asked_once or run_id in wholly)
        ]
        return sorted(due, key=lambda view: (not view.life.lock_held, -run_number(view.id))), marks, changed

    def _in_turn(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """Whose turn it is: of the runs that live or are not read yet, of the ended ones, and of those file by file."""
        awake: list[str] = []
        settled: list[str] = []
        for run_id, look in self._looks.items():
            (settled if look.is_settled else awake).append(run_id)
        watched: list[str] = []
        others: list[str] = []
        for run_id in awake:
            (watched if run_id in self.in_sight or self.views[run_id].catching_up else others).append(run_id)
        if self._is_asked_once:
            return awake, settled, settled
        turn = self._census.in_turn
        shown = [run_id for run_id in settled if run_id in self.in_sight]
        return (
            [*watched, *turn(others, LIVING_LOOKS)],
            [*shown, *turn(settled, LOOKS)],
            [*shown, *turn(settled, FULL_LOOKS)],
        )

    def _is_due(self, view: RunView, mark: Mark, *, wholly: bool) -> bool:
        look = self._looks[view.id]
        is_other = not look.is_settled or mark != look.mark
        return is_other or (wholly and full_mark_of(view.directory) != look.full_mark)

    def _adopt(self, run: RunDirectory, mark: Mark) -> bool:
        put = self._on_shelf(run.id)
        if put is not None and put.mark == mark:
            self._looks[run.id] = _Look(str(run.path), mark, full_mark=put.full_mark, is_settled=True)
            view = RunView(run, put.spec, RunState(), put.life, put.status, put.reason)
            view.note, view.archived, view.brief, view.read_in = put.note, put.archived, put.brief, self._read_in
            put_away(view)
            self.views[run.id] = view
            return True
        try:
            spec = run.read_spec()
        except ConfigError as error:
            is_news = self.unreadable.get(run.id) != str(error)
            self.unreadable[run.id] = str(error)
            return is_news
        self.unreadable.pop(run.id, None)
        life, state = run.read_life(), RunState()
        status, _ = derive_status(state, life, 0.0, self.stall_s)
        self._looks[run.id] = _Look(str(run.path), reader=EventReader(run.events_file, MOST_POINTS))
        view = self.views[run.id] = RunView(run, spec, state, life, status, catching_up=True, progress=0.0)
        view.archived = os.path.exists(run.archived_file)  # lists ask for it before anything else is read
        return True

    # ── what is new of a run ─────────────────────────────────────────────────────────────────────────────────────────

    def _refresh(self, view: RunView, mark: Mark) -> bool:
        look = self._looks[view.id]
        full_mark = full_mark_of(view.directory) if not view.life.lock_held else ()
        if not view.is_read:
            self._begin_anew(view, look)
        view.brief = None
        evals_ns = written_ns(view.directory.evals)
        is_fresh = mark != look.mark or not is_old(mark) or evals_ns != look.evals_ns or look.is_settled
        changed = self._take_in(view, look, is_fresh=is_fresh)
        is_busy = view.status.is_alive or view.catching_up or any(job.is_busy for job in view.jobs.values())
        look.mark, look.full_mark, look.evals_ns = mark, full_mark, evals_ns
        has_ended = not is_busy and view.status is not Status.QUEUED
        look.is_settled = has_ended and bool(full_mark) and is_old(mark)
        return changed

    def _begin_anew(self, view: RunView, look: _Look) -> None:
        look.reader, look.reports = EventReader(view.directory.events_file, MOST_POINTS), {}
        view.state, view.evals, view.jobs = RunState(), {}, {}
        view.preflight = view.head = view.reranker = view.probe = None

    def _take_in(self, view: RunView, look: _Look, *, is_fresh: bool) -> bool:
        """Read what is new of a run; True if anything is.

        Args:
            view: to be brought up to date.
            look: the last one.
            is_fresh: whether anything may have been made or replaced in its folder since.
        """
        run, reader = view.directory, look.reader
        if reader is None:
            reader = look.reader = EventReader(run.events_file, MOST_POINTS)
        # life before events: an engine writes its last event before it lets go of the lock
        life = self.scheduler.told(run.read_life(None if is_fresh else view.life))
        before = _known(view)
        events, restarted = reader.read(EVENT_BUDGET)
        if restarted:
            view.state = RunState()
        elif events and view.state.last_t and not view.catching_up:
            look.heard = time.monotonic()
        for event in events:
            view.state.apply(event)
        view.life = life
        if is_fresh or not life.lock_held or any(job.is_busy for job in view.jobs.values()):
            self._take_in_files(view, look)
        heard = look.heard  # the clock of the day may be set while a run goes on
        now_s = time.time() if heard is None else view.state.last_t + time.monotonic() - heard
        status, reason = derive_status(view.state, life, now_s, self.stall_s)
        if reader.skipped:
            damaged = f"{reader.skipped} record{'s' if reader.skipped > 1 else ''} cannot be read"
            reason = "; ".join(filter(None, (reason, damaged)))
        view.catching_up, view.progress = reader.behind, reader.progress
        if view.catching_up and status is Status.STALLED:  # its newest events are not read yet
            status, reason = Status.RUNNING, ""
        view.status, view.reason = status, reason
        is_other = restarted or _known(view) != before
        is_turn = is_other or any(not isinstance(event, StepLogged | RanksMeasured) for event in events)
        changed = is_other or bool(events)
        view.version, view.turn, self.turns = view.version + changed, view.turn + is_turn, self.turns + is_turn
        return changed

    def _take_in_files(self, view: RunView, look: _Look) -> None:
        run = view.directory
        view.evals = run.read_evals()
        view.jobs = {name: self.scheduler.told(job) for name, job in read_jobs(run).items()}
        view.preflight = _report(look, run.preflight_file, read_preflight)
        view.head = _report(look, run.evals / "align.json", read_head_report)
        view.reranker = _report(look, run.evals / "rerank.json", read_rerank_report)
        view.probe = _report(look, probe_file(run), read_probe)
        view.note = _report(look, run.note_file, read_note) or ""
        view.archived = os.path.exists(run.archived_file)

    # ── the shelf ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_shelf(self, run_id: str) -> Entry | None:
        if self._shelved is None:
            self._shelved = self._shelf.entries() if self._shelf is not None else {}
        return self._shelved.pop(run_id, None)

    def _put_on_shelf(self, settled: dict[str, RunView]) -> None:
        """Keep briefs of runs that have ended; let go of what was longest not asked for."""
        if self._shelf is None or not (settled or self._to_put or len(self._at_hand) > KEPT_RUNS):
            return
        for run_id, view in settled.items():
            look = self._looks[run_id]
            view.read_in, view.brief = self._read_in, brief_of(view)
            self._to_put[run_id] = Entry(
                mark=look.mark,
                full_mark=look.full_mark,
                spec=view.spec,
                life=view.life,
                status=view.status,
                reason=view.reason,
                note=view.note,
                archived=view.archived,
                brief=view.brief,
            )
            self._at_hand = [known for known in self._at_hand if known != run_id] + [run_id]
        if self._shelf.put(self._to_put):
            self._to_put = {}
        kept = 0
        for place, run_id in enumerate(reversed(self._at_hand)):
            view = self.views[run_id]
            kept += len(view.state.points) if view.is_read else 0
            if place >= KEPT_RUNS and kept > KEPT_POINTS and view.brief is not None:
                put_away(view)
                self._looks[run_id].reader, self._looks[run_id].reports = None, {}
        self._at_hand = [run_id for run_id in self._at_hand if self.views[run_id].is_read]

    def _read_in(self, view: RunView) -> None:
        """Fill in what was put away, whoever asks; what is too long for one go is read on by the next passes."""
        with self._lock:
            look = self._looks.get(view.id) or _Look(str(view.directory.path))
            self._begin_anew(view, look)
            self._take_in(view, look, is_fresh=True)
            while view.catching_up and math.isinf(self._pass_s):
                self._take_in(view, look, is_fresh=False)
            self._at_hand.append(view.id)
            if view.catching_up:
                view.brief, look.is_settled = None, False


def read_jobs(run: RunDirectory) -> dict[str, Life]:
    """The evaluations that were started on a run, by name."""
    return {folder.name.removesuffix(".job"): RunDirectory(folder).read_life() for folder in run.evals.glob("*.job")}


def _report(look: _Look, path: Path, reader: Callable[[Path], Report]) -> Report | None:
    """A report, read when it was written; None where there is none or it is damaged."""
    written = written_ns(path)
    if path not in look.reports or look.reports[path][0] != written:
        report = None
        if written:
            with suppress(ConfigError):
                report = reader(path)
        look.reports[path] = (written, report)
    return cast("Report | None", look.reports[path][1])


def _known(view: RunView) -> tuple[object, ...]:
    reports, label = (view.head, view.reranker, view.probe), (view.note, view.archived)
    fate = (view.status, view.reason, view.catching_up)
    return (view.life, view.preflight, view.evals, *reports, view.jobs, *label, *fate)
