"""How a person looks at the runs: which are listed, which are marked, against which they are held. No file knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui.control.run_filter import EVERY_RUN, RunFilter
from tui.control.views import RunView

Pair = tuple[RunView | None, RunView | None]


@dataclass(frozen=True, slots=True)
class Listing:
    """A look at the runs. Replaced, never changed."""

    wanted: RunFilter = EVERY_RUN
    marked: tuple[str, ...] = ()
    """Ids of the runs to compare, in the order of marking."""
    reference: str = ""
    """Id of the run that others are held against; empty for the first that was marked."""
    follows: bool = False
    """Whether the newest run is kept selected."""
    all_settings: bool = False
    """Whether a comparison lists the settings that its runs share, too."""

    def rows(self, views: Sequence[RunView], selected_id: str) -> list[RunView]:
        """The runs to list, newest first.

        The selected one is always among them, wanted or not: keys act on it, so nobody must lose sight of it.
        """
        return [view for view in reversed(views) if view.id == selected_id or self.wanted.finds(view)]

    def neighbour(self, views: Sequence[RunView], selected_id: str, step: int) -> str:
        """The id of the run `step` rows below the selected one, round the ends; empty where there is no run."""
        ids = [view.id for view in self.rows(views, selected_id)]
        if not ids:
            return ""
        return ids[(ids.index(selected_id) + step) % len(ids)] if selected_id in ids else ids[0]

    def followed(self, views: Sequence[RunView], selected_id: str) -> str:
        """The id to select now: the newest wanted run's where that is followed, else the one that is selected."""
        newest = self.newest(views)
        return newest.id if self.follows and newest is not None else selected_id

    def newest(self, views: Sequence[RunView]) -> RunView | None:
        """The newest run that is wanted."""
        return next((view for view in reversed(views) if self.wanted.finds(view)), None)

    def chosen_by_hand(self, views: Sequence[RunView], run_id: str) -> Listing:
        """A person went to a run: one who leaves the newest no longer follows it."""
        newest = self.newest(views)
        return self if newest is None or newest.id == run_id or not self.follows else replace(self, follows=False)

    def with_mark(self, run_id: str) -> Listing:
        """Mark a run, or take its mark away."""
        marked = tuple(known for known in self.marked if known != run_id)
        return replace(self, marked=marked if run_id in self.marked else (*marked, run_id))

    def with_reference(self, run_id: str) -> Listing:
        """Hold others against this run, or no longer."""
        return replace(self, reference="" if self.reference == run_id else run_id)

    def is_of_pair(self, views: Sequence[RunView], selected_id: str) -> bool:
        """Whether the default pair stands side by side, because too little is marked for anything else."""
        return len(self._chosen(views, selected_id)) < 2

    def side_by_side(self, pair: Pair, views: Sequence[RunView], selected_id: str) -> list[RunView]:
        """The marked runs, else the selected one, with the reference last.

        Where these are fewer than two, what there is of the default pair: a model and its baseline, the reference.
        """
        chosen = self._chosen(views, selected_id)
        return chosen if len(chosen) > 1 else [view for view in pair if view is not None]

    def _chosen(self, views: Sequence[RunView], selected_id: str) -> list[RunView]:
        if not self.marked and not self.reference:
            return []  # asked at every look, of thousands of runs
        known = {view.id: view for view in views}
        marked = [run_id for run_id in self.marked if run_id in known]
        reference = self.reference if self.reference in known else ""
        if not marked and reference:
            marked = [selected_id]
        reference = reference or next(iter(marked), "")
        others = [run_id for run_id in marked if run_id != reference and run_id in known]
        return [known[run_id] for run_id in (*others, reference)] if reference else []
