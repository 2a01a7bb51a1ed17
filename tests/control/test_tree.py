"""Where a run stands in the decision tree: one path, to a leaf, with the numbers that led there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import AMN_HISTORY, FIXES, MAMBA_HISTORY, PLAYBOOK_HISTORY, eval_report, make_spec, make_view, run_events
from recorded_heads import LIFT, NO_LIFT, head_report, rerank_report
from recorded_preflight import preflight_report

from engine.run.evals import EvalGate, EvalReport, Interval
from engine.run.events import CheckJudged, CheckpointSaved, EpochEnded, Event, GateJudged
from engine.run.heads import Lift
from engine.run.settings import EvalConfig, Gate
from engine.run.state import Status
from tui.control.answers import Situation, gate_passed
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import gather
from tui.control.playbook import BRANCHES, Position, load_playbook
from tui.control.predicates import PREDICATES
from tui.control.retrieval_answers import POINTS_AT
from tui.control.views import RunView
from tui.control.walk import locate

SPEC = make_spec()
PASSED = [0.45, 0.52, 0.55, 0.56, 0.57]
GOOD, NEAR, BAD = eval_report(r5=0.48), eval_report(r5=0.455), eval_report(r5=0.43)
SLOW = eval_report(r5=0.48, p95=4.6)


def missing_from_the_first_50(report: EvalReport) -> EvalReport:
    """The same with Contain@50 at 0.226, where its bar is 0.60."""
    gate = msgspec.structs.replace(report.gates[0], value=0.226, verdict="missed")
    model = report.rows["model"]
    model = msgspec.structs.replace(model, exact=msgspec.structs.replace(model.exact, contain50=0.226))
    return msgspec.structs.replace(report, gates=[gate, *report.gates[1:]], rows=report.rows | {"model": model})


def with_cosine(report: EvalReport, cosine: float) -> EvalReport:
    """The same with another cosine of the model on the queries."""
    model = msgspec.structs.replace(report.rows["model"], cosine=cosine)
    return msgspec.structs.replace(report, rows=report.rows | {"model": model})


GAP = missing_from_the_first_50(BAD)
FAR_BELOW = with_cosine(GAP, 0.2557)


def view(values: Sequence[float | None], status: Status = Status.RUNNING, **changes: float | None) -> RunView:
    return make_view(SPEC, run_events(SPEC, values, **changes), status=status)


def baseline(values: Sequence[float | None], status: Status = Status.FINISHED) -> RunView:
    spec = make_spec("amn", 2)
    return make_view(spec, run_events(spec, values), status=status)


def stand(run: RunView, *others: RunView) -> Position:
    return locate(Situation(run, [run, *others], FIXES))


def blocked(override: str = "") -> RunView:
    found = preflight_report(leaks=True, override=override)
    status = Status.RUNNING if override else Status.FAILED
    return make_view(SPEC, run_events(SPEC, [], preflight=found), status=status)


def evidence(position: Position, node: str) -> str:
    return next(step.evidence for step in position.path if step.node == node)


def with_evals(run: RunView, **evals: object) -> RunView:
    run.evals = {f"{name}-e0004": report for name, report in evals.items()}  # type: ignore[misc]
    return run


def with_fitted(run: RunView, smoke: EvalReport, *, full: EvalReport | None = None, **lifts: Lift) -> RunView:
    with_evals(run, smoke=smoke, **({"full": full} if full else {}))
    run.head = head_report(lift=lifts["head"]) if "head" in lifts else None
    run.reranker = rerank_report(lift=lifts["reranker"]) if "reranker" in lifts else None
    return run


TABLE: list[tuple[str, RunView, list[RunView], str]] = [
    ("nothing yet", view([]), [], "wait"),
    ("data blocked", blocked(), [], "data_blocked"),
    ("data blocked and overridden", blocked("it is a toy set"), [], "wait"),
    ("queued", view([], Status.QUEUED), [], "wait"),
    ("epoch 1", view([0.12]), [], "wait"),
    ("stopped at epoch 1", view([0.12], Status.STOPPED), [], "never_judged"),
    ("crashed at once", view([], Status.FAILED), [], "never_judged"),
    ("missed, no baseline", view(MAMBA_HISTORY), [], "fix"),
    ("missed, baseline passed", view(MAMBA_HISTORY), [baseline(AMN_HISTORY)], "fix"),
    ("missed, baseline still training", view(MAMBA_HISTORY), [baseline([0.3], Status.RUNNING)], "fix"),
    ("missed, baseline missed", view(MAMBA_HISTORY), [baseline([0.2, 0.3])], "data_suspect"),
    ("missed and ended", view(MAMBA_HISTORY, Status.FINISHED), [], "fix"),
    ("the baseline itself missed", baseline([0.2, 0.3]), [], "fix"),
    ("passed, epoch 2", view(PASSED[:2]), [], "locked"),
    ("passed, epoch 3", view(PASSED[:3]), [], "locked"),
    ("passed, ended at epoch 3", view(PASSED[:3], Status.FINISHED), [], "smoke_now"),
    ("passed, stopped at epoch 3", view(PASSED[:3], Status.STOPPED), [], "smoke_now"),
    ("passed, epoch 4", view(PASSED[:4]), [], "smoke_now"),
    ("smoke near", with_evals(view(PASSED), smoke=NEAR), [], "watch"),
    ("smoke failed by its ranking", with_evals(view(PASSED), smoke=BAD), [], "ranking"),
    ("smoke failed before its ranking", with_evals(view(PASSED), smoke=GAP), [], "retrieval_gap"),
    ("smoke of other queries", with_evals(view(PASSED), smoke=FAR_BELOW), [], "far_below"),
    ("smoke too slow", with_evals(view(PASSED), smoke=SLOW), [], "slow"),
    ("ranking, reranker lifts", with_fitted(view(PASSED), BAD, reranker=LIFT), [], "fitted_now"),
    ("ranking, head alone, no lift", with_fitted(view(PASSED), BAD, head=NO_LIFT), [], "ranking"),
    ("ranking, neither lifts", with_fitted(view(PASSED), BAD, head=NO_LIFT, reranker=NO_LIFT), [], "ranking_left"),
    ("smoke passed", with_evals(view(PASSED), smoke=GOOD), [], "continue"),
    ("smoke passed, ended", with_evals(view(PASSED, Status.FINISHED), smoke=GOOD), [], "full_now"),
    ("full done", with_evals(view(PASSED, Status.FINISHED), smoke=GOOD, full=BAD), [], "after_training"),
    ("full done, one lifts", with_fitted(view(PASSED, Status.FINISHED), GOOD, full=BAD, head=LIFT), [], "fitted_now"),
    (
        "full done, neither lifts",
        with_fitted(view(PASSED, Status.FINISHED), GOOD, full=BAD, head=NO_LIFT, reranker=NO_LIFT),
        [],
        "nothing_gained",
    ),
    ("another evaluation is not the smoke", with_evals(view(PASSED), other=GOOD), [], "smoke_now"),
    ("collapsed margin", view(PASSED, margin=0.05), [], "fault"),
    ("same-article negatives", view(PASSED, same_article_negatives=3), [], "fault"),
    ("collapsed predictions, gate missed", view(MAMBA_HISTORY, pairwise_cosine=0.9), [], "fault"),
    ("no margin", view(PASSED, margin=None), [], "undecidable"),
    ("NaN at the gate", view([0.4, None, 0.6]), [], "undecidable"),
]


@pytest.mark.parametrize(("run", "others", "leaf"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_where_a_run_stands(run: RunView, others: list[RunView], leaf: str) -> None:
    assert stand(run, *others).node == leaf


def test_the_recorded_history_misses_by_what_the_record_says() -> None:
    position = stand(view(PLAYBOOK_HISTORY[:4]), baseline(AMN_HISTORY))
    assert evidence(position, "gate_passed") == "0.472 < 0.500, missed by 0.028"
    words = evidence(position, "narrow_miss")
    assert words.startswith("0.028 or 5.6 % short, rising; at this pace 0.5")
    assert words.endswith("through the bar; reached the bar at epoch 4")
    assert "amn-0002: 0.577 ≥ 0.500, by 0.077" in evidence(position, "baseline_passed")
    assert position.title == "Fix 1, Temperature: loss.temperature = 0.05"
    assert position.actions[0] == "restart"
    assert [rung.patch for rung in position.rungs if rung.standing == "next"] == [{"loss.temperature": 0.05}]


def test_before_the_gate_the_tree_waits_with_the_number_so_far() -> None:
    position = stand(view(PLAYBOOK_HISTORY[:1]))
    assert position.path[-1].branch == "no"
    assert position.path[-1].evidence == "1 of 2 epochs done, val_cosine 0.412"
    assert "epoch 2" in position.say


@pytest.mark.parametrize(
    ("values", "branch"), [([0.45, 0.48], "yes"), ([0.49, 0.48], "no"), ([0.4, 0.47], "no"), ([None, 0.48], "no")]
)
def test_a_narrow_miss_is_less_than_a_twentieth_and_rising(values: list[float | None], branch: str) -> None:
    steps = {step.node: step.branch for step in stand(view(values)).path}
    assert steps["narrow_miss"] == branch


def test_a_failed_check_is_named_with_its_number() -> None:
    position = stand(view(PASSED, margin=0.05))
    assert "margin 0.050 < 0.100, missed by 0.050" in position.say


def test_a_lost_gate_event_is_judged_from_the_epochs_record() -> None:
    events = [event for event in run_events(SPEC, MAMBA_HISTORY) if not isinstance(event, GateJudged)]
    assert stand(make_view(SPEC, events)).node == "fix"


def test_checks_that_were_not_recorded_are_not_clean() -> None:
    events = [event for event in run_events(SPEC, PASSED) if not isinstance(event, CheckJudged)]
    assert stand(make_view(SPEC, events)).node == "undecidable"


def test_a_gate_that_was_recorded_as_passed_without_a_number_has_not_passed() -> None:
    lie = GateJudged(name="val_cosine@2", epoch=2, value=None, bar=0.5, verdict="passed")
    events = [event for event in run_events(SPEC, [0.4, None]) if not isinstance(event, GateJudged)]
    assert stand(make_view(SPEC, [*events, lie])).node == "undecidable"


def test_a_baseline_on_other_data_says_nothing() -> None:
    other = baseline([0.2, 0.3])
    other.spec = msgspec.structs.replace(other.spec, data=msgspec.structs.replace(other.spec.data, split_seed=1))
    position = stand(view(MAMBA_HISTORY), other)
    assert evidence(position, "baseline_passed") == "no baseline run on this data yet"


def test_the_newest_baseline_that_was_judged_bounds_the_run() -> None:
    newer_spec = make_spec("amn", 3)
    newer = make_view(newer_spec, run_events(newer_spec, [0.3]), status=Status.RUNNING)
    assert stand(view(MAMBA_HISTORY), baseline([0.2, 0.3]), newer).node == "data_suspect"


@pytest.mark.parametrize(("at_epoch", "leaf"), [(2, "smoke_now"), (5, "locked"), (0, "locked")])
def test_the_smoke_evaluation_has_its_own_epoch(at_epoch: int, leaf: str) -> None:
    spec = msgspec.structs.replace(SPEC, evals={"smoke": EvalConfig(at_epoch=at_epoch)})
    position = stand(make_view(spec, run_events(spec, PASSED[:4])))
    assert position.node == leaf
    if at_epoch == 0:
        assert "epoch 12" in position.title


def test_a_retrieval_gate_without_a_number_decides_nothing() -> None:
    for verdict in ("passed", "missed", "undecidable"):
        gates = [msgspec.structs.replace(GOOD.gates[0], value=None, verdict=verdict), *BAD.gates[1:]]
        report = msgspec.structs.replace(GOOD, gates=gates)
        assert stand(with_evals(view(PASSED), smoke=report)).node == "undecidable"
    assert stand(with_evals(view(PASSED), smoke=msgspec.structs.replace(GOOD, gates=[]))).node == "undecidable"


def test_the_newest_smoke_evaluation_counts() -> None:
    run = view(PASSED)
    run.evals = {"smoke-e0004": BAD, "smoke-e0005": eval_report("smoke-e0005", epoch=5, r5=0.48)}
    assert stand(run).node == "continue"


def test_a_ranking_that_misses_leads_to_the_reranker_and_a_gap_never_does() -> None:
    ranking, gap = stand(with_evals(view(PASSED), smoke=BAD)), stand(with_evals(view(PASSED), smoke=GAP))
    assert ranking.actions[0] == "rerank"
    assert evidence(ranking, "signature") == (
        "Eff@5 0.632 < 0.680, missed by 0.048, at Contain@50 0.680; "
        "Contain@50 of the context mean 0.720, of truth vectors 1.000; index recall@50 0.990"
    )
    assert "rerank" not in gap.actions
    assert evidence(gap, "signature").startswith("Contain@50 0.226 < 0.600, missed by 0.374; ")


def test_the_tree_and_the_diagnosis_name_one_cause() -> None:
    for report in (BAD, GAP, FAR_BELOW):
        run = with_evals(view(PASSED), smoke=report)
        causes = [found.signature for found in diagnose(gather(run)) if found.signature in POINTS_AT]
        step = next(step for step in stand(run).path if step.node == "signature")
        assert step.branch == POINTS_AT[causes[0]]
        assert all(words in step.evidence for words in diagnose(gather(run))[0].evidence)


@pytest.mark.parametrize(("gate", "node"), [("contain50", "retrieval_gap"), ("r5", "ranking"), ("p95_ms", "slow")])
def test_a_gate_missed_within_noise_is_no_alarm_and_still_leads_somewhere(gate: str, node: str) -> None:
    def missed(known: EvalGate) -> EvalGate:
        if known.name != gate:
            return msgspec.structs.replace(known, verdict="passed")
        value = known.bar * (1.2 if gate == "p95_ms" else 0.8)
        around = Interval(low=value - 0.3, high=value + 0.3)
        return msgspec.structs.replace(known, value=value, verdict="missed", interval=around)

    report = msgspec.structs.replace(GOOD, gates=[missed(known) for known in GOOD.gates])
    run = with_evals(view(PASSED), smoke=report)
    assert not [found for found in diagnose(gather(run)) if found.signature in POINTS_AT]
    assert stand(run).node == node


def test_a_newer_evaluation_of_other_queries_says_nothing_of_the_smoke_gates() -> None:
    later = msgspec.structs.replace(FAR_BELOW, name="full-e0005", created="2023-11-14T23:59:00+00:00")
    assert stand(with_evals(view(PASSED), smoke=BAD, full=later)).node == "ranking"


@pytest.mark.parametrize(("cosine", "node"), [(0.45, "far_below"), (0.50, "retrieval_gap"), (None, "retrieval_gap")])
def test_queries_far_below_validation_come_before_what_they_explain(cosine: float | None, node: str) -> None:
    model = msgspec.structs.replace(GAP.rows["model"], cosine=cosine)
    report = msgspec.structs.replace(GAP, rows=GAP.rows | {"model": model})
    assert stand(with_evals(view(PASSED), smoke=report)).node == node


def test_what_head_and_reranker_brought_is_the_evidence_after_training() -> None:
    run = with_fitted(view(PASSED, Status.FINISHED), GOOD, full=BAD, head=LIFT, reranker=NO_LIFT)
    found = evidence(stand(run), "gain_fitted")
    assert "alignment head: ridge, l2=30: lifts R@5 by +0.069 [+0.044, +0.095]" in found
    assert "reranker: logistic over content: does not lift R@5" in found
    assert stand(run).actions[0] == "evaluate_fitted"


@pytest.mark.parametrize(
    ("r5", "minutes", "node"), [(0.48, 45, "fitted_done"), (0.43, 45, "fitted_short"), (0.48, 4, "fitted_now")]
)
def test_an_evaluation_behind_what_lifts_counts_if_it_came_after_the_fit(r5: float, minutes: int, node: str) -> None:
    run = with_fitted(view(PASSED, Status.FINISHED), BAD, reranker=LIFT)
    run.evals["full-fitted-e0004"] = eval_report("full-fitted-e0004", epoch=minutes, r5=r5)
    assert stand(run).node == node


def test_what_was_fitted_to_an_older_checkpoint_counts_for_nothing() -> None:
    run = with_fitted(view(PASSED), BAD, reranker=LIFT)
    newer = CheckpointSaved(label="best", epoch=5, step=100, val_cosine=0.57, bytes=1, seconds=0.1)
    run.state.checkpoints["best"] = msgspec.structs.replace(newer, t=4e9)
    assert stand(run).node == "ranking"
    assert "newer" in evidence(stand(run), "ranking_fitted")


def test_data_that_were_mended_since_are_said_to_pass_now() -> None:
    run = blocked()
    run.preflight = preflight_report()
    assert evidence(stand(run), "data_fit").startswith("passes now, and did not when the run began: shared_articles")


def test_an_overridden_item_is_named_without_its_story() -> None:
    found = evidence(stand(blocked("it is a toy set")), "data_fit")
    assert found == "overridden: it is a toy set (shared_articles)"


VALUES = st.lists(st.none() | st.floats(-1.0, 1.0), max_size=6)
REPORTS = st.dictionaries(
    st.sampled_from(["smoke-e0004", "full-e0006", "full-fitted-e0006"]),
    st.sampled_from([GOOD, NEAR, BAD, GAP, FAR_BELOW, SLOW, msgspec.structs.replace(GOOD, gates=[])]),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Any history, some of its events lost or repeated, any verdicts on record, any status, any baseline."""
    margin = draw(st.none() | st.floats(-1, 1))
    events: list[Event] = run_events(SPEC, draw(VALUES), margin=margin, head_is_right=draw(st.booleans()))
    numbers = st.none() | st.floats(-1, 1)
    verdicts = st.sampled_from(["passed", "missed", "pending", "undecidable"])
    for _ in range(draw(st.integers(0, 2))):
        fake = GateJudged(
            name="val_cosine@2", epoch=2, value=draw(numbers), bar=0.5, verdict=draw(verdicts), detail="?"
        )
        events.insert(draw(st.integers(0, len(events))), fake)
    events = [event for event in events if draw(st.integers(0, 9))]
    run = make_view(SPEC, events, status=draw(st.sampled_from(list(Status))), evals=draw(REPORTS))
    run.head = draw(st.sampled_from([None, head_report(), head_report(lift=NO_LIFT)]))
    run.reranker = draw(st.sampled_from([None, rerank_report(), rerank_report(lift=NO_LIFT)]))
    others = [baseline(draw(VALUES), draw(st.sampled_from(list(Status))))] if draw(st.booleans()) else []
    return Situation(run, [run, *others], FIXES if draw(st.booleans()) else [])


@given(situations())
def test_every_run_stands_on_one_leaf_by_one_path(at: Situation) -> None:
    position = locate(at)
    nodes = load_playbook().node
    assert not nodes[position.node].asks
    visited = [step.node for step in position.path]
    assert len(set(visited)) == len(visited)
    for step, following in zip(position.path, [*visited[1:], position.node], strict=True):
        assert nodes[step.node].answers[step.branch] == following
    assert locate(at) == position


@given(situations())
def test_a_predicate_gives_only_answers_that_are_known(at: Situation) -> None:
    for name, predicate in PREDICATES.items():
        answer = predicate(at)
        assert answer.branch in BRANCHES[name]
        assert answer.evidence


@given(situations())
def test_no_run_passes_its_gate_without_a_number(at: Situation) -> None:
    recorded = at.run.state.gates.get("val_cosine@2")
    record = next((row for row in at.run.state.epochs if row.epoch == 2), None)
    number = recorded.value if recorded else record.val_cosine if record else None
    if number is None:
        assert gate_passed(at).branch != "yes"
        assert ("gate_passed", "yes") not in {(step.node, step.branch) for step in locate(at).path}


def test_a_gate_on_another_metric_is_walked_by_that_metric() -> None:
    spec = make_spec(gates=[Gate(metric="margin", epoch=1, at_least=0.35)])
    events = [
        msgspec.structs.replace(event, record=msgspec.structs.replace(event.record, margin=0.29 + 0.02 * seq))
        if isinstance(event, EpochEnded)
        else event
        for seq, event in enumerate(e for e in run_events(spec, [0.6, 0.6]) if not isinstance(e, GateJudged))
    ]
    run = make_view(spec, events)
    position = stand(run)
    assert next(step for step in position.path if step.node == "gate_passed").question.startswith("margin")


def test_a_gate_passed_below_the_floor_says_so_in_its_evidence() -> None:
    assert evidence(stand(view([0.51, 0.52])), "gate_passed").endswith("yet below the floor context_mean 0.579")
    assert "floor" not in evidence(stand(view([0.58, 0.61])), "gate_passed")
