"""What mends a signature, as something that can be done: a patch of the run's settings, or a job on the run.

A signature lists its mends in `diagnosis.toml`, the one to try first at the head. Which of them applies to a run, and
what it would come to, is `tui.control.mending`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from engine.run.convert import ConfigError, suggestion
from engine.run.events import EpochRecord
from engine.run.settings import Patch, PatchValue, RunConfig
from engine.run.spec import apply_patch, dotted_keys, read_setting
from tui.control.diagnosis.facts import Facts
from tui.control.diagnosis.of_retrieval import lost_by_index
from tui.control.diagnosis.of_training import FALL, SMALL_GRADIENT

MendAction = Literal["restart", "resume", "kill", "rerank", "evaluate_fitted", "evaluate_tuned"]


STILL_FALLING = 0.05
"""Share of the training loss that an epoch still takes off where training was too short: 11 % in the planted data that
need more steps to rank well; in trainings that have come to their end 3 % and less."""
FARTHEST = 1000.0
"""Times that a number is changed at most at once: a ratio measured in weights that have blown up says no more."""


class Factor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new value as a multiple of the old one."""

    times: Annotated[float, Meta(gt=0.0)]
    metric: str = ""
    """A number of the epochs that follows the setting; empty for none."""
    aim: Annotated[float, Meta(gt=0.0)] = 1.0
    """What to bring the metric to: where it is on record, by that multiple, if it goes the same way as `times`."""
    power: Annotated[float, Meta(gt=0.0)] = 1.0
    """Of that multiple; 0.5 for a setting that follows another by its root."""

    def __post_init__(self) -> None:
        if self.metric and self.metric not in EpochRecord.__struct_fields__:
            known = suggestion(self.metric, EpochRecord.__struct_fields__)
            raise ValueError(f'an epoch has no metric "{self.metric}".{known}')

    def of(self, facts: Facts) -> float:
        """The multiple for a run."""
        values = [value for _, value in facts.series(self.metric) if value > 0] if self.metric else []
        if not values:
            return self.times
        aimed = min(FARTHEST, max(1 / FARTHEST, self.aim / max(values))) ** self.power
        return aimed if (aimed < 1) == (self.times < 1) else self.times


class Mend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to do about a signature."""

    does: MendAction = "restart"
    patch: dict[str, PatchValue | Factor] = field(default_factory=dict)
    """What a restart changes, by dotted key: a value, or `{ times = 0.1 }`."""
    when: str = ""
    """Name of a condition on the facts; empty for always."""

    def __post_init__(self) -> None:
        if bool(self.patch) != (self.does == "restart"):
            raise ValueError("a restart needs a patch, and only a restart has one")


def resolve(mend: Mend, config: RunConfig, facts: Facts) -> Patch:
    """A restart's patch for a run of these settings: factors become values, and what is so already is left out.

    Args:
        mend: a restart; of anything else nothing comes.
        config: of the run.
        facts: what is on record of it.

    Raises:
        ConfigError: a key is no setting, or a value would leave its range.
    """
    patch: Patch = {}
    known = dotted_keys(msgspec.to_builtins(config))
    for key, value in mend.patch.items():
        if key not in known:
            raise ConfigError(f'unknown setting "{key}".{suggestion(key, known)}')
        old = read_setting(config, key)
        new = _scaled(old, value.of(facts), key) if isinstance(value, Factor) else value
        if new != old:
            patch[key] = new
    apply_patch(config, patch)
    return patch


def _scaled(old: PatchValue, times: float, key: str) -> PatchValue:
    if isinstance(old, bool | str):
        raise ConfigError(f'setting "{key}" is no number that could be multiplied.')
    return max(1, round(old * times)) if isinstance(old, int) else float(f"{old * times:.2g}")


def gradient_is_there(facts: Facts) -> bool:
    """Steps are small and the gradient is not: it is the learning rate that is too low."""
    norms = facts.series("grad_norm")
    return bool(norms) and norms[-1][1] >= SMALL_GRADIENT


def without_contrast(facts: Facts) -> bool:
    """Negatives have no weight in the loss."""
    return not facts.contrasts


def with_contrast(facts: Facts) -> bool:
    """Negatives have some weight in the loss."""
    return facts.contrasts


def index_loses(facts: Facts) -> bool:
    """The truth is found by exact search and lost by the index."""
    return facts.evaluation is not None and lost_by_index(facts.evaluation) is not None


def not_resumed(facts: Facts) -> bool:
    """It was started once: what ended it may have happened once."""
    return facts.attempts <= 1


def still_learning(facts: Facts) -> bool:
    """Training ended while its loss was still falling, and validation had not fallen away."""
    losses = [value for _, value in facts.series("train_loss")]
    values = [value for _, value in facts.series("val_cosine")]
    if len(losses) < 2 or not values:
        return False
    return losses[-1] < (1 - STILL_FALLING) * losses[-2] and values[-1] > max(values) - FALL


CONDITIONS: dict[str, Callable[[Facts], bool]] = {
    condition.__name__: condition
    for condition in (gradient_is_there, without_contrast, with_contrast, index_loses, not_resumed, still_learning)
}


def refuse_unknown(mend: Mend, where: str) -> None:
    """Check what a mend names against what there is.

    Raises:
        ConfigError: a condition or a setting is unknown, or a value no setting's.
    """
    if mend.when and mend.when not in CONDITIONS:
        raise ConfigError(f'{where}: unknown condition "{mend.when}".{suggestion(mend.when, CONDITIONS)}')
    try:
        resolve(mend, _with_numbers(), Facts())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _with_numbers() -> RunConfig:
    """Settings of which no multiple up to a hundred leaves its range."""
    return apply_patch(RunConfig(), {"sampler.batch_size": 64, "optimizer.lr": 1e-3})
