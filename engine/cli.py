"""The engine's command line: verbs, each in a module of its own that is imported only when it is called."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import click

from engine.run.convert import ConfigError
from engine.run.secrets import without_secrets

P = ParamSpec("P")

VERBS = {
    "align": "Fit a linear map from predictions to the truth; judge it on other articles.",
    "bench": "Measure speeds as ratios within one run.",
    "check": "Judge the gate and the sanity checks of an epoch from a run or a history file.",
    "compare-models": "Train and evaluate every kind of model alike; print one table.",
    "data": "Describe and import corpora.",
    "evaluate": "Evaluate a checkpoint's retrieval over a FAISS index.",
    "export": "Send what a run says to TensorBoard or MLflow.",
    "plan": "Say what a corpus of some size needs of memory, time and disk.",
    "preflight": "Look at the data before anything is trained on them.",
    "rerank": "Fit a reranker of the first 50 candidates; judge it on other articles.",
    "scenarios": "Run trainings with a known fault, or none, to hold a diagnosis against.",
    "train": "Train a model; normally launched by the control room.",
}


class _Verbs(click.Group):
    """A group that knows its verbs by name and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"engine.verbs.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lvm-tui")
def main() -> None:
    """Train, check and evaluate latent vector models.

    Exit codes: 0 done, 1 a gate or check failed, 2 could not.
    """


def user_errors(body: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a verb's return value into the exit code, and a user's mistake into one line and exit code 2."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = body(*args, **kwargs) or 0
        except (ConfigError, OSError) as error:
            click.echo(f"error: {without_secrets(str(error))}", err=True)
            code = 2
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            code = 130
        except Exception:  # a defect of ours; Python's own exit code would be that of a missed gate
            click.echo(without_secrets(traceback.format_exc()), err=True, nl=False)
            code = 2
        try:
            sys.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if code < 2 and not isinstance(error, BrokenPipeError):  # a reader may close early; a full disk is an error
                click.echo(f"error: standard output: {error}", err=True)
                code = 2
        sys.exit(code)

    return run
