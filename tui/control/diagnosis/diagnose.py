"""The diagnosis: which signatures fire on the facts, the likeliest cause first, its symptoms after it.

Pure: the same facts always give the same diagnosis, and a new signature also explains old runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tui.control.diagnosis import of_data, of_predictions, of_retrieval, of_training
from tui.control.diagnosis.catalogue import Signature, load_catalogue
from tui.control.diagnosis.facts import Facts
from tui.control.diagnosis.finding import Finding

Predicate = Callable[[Facts], Finding | None]
PREDICATES: dict[str, Predicate] = {
    predicate.__name__: predicate
    for predicate in (
        of_training.lost,
        of_training.stalled,
        of_data.leak,
        of_data.provenance,
        of_data.hygiene,
        of_training.exploding,
        of_training.non_finite,
        of_training.vanishing,
        of_predictions.dead_head,
        of_predictions.collapse,
        of_data.hopeless,
        of_predictions.space_mismatch,
        of_retrieval.eval_far_below_val,
        of_training.overfit,
        of_data.too_few_negatives,
        of_data.stale_queue,
        of_training.oscillating,
        of_retrieval.retrieval_gap,
        of_retrieval.ranking,
        of_retrieval.below_floor,
        of_retrieval.trade_off,
    )
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A signature that fired, with what it means."""

    signature: str
    cause: str
    evidence: tuple[str, ...]
    confidence: float
    """In [0.5, 1]: 0.5 at the bar, 0.95 where the fault itself stood, 1 for a recorded fact."""
    remedy: str
    action: str
    """Name of the action that applies the remedy; empty where none does, or none can any more."""
    explained_by: str = ""
    """The signature that it is a symptom of; empty for a cause of its own."""
    is_note: bool = False


def diagnose(facts: Facts) -> list[Diagnosis]:
    """Every signature that fires: causes before symptoms, the surest first, notes last. Empty for a healthy run."""
    known = load_catalogue()
    found = {name: finding for name in known if (finding := PREDICATES[name](facts)) is not None}
    depths = {name: _depth(name, found, known) for name in found}
    order = {name: place for place, name in enumerate(known)}

    def rank(name: str) -> tuple[bool, int, float, int]:
        return known[name].note, depths[name], -found[name].confidence, order[name]

    ranked = sorted(found, key=rank)
    return [_diagnosis(name, found[name], known, ranked, facts) for name in ranked]


def has_alarm(diagnoses: list[Diagnosis]) -> bool:
    """Whether anything is wrong; a note is not."""
    return any(not diagnosis.is_note for diagnosis in diagnoses)


def _diagnosis(
    name: str, finding: Finding, known: Mapping[str, Signature], ranked: list[str], facts: Facts
) -> Diagnosis:
    signature = known[name]
    action = next((mend.does for mend in signature.mends(facts)), signature.action)
    is_over = action == "stop" and not facts.status.is_alive
    return Diagnosis(
        signature=name,
        cause=signature.cause,
        evidence=finding.evidence,
        confidence=round(finding.confidence, 3),
        remedy=signature.remedy,
        action="" if is_over else action,
        explained_by=next((other for other in ranked if name in known[other].explains), ""),
        is_note=signature.note,
    )


def _depth(name: str, found: Mapping[str, Finding], known: Mapping[str, Signature]) -> int:
    """How long the chain of causes above it is."""
    causes = [other for other in found if name in known[other].explains]
    return 1 + max(_depth(cause, found, known) for cause in causes) if causes else 0
