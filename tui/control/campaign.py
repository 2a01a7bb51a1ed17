"""A campaign as a Markdown report: every run, who came of whom, what was decided on which evidence, what it brought."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from engine.run.evals import EvalReport
from tui.control.journal import Decision, Outcome
from tui.control.ladder import gate_value
from tui.control.lineage import families, family_lines
from tui.control.outcomes import outcomes_of
from tui.control.report import number
from tui.control.svg_chart import Line, draw_chart
from tui.control.views import RunView

CHART = "val_cosine.svg"
"""Name of the chart beside the report."""


def write_campaign(views: Sequence[RunView], decisions: Sequence[Decision], title: str) -> str:
    """The report, as Markdown that names `CHART`.

    Args:
        views: every run, oldest first.
        decisions: every record of the journal, oldest first.
        title: its heading.
    """
    parts = [f"# {_cell(title)}", f"![val_cosine of every run, its gate and the floors]({CHART})"]
    parts += ["## Runs", *_table(_RUN_HEAD, map(_run_row, views))]
    kin = family_lines(families(views, decisions))
    parts += ["## Who came of whom", *(f"{'  ' * depth}- {_cell(line)}" for depth, line in kin)]
    parts += ["## Decisions", *_table(_DECISION_HEAD, _decision_rows(decisions, views))]
    evaluated = [(view, report) for view in views for report in view.evals.values()]
    if evaluated:
        parts += ["## Evaluations", *_table(_EVAL_HEAD, (_eval_row(view, report) for view, report in evaluated))]
    fitted = [(view, report.verdict) for view in views for report in (view.head, view.reranker) if report]
    if fitted:
        parts += ["## Fitted after training", *(f"- {_cell(f'{view.id}: {verdict}')}" for view, verdict in fitted)]
    return _join(parts)


def draw_campaign(views: Sequence[RunView]) -> str:
    """val_cosine of every run by epoch, with the gate and the floors, as SVG."""
    lines = [
        Line(view.id, [(record.epoch, record.val_cosine) for record in view.state.epochs])
        for view in views
        if view.state.epochs
    ]
    levels = {f"gate {gate.name}": gate.at_least for view in views for gate in view.spec.gates}
    levels |= {name: value for view in views for name, value in view.state.floors.items()}
    return draw_chart("val_cosine by epoch", lines, levels=list(levels.items()))


_RUN_HEAD = ("run", "change", "state", "epochs", "val_cosine at the gate", "gate", "best", "best floor")
_DECISION_HEAD = ("when", "who", "what", "on which evidence", "what came of it")
_EVAL_HEAD = ("run", "evaluation", "R@5", "Contain@50", "Eff@5", "P95 ms", "missed")


def _run_row(view: RunView) -> list[str]:
    best, latest = view.state.best, view.latest
    change = ", ".join(f"{key} = {value}" for key, value in view.spec.patch.items())
    return [
        view.id,
        change or "-",
        str(view.status) + (f" ({view.reason})" if view.reason else ""),
        f"{latest.epoch if latest else 0} of {view.spec.config.epochs}",
        number(gate_value(view)),
        view.gate_judgement(view.gate).verdict,
        f"{number(best.val_cosine)} at {best.epoch}" if best else "-",
        number(max(view.state.floors.values(), default=None)),
    ]


def _decision_rows(records: Sequence[Decision], views: Sequence[RunView]) -> Iterator[list[str]]:
    outcomes = outcomes_of(records, views)
    decisions = {entry.id: entry for entry in records if entry.phase != "measured"}  # the last record of each
    undone = {entry.child for entry in decisions.values() if entry.action == "undo" and entry.phase == "done"}
    for decision in decisions.values():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(decision.t))
        patch = ", ".join(f"{key} = {value}" for key, value in decision.patch.items())
        what = " ".join(filter(None, (decision.action, decision.run, f"({decision.fix}: {patch})" if patch else "")))
        reason = [decision.detail] if decision.detail and decision.phase != "failed" else []
        is_undone = decision.action == "restart" and decision.child in undone
        came = _what_came(decision, outcomes.get(decision.id), is_undone=is_undone)
        yield [when, decision.who, what, "; ".join([*decision.evidence, *reason]) or "-", came]


def _what_came(decision: Decision, outcome: Outcome | None, *, is_undone: bool) -> str:
    """What was measured of it; else how it ended."""
    if decision.phase == "failed":
        return f"failed: {decision.detail}"
    if decision.action == "restart":
        return f"{decision.child}: {outcome.words if outcome else 'undone' if is_undone else 'not judged yet'}"
    return outcome.words if outcome else decision.phase


def _eval_row(view: RunView, report: EvalReport) -> list[str]:
    figures = report.judged.exact
    missed = ", ".join(gate.name for gate in report.gates if gate.verdict != "passed")
    values = [number(figures.r5), number(figures.contain50), number(figures.eff5), number(report.latency.p95)]
    return [view.id, report.name, *values, missed or "none"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]


def _cell(text: str) -> str:
    """Foreign text that cannot end its cell, nor be taken for a tag or a link."""
    flat = " ".join(text.split())
    for character in "\\|<>[]`*_":
        flat = flat.replace(character, f"\\{character}")
    return flat


def _join(parts: Sequence[str]) -> str:
    """Rows of a table and items of a list stand together, all else between blank lines."""
    text, was_item = parts[0] + "\n", False
    for part in parts[1:]:
        is_item = part.lstrip().startswith(("|", "- "))
        text += part + "\n" if is_item and was_item else f"\n{part}\n"
        was_item = is_item
    return text
