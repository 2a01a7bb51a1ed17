"""RunView: one run as the room sees it, its spec, its folded events, its reports and its life together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.run.directory import Life, RunDirectory
from engine.run.evals import EvalReport
from engine.run.events import EpochRecord, Verdict
from engine.run.gates import Judgement, judge_gate
from engine.run.heads import HeadReport, RerankReport
from engine.run.preflight import PreflightReport
from engine.run.settings import Gate
from engine.run.spec import RunSpec
from engine.run.state import RunState, Status
from tui.control.labels import tags_of
from tui.control.probe.record import ProbeReport

if TYPE_CHECKING:
    from tui.control.brief import Brief

CLOCK_SLACK_S = 1.0
"""Reports are stamped in whole seconds, events in fractions of them."""
RECORD = ("state", "preflight", "evals", "head", "reranker", "probe", "jobs")
"""Fields that are put away with an ended run nobody looks at, and read again when one of them is asked for."""


@dataclass(slots=True, eq=False)
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
    turn: int = 0
    """Grows with every change but logged steps and what they cost, so that lists of many runs need not follow these."""
    brief: Brief | None = None
    """What lists say of an ended run, so that a folder of thousands need not be read for it; None for any other."""
    read_in: Callable[[RunView], None] | None = None
    """Fills the fields of `RECORD` in, where they were put away."""

    if not TYPE_CHECKING:  # a checker must go on to refuse names that are none

        def __getattr__(self, name: str) -> Any:
            """A field that was put away."""
            if name not in RECORD or self.read_in is None:
                raise AttributeError(name)
            self.read_in(self)
            return getattr(self, name)

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
        return self.brief.latest if self.brief else self.state.latest

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest val_cosine."""
        return self.brief.best if self.brief else self.state.best

    @property
    def curve(self) -> Sequence[float | None]:
        """val_cosine of every epoch that ended."""
        return self.brief.curve if self.brief else [record.val_cosine for record in self.state.epochs]

    @property
    def is_read(self) -> bool:
        """Whether its record is at hand, so that asking for it costs nothing."""
        return self.brief is None or _is_set(self, "state")

    def gate_judgement(self, gate: Gate) -> Judgement:
        """The gate's verdict: as the engine recorded it; judged from the record if its event was lost; else pending."""
        if self.brief is not None and gate.name in self.brief.judged:
            return self.brief.judged[gate.name]
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


def put_away(view: RunView) -> None:
    """Let go of a run's record; it is read again when it is asked for."""
    for name in RECORD:
        if _is_set(view, name):
            delattr(view, name)


def _is_set(view: RunView, name: str) -> bool:
    try:
        object.__getattribute__(view, name)
    except AttributeError:
        return False
    return True
