"""Mending: the remedy of the likeliest cause, each once on a run, and none where only a person helps."""

from __future__ import annotations

import msgspec
import pytest
from person import LONG, Person
from recorded import make_record, make_spec, make_view, run_events

from engine.run.convert import ConfigError
from engine.run.events import EpochEnded, EpochRecord
from engine.run.settings import RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.state import Status
from tui.control.diagnosis.catalogue import load_catalogue, parse_catalogue
from tui.control.diagnosis.facts import Facts
from tui.control.diagnosis.mends import CONDITIONS, Factor, Mend, resolve
from tui.control.mending import ailing, carry_out, check_mend, plan_mend
from tui.control.plans import RefusedError
from tui.control.views import RunView

EXPLODING = ["--epochs", "3", "--values", "0.55", "--update-per-lr", "300"]
"""Of a fake engine: healthy at a learning rate of 1e-3 and below."""
TEXT = '[signature.lost]\ncause = "c"\nremedy = "r"\n'


def view_of(spec: RunSpec, **numbers: float) -> RunView:
    """A run whose second epoch had these numbers."""
    events = run_events(spec, [0.55, 0.56])
    last = [event for event in events if isinstance(event, EpochEnded)][-1]
    bad = msgspec.structs.replace(last, record=make_record(2, 0.56, **numbers))
    return make_view(spec, [bad if event is last else event for event in events])


def test_factors_become_values_and_what_is_so_already_is_left_out() -> None:
    mend = Mend(patch={"optimizer.lr": Factor(times=0.1), "sampler.batch_size": Factor(times=2.0), "seed": 0})
    assert resolve(mend, RunConfig(), Facts()) == {"optimizer.lr": 1e-4, "sampler.batch_size": 512}


def test_a_factor_brings_a_recorded_number_to_its_aim_but_never_the_other_way() -> None:
    facts = Facts(epochs=(make_record(1, 0.5, negatives_per_query=15.0, update_ratio=0.2),))
    aims = Factor(times=8.0, metric="negatives_per_query", aim=60.0)
    assert aims.of(facts) == 4.0
    assert msgspec.structs.replace(aims, power=0.5).of(facts) == 2.0
    assert aims.of(Facts()) == 8.0, "nothing is on record"
    assert msgspec.structs.replace(aims, aim=5.0).of(facts) == 8.0, "more was asked for, not less"
    assert Factor(times=0.1, metric="update_ratio", aim=5e-3).of(facts) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="update_ratio"):
        Factor(times=0.1, metric="update_ration")


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"optimizer.rl": 1.0}, 'did you mean "optimizer.lr"'),
        ({"loss.contrast_space": Factor(times=2.0)}, "no number"),
        ({"loss.temperature": Factor(times=1e3)}, "temperature"),
    ],
)
def test_what_is_no_setting_or_leaves_its_range_is_refused(patch: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match="(?i)" + words):
        resolve(Mend(patch=patch), RunConfig(), Facts())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[[signature.lost.mend]]\ndoes = "reume"\n', "mend"),
        ('[[signature.lost.mend]]\nwhen = "full_moon"\ndoes = "resume"\n', "full_moon"),
        ('[[signature.lost.mend]]\npatch = { "optimizer.rl" = 1 }\n', "optimizer.lr"),
        ('[[signature.lost.mend]]\ndoes = "restart"\n', "needs a patch"),
    ],
)
def test_a_mend_that_names_what_there_is_not_is_refused_where_it_stands(table: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        parse_catalogue(TEXT + table, "diagnosis.toml")
    assert "diagnosis.toml" in str(refused.value)


def test_every_mend_that_ships_changes_the_default_settings_or_does_a_job() -> None:
    usual = apply_patch(RunConfig(), {"queue.size": 64, "loss.mask_same_article": False, "precision": "bf16"})
    for signature in load_catalogue().values():
        for mend in signature.mend:
            assert bool(resolve(mend, usual, Facts())) == (mend.does == "restart")


def test_a_healthy_run_has_nothing_to_mend() -> None:
    run = view_of(make_spec())
    assert ailing(run) is None
    with pytest.raises(RefusedError, match="no alarm"):
        plan_mend(run, [run])


def test_the_remedy_of_the_first_cause_is_planned_with_its_evidence() -> None:
    run = view_of(make_spec(), update_ratio=0.4)
    plan = plan_mend(run, [run])
    assert (plan.diagnosis.signature, plan.does, plan.change) == ("exploding", "restart", "optimizer.lr = 1.2e-05")
    assert plan.restart is not None
    assert "40.0% of the weights" in plan.restart.evidence[0]
    assert "optimizer.lr: 0.001 → 1.2e-05" in plan.lines()


def test_what_was_tried_on_the_run_is_not_tried_again_and_its_child_is_mended_in_its_turn() -> None:
    run = view_of(make_spec(), update_ratio=0.4)
    spec = make_spec(number=2, parent=run.spec, patch={"optimizer.lr": 1.2e-5}, fix="Remedy of exploding")
    child = view_of(spec, update_ratio=0.4)
    with pytest.raises(RefusedError, match="were tried"):
        plan_mend(run, [run, child])
    assert plan_mend(child, [run, child]).change == "optimizer.lr = 1.5e-07"


def test_a_gradient_that_is_gone_is_no_learning_rate_that_is_too_low() -> None:
    gone = view_of(make_spec(), grad_norm=1e-7, update_ratio=1e-9)
    with pytest.raises(RefusedError, match="vanishing: no key mends that"):
        plan_mend(gone, [gone])
    small = view_of(make_spec(), grad_norm=0.5, update_ratio=1e-5)
    assert plan_mend(small, [small]).change == "optimizer.lr = 0.005"


def test_swings_are_mended_by_more_negatives_where_there_are_any_and_else_by_shorter_steps() -> None:
    swings = [0.40, 0.48, 0.41, 0.47, 0.40, 0.48]
    contrasted = make_view(make_spec(), run_events(make_spec(), swings))
    assert plan_mend(contrasted, [contrasted]).change == "sampler.batch_size = 1024"
    alone = make_spec(config=apply_patch(RunConfig(epochs=12), {"loss.lambda_con": 0.0, "loss.lambda_ar": 1.0}))
    ended = [make_record(epoch, value, update_ratio=0.04) for epoch, value in enumerate(swings, start=1)]
    run = make_view(alone, [EpochEnded(record=record) for record in ended])
    assert plan_mend(run, [run]).change == "optimizer.lr = 0.00013", "an eighth brings steps of 4 % to those of 0.5 %"


def test_applied_it_starts_a_child_stops_the_run_and_can_be_undone(room: Person) -> None:
    run = room.start(*LONG, *EXPLODING[2:])
    room.wait_epoch(run, 1)
    plan = check_mend(room.actions, room.view(run), room.views())
    child = carry_out(plan, room.view(run), room.actions)
    assert [view.spec.fix for view in room.views()] == [None, "Remedy of exploding"]
    room.wait_status(run, Status.STOPPED)
    undone, goes_on = room.actions.undo(room.actions.check_undo())
    assert (undone.id, goes_on) == (run.id, True)
    assert room.view(run).status.is_alive
    assert not room.view(run.__class__(run.path.parent / child)).status.is_alive


@pytest.mark.parametrize(
    ("losses", "values", "expected"),
    [
        ((1.118, 0.994), (0.632, 0.629), True),
        ((0.613, 0.598), (0.561, 0.562), False),
        ((1.118, 0.994), (0.632, 0.600), False),
        ((1.118,), (0.632,), False),
    ],
)
def test_training_was_too_short_where_its_loss_still_fell_and_validation_did_not(
    losses: tuple[float, ...], values: tuple[float, ...], expected: bool
) -> None:
    rows = enumerate(zip(losses, values, strict=True), start=1)
    facts = Facts(epochs=tuple(EpochRecord(epoch=e, train_loss=loss, val_cosine=value) for e, (loss, value) in rows))
    assert CONDITIONS["still_learning"](facts) is expected


def test_a_reader_may_not_mend(room: Person) -> None:
    run = room.start(*EXPLODING)
    room.wait_status(run, Status.FINISHED)
    readonly = room.actions.__class__(room.file, room.file.runs_dir, "person", readonly=True)
    with pytest.raises(RefusedError, match="read-only"):
        check_mend(readonly, room.view(run), room.views())
