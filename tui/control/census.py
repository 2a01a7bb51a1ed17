"""The census: which runs a folder has, and whose turn it is to be looked at: of thousands, not all at once."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from engine.run.directory import run_names
from tui.control.marks import NO_MARK, Mark, is_old, mark_of

COUNTED_EVERY = 10
"""Passes after which a folder is listed whatever its mark says: what is copied into it may be a run only later."""


class Census:
    """Lists a folder when it may have other runs than before. Making and removing one changes the folder's own mark."""

    def __init__(self, runs_dir: Path) -> None:
        """Nothing is listed yet."""
        self._runs_dir = runs_dir
        self._mark: Mark = NO_MARK
        self._names: frozenset[str] = frozenset()
        self._passes = 0

    def take(self, trusted: Container[str], *, is_doubtful: bool) -> frozenset[str]:
        """The ids of the runs now; to be called once a pass.

        Args:
            trusted: ids of folders that were found to be runs and have not changed since.
            is_doubtful: whether a run's folder was found changed, or is one that could not be read.
        """
        self._passes += 1
        mark = mark_of(str(self._runs_dir))
        is_same = mark == self._mark != NO_MARK and is_old(mark)
        if is_doubtful or not is_same or self._passes % COUNTED_EVERY == 0:
            self._mark, self._names = mark, frozenset(run_names(self._runs_dir, trusted))
        return self._names

    def in_turn(self, run_ids: Sequence[str], count: int) -> Sequence[str]:
        """Those whose turn it is in this pass; all of them where they are no more than `count`."""
        rounds = max(1, -(-len(run_ids) // count))
        return run_ids[self._passes % rounds :: rounds]
