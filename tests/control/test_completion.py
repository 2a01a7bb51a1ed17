"""The command line explains itself: examples that are read as written, and names that complete."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from engine.cli import main as engine_main
from engine.run.runs_file import RunsFile
from tui.cli import main
from tui.completion import SHELLS
from tui.examples import EXAMPLES

COMMANDS = [command for examples in EXAMPLES.values() for command, _ in examples]
PROGRAMS = {"lvm-tui": main, "lvm-engine": engine_main}


def read(example: str) -> list[str]:
    """Read an example as the command line does, and carry nothing out; the verbs it names.

    Raises:
        click.UsageError: it is not understood.
    """
    inner = re.search(r"\$\((.*)\)", example)
    program, *words = shlex.split(re.split(r"[|>]", inner[1] if inner else example)[0])
    command: click.Command = PROGRAMS[program]
    verbs, context = [], None
    while True:
        context = command.make_context(program, words, parent=context)
        if not isinstance(command, click.Group) or not context._protected_args:
            return verbs
        name, following, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None
        assert following is not None
        verbs.append(name)
        command = following


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_is_read_as_it_is_written(example: str) -> None:
    assert len(read(example)) == (0 if example in ("lvm-tui", "lvm-tui --readonly --ascii") else 1)


@pytest.mark.parametrize("example", ["lvm-tui triage 7 --fux 2", "lvm-tui staart mamba_s", "lvm-tui replay"])
def test_an_example_that_nobody_could_type_is_caught(example: str) -> None:
    with pytest.raises(click.UsageError):
        read(example)


def test_every_verb_has_examples_of_itself_below_its_help() -> None:
    assert set(EXAMPLES) == {"", *main.commands}
    for verb, examples in EXAMPLES.items():
        shown = CliRunner().invoke(main, [*verb.split(), "--help"]).output
        assert "Examples:" in shown
        assert all(command in shown for command, _ in examples)
        assert any(verb in read(command) or not verb for command, _ in examples)


def offered(file: RunsFile, *words: str, incomplete: str = "") -> dict[str, str | None]:
    """What a shell would offer after these words."""
    complete = ShellComplete(main, {}, "lvm-tui", "_LVM_TUI_COMPLETE")
    items = complete.get_completions(["--config", file.path, *words], incomplete)
    return {item.value: item.help for item in items}


@pytest.mark.usefixtures("recorded_runs")
def test_run_ids_complete_by_name_and_by_number(runs_file: RunsFile) -> None:
    for verb in ("stop", "resume", "triage", "eval", "diagnose", "mend", "probe"):
        assert list(offered(runs_file, verb)) == ["amn-0002", "mamba_s-0001"], verb
    assert list(offered(runs_file, "watch", "--auto")) == ["amn-0002", "mamba_s-0001"]
    assert list(offered(runs_file, "stop", incomplete="mam")) == ["mamba_s-0001"]
    assert list(offered(runs_file, "stop", incomplete="2")) == ["amn-0002"]
    assert offered(runs_file, "stop", "--runs-dir", "/nowhere") == {}


def test_fixes_tables_and_evaluations_complete_with_their_titles(runs_file: RunsFile) -> None:
    fixes = offered(runs_file, "triage", "7", "--fix")
    assert fixes == {
        "1": "Temperature",
        "2": "More contrast",
        "3": "Larger batch",
        "4": "Projection head",
        "5": "Batch mixing",
    }
    assert list(offered(runs_file, "triage", "7", "--fix", incomplete="lar")) == ["3"]
    assert list(offered(runs_file, "start")) == ["mamba_s", "amn"]
    assert list(offered(runs_file, "eval", "7", "--name")) == ["smoke"]


def test_a_broken_runs_toml_offers_nothing_and_says_nothing(runs_file: RunsFile) -> None:
    Path(runs_file.path).write_text("[rooms")
    assert offered(runs_file, "stop") == {}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_the_shells(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_LVM_TUI_COMPLETE={shell}_complete" in done.stdout
    assert "put " in done.stderr


def test_a_shell_that_is_none_is_refused() -> None:
    done = CliRunner().invoke(main, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "bash" in done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.usefixtures("recorded_runs")
def test_bash_itself_completes_a_run(runs_file: RunsFile, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "lvm-tui"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tui "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(lvm-tui completion bash 2>/dev/null)"\n'
        'COMP_WORDS=(lvm-tui stop mam); COMP_CWORD=2; _lvm_tui_completion lvm-tui; echo "${COMPREPLY[@]}"\n'
    )
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=Path(runs_file.path).parent,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["mamba_s-0001"], done.stderr
