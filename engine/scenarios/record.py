"""What was planted in each run of a scenario suite: `scenarios.json`, read by whoever judges the runs.

Read by the terminal as it is, so there are no numerics here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.files import read_regular, write_atomically

NAME = "scenarios.json"
RUNS = "runs"
"""Folder of the run directories, beside the file."""
TWINS = "twins"
"""Folder of the run directories without the fault, beside it; they are not judged."""
MAX_SUITE = 4 << 20

Split = Literal["tune", "held_out"]


class PlantedRun(Struct, frozen=True, kw_only=True):
    """One run, and what it should be diagnosed as."""

    name: str
    """Of the case."""
    run: str
    """Folder name of the run."""
    expects: str
    """The signature to be named first; empty for a healthy run."""
    planted: str
    """What was done to it, in words."""
    split: Split
    """`held_out`: no threshold was chosen by looking at it."""
    seed: int
    seconds: float
    """From making the data to the end of its evaluation."""
    is_held: bool = False
    """It is to be judged as if its process were still there."""
    twin: str = ""
    """Folder name, below `TWINS`, of the same training without the fault: same data, same seed, evaluated the same way
    by an index that is right. Empty where there is none."""
    beyond_repair: str = ""
    """Why no setting and no action of the room repairs it, in words; empty where one does, and for a healthy run."""
    notes: str = ""
    """The note that a healthy run must have; empty where none is asked for."""
    train: list[str] = field(default_factory=list)
    """The command that trains a child, with a fault that comes back planted again, without its arguments: it accepts
    those of `lvm-engine train`. Empty in files from before there was one."""


class Suite(Struct, frozen=True, kw_only=True):
    """A whole suite. Written once, atomically."""

    schema: Literal[1] = 1
    runs: list[PlantedRun]


def write_suite(folder: Path, suite: Suite) -> None:
    """Write a suite's file into its folder."""
    write_atomically(folder / NAME, msgspec.json.format(msgspec.json.encode(suite)) + b"\n")


def read_suite(folder: Path) -> Suite:
    """The suite in a folder.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(read_regular(path, MAX_SUITE), type=Suite)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Make a suite with `lvm-engine scenarios --out {folder}`."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: no scenario suite: {error}. Make it anew with `lvm-engine scenarios`.") from None
