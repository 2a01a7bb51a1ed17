"""Secrets that stand in the environment or on a command line, left out of what is written down."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|ACCESS|PRIVATE)[-_]?KEY", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^/@\s]+@")
"""User and password of an address; begins with what is seldom there, so that it is looked for fast."""
_SHORTEST = 6
"""Characters; a shorter value would be found in words that have nothing to do with it."""
HIDDEN = "[hidden]"


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without the values that secrets of the environment have, and without passwords in addresses.

    Args:
        text: what is to be written down or shown.
        environment: variables whose names say that they are secret are.
    """
    return secrets_hider(environment)(text)


def secrets_hider(environment: Mapping[str, str] = os.environ) -> Callable[[str], str]:
    """`without_secrets` for many texts: the environment is looked through once."""
    # line by line: a log is shown, searched and counted by lines, and a key may have several
    lines = {line for name, value in environment.items() if _NAME.search(name) for line in value.splitlines()}
    values = {line for line in lines if len(line) >= _SHORTEST}
    longest_first = sorted(values, key=len, reverse=True)  # one may hold another

    def hide(text: str) -> str:
        for value in longest_first:
            text = text.replace(value, HIDDEN)
        return _IN_ADDRESS.sub(f"://{HIDDEN}@", text)

    return hide


def shown_argv(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """A command line without the values of options and variables whose names say that they are secret."""
    shown: list[str] = []
    is_value = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        is_secret = bool(_NAME.search(name)) and (name.startswith("-") or bool(equals))
        if is_value and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif is_secret and equals:
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(without_secrets(argument, environment))
        is_value = is_secret and not equals
    return shown
