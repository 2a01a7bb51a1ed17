"""Programs in the place of Slurm's: a line of shell each, first on PATH, and what they were asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class FakeSlurm:
    """sbatch, squeue and scancel, each of which says what it was told to say."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "slurm"
        self._calls = folder / "calls"
        self._folder.mkdir()
        monkeypatch.setenv("PATH", f"{self._folder}:{os.environ['PATH']}")
        for name in ("sbatch", "squeue", "scancel"):
            self(name, "exit 0")

    def __call__(self, name: str, script: str) -> None:
        """Make a program out of shell."""
        path = self._folder / name
        new = path.with_suffix(".new")  # one that is being run stays as it is
        new.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._calls}\n{script}\n')
        new.chmod(0o755)
        new.replace(path)

    def calls(self, name: str) -> list[str]:
        """What a program was asked, each time."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line for line in lines if line.startswith(f"{name} ")]

    def says(
        self, name: str, job: str, state: str = "PENDING", reason: str = "(Resources)", starts: str = "N/A"
    ) -> None:
        """squeue tells of one job from now on."""
        self("squeue", f"echo '{job}|{name}|{state}|77|{starts}|N/A||{reason}'")
