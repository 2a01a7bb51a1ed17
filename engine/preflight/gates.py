"""The run's gate on val_cosine held against what the data allow: out of reach, or passed without learning."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.preflight.ceiling import LEAST_GROUPS, Ceiling
from engine.preflight.subject import Subject
from engine.run.events import Verdict
from engine.run.preflight import PreflightItem
from engine.run.settings import Gate

METRIC = "val_cosine"
"""The only metric whose floor and ceiling are known before training."""
CONTRADICTION = 0.02
"""A floor this far above the ceiling's interval is no accident: honest floors stay below it on every planted scenario
and on the embedded corpus; one of a window-split leak stood .31 above."""


def judge_gates(subject: Subject, ceiling: Ceiling | None, floors: Mapping[str, float]) -> list[PreflightItem]:
    """Both judgements of the hardest and of the easiest gate on val_cosine; nothing where there is none."""
    gates = [gate for gate in subject.gates if gate.metric == METRIC]
    if not gates:
        return []
    return [judge_reach(gates, ceiling, floors), judge_floor(gates, floors)]


def judge_reach(gates: list[Gate], ceiling: Ceiling | None, floors: Mapping[str, float]) -> PreflightItem:
    """Whether the highest bar lies within the ceiling of `engine.preflight.ceiling`; above its interval it does not.

    A floor that stands above the interval contradicts the estimate, and then nothing is decided: on a split that leaks,
    a linear map learns by heart what the past does not tell.
    """
    gate = max(gates, key=lambda gate: effective_bar(gate, floors))
    bar = effective_bar(gate, floors)
    if ceiling is None:
        return PreflightItem(
            name="gate_within_reach",
            group="gate",
            level="info",
            verdict="undecidable",
            value=None,
            bar=bar,
            detail=f"too few articles to say: the estimate needs {LEAST_GROUPS} of four chunks or more",
        )
    best = max(floors, key=lambda name: floors[name])
    verdict: Verdict = "passed"
    if floors[best] > ceiling.high + CONTRADICTION:
        verdict = "undecidable"
        meaning = (
            f"but the floor {best} reaches {floors[best]:.3f} on this validation, which the past alone cannot give. "
            "Look for a leak; else neighbours are related in a way that this estimate does not see"
        )
    elif bar > ceiling.high:
        verdict = "missed"
        meaning = (
            f"gate {gate.name} asks for {bar:.3f}: no model and no fix can pass it. Lower its at_least, or embed with "
            "an encoder that tells more of the next chunk"
        )
    else:
        meaning = f"gate {gate.name} asks for {bar:.3f}, which is within reach"
    return PreflightItem(
        name="gate_within_reach",
        group="gate",
        level="should",
        verdict=verdict,
        value=ceiling.value,
        bar=bar,
        detail=f"no predictor from the past can be expected above a mean cosine of about {ceiling.value:.3f} "
        f"(95 % {ceiling.low:.3f}-{ceiling.high:.3f}; cosines of neighbours, extrapolated to lag 0): {meaning}",
    )


def judge_floor(gates: list[Gate], floors: Mapping[str, float]) -> PreflightItem:
    """Whether the best floor stays below the lowest bar; one that passes shows that passing proves no learning."""
    gate = min(gates, key=lambda gate: effective_bar(gate, floors))
    bar, best = effective_bar(gate, floors), max(floors, key=lambda name: floors[name])
    missed = floors[best] >= bar
    meaning = (
        "it passes without any training, so passing shows no learning. Set above_floor in the gate, such as 0.02"
        if missed
        else "it takes learning to pass"
    )
    return PreflightItem(
        name="floor_above_gate",
        group="gate",
        level="should",
        verdict="missed" if missed else "passed",
        value=floors[best],
        bar=bar,
        detail=f"the best floor, {best}, has {floors[best]:.3f} and gate {gate.name} asks for {bar:.3f}: {meaning}",
    )


def effective_bar(gate: Gate, floors: Mapping[str, float]) -> float:
    """What the gate asks for once the floors are known."""
    if gate.above_floor is None or not all(map(math.isfinite, floors.values())):
        return gate.at_least
    return max(gate.at_least, max(floors.values()) + gate.above_floor)
