"""Every case of the scenario suite, by name."""

from __future__ import annotations

from engine.run.convert import ConfigError, suggestion
from engine.scenarios.case import Case
from engine.scenarios.cases_data import OF_DATA, OF_DISTRIBUTION, OF_RETRIEVAL
from engine.scenarios.cases_healthy import HEALTHY
from engine.scenarios.cases_steps import OF_PROCESS, OF_STEPS, OF_SWINGS
from engine.scenarios.cases_training import OF_FLOOR, OF_HEAD, OF_LOSS

CASES = {
    case.name: case
    for group in (
        HEALTHY,
        OF_DATA,
        OF_DISTRIBUTION,
        OF_RETRIEVAL,
        OF_LOSS,
        OF_HEAD,
        OF_FLOOR,
        OF_STEPS,
        OF_SWINGS,
        OF_PROCESS,
    )
    for case in group
}


def find_cases(names: tuple[str, ...]) -> list[Case]:
    """The cases of these names, all of them for none.

    Raises:
        ConfigError: there is no such case; the nearest is named.
    """
    for name in names:
        if name not in CASES:
            raise ConfigError(f'there is no case "{name}" in the suite.{suggestion(name, CASES)}')
    return [CASES[name] for name in names] if names else list(CASES.values())
