"""Making the brief of a run, by the code that says the same of any other run."""

from __future__ import annotations

from tui.control.alerts import alerts_since, look
from tui.control.brief import Brief
from tui.control.noticed import UNSEEN
from tui.control.run_facts import RETRIEVAL, number_of
from tui.control.views import RunView


def brief_of(view: RunView) -> Brief:
    """The brief of a run whose record is at hand."""
    numbers = {name: number_of(view, name) for name in RETRIEVAL}
    return Brief(
        latest=view.latest,
        best=view.best,
        curve=list(view.curve),
        judged={gate.name: view.gate_judgement(gate) for gate in view.spec.gates},
        retrieval={name: value for name, value in numbers.items() if value is not None},
        is_evaluated=bool(view.evals),
        seen=look(view),
        alerts=alerts_since(UNSEEN, view),
    )
