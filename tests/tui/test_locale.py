"""Which terminals get ASCII."""

from __future__ import annotations

import pytest

from tui.cli import wants_ascii


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"LANG": ""}, False),
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "C.utf8"}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "POSIX"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "de_DE.utf-8"}, False),
    ],
)
def test_a_locale_without_unicode_gets_ascii(environment: dict[str, str], expected: bool) -> None:
    assert wants_ascii(environment) is expected
