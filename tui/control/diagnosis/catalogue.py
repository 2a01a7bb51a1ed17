"""The signatures in words, from `tui/control/diagnosis.toml`: cause, remedy, what mends it, and what it explains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated

import tomli
from msgspec import Meta, Struct, field

from engine.run.convert import ConfigError, convert_section, suggestion
from tui.control.diagnosis.facts import Facts
from tui.control.diagnosis.mends import CONDITIONS, Mend, refuse_unknown
from tui.control.playbook import ACTIONS

NAME = "diagnosis.toml"
Words = Annotated[str, Meta(min_length=1)]


class Signature(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signature means."""

    cause: Words
    remedy: Words
    action: str = ""
    """Name of the action that leads on where no mend applies; empty where none does."""
    mend: list[Mend] = field(default_factory=list)
    """What can be done about it by a key, the first one that applies before the others."""
    at_once: bool = False
    """Going on to the gate would prove nothing, so an autopilot does not wait for it."""
    explains: list[str] = field(default_factory=list)
    """Its symptoms: signatures that follow from it."""
    note: bool = False
    """It informs, and is no alarm."""

    def mends(self, facts: Facts) -> list[Mend]:
        """Those whose conditions hold, in order."""
        return [mend for mend in self.mend if not mend.when or CONDITIONS[mend.when](facts)]


class Catalogue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every signature by name, in order of precedence."""

    signature: Annotated[dict[str, Signature], Meta(min_length=1)]


@cache
def load_catalogue() -> dict[str, Signature]:
    """The signatures that ship with the room.

    Raises:
        ConfigError: they do not hold together.
    """
    return parse_catalogue((files("tui.control") / NAME).read_text(), NAME)


def parse_catalogue(text: str, where: str) -> dict[str, Signature]:
    """Check the signatures: actions exist, what is explained exists, and nothing explains itself in a circle.

    Raises:
        ConfigError: names the signature and the mistake.
    """
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}.") from None
    known = convert_section(tables, Catalogue, where=where).signature
    for name, signature in known.items():
        at = f"{where}, [signature.{name}]"
        if signature.action and signature.action not in ACTIONS:
            raise ConfigError(f'{at}: unknown action "{signature.action}".{suggestion(signature.action, ACTIONS)}')
        for number, mend in enumerate(signature.mend, start=1):
            refuse_unknown(mend, f"{at}, mend {number}")
        for symptom in signature.explains:
            if symptom not in known:
                raise ConfigError(f'{at}: explains no signature: "{symptom}".{suggestion(symptom, known)}')
        _refuse_circles(known, name, (), at)
    return known


def _refuse_circles(known: Mapping[str, Signature], name: str, above: tuple[str, ...], at: str) -> None:
    if name in above:
        raise ConfigError(f"{at}: explains itself, by way of {', '.join(above[1:]) or name}.")
    for symptom in known[name].explains if name in known else ():
        _refuse_circles(known, symptom, (*above, name), at)
