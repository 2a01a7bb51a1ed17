"""Every signature from both sides: the planted or recorded fault is named, the healthy run is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest
from recorded import AMN_HISTORY, FLOORS, PLAYBOOK_HISTORY, make_record, make_spec, make_view, run_events, stamp
from recorded_preflight import preflight_report
from recorded_report import eval_report

from engine.run.evals import EvalReport
from engine.run.events import EpochRecord, NonFiniteFound
from engine.run.preflight import PreflightItem
from engine.run.settings import RunConfig
from engine.run.state import Status
from tests.reference import planted_trainings as planted
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import Evaluated, Facts, Figures, gather
from tui.control.views import RunView

GATED = {"contain50": (0.74, 0.60), "r5": (0.47, 0.40), "eff5": (0.70, 0.68)}
HEALTHY_EVAL = Evaluated(
    epoch=4,
    num_queries=637,
    gated=GATED,
    model=Figures(0.57, 0.74, 0.47),
    on_index=Figures(0.57, 0.73, 0.47),
    oracle=Figures(1.0, 1.0, 1.0),
    floors={"context_mean": Figures(0.575, 0.719, 0.392), "copy_last": Figures(0.48, 0.625, 0.262)},
)
"""Of a model that passes every gate."""
AMN = tuple(make_record(epoch, value) for epoch, value in enumerate(AMN_HISTORY, start=1))
HEALTHY = Facts(epochs=AMN, floors=FLOORS, gate_verdict="passed", evaluation=HEALTHY_EVAL, num_ranked=677)


def signatures(facts: Facts) -> list[str]:
    """What fires, in order."""
    return [diagnosis.signature for diagnosis in diagnose(facts)]


def with_last(**numbers: float | None) -> Facts:
    """The healthy run, numbers of its last epoch replaced."""
    return replace(HEALTHY, epochs=(*AMN[:-1], msgspec.structs.replace(AMN[-1], **numbers)))


def with_eval(gated: Mapping[str, float | None] | None = None, **changes: object) -> Facts:
    """The healthy run, parts of its evaluation replaced."""
    values = GATED | {name: (value, GATED[name][1]) for name, value in (gated or {}).items()}
    return replace(HEALTHY, evaluation=replace(HEALTHY_EVAL, gated=values, **changes))  # type: ignore[arg-type]


def cosines(*values: float) -> Facts:
    """A run of which nothing but val_cosine is on record."""
    return Facts(epochs=tuple(EpochRecord(epoch=epoch, val_cosine=value) for epoch, value in enumerate(values, 1)))


def recorded(evals: dict[str, EvalReport] | None = None, **changes: float | int | None) -> RunView:
    """A recorded AMN run with numbers of every epoch replaced."""
    return make_view(make_spec("amn"), run_events(make_spec("amn"), AMN_HISTORY, **changes), evals=evals)


@pytest.mark.parametrize(
    "rows", [planted.HEALTHY_AMN, planted.HEALTHY_RESIDUAL, planted.HEALTHY_FROM_SCRATCH], ids=["amn", "mean", "plain"]
)
def test_a_healthy_training_as_it_was_measured_is_left_alone(rows: tuple[EpochRecord, ...]) -> None:
    assert signatures(Facts(epochs=rows, floors=FLOORS, num_ranked=639)) == []


def test_a_healthy_run_that_passes_everything_is_left_alone() -> None:
    assert signatures(HEALTHY) == []


def test_the_recorded_runs_are_left_alone_but_for_what_their_gates_missed() -> None:
    assert signatures(gather(recorded({"smoke-e0004": eval_report(r5=0.48)}))) == []
    assert signatures(gather(recorded({"smoke-e0004": eval_report(r5=0.43)}))) == ["ranking"]
    playbook = make_spec()
    assert signatures(gather(make_view(playbook, run_events(playbook, PLAYBOOK_HISTORY)))) == []


def test_nothing_on_record_is_nothing_wrong() -> None:
    assert signatures(Facts()) == []
    assert signatures(gather(make_view(make_spec(), [], status=Status.QUEUED))) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (planted.BEHIND_THE_HEAD, ["space_mismatch"]),
        (planted.LEARNED_BY_HEART, ["overfit"]),
        (planted.LARGE_STEPS, ["exploding", "collapse"]),
        (planted.TINY_STEPS, ["vanishing", "dead_head"]),
        (planted.ONE_ANSWER, ["collapse"]),
    ],
    ids=["behind the head", "by heart", "large steps", "tiny steps", "one answer"],
)
def test_a_planted_training_is_named_by_its_cause(rows: tuple[EpochRecord, ...], expected: list[str]) -> None:
    assert signatures(Facts(epochs=rows, floors=FLOORS, num_ranked=639)) == expected


def test_seven_negatives_a_query_are_too_few() -> None:
    found = diagnose(Facts(epochs=planted.SEVEN_NEGATIVES, num_ranked=639))
    assert found[0].signature == "too_few_negatives"
    assert "< 32" in found[0].evidence[0]


def test_an_effective_batch_that_contrasts_only_within_micro_batches_is_caught() -> None:
    naive = replace(with_last(negatives_per_query=255.0), promised_negatives=1023)
    assert signatures(naive) == ["too_few_negatives"]
    assert "25%" in diagnose(naive)[0].evidence[0]
    assert signatures(replace(with_last(negatives_per_query=1018.5), promised_negatives=1023)) == []
    assert signatures(replace(with_last(negatives_per_query=62.9), promised_negatives=63)) == []


def test_without_contrast_negatives_do_not_matter() -> None:
    assert signatures(replace(with_last(negatives_per_query=3.0), contrasts=False)) == []


def test_a_leak_seen_by_the_preflight_is_certain() -> None:
    spec = make_spec("amn")
    found = preflight_report(leaks=True, override="to see")
    view = make_view(spec, run_events(spec, AMN_HISTORY, preflight=found))
    by_event = diagnose(gather(view))
    view.preflight = found
    by_report = diagnose(gather(view))
    assert by_event == by_report
    assert [(one.signature, one.confidence) for one in by_report] == [("leak", 1.0)]
    assert "312 articles" in by_report[0].evidence[0]


def test_a_leak_shows_in_the_lift_of_validation_over_unseen_articles() -> None:
    assert signatures(with_last(val_lift=0.044, unseen_lift=0.0, unseen_windows=500)) == ["leak"]
    assert signatures(with_last(val_lift=0.003, unseen_lift=0.0, unseen_windows=500)) == []


def test_few_articles_may_differ_and_unseen_ones_may_be_the_easier() -> None:
    assert signatures(with_last(val_lift=0.046, unseen_lift=0.0, unseen_windows=40, lift_gap_error=0.028)) == []
    assert signatures(with_last(val_lift=0.0, unseen_lift=0.1, unseen_windows=500)) == []


def test_mixed_encoders_are_provenance() -> None:
    item = PreflightItem(
        name="payload_alignment",
        group="provenance",
        level="must",
        verdict="missed",
        value=0.14,
        bar=0.98,
        detail="0.14",
    )
    view = recorded()
    view.preflight = msgspec.structs.replace(preflight_report(), items=[item])
    assert signatures(gather(view)) == ["provenance"]
    view.preflight = msgspec.structs.replace(
        preflight_report(), items=[msgspec.structs.replace(item, verdict="passed")]
    )
    assert signatures(gather(view)) == []


def test_truths_that_do_not_find_themselves_are_provenance() -> None:
    assert signatures(with_eval(oracle=Figures(1.0, 0.2, 0.1)))[0] == "provenance"
    assert signatures(with_eval(oracle=Figures(1.0, 0.98, 0.96))) == []


def test_a_gate_above_the_ceiling_is_hopeless_unless_it_was_passed() -> None:
    item = PreflightItem(
        name="gate_within_reach", group="gate", level="should", verdict="missed", value=0.41, bar=0.5, detail="0.41"
    )
    spec = make_spec()
    found = msgspec.structs.replace(preflight_report(), items=[item])
    missed = make_view(spec, run_events(spec, (0.185, 0.29), preflight=found))
    passed = make_view(spec, run_events(spec, (0.5, 0.51), preflight=found))
    for view, expected in ((missed, ["hopeless"]), (passed, [])):
        assert signatures(gather(view)) == expected
        view.preflight = found
        assert signatures(gather(view)) == expected


def test_own_articles_among_the_negatives_are_hygiene() -> None:
    assert signatures(with_last(same_article_negatives=3)) == ["hygiene"]
    assert signatures(with_last(same_article_negatives=0)) == []
    assert signatures(with_last(same_article_negatives=None)) == []


def test_a_nan_is_named_with_epoch_and_step() -> None:
    spec = make_spec()
    nan = NonFiniteFound(what="loss", value="nan", epoch=3, step=44)
    view = make_view(spec, stamp([*run_events(spec, (0.4, 0.45)), nan]), status=Status.FAILED)
    assert [(one.signature, one.evidence) for one in diagnose(gather(view))] == [
        ("non_finite", ("loss was nan at epoch 3, step 44",))
    ]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"grad_norm": 450.0}, ["exploding"]),
        ({"grad_norm": 40.0}, ["exploding"]),  # 44 times the usual
        ({"grad_norm": 12.4}, []),
        ({"update_ratio": 0.09}, ["exploding"]),
        ({"update_ratio": 0.0264}, []),
        ({"train_loss": 30.0}, ["exploding"]),
        ({"train_loss": 3.9}, []),
        ({"grad_norm": 0.0}, ["vanishing"]),
        ({"grad_norm": 0.021}, []),
        ({"update_ratio": 1e-6}, ["vanishing"]),
        ({"update_ratio": 1e-6, "lr": 1e-5}, []),  # the schedule's end
        ({"pairwise_cosine": 0.50}, ["collapse"]),
        ({"pairwise_cosine": 0.289}, []),
        ({"effective_rank": 4.5}, ["collapse"]),
        ({"effective_rank": 23.0}, []),
        ({"effective_rank": 4.5, "effective_rank_limit": 16}, []),
        ({"top1_projected": 0.0, "top1_target": 0.2}, ["dead_head"]),
        ({"top1_projected": 0.19, "top1_target": 0.24}, []),
        ({"train_infonce": 6.93}, ["dead_head"]),  # ln(1019.5)
        ({"train_infonce": 5.24}, []),
        ({"train_infonce": 6.93, "pairwise_cosine": 0.99}, ["collapse"]),
        ({"top1_projected": 0.194, "top1_target": 0.106}, ["space_mismatch"]),
        ({"top1_projected": 0.22, "top1_target": 0.17}, []),
        ({"top1_projected": 0.012, "top1_target": 0.004}, []),  # within the noise
    ],
)
def test_a_number_of_the_last_epoch_fires_on_its_side_of_the_bar(
    numbers: dict[str, float], expected: list[str]
) -> None:
    assert signatures(with_last(**numbers)) == expected


def test_a_head_that_its_check_refused_is_dead() -> None:
    spec = make_spec()
    view = make_view(spec, run_events(spec, PLAYBOOK_HISTORY, head_is_right=False))
    assert [(one.signature, one.confidence) for one in diagnose(gather(view))] == [("dead_head", 1.0)]


def test_the_playbooks_oscillation_is_named_and_a_dip_is_not() -> None:
    assert signatures(cosines(0.40, 0.48, 0.41, 0.47, 0.40, 0.48)) == ["oscillating"]
    assert signatures(cosines(0.44, 0.41, 0.47, 0.46, 0.42, 0.48, 0.40)) == ["oscillating"]
    assert signatures(cosines(0.481, 0.448, 0.440, 0.449, 0.455, 0.464)) == []  # AMN, learning rate 1e-3
    assert signatures(cosines(*PLAYBOOK_HISTORY, 0.5146, 0.5146, 0.5146)) == []
    assert signatures(cosines(0.40, 0.45, 0.42, 0.47, 0.44, 0.53)) == []  # up and down, and getting somewhere


def test_losses_alone_tell_overfitting() -> None:
    def losses(*pairs: tuple[float, float]) -> Facts:
        rows = enumerate(pairs, start=1)
        return Facts(epochs=tuple(EpochRecord(epoch=n, train_loss=train, val_loss=val) for n, (train, val) in rows))

    assert signatures(losses((2.0, 2.1), (1.5, 1.8), (1.1, 1.9), (0.8, 2.1), (0.5, 2.4))) == ["overfit"]
    assert signatures(losses((2.0, 2.1), (1.5, 1.8), (1.1, 1.7), (0.8, 1.68), (0.5, 1.7))) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [(Status.STALLED, ["stalled"]), (Status.LOST, ["lost"]), (Status.RUNNING, []), (Status.FAILED, [])],
)
def test_what_the_status_says_is_a_fact(status: Status, expected: list[str]) -> None:
    found = diagnose(replace(HEALTHY, status=status, reason="silent for 300 s"))
    assert [one.signature for one in found] == expected
    assert all(one.confidence == 1.0 and one.evidence == ("silent for 300 s",) for one in found)


def test_an_eval_cosine_far_below_is_held_against_the_weights_it_belongs_to() -> None:
    assert signatures(with_eval(model=Figures(0.32, 0.74, 0.47))) == ["eval_far_below_val"]
    assert signatures(with_eval(model=Figures(0.54, 0.74, 0.47))) == []  # 0.044 is what honest articles differ by
    early = msgspec.structs.replace(AMN[0], val_cosine=0.35)
    of_epoch_1 = with_eval(model=Figures(0.32, 0.74, 0.47), epoch=1)
    assert "eval_far_below_val" not in signatures(replace(of_epoch_1, epochs=(early, *AMN[1:])))


def test_a_context_mean_that_falls_as_well_speaks_of_the_data() -> None:
    other = with_eval(model=Figures(0.32, 0.74, 0.47), floors={"context_mean": Figures(0.33, 0.7, 0.39)})
    assert "another distribution" in diagnose(other)[0].evidence[1]
    same = with_eval(model=Figures(0.32, 0.74, 0.47))
    assert "validation knew" in diagnose(same)[0].evidence[1]


def test_contain50_tells_a_retrieval_gap_from_ranking() -> None:
    assert signatures(with_eval({"contain50": 0.162, "r5": 0.03, "eff5": 0.19})) == ["retrieval_gap"]
    assert signatures(with_eval({"contain50": 1.0, "r5": 0.14, "eff5": 0.14})) == ["ranking"]
    assert signatures(with_eval({"contain50": 0.735, "r5": 0.43, "eff5": 0.58})) == ["ranking"]
    assert signatures(with_eval({"contain50": None, "r5": 0.0, "eff5": None})) == []


def test_a_gate_whose_bar_lies_within_noise_is_no_alarm() -> None:
    short = with_eval({"contain50": 0.735, "r5": 0.38, "eff5": 0.7})
    assert signatures(short) == ["ranking"]
    assert short.evaluation
    assert signatures(replace(short, evaluation=replace(short.evaluation, within_noise=frozenset({"r5"})))) == []


def test_an_index_that_loses_what_exact_search_finds_is_a_retrieval_gap() -> None:
    found = diagnose(with_eval(on_index=Figures(0.57, 0.6, 0.4)))
    assert [one.signature for one in found] == ["retrieval_gap"]
    assert "the index finds" in found[0].evidence[0]


def test_below_a_floor_means_in_cosine_and_in_retrieval() -> None:
    low = tuple(make_record(epoch, 0.39) for epoch in (1, 2, 3, 4))
    below = replace(with_eval(model=Figures(0.38, 0.719, 0.392)), epochs=low)
    assert signatures(below) == ["below_floor"]
    assert "context_mean" in diagnose(below)[0].evidence[0]
    assert signatures(replace(with_eval(model=Figures(0.38, 0.72, 0.36)), epochs=low)) == []  # better at Contain@50
    assert signatures(replace(below, floors={})) == []


def test_trading_cosine_for_retrieval_is_a_note() -> None:
    traded = tuple(make_record(epoch, 0.525) for epoch in (1, 2, 3, 4))
    found = diagnose(replace(with_eval(model=Figures(0.52, 0.77, 0.495)), epochs=traded))
    assert [(one.signature, one.is_note, one.action) for one in found] == [("trade_off", True, "")]
    assert signatures(replace(with_eval(model=Figures(0.52, 0.72, 0.40)), epochs=traded)) == []  # within the noise


def test_the_newest_evaluation_counts() -> None:
    old, new = eval_report("smoke-e0002", epoch=2, r5=0.10), eval_report("smoke-e0004", epoch=4, r5=0.48)
    assert signatures(gather(recorded({"smoke-e0002": old, "smoke-e0004": new}))) == []
    assert signatures(gather(recorded({"smoke-e0002": old}))) == ["ranking", "below_floor"]


def test_a_run_promises_the_negatives_of_its_effective_batch() -> None:
    facts = gather(recorded())
    assert facts.promised_negatives == RunConfig().sampler.batch_size * RunConfig().sampler.accumulate - 1 == 1023
    assert signatures(gather(recorded(negatives_per_query=255.0))) == ["too_few_negatives"]
