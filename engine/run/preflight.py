"""The preflight's report: what the data are like before anything is trained on them; `preflight.json` of a run.

An item that must pass and does not blocks a training, unless a written reason overrides it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.events import Verdict
from engine.run.files import read_regular

MAX_REPORT = 4 << 20

Level = Literal["must", "should", "info"]
"""`must` blocks a training unless it passed, `should` warns, `info` has no bar."""
Group = Literal["leak", "provenance", "vectors", "floors", "direction", "gate"]


class PreflightItem(Struct, frozen=True, kw_only=True):
    """One thing looked at."""

    name: str
    """In snake_case, unique in a report: `near_duplicates`."""
    group: Group
    level: Level
    verdict: Verdict
    """`passed` for an item of level `info`, which only informs."""
    value: float | None
    """The number behind the verdict; None where there is none."""
    bar: float | None
    detail: str
    """Number, bar and what they mean, in words; how to mend it where it did not pass."""


class PreflightReport(Struct, frozen=True, kw_only=True):
    """A whole preflight. Written once, atomically."""

    schema: Literal[1] = 1
    created: str
    """UTC, ISO 8601."""
    argv: list[str]
    """The command that made it."""
    data: str
    """The corpus or file that was looked at."""
    data_sha256: str
    seconds: float
    items: list[PreflightItem]
    floors: dict[str, float] = field(default_factory=dict)
    """Mean cosine on the validation windows by floor: copy_last, context_mean, ridge."""
    lag_curve: list[float | None] = field(default_factory=list)
    """Mean cosine between chunks of an article that stand 1, 2, ... apart; None where no article is so long."""
    override: str = ""
    """Why it may be trained on all the same; empty for no reason given."""

    @property
    def blocking(self) -> list[PreflightItem]:
        """Items that must pass and did not."""
        return [item for item in self.items if item.level == "must" and item.verdict != "passed"]

    @property
    def warnings(self) -> list[PreflightItem]:
        """Items that should pass and did not."""
        return [item for item in self.items if item.level == "should" and item.verdict != "passed"]


def read_preflight(path: Path) -> PreflightReport:
    """Read a preflight's report.

    Raises:
        ConfigError: it is missing, damaged or of another schema.
    """
    try:
        return msgspec.json.decode(read_regular(path, MAX_REPORT), type=PreflightReport)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a preflight report: {error}. Run the preflight again.") from None
