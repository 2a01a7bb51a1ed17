"""The ladder: the playbook's order, what each try brought, and which one comes next."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from recorded import FIXES, MAMBA_HISTORY, make_spec, make_view, run_events

from engine.run.events import NonFiniteFound
from engine.run.settings import LossConfig, Patch, RunConfig
from engine.run.state import Status
from tui.control.ladder import Rung, best_of, climb, family
from tui.control.probe.record import ProbeReport, ProbeState, Row, Try
from tui.control.views import RunView

COLD: Patch = {"loss.temperature": 0.05}
WARM: Patch = {"loss.temperature": 0.10}
CONTRAST: Patch = {"loss.lambda_con": 0.85, "loss.lambda_ar": 0.15}
BATCH: Patch = {"sampler.batch_size": 512}
MIXING: Patch = {"sampler.max_per_article": 2}
PATCHES = [COLD, WARM, CONTRAST, BATCH, MIXING]


def root(values: Sequence[float | None] = MAMBA_HISTORY, *, head_is_right: bool = True) -> RunView:
    spec = make_spec()
    return make_view(spec, run_events(spec, values, head_is_right=head_is_right))


def child(
    parent: RunView, number: int, patch: Patch, values: Sequence[float | None], status: Status = Status.FINISHED
) -> RunView:
    spec = make_spec(number=number, parent=parent.spec, patch=patch)
    return make_view(spec, run_events(spec, values), status=status)


def standings(rungs: list[Rung]) -> list[tuple[int, str]]:
    return [(rung.number, rung.standing) for rung in rungs]


def rung_of(rungs: list[Rung], patch: Patch) -> Rung:
    return next(rung for rung in rungs if rung.patch == patch)


def test_an_untried_ladder_begins_at_its_first_fix_and_tries_each_in_order() -> None:
    run = root()
    rungs = climb(FIXES, run, [run])
    assert standings(rungs) == [(1, "next"), (1, "open"), (2, "open"), (3, "open"), (4, "verified"), (5, "open")]
    assert [rung.patch for rung in rungs if rung.patch] == PATCHES


def probed(run: RunView, best: Sequence[Patch], *, state: ProbeState = "done") -> RunView:
    """The run with a probe in which these patches help, the best first, and all others do not."""
    others = [patch for patch in PATCHES if patch not in best]
    rows = [Row(tried=Try(number=0, title="as it is"), trials=[], verdict="base")]
    rows += [
        Row(tried=Try(number=1, title="x", patch=patch), trials=[], verdict="helps", rank=rank)
        for rank, patch in enumerate(best, start=1)
    ]
    rows += [Row(tried=Try(number=1, title="x", patch=patch), trials=[], verdict="worse") for patch in others]
    run.probe = ProbeReport(run=run.id, metric="val_cosine", epoch=2, bar=0.5, state=state, rows=rows)
    return run


def test_a_probe_puts_what_it_measured_best_before_the_playbooks_order() -> None:
    run = probed(root(), [MIXING, CONTRAST])
    rungs = climb(FIXES, run, [run])
    assert rung_of(rungs, MIXING).standing == "next"
    assert sum(rung.standing == "next" for rung in rungs) == 1
    tried = child(run, 2, MIXING, [0.2, 0.4])
    assert rung_of(climb(FIXES, tried, [run, tried]), CONTRAST).standing == "next", "the second best comes after"
    both = [run, tried, child(run, 3, CONTRAST, [0.2, 0.41])]
    assert rung_of(climb(FIXES, run, both), COLD).standing == "next", "and then the playbook's order"


def test_a_probe_that_is_not_done_or_finds_nothing_leaves_the_order_alone() -> None:
    for run in (probed(root(), [MIXING], state="running"), probed(root(), [])):
        assert rung_of(climb(FIXES, run, [run]), COLD).standing == "next"


def test_a_tried_fix_keeps_what_it_brought_at_the_gates_epoch() -> None:
    run = root([0.12, 0.312, 0.35])
    tried = child(run, 2, COLD, [0.2, 0.332])
    rungs = climb(FIXES, run, [run, tried])
    cold = rung_of(rungs, COLD)
    assert (cold.standing, cold.child) == ("tried", "mamba_s-0002")
    assert cold.effect is not None
    assert round(cold.effect, 6) == 0.02
    assert rung_of(rungs, WARM).standing == "next"
    assert sum(rung.standing == "next" for rung in rungs) == 1


def test_the_ladder_is_the_same_from_every_member_of_the_family() -> None:
    run = root()
    tried = child(run, 2, COLD, [0.2, 0.332])
    views = [run, tried]
    patches = [[(rung.patch, rung.standing) for rung in climb(FIXES, member, views) if rung.patch] for member in views]
    assert patches[0] == patches[1]


def test_a_try_whose_gate_is_still_open_has_no_effect_yet_and_is_not_offered_again() -> None:
    run = root()
    running = child(run, 2, COLD, [0.2], Status.RUNNING)
    cold = rung_of(climb(FIXES, run, [run, running]), COLD)
    assert (cold.standing, cold.effect) == ("tried", None)


def test_a_child_that_ended_before_its_gate_is_offered_again() -> None:
    run = root()
    for status in (Status.STOPPED, Status.FAILED, Status.LOST, Status.QUEUED):
        undone = child(run, 2, COLD, [0.2], status)
        assert rung_of(climb(FIXES, run, [run, undone]), COLD).standing == "next", status


def test_a_child_that_was_stopped_after_its_gate_is_tried() -> None:
    run = root()
    stopped = child(run, 2, COLD, [0.2, 0.33], Status.STOPPED)
    assert rung_of(climb(FIXES, run, [run, stopped]), COLD).standing == "tried"


def test_a_child_that_diverged_is_not_offered_again() -> None:
    run = root()
    diverged = child(run, 2, COLD, [0.2], Status.FAILED)
    diverged.state.apply(NonFiniteFound(what="loss", value="nan", epoch=2, step=30))
    assert rung_of(climb(FIXES, run, [run, diverged]), COLD).standing == "tried"


def test_the_next_try_is_made_on_the_best_of_the_family() -> None:
    run = root([0.12, 0.31])
    better = child(run, 2, COLD, [0.2, 0.4])
    worse = child(better, 3, CONTRAST, [0.2, 0.35])
    views = [run, better, worse]
    assert best_of(family(worse, views), worse) is better
    effect = rung_of(climb(FIXES, run, views), CONTRAST).effect
    assert effect is not None
    assert round(effect, 6) == -0.05, "measured against the run it was tried on"


def test_without_a_judged_run_the_run_itself_is_the_base() -> None:
    run = root([0.1])
    assert best_of([run], run) is run


def test_a_patch_that_changes_nothing_is_not_offered() -> None:
    spec = make_spec(config=RunConfig(loss=LossConfig(temperature=0.05)))
    run = make_view(spec, run_events(spec, MAMBA_HISTORY))
    rungs = climb(FIXES, run, [run])
    cold = rung_of(rungs, COLD)
    assert (cold.standing, cold.detail) == ("no change", "already so")
    assert rung_of(rungs, WARM).standing == "next"


def test_a_patch_that_does_not_fit_says_why() -> None:
    run = root()
    bad = msgspec.structs.replace(FIXES[0], tries=[{"model.head_width": 100}])
    rungs = climb([bad], run, [run])
    assert rungs[0].standing == "no change"
    assert "head_width 100 must divide" in rungs[0].detail


def test_the_head_is_verified_by_the_check_of_the_newest_epoch() -> None:
    right, wrong, early = root(), root(head_is_right=False), root([])
    verdicts = [next(rung for rung in climb(FIXES, run, [run]) if rung.number == 4) for run in (right, wrong, early)]
    assert [rung.standing for rung in verdicts] == ["verified", "failed check", "open"]
    assert verdicts[1].detail == "its last layer has a bias"
    assert verdicts[2].detail == "not checked yet"


def test_without_a_head_there_is_nothing_to_verify() -> None:
    spec = make_spec(config=RunConfig(loss=LossConfig(contrast_space="target")))
    run = make_view(spec, [])
    assert next(rung for rung in climb(FIXES, run, [run]) if rung.number == 4).detail == "there is no head"


def test_a_family_reaches_from_its_root_to_all_its_branches() -> None:
    run = root()
    left, right = child(run, 2, COLD, []), child(run, 3, WARM, [])
    below = child(right, 4, CONTRAST, [])
    stranger = make_view(make_spec(number=5), [])
    views = [run, left, right, below, stranger]
    assert [view.id for view in family(below, views)] == [run.id, left.id, right.id, below.id]
    assert family(stranger, views) == [stranger]


def test_a_parent_that_is_gone_or_its_own_ancestor_does_not_hang_the_walk() -> None:
    run = root()
    orphan = child(run, 2, COLD, [])
    assert family(orphan, [orphan]) == [orphan]
    run.spec = msgspec.structs.replace(run.spec, parent=orphan.id)
    assert {view.id for view in family(run, [run, orphan])} <= {run.id, orphan.id}


def test_a_rung_tells_old_and_new_values() -> None:
    run = root()
    assert rung_of(climb(FIXES, run, [run]), CONTRAST).change(run) == [
        ("loss.lambda_con", 0.7, 0.85),
        ("loss.lambda_ar", 0.3, 0.15),
    ]
