"""Exit codes of the engine's verbs: 1 is a verdict, 2 is everything that kept a verb from its work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from engine.cli import VERBS, main, user_errors
from engine.run.convert import ConfigError


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def invoke(body: Callable[[], int | None]) -> Result:
    return CliRunner().invoke(click.command()(user_errors(body)), [])


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_verb_returns_is_its_exit_code(returned: int | None, code: int) -> None:
    assert invoke(lambda: returned).exit_code == code


@pytest.mark.parametrize("error", [ConfigError("the key is wrong"), OSError("the disk is gone")])
def test_a_users_mistake_is_one_line_and_exit_code_two(error: Exception) -> None:
    result = invoke(raising(error))
    assert (result.exit_code, result.stderr) == (2, f"error: {error}\n")


def test_a_defect_of_ours_does_not_pass_for_a_missed_gate() -> None:
    result = invoke(raising(RuntimeError("a defect")))
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("RuntimeError: a defect\n")  # the wrapper quotes the last line


def test_an_interrupt_is_exit_code_130() -> None:
    assert invoke(raising(KeyboardInterrupt())).exit_code == 130


def test_every_verb_loads_and_has_help() -> None:
    for verb in VERBS:
        assert CliRunner().invoke(main, [verb, "--help"]).exit_code == 0
    assert CliRunner().invoke(main, ["trian"]).exit_code == 2


def say(stdout: int) -> subprocess.CompletedProcess[str]:
    """A verb that says something, which is written out at its end."""
    code = "from engine.cli import user_errors; user_errors(lambda: print('said'))()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_a_full_disk_swallowed_is_exit_code_two() -> None:
    with open("/dev/full", "w") as full:
        done = say(full.fileno())
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_closed_early_is_no_mistake() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = say(writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
