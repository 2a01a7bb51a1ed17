"""News: what happens in a runs folder, told once, to the runs and by autopilots, whichever process does it."""

from __future__ import annotations

from collections.abc import Iterator

from tui.control.alerts import alerts_since, look, of_decision
from tui.control.journal import Decision, Journal
from tui.control.noticed import UNSEEN, Alert, Seen
from tui.control.watcher import Watcher


class News:
    """Compares each look at a folder with the one before; what it finds at first is no news.

    Args:
        watcher: of its runs.
        journal: of its decisions.
    """

    def __init__(self, watcher: Watcher, journal: Journal) -> None:
        self._watcher = watcher
        self._journal = journal
        self._seen: dict[str, Seen] = {}
        self._versions: dict[str, int] = {}
        """Of the views that were noticed."""
        self._at_first: frozenset[str] | None = None
        """Runs that the first look found. One that is made later may have ended before it is looked at."""
        self.ticks = 0
        """How often a look has found anything new."""
        self._entries = 0
        self._mark: tuple[int, int] | None = None
        self._records: list[Decision] = []
        self._told: frozenset[tuple[str, str]] | None = None

    def poll(self) -> bool:
        """Look at the disk; True if anything has changed, the journal included."""
        changed = self._watcher.poll()
        mark = self._journal.mark()
        if mark != self._mark:
            self._mark, self._records, changed = mark, self._journal.read(), True
            self._entries += 1
        self.ticks += changed
        return changed

    @property
    def turns(self) -> int:
        """How often anything has happened but that steps were logged."""
        return self._watcher.turns + self._entries

    def alerts(self) -> Iterator[Alert]:
        """What has happened by the last look, and was not told."""
        if self._at_first is None:
            self._at_first = frozenset(self._watcher.views)
        for run_id, view in self._watcher.views.items():
            if not view.catching_up and self._versions.get(run_id) != view.version:
                before = self._seen.get(run_id, None if run_id in self._at_first else UNSEEN)
                yield from alerts_since(before, view)
                self._seen[run_id], self._versions[run_id] = look(view), view.version
        fresh = [entry for entry in self._records if self._told is not None and _key(entry) not in self._told]
        self._told = frozenset(map(_key, self._records))
        yield from filter(None, map(of_decision, fresh))


def _key(entry: Decision) -> tuple[str, str]:
    return entry.id, entry.phase
