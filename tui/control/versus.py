"""Two runs held against each other: the numbers that decide, their difference, and the playbook's bounds in words."""

from __future__ import annotations

from dataclasses import dataclass

from engine.run.evals import EvalReport
from engine.run.spec import differing_settings
from tui.control.answers import newest_eval
from tui.control.report import duration, number
from tui.control.views import RunView


@dataclass(frozen=True, slots=True)
class Row:
    """A number of both runs."""

    label: str
    left: str
    right: str
    difference: str = ""


def compare(left: RunView | None, right: RunView | None) -> list[Row]:
    """The table of two runs; a run that is missing leaves dashes."""
    rows = [
        Row("run", left.id if left else "-", right.id if right else "-"),
        Row("state", str(left.status) if left else "-", str(right.status) if right else "-"),
        Row("epoch", _epoch(left), _epoch(right)),
        _numbers("val_cosine", _latest(left, "val_cosine"), _latest(right, "val_cosine")),
        _numbers("best val_cosine", _best(left), _best(right)),
        Row("gate", _gate(left), _gate(right)),
    ]
    shared = _shared_epoch(left, right)
    if shared is not None:
        label = f"val_cosine@{shared}"
        rows.insert(4, _numbers(label, _at(left, shared), _at(right, shared)))
    rows.append(Row("evaluated", _report_name(left), _report_name(right)))
    rows += [
        _numbers(label, _retrieval(left, key), _retrieval(right, key))
        for key, label in (("r5", "R@5"), ("contain50", "Contain@50"), ("eff5", "Eff@5"))
    ]
    rows += [
        _numbers(label, _latest(left, key), _latest(right, key))
        for key, label in (("margin", "margin"), ("top1_target", "top-1, searched space"))
    ]
    rows.append(Row("parameters", _parameters(left), _parameters(right)))
    rows.append(Row("an epoch takes", _pace(left), _pace(right)))
    return rows


def bounds_verdict(model: RunView | None, baseline: RunView | None) -> str:
    """The playbook's bounds: a baseline that fails points at the data, one that passes does not."""
    if model is None or baseline is None:
        return f"Start {'Mamba-S' if model is None else 'the AMN baseline'}: it bounds what to expect."
    ours, theirs = (view.gate_judgement(view.gate).verdict for view in (model, baseline))
    if theirs == "missed":
        return "AMN misses the gate: data or retrieval, not the model."
    if theirs == "passed" and ours == "missed":
        return "AMN passes, the model misses: the model or its objective, not the data."
    if theirs == "passed" and ours == "passed":
        floor = max(model.state.floors.values(), default=None)
        above = [view.id for view in (model, baseline) if floor is not None and (_best(view) or -1.0) > floor]
        return "Both pass the gate" + (
            f"; above the best floor: {', '.join(above) or 'neither'}." if floor is not None else "."
        )
    return "The gate is not judged on both sides yet."


def differences(left: RunView | None, right: RunView | None) -> list[str]:
    """Settings that differ, as `key: left | right`."""
    if left is None or right is None:
        return []
    pairs = differing_settings(left.spec.config, right.spec.config)
    return [f"{key}: {ours} | {theirs}" for key, (ours, theirs) in pairs.items()]


def _numbers(label: str, left: float | None, right: float | None) -> Row:
    difference = "" if left is None or right is None else f"{left - right:+.3f}"
    return Row(label, number(left), number(right), difference)


def _epoch(view: RunView | None) -> str:
    return f"{view.latest.epoch if view.latest else 0}/{view.spec.config.epochs}" if view else "-"


def _latest(view: RunView | None, key: str) -> float | None:
    value = getattr(view.latest, key) if view and view.latest else None
    return None if value is None else float(value)


def _best(view: RunView | None) -> float | None:
    return view.state.best.val_cosine if view and view.state.best else None


def _at(view: RunView | None, epoch: int) -> float | None:
    return next((row.val_cosine for row in view.state.epochs if row.epoch == epoch), None) if view else None


def _shared_epoch(left: RunView | None, right: RunView | None) -> int | None:
    """The last epoch that both have ended, if it is the last of neither or they differ."""
    if not (left and right and left.latest and right.latest) or left.latest.epoch == right.latest.epoch:
        return None
    return min(left.latest.epoch, right.latest.epoch)


def _gate(view: RunView | None) -> str:
    return view.gate_judgement(view.gate).verdict.upper() if view else "-"


def _report(view: RunView | None) -> EvalReport | None:
    """The smoke evaluation, which both have alike; else the full one."""
    return (newest_eval(view, "smoke") or newest_eval(view, "full")) if view else None


def _report_name(view: RunView | None) -> str:
    report = _report(view)
    return report.name if report else "-"


def _retrieval(view: RunView | None, key: str) -> float | None:
    report = _report(view)
    return float(getattr(report.rows["model"].exact, key)) if report and "model" in report.rows else None


def _parameters(view: RunView | None) -> str:
    return f"{view.state.started.num_parameters / 1e6:.2f} M" if view and view.state.started else "-"


def _pace(view: RunView | None) -> str:
    return duration(view.state.epoch_s) if view else "-"
