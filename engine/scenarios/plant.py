"""`python -m engine.scenarios.plant CASE ARGUMENTS...`: `lvm-engine train` with the fault of a case planted again.

A defect in the code comes back in every run that is made from the first: what a setting cannot repair must not seem to
be repaired because the child was trained by sound code.
"""

from __future__ import annotations

import sys

import click

from engine.run.convert import ConfigError
from engine.scenarios.cases import find_cases
from engine.verbs.train import command


def main(argv: list[str] | None = None) -> None:
    """Train what the arguments say, as `lvm-engine train` does, and exit with its code; 2 where no case is named."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or [""]
    try:
        (case,) = find_cases((name,))
    except ConfigError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    command.main(arguments, prog_name="lvm-engine train", obj=case.fault)


if __name__ == "__main__":
    main()
