"""Where a line of the engine's log (engine/training/recorder.py) stands in the course of its run. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

MOST_LINES = 2000
"""Looked at above a line that names no place: a step is logged every second or so, a traceback is shorter."""
_STEP = re.compile(r"\bepoch (\d{1,9})/\d{1,9} step (\d{1,15})\b")
_JUDGED = re.compile(r"\[(?:GATE|CHECK)\] \w+@(\d{1,9})\b")


class Place(NamedTuple):
    """A moment of a training."""

    epoch: int
    """1-based."""
    step: int | None
    """Optimizer step; None where only the epoch is named."""


def place_of(text: str) -> Place | None:
    """The moment that a line is about; None where it names none."""
    if found := _STEP.search(text):
        return Place(int(found[1]), int(found[2]))
    if found := _JUDGED.search(text):
        return Place(int(found[1]), None)
    return None


def place_before(number: int, text_at: Callable[[int], str]) -> Place | None:
    """The moment of a line, or of the nearest line above it that names one; None where none does.

    Args:
        number: of the line.
        text_at: the text of a line.
    """
    for above in range(number, max(-1, number - MOST_LINES), -1):
        place = place_of(text_at(above))
        if place is not None:
            return place
    return None


def marks_epoch(epoch: int) -> str:
    """What every line about a step of an epoch holds."""
    return f"epoch {epoch}/"
