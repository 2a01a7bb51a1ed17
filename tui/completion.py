"""Completion for shells: `lvm-tui completion SHELL` prints the script, and the names of this room complete.

A completion never speaks: where nothing can be read there is nothing to offer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from engine.run.convert import ConfigError
from engine.run.directory import list_runs
from engine.run.runs_file import RunsFile, find_runs_file, load_runs
from tui.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_LVM_TUI_COMPLETE"
"""What click looks for in the environment, made from the program's name."""
_WHERE = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc, after compinit",
    "fish": "~/.config/fish/config.fish",
}
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the runs, newest first; a number offers the run that has it."""

    def offered(file: RunsFile, folder: Path) -> Iterator[CompletionItem]:
        for run in reversed(list_runs(folder)):
            number = run.id.rpartition("-")[2]
            if run.id.startswith(incomplete) or (incomplete and number.lstrip("0").startswith(incomplete)):
                yield CompletionItem(run.id)

    return _offer(ctx, offered)


def complete_table(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the `[run.NAME]` tables."""

    def offered(file: RunsFile, folder: Path) -> Iterator[CompletionItem]:
        for name, config in file.run.items():
            if name.startswith(incomplete):
                yield CompletionItem(name, help=clean(config.title) or None)

    return _offer(ctx, offered)


def complete_evaluation(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the `[eval.NAME]` tables."""

    def offered(file: RunsFile, folder: Path) -> Iterator[CompletionItem]:
        yield from (CompletionItem(name) for name in file.eval if name.startswith(incomplete))

    return _offer(ctx, offered)


def complete_fix(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Numbers of the fixes with their titles; the beginning of a title offers its number."""

    def offered(file: RunsFile, folder: Path) -> Iterator[CompletionItem]:
        for number, fix in enumerate(file.fix, start=1):
            if str(number).startswith(incomplete) or fix.title.lower().startswith(incomplete.lower()):
                yield CompletionItem(str(number), help=clean(fix.title))

    return _offer(ctx, offered)


def _offer(ctx: click.Context, offered: Callable[[RunsFile, Path], Iterator[CompletionItem]]) -> list[CompletionItem]:
    """What there is to offer in the place that the words before name."""

    def named(option: str) -> str | None:
        outer = ctx.parent.params if ctx.parent else {}
        return ctx.params.get(option) or outer.get(option)

    try:
        file = load_runs(find_runs_file(named("config")))
        runs_dir = named("runs_dir")
        return list(offered(file, Path(runs_dir).absolute() if runs_dir else file.runs_dir))
    except (ConfigError, OSError):
        return []


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete verbs, options, run ids, fixes and tables."""
    complete = get_completion_class(shell)
    assert complete is not None, shell  # SHELLS are click's own
    program = ctx.find_root().command
    click.echo(complete(program, {}, "lvm-tui", _VARIABLE).source())
    load = "lvm-tui completion fish | source" if shell == "fish" else f'eval "$(lvm-tui completion {shell})"'
    click.echo(f"for every new shell: put {load} into {_WHERE[shell]}", err=True)
