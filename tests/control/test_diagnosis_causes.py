"""Causes before symptoms, the surest first; and properties that hold whatever is on record."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import AMN_HISTORY, FLOORS, make_record, make_spec, make_view, run_events
from recorded_report import eval_report

from engine.run.convert import ConfigError
from engine.run.events import EpochRecord
from engine.run.state import Status
from tests.reference import planted_trainings as planted
from tui.control.diagnosis.catalogue import load_catalogue, parse_catalogue
from tui.control.diagnosis.diagnose import PREDICATES, Diagnosis, diagnose, has_alarm
from tui.control.diagnosis.facts import DataFault, Evaluated, Facts, Figures, gather
from tui.control.diagnosis.finding import confidence
from tui.control.playbook import ACTIONS

NUMBERS = [name for name in EpochRecord.__struct_fields__ if name != "epoch"]
LOST_EVAL = Evaluated(
    epoch=0,
    num_queries=500,
    gated={"contain50": (0.0, 0.60), "r5": (0.0, 0.40), "eff5": (0.0, 0.68)},
    model=Figures(0.2557, 0.0, 0.0),
    floors={"context_mean": Figures(0.57, 0.7, 0.39)},
)
"""Nothing is found."""
RECORD = tuple(make_record(epoch, 0.5) for epoch in (1, 2, 3))
LEAK = DataFault("leak", True, "articles_shared: 312 articles on both sides")
HEALTHY_RANGES = {
    "val_cosine": (0.30, 0.58),
    "margin": (0.2, 0.5),
    "negatives_per_query": (63.0, 1023.0),
    "effective_rank": (23.0, 285.0),
    "pairwise_cosine": (0.005, 0.289),
    "grad_norm": (0.2, 12.4),
    "update_ratio": (1e-3, 0.0264),
    "train_ar_cosine": (0.30, 0.58),
}
"""As measured on the embedded corpus; what a run passes through in its first epochs is wider."""

anything = st.none() | st.floats() | st.sampled_from([0.0, -1.0, 1.0, 1e308, -1e308, math.nan, math.inf])


def named(facts: Facts) -> list[str]:
    """What fires, in order."""
    return [diagnosis.signature for diagnosis in diagnose(facts)]


def test_a_leak_stands_before_what_it_explains() -> None:
    found = diagnose(Facts(epochs=RECORD, floors=FLOORS, faults=(LEAK,), evaluation=LOST_EVAL))
    assert [one.signature for one in found] == ["leak", "eval_far_below_val", "retrieval_gap", "below_floor"]
    assert [one.explained_by for one in found] == ["", "leak", "leak", "leak"]


def test_without_the_leak_its_first_symptom_is_the_cause_on_record() -> None:
    assert named(Facts(epochs=RECORD, floors=FLOORS, evaluation=LOST_EVAL))[:2] == [
        "eval_far_below_val",
        "retrieval_gap",
    ]


def test_a_nan_explains_the_rest_and_an_explosion_explains_the_nan() -> None:
    sick = Facts(epochs=planted.LARGE_STEPS, non_finite="loss was nan at epoch 5", evaluation=LOST_EVAL)
    assert named(sick)[:3] == ["exploding", "non_finite", "collapse"]
    calm = replace(sick, epochs=planted.ONE_ANSWER)
    assert named(calm)[:2] == ["non_finite", "collapse"]


@pytest.mark.parametrize("cause", ["dead_head", "space_mismatch"])
def test_what_is_wrong_with_the_contrast_explains_retrieval(cause: str) -> None:
    facts = Facts(epochs=planted.BEHIND_THE_HEAD, evaluation=replace(LOST_EVAL, model=Figures(0.39, 0.162, 0.031)))
    facts = replace(facts, head_fault="its last layer has a bias") if cause == "dead_head" else facts
    found = diagnose(facts)
    assert found[0].signature == cause
    assert next(one for one in found if one.signature == "retrieval_gap").explained_by == cause


def test_a_hopeless_gate_comes_before_a_floor_that_stands_above_it() -> None:
    reach = DataFault("reach", False, "gate_within_reach: ceiling 0.41")
    low = tuple(make_record(epoch, 0.29) for epoch in (1, 2))
    evaluation = replace(LOST_EVAL, model=Figures(0.29, 0.65, 0.2), gated={"contain50": (0.65, 0.60)})
    found = named(Facts(epochs=low, floors=FLOORS, faults=(reach,), evaluation=evaluation, gate_verdict="missed"))
    assert found == ["hopeless", "below_floor"]


def test_of_causes_that_explain_each_other_not_the_surer_comes_first() -> None:
    slight = msgspec.structs.replace(RECORD[-1], pairwise_cosine=0.31, same_article_negatives=4)
    assert named(Facts(epochs=(*RECORD[:-1], slight))) == ["hygiene", "collapse"]


def test_an_ended_run_has_nothing_to_stop() -> None:
    reach = DataFault("reach", False, "gate_within_reach: ceiling 0.41")
    hopeless = Facts(epochs=RECORD, faults=(reach,), gate_verdict="missed", status=Status.RUNNING)
    found = [*diagnose(hopeless), *diagnose(replace(hopeless, status=Status.FINISHED))]
    assert [(one.signature, one.action) for one in found] == [("hopeless", "stop"), ("hopeless", "")]


def test_every_signature_has_words_a_predicate_and_a_known_action() -> None:
    known = load_catalogue()
    assert set(known) == set(PREDICATES)
    assert all(signature.action in {*ACTIONS, ""} for signature in known.values())
    assert [name for name, signature in known.items() if signature.note] == ["trade_off"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[signature.leak]\ncause = "c"\nremedy = "r"\naction = "prefligth"', 'Did you mean "preflight"?'),
        ('[signature.leak]\ncause = "c"\nremedy = "r"\naction = ""\nexplains = ["lost"]', "explains no signature"),
        ('[signature.leak]\ncause = "c"\nremedy = "r"\naction = ""\nexplains = ["leak"]', "explains itself"),
        ('[signature.leak]\ncause = "c"', "remedy"),
        ("[signature", "not valid TOML"),
    ],
)
def test_words_that_do_not_hold_together_are_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"words\.toml") as refused:
        parse_catalogue(text, "words.toml")
    assert told in str(refused.value)


@given(value=st.floats(allow_nan=False), bar=st.floats(-1e6, 1e6), fault=st.floats(-1e6, 1e6))
def test_confidence_is_half_at_the_bar_and_never_certain(value: float, bar: float, fault: float) -> None:
    assert 0.5 <= confidence(value, bar=bar, fault=fault) <= 0.95
    assert confidence(fault, bar=bar, fault=fault) == pytest.approx(0.95)
    assert bar == fault or confidence(bar, bar=bar, fault=fault) == 0.5


@st.composite
def healthy_trainings(draw: st.DrawFn) -> Facts:
    """Rising curves within the measured ranges; any of the numbers may be missing."""
    epochs = draw(st.integers(1, 8))
    curves: dict[str, list[float]] = {
        name: [draw(st.floats(low, high)) for _ in range(epochs)] for name, (low, high) in HEALTHY_RANGES.items()
    }
    for rising in ("val_cosine", "train_ar_cosine"):
        curves[rising].sort()
    curves["grad_norm"].sort(reverse=True)
    curves["train_loss"] = sorted((draw(st.floats(0.3, 6.0)) for _ in range(epochs)), reverse=True)
    hidden = draw(st.sets(st.sampled_from(sorted(curves))))
    rows = []
    for epoch in range(1, epochs + 1):
        numbers = {name: None if name in hidden else curve[epoch - 1] for name, curve in curves.items()}
        target = draw(st.floats(0.05, 0.28))
        spaces = {"top1_target": target, "top1_projected": target * draw(st.floats(0.79, 1.3))}
        rows.append(EpochRecord(epoch=epoch, lr=1e-3, same_article_negatives=0, **numbers, **spaces))
    return Facts(epochs=tuple(rows), floors=FLOORS)


@given(healthy_trainings())
def test_no_training_within_the_healthy_ranges_fires(facts: Facts) -> None:
    assert named(facts) == []


@given(
    rows=st.lists(st.dictionaries(st.sampled_from(NUMBERS), anything), max_size=8),
    floors=st.dictionaries(st.sampled_from(list(FLOORS)), anything.filter(lambda value: value is not None)),
)
def test_whatever_is_recorded_is_judged_without_a_crash(
    rows: list[dict[str, float | None]], floors: dict[str, float]
) -> None:
    spec = make_spec()
    view = make_view(spec, run_events(spec, ()))
    view.state.epochs = [EpochRecord(epoch=epoch, **row) for epoch, row in enumerate(rows, start=1)]  # type: ignore[arg-type]
    view.state.floors = floors
    for diagnosis in diagnose(gather(view)):
        assert 0.5 <= diagnosis.confidence <= 1.0
        assert diagnosis.evidence
        assert not any(word in " ".join(diagnosis.evidence).lower().split() for word in ("nan", "inf", "none"))


@given(numbers=st.lists(st.floats(), min_size=8, max_size=8), queries=st.integers(-1, 1000), windows=st.integers(0, 9))
def test_whatever_an_evaluation_says_is_judged_without_a_crash(
    numbers: list[float], queries: int, windows: int
) -> None:
    spec, report = make_spec("amn"), eval_report()
    rows = {}
    for place, name in enumerate(("model", "context_mean", "oracle")):
        cosine, contain50, r5 = (numbers[(place + shift) % 8] for shift in (0, 3, 5))
        figures = msgspec.structs.replace(report.rows[name].exact, contain50=contain50, r5=r5)
        rows[name] = msgspec.structs.replace(report.rows[name], cosine=cosine, exact=figures, on_index=figures)
    gates = [msgspec.structs.replace(gate, value=numbers[place]) for place, gate in enumerate(report.gates)]
    report = msgspec.structs.replace(report, rows=rows, gates=gates, num_queries=queries)
    view = make_view(spec, run_events(spec, AMN_HISTORY), evals={report.name: report})
    assert view.state.started is not None
    view.state.started = msgspec.structs.replace(view.state.started, num_val=windows, num_train=windows)
    for diagnosis in diagnose(gather(view)):
        assert 0.5 <= diagnosis.confidence <= 1.0


@given(st.sets(st.sampled_from(NUMBERS)), st.sampled_from(["BEHIND_THE_HEAD", "LARGE_STEPS", "TINY_STEPS"]))
def test_taking_numbers_away_never_makes_more_fire(hidden: set[str], name: str) -> None:
    rows: tuple[EpochRecord, ...] = getattr(planted, name)
    whole = named(Facts(epochs=rows, num_ranked=639))
    fewer = tuple(msgspec.structs.replace(row, **dict.fromkeys(hidden)) for row in rows)
    # where predictions are not known to be alike, a contrast that stands at chance speaks of the head
    assert set(named(Facts(epochs=fewer, num_ranked=639))) <= {*whole, "dead_head"}


@given(st.dictionaries(st.sampled_from(["time", "masked_candidates", "step", "queue_drift"]), st.integers(0, 10**6)))
def test_numbers_that_no_signature_reads_change_nothing(numbers: dict[str, int]) -> None:
    for rows in (planted.HEALTHY_AMN, planted.LARGE_STEPS, planted.LEARNED_BY_HEART):
        other = tuple(msgspec.structs.replace(row, **numbers) for row in rows)
        assert diagnose(Facts(epochs=other)) == diagnose(Facts(epochs=rows))


def test_a_note_is_no_alarm() -> None:
    note = Diagnosis("trade_off", "c", ("e",), 0.6, "r", "", is_note=True)
    assert not has_alarm([note])
    assert has_alarm([note, replace(note, is_note=False)])
