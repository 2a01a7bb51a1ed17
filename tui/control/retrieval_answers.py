"""The playbook's questions on retrieval: which gates were missed, what that points at, what fitting brought."""

from __future__ import annotations

from tui.control.answers import NARROW, RETRIEVAL_LABELS, Answer, Situation, newest_eval, summary
from tui.control.diagnosis.of_retrieval import EVAL_GAP


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
    """What the missed retrieval gates point at, the cause before its symptoms."""
    report = newest_eval(at.run, "smoke")
    record = next((row for row in at.run.state.epochs if report and row.epoch == report.epoch), None)
    if report is None or "model" not in report.rows:
        return Answer("retrieval", "no row of the model in the report")
    model = report.rows["model"]
    val_cosine = record.val_cosine if record else None
    if model.cosine is not None and val_cosine is not None and val_cosine - model.cosine >= EVAL_GAP:
        return Answer("far_below", f"cosine {model.cosine:.3f} on the queries, val_cosine {val_cosine:.3f}")
    missed = {gate.name for gate in report.gates if gate.verdict == "missed"}
    floor, oracle = report.rows.get("context_mean"), report.rows.get("oracle")
    words = f"Contain@50 {model.exact.contain50:.3f}"
    words += f", the context mean's {floor.exact.contain50:.3f}" if floor else ""
    if "contain50" in missed:
        words += f", truth vectors' {oracle.exact.contain50:.3f}" if oracle else ""
        recall = report.index.recall50
        return Answer("retrieval", words + (f"; index recall@50 {recall:.3f}" if recall is not None else ""))
    if missed & {"r5", "eff5"}:
        return Answer("ranking", f"{words}, yet R@5 {model.exact.r5:.3f} and Eff@5 {model.exact.eff5:.3f}")
    return Answer("slow", f"P95 alone, of {report.index.kind} at nprobe {report.index.nprobe}")


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
