"""Every predicate that the playbook may ask, by the name it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from tui.control import answers, retrieval_answers
from tui.control.answers import Answer, Situation

BRANCHES: dict[str, frozenset[str]] = {
    "data_fit": frozenset({"yes", "no"}),
    "gate_epoch_done": frozenset({"yes", "no", "ended"}),
    "sanity_clean": frozenset({"yes", "no", "undecidable"}),
    "gate_passed": frozenset({"yes", "no", "undecidable"}),
    "eval_epoch_done": frozenset({"yes", "no"}),
    "smoke_done": frozenset({"yes", "no"}),
    "smoke_passed": frozenset({"yes", "near", "no", "undecidable"}),
    "signature": frozenset({"far_below", "retrieval", "ranking", "slow"}),
    "fitted": frozenset({"lifts", "open", "no"}),
    "fitted_passed": frozenset({"yes", "no", "open"}),
    "training_done": frozenset({"yes", "no"}),
    "full_done": frozenset({"yes", "no"}),
    "narrow_miss": frozenset({"yes", "no"}),
    "baseline_passed": frozenset({"yes", "no", "unknown"}),
    "fix_left": frozenset({"yes", "head", "no"}),
}
"""Every answer that a predicate can give; a playbook needs a branch for each."""

PREDICATES: dict[str, Callable[[Situation], Answer]] = {
    predicate.__name__: predicate
    for predicate in (
        answers.data_fit,
        answers.gate_epoch_done,
        answers.sanity_clean,
        answers.gate_passed,
        answers.eval_epoch_done,
        answers.smoke_done,
        retrieval_answers.smoke_passed,
        retrieval_answers.signature,
        retrieval_answers.fitted,
        retrieval_answers.fitted_passed,
        answers.training_done,
        answers.full_done,
        answers.narrow_miss,
        answers.baseline_passed,
        answers.fix_left,
    )
}
