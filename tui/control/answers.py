"""The predicates of the playbook: each answers one question from what is recorded, with its evidence in words.

An answer that cannot be given from finite numbers is never "yes".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.evals import EvalReport, GateName
from engine.run.events import CheckJudged, PreflightJudged
from engine.run.settings import EvalConfig, Fix
from engine.run.state import Status
from tui.control.ladder import Rung, climb
from tui.control.projection import project_to_bar, towards
from tui.control.views import RunView

RETRIEVAL_LABELS: dict[GateName, str] = {"contain50": "Contain@50", "r5": "R@5", "eff5": "Eff@5", "p95_ms": "P95 ms"}
NARROW = 0.05
"""A miss of less than this share of the bar is narrow (the playbook's "narrowly misses")."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the predicates look at: a run, the other runs, and the fixes on offer."""

    run: RunView
    views: Sequence[RunView]
    fixes: Sequence[Fix]
    baseline_name: str = "amn"
    """The `[run.NAME]` table of the baseline that bounds this run."""

    @property
    def rungs(self) -> list[Rung]:
        """The ladder as it stands for this run."""
        return climb(self.fixes, self.run, self.views)

    @property
    def baseline(self) -> RunView | None:
        """The newest baseline run whose gate was judged, else the newest one; None for the baseline itself."""
        if self.run.spec.name == self.baseline_name:
            return None
        runs = [
            view for view in self.views if view.spec.name == self.baseline_name and view.spec.data == self.run.spec.data
        ]
        judged = [view for view in runs if view.gate_judgement(view.gate).verdict in {"passed", "missed"}]
        return judged[-1] if judged else runs[-1] if runs else None

    @property
    def smoke_epoch(self) -> int:
        """The epoch after which the smoke evaluation is asked for; `at_epoch = 0` means the last one."""
        return self.run.spec.evals.get("smoke", EvalConfig()).at_epoch or self.run.spec.config.epochs


@dataclass(frozen=True, slots=True)
class Answer:
    """Which branch, and why."""

    branch: str
    evidence: str


def data_fit(at: Situation) -> Answer:
    judged = at.run.state.preflight
    if judged is None:
        is_starting = at.run.status in {Status.QUEUED, Status.SUBMITTED, Status.PENDING, Status.STARTING}
        return Answer("yes", "the preflight comes first" if is_starting else "no preflight on record")
    if judged.verdict == "passed":
        warned = f", {len(judged.warnings)} warned" if judged.warnings else ""
        return Answer("yes", f"every must-pass item passed{warned}")
    if judged.override:
        return Answer("yes", f"overridden: {judged.override} ({', '.join(blocking_items(judged))})")
    found = "; ".join(judged.blocking)
    # the data may have been mended since: D wrote a newer report than the one that blocked
    is_mended = at.run.preflight is not None and not at.run.preflight.blocking
    return Answer("no", f"passes now, and did not when the run began: {found}" if is_mended else found)


def gate_epoch_done(at: Situation) -> Answer:
    gate, latest = at.run.gate, at.run.latest
    done = latest.epoch if latest else 0
    if done >= gate.epoch:
        return Answer("yes", f"{done} epochs done")
    if not at.run.status.is_alive and at.run.status is not Status.QUEUED:
        return Answer("ended", f"{at.run.status} after {done} of {gate.epoch} epochs")
    value = f", val_cosine {latest.val_cosine:.3f}" if latest and latest.val_cosine is not None else ""
    return Answer("no", f"{done} of {gate.epoch} epochs done{value}")


def sanity_clean(at: Situation) -> Answer:
    checks = _checks(at)
    failed = [name for name, judged in checks.items() if judged.verdict == "missed"]
    if failed:
        return Answer("no", "; ".join(f"{name} {checks[name].detail}" for name in failed))
    unknown = [name for name, judged in checks.items() if judged.verdict != "passed"]
    if unknown or not checks:
        return Answer("undecidable", f"no number for {', '.join(unknown) or 'any check'}")
    return Answer("yes", f"{len(checks)} checks passed")


def gate_passed(at: Situation) -> Answer:
    judged = at.run.gate_judgement(at.run.gate)
    branch = {"passed": "yes", "missed": "no"}.get(judged.verdict, "undecidable")
    return Answer(branch, judged.detail + below_floor(at.run))


def eval_epoch_done(at: Situation) -> Answer:
    done, wanted = (at.run.latest.epoch if at.run.latest else 0), at.smoke_epoch
    if done < wanted and not at.run.status.is_alive:  # nothing is left to wait for
        return Answer("yes", f"{at.run.status.lower()} after {done} epochs")
    return Answer("yes", f"{done} epochs done") if done >= wanted else Answer("no", f"{done} of {wanted} epochs done")


def smoke_done(at: Situation) -> Answer:
    report = newest_eval(at.run, "smoke")
    return Answer("yes", summary(report)) if report else Answer("no", "no smoke evaluation yet")


def training_done(at: Situation) -> Answer:
    ended = not at.run.status.is_alive
    return Answer(
        "yes" if ended else "no", f"{at.run.status.lower()} at epoch {at.run.latest.epoch if at.run.latest else 0}"
    )


def full_done(at: Situation) -> Answer:
    report = newest_eval(at.run, "full")
    return Answer("yes", summary(report)) if report else Answer("no", "no full evaluation yet")


def narrow_miss(at: Situation) -> Answer:
    run, gate = at.run, at.run.gate
    judged = run.gate_judgement(gate)
    metrics = [(record.epoch, getattr(record, gate.metric)) for record in run.state.epochs]
    series = [(epoch, value) for epoch, value in metrics if value is not None]
    until = [(epoch, value) for epoch, value in series if epoch <= gate.epoch]
    if judged.value is None or not until:
        return Answer("no", "no number")
    missing = judged.bar - judged.value
    short = missing / abs(judged.bar) if judged.bar else math.inf
    is_rising = len(until) >= 2 and until[-1][1] > until[-2][1]
    words = f"{missing:.3f} or {100 * short:.1f} % short, {'' if is_rising else 'not '}rising"
    after = series[len(until) :]
    reached = next((epoch for epoch, value in after if value >= judged.bar), None)
    is_known = reached is not None or (bool(after) and not run.status.is_alive)
    if gate.metric == "val_cosine":
        # where it is known what came after, the projection is the gate's, to be held against that
        words += _outlook(until if is_known else series, judged.bar, run.spec.config.epochs, gate.epoch)
    if reached is not None:
        words += f"; reached the bar at epoch {reached}"
    elif is_known:
        words += f"; {max(value for _, value in after):.3f} at best, until epoch {after[-1][0]}"
    return Answer("yes" if short < NARROW and is_rising else "no", words)


def _outlook(series: Sequence[tuple[int, float]], bar: float, end: int, gate_epoch: int) -> str:
    """Where val_cosine is heading, in words; empty where nobody can say."""
    found = project_to_bar(series, bar, end)
    if found is None:
        return ""
    at = f"from epoch {series[-1][0]} on" if series[-1][0] > gate_epoch else "at this pace"
    return f"; {at} {found.words()}, {towards(found, bar)}"


def baseline_passed(at: Situation) -> Answer:
    baseline = at.baseline
    if baseline is None:
        is_itself = at.run.spec.name == at.baseline_name
        return Answer("unknown", "this is the baseline" if is_itself else "no baseline run on this data yet")
    judged = baseline.gate_judgement(baseline.gate)
    if judged.verdict == "passed":
        words = f"{baseline.id}: {judged.detail}{below_floor(baseline)}: the model or its objective, not the data"
        return Answer("yes", words)
    if judged.verdict == "missed":
        return Answer("no", f"{baseline.id}: {judged.detail}: data or retrieval")
    return Answer("unknown", f"{baseline.id}: {judged.detail}")


def fix_left(at: Situation) -> Answer:
    rungs = at.rungs
    upcoming = next((rung for rung in rungs if rung.standing == "next"), None)
    broken = next((rung for rung in rungs if rung.standing == "failed check"), None)
    if broken and (upcoming is None or broken.number < upcoming.number):
        return Answer("head", broken.detail)
    if upcoming is None:
        return Answer("no", f"{sum(rung.standing == 'tried' for rung in rungs)} tried, none left")
    found = f", {upcoming.detail}" if upcoming.detail else ""
    return Answer("yes", f"fix {upcoming.number}: {upcoming.fix.title}{found}")


def blocking_items(judged: PreflightJudged) -> list[str]:
    """Names of the must-pass items that did not pass, without what was found."""
    return [found.partition(":")[0] for found in judged.blocking]


def below_floor(view: RunView) -> str:
    """What a passed gate is worth where a floor stands higher; empty where there is nothing to say."""
    judged = view.gate_judgement(view.gate)
    floors = view.state.floors
    if judged.verdict != "passed" or judged.value is None or view.gate.metric != "val_cosine" or not floors:
        return ""
    best = max(floors, key=lambda name: floors[name])
    return f"; yet below the floor {best} {floors[best]:.3f}" if judged.value < floors[best] else ""


def newest_eval(run: RunView, name: str) -> EvalReport | None:
    """The newest report whose evaluation has this name, tuned or not; reports are named `<name>-e<epoch>`."""
    names = {name, f"{name}-tuned"}
    reports = [report for key, report in run.evals.items() if key.rpartition("-e")[0] in names]
    return max(reports, key=lambda report: report.created, default=None)


def _checks(at: Situation) -> dict[str, CheckJudged]:
    """The checks that stood beside the gate, except those that a rung of the ladder asks for."""
    rungs = {fix.verify for fix in at.fixes}
    checks = at.run.state.checks.get(at.run.gate.epoch, {})
    return {name: judged for name, judged in checks.items() if name not in rungs}


def summary(report: EvalReport) -> str:
    """The report's own line of figures."""
    return report.eval_line.removeprefix("[EVAL] ")
