"""Which terminals get ASCII."""

from __future__ import annotations

import os
import subprocess
import sys

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
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "en_GB.UTF-8", "LC_CTYPE": "UTF-8"}, False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
    ],
)
def test_a_locale_without_unicode_gets_ascii(environment: dict[str, str], expected: bool) -> None:
    assert wants_ascii(environment) is expected


@pytest.mark.parametrize(("locale", "expected"), [({"LANG": "C"}, True), ({"LANG": "C.UTF-8"}, False), ({}, False)])
def test_a_process_knows_the_locale_it_was_started_in_whatever_python_makes_of_it(
    locale: dict[str, str], expected: bool
) -> None:
    others = {name: value for name, value in os.environ.items() if name != "LANG" and not name.startswith("LC_")}
    asked = "import os; from tui.cli import wants_ascii; print(wants_ascii(os.environ))"
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, env=others | locale, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)
