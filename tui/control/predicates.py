"""Every predicate that the playbook may ask, by the name it is asked for. `playbook.BRANCHES` has their answers."""

from __future__ import annotations

from collections.abc import Callable

from tui.control import answers, retrieval_answers
from tui.control.answers import Answer, Situation

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
