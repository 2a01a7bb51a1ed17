"""The playbook's questions on retrieval: which gates were missed, what that points at, what fitting brought."""

from __future__ import annotations

from dataclasses import replace

from engine.run.evals import EvalReport
from tui.control.answers import NARROW, RETRIEVAL_LABELS, Answer, Situation, newest_eval, summary
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import gather

POINTS_AT = {"eval_far_below_val": "far_below", "retrieval_gap": "retrieval", "ranking": "ranking"}
"""Signatures of an evaluation, and the branch of the playbook that each stands for."""


def smoke_passed(at: Situation) -> Answer:
    report = newest_eval(at.run, "smoke")
    gates = report.gates if report else []
    if not gates or any(gate.value is None or gate.verdict not in {"passed", "missed"} for gate in gates):
        return Answer("undecidable", "a retrieval gate has no number")
    missed = [(RETRIEVAL_LABELS[gate.name], gate.value or 0.0, gate.bar) for gate in gates if gate.verdict == "missed"]
    if not missed:
        return Answer("yes", f"{len(gates)} of {len(gates)} gates passed")
    words = "; ".join(f"{name} {value:.3f} for {bar:.3f}" for name, value, bar in missed)
    is_near = len(missed) == 1 and abs(missed[0][1] - missed[0][2]) < NARROW * missed[0][2]
    return Answer("near" if is_near else "no", words)


def signature(at: Situation) -> Answer:
    """What the missed retrieval gates point at: what the diagnosis of the smoke evaluation says, the cause first.

    Where only noise lies between the figures and their bars nothing is diagnosed, and the gates that were missed tell.
    """
    report = newest_eval(at.run, "smoke")
    if report is None or "model" not in report.rows:
        return Answer("retrieval", "no row of the model in the report")
    # of this evaluation alone: a newer one of other queries says nothing of these gates
    ailing = diagnose(gather(replace(at.run, evals={report.name: report})))
    found = next((diagnosis for diagnosis in ailing if diagnosis.signature in POINTS_AT), None)
    if found is not None:
        branch, words = POINTS_AT[found.signature], "; ".join(found.evidence)
    else:
        missed = {gate.name for gate in report.gates if gate.verdict == "missed"}
        branch = "retrieval" if "contain50" in missed else "ranking" if missed & {"r5", "eff5"} else "slow"
        words = "within noise" if branch != "slow" else "P95 alone"
    if branch == "slow":
        return Answer(branch, f"{words}, of {report.index.kind} at nprobe {report.index.nprobe}")
    return Answer(branch, words if branch == "far_below" else "; ".join(filter(None, (words, _beside(report)))))


def _beside(report: EvalReport) -> str:
    """What the model's Contain@50 stands beside: what needs no training, the ceiling, and what the index loses."""
    known = {"the context mean": report.rows.get("context_mean"), "truth vectors": report.rows.get("oracle")}
    figures = [f"of {name} {row.exact.contain50:.3f}" for name, row in known.items() if row]
    recall = report.index.recall50
    words = [f"Contain@50 {', '.join(figures)}"] if figures else []
    return "; ".join([*words, *([f"index recall@50 {recall:.3f}"] if recall is not None else [])])


def fitted(at: Situation) -> Answer:
    """Whether an alignment head or a reranker lifts R@5; "open" while one of them was not tried."""
    reports = at.run.fitted
    outdated = any(report and at.run.is_outdated(report) for report in (at.run.head, at.run.reranker))
    words = "; ".join(f"{name}: {report.verdict}" for name, report in reports.items())
    words = words or ("the best checkpoint is newer than what was fitted to it" if outdated else "nothing fitted yet")
    if any(report.lifted for report in reports.values()):
        return Answer("lifts", words)
    return Answer("no" if len(reports) == 2 else "open", words)


def fitted_passed(at: Situation) -> Answer:
    """Whether the gates pass behind what was fitted, by an evaluation that came after it."""
    report = newest_eval(at.run, "full-fitted")
    if report is None or any(fit.judged.created > report.created for fit in at.run.fitted.values()):
        return Answer("open", "not evaluated behind it yet")
    missed = [f"{RETRIEVAL_LABELS[gate.name]} {gate.detail}" for gate in report.gates if gate.verdict != "passed"]
    return Answer("no" if missed or not report.gates else "yes", "; ".join(missed) or summary(report))
