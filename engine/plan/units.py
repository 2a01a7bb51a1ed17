"""What one unit of work costs: measured by one command on one machine, kept in one file, and never written by hand."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine.run.convert import ConfigError

UNITS_FILE = "units.json"
MAX_BYTES = 1 << 20

UnitName = Literal[
    "open_s",
    "open_bytes",
    "digest_s",
    "text_bytes",
    "kmeans_s",
    "assign_s",
    "encode_s",
    "exact_s",
    "exact_disk_s",
    "mamba_s_window_s",
    "amn_window_s",
    "mamba_s_checkpoint_bytes",
    "amn_checkpoint_bytes",
]

_Positive = Annotated[float, Meta(gt=0)]


class Unit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of one unit of one kind of work."""

    name: UnitName
    value: _Positive
    """At the largest size measured; what it is the cost of is in `per`."""
    smallest_value: _Positive
    """At the smallest size: equal to `value` where the law holds."""
    per: str
    """Such as "chunk and query and dimension"."""
    low: Annotated[int, Meta(ge=1)]
    """The smallest size measured, in chunks; in dimensions for checkpoints."""
    high: Annotated[int, Meta(ge=1)]

    @property
    def drift(self) -> float:
        """How far the unit moved from the smallest to the largest size, as a share of the smallest: 0 for a law that
        holds."""
        return self.value / self.smallest_value - 1


class Units(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All units of a machine; `units.json`."""

    schema: Literal[1] = 1
    machine: str
    """What it was measured on, in words."""
    created: str
    dim: Annotated[int, Meta(ge=2)]
    """The width at which everything was measured."""
    context: Annotated[int, Meta(ge=1)]
    command: str
    """What measured them."""
    units: list[Unit]

    def unit(self, name: UnitName) -> Unit:
        """The unit of that name.

        Raises:
            ConfigError: the file lacks it.
        """
        for unit in self.units:
            if unit.name == name:
                return unit
        raise ConfigError(f"the unit costs lack {name}. Measure them again with benchmarks/unit_costs.py.")


def read_units(path: Path | None = None) -> Units:
    """The units of a file; by default those that ship with the program.

    Raises:
        ConfigError: it is missing, or not a file of unit costs.
    """
    try:
        if path is None:
            raw = files("engine.plan").joinpath(UNITS_FILE).read_bytes()
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        return msgspec.json.decode(raw, type=Units)
    except OSError as error:
        raise ConfigError(
            f"{path or UNITS_FILE}: cannot be read ({error.strerror}). benchmarks/unit_costs.py makes one."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path or UNITS_FILE}: not a file of unit costs: {error}. benchmarks/unit_costs.py makes one."
        ) from None
