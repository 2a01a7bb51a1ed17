"""Fixtures of the control tests."""

from __future__ import annotations

import pytest
from person import Person

from engine.run.runs_file import RunsFile


@pytest.fixture
def room(runs_file: RunsFile, fake_engine: list[str]) -> Person:
    """Acts on an empty runs folder."""
    return Person(runs_file, fake_engine)
