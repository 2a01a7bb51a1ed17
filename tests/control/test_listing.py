"""How a person looks at the runs."""

from __future__ import annotations

import pytest
from recorded import AMN_HISTORY, MAMBA_HISTORY, make_spec, make_view, run_events

from engine.run.state import Status
from tui.control.listing import Listing, Pair
from tui.control.run_filter import parse_filter
from tui.control.views import RunView


@pytest.fixture
def views() -> list[RunView]:
    """Three Mamba-S runs and, last, a baseline; all have ended."""
    specs = [make_spec("mamba_s", 1), make_spec("mamba_s", 2), make_spec("mamba_s", 3), make_spec("amn", 4)]
    values = [MAMBA_HISTORY, AMN_HISTORY, MAMBA_HISTORY, AMN_HISTORY]
    return [
        make_view(spec, run_events(spec, value), status=Status.FINISHED)
        for spec, value in zip(specs, values, strict=True)
    ]


def numbers(rows: list[RunView]) -> list[int]:
    return [int(view.id[-4:]) for view in rows]


def compared(listing: Listing, pair: Pair, views: list[RunView], selected: str) -> list[int]:
    return numbers(listing.side_by_side(pair, views, selected))


def test_the_newest_is_first_and_the_selected_one_is_never_out_of_sight(views: list[RunView]) -> None:
    passed = Listing(parse_filter("gate:passed"))
    assert numbers(passed.rows(views, "")) == [4, 2]
    assert numbers(passed.rows(views, "mamba_s-0003")) == [4, 3, 2]
    views[1].archived = True
    assert numbers(passed.rows(views, "")) == [4]
    assert numbers(passed.rows(views, "mamba_s-0002")) == [4, 2]


def test_neighbours_are_those_of_the_list(views: list[RunView]) -> None:
    passed = Listing(parse_filter("gate:passed"))
    assert passed.neighbour(views, "amn-0004", 1) == "mamba_s-0002"
    assert passed.neighbour(views, "mamba_s-0003", 1) == "mamba_s-0002"
    assert passed.neighbour(views, "mamba_s-0002", 1) == "amn-0004"
    assert passed.neighbour(views, "gone", 1) == "amn-0004"
    assert Listing().neighbour([], "", 1) == ""


def test_who_follows_has_the_newest_wanted_run_until_going_elsewhere_by_hand(views: list[RunView]) -> None:
    follower = Listing(parse_filter("model:mamba"), follows=True)
    assert follower.followed(views, "mamba_s-0001") == "mamba_s-0003"
    assert Listing().followed(views, "mamba_s-0001") == "mamba_s-0001"
    assert follower.chosen_by_hand(views, "mamba_s-0003").follows
    assert not follower.chosen_by_hand(views, "mamba_s-0001").follows
    assert Listing(follows=True).followed([], "") == ""


def test_a_mark_and_a_reference_are_taken_away_as_they_were_set() -> None:
    one = Listing().with_mark("a").with_mark("b").with_reference("b")
    assert (one.marked, one.reference) == (("a", "b"), "b")
    assert one.with_mark("a").marked == ("b",)
    assert one.with_reference("b").reference == ""
    assert one.with_reference("c").reference == "c"


def test_what_stands_side_by_side_is_what_was_marked_else_the_pair(views: list[RunView]) -> None:
    pair = (views[0], views[3])
    mark = Listing().with_mark("mamba_s-0002")
    assert compared(Listing(), pair, views, "mamba_s-0001") == [1, 4]
    assert compared(mark, pair, views, "mamba_s-0001") == [1, 4]
    assert mark.is_of_pair(views, "mamba_s-0001")
    two = mark.with_mark("mamba_s-0003")
    assert compared(two, pair, views, "mamba_s-0001") == [3, 2], "the first that was marked is the reference"
    assert compared(two.with_reference("mamba_s-0003"), pair, views, "mamba_s-0001") == [2, 3]
    assert compared(two.with_reference("amn-0004"), pair, views, "mamba_s-0001") == [2, 3, 4]


def test_a_reference_alone_has_the_selected_run_held_against_it(views: list[RunView]) -> None:
    pair, held = (views[0], views[3]), Listing().with_reference("mamba_s-0003")
    assert compared(held, pair, views, "mamba_s-0002") == [2, 3]
    assert held.is_of_pair(views, "mamba_s-0003")
    assert compared(held, pair, views, "mamba_s-0003") == [1, 4]


def test_marks_of_runs_that_are_gone_count_for_nothing(views: list[RunView]) -> None:
    gone = Listing().with_mark("gone-0009").with_mark("mamba_s-0002").with_reference("lost-0008")
    assert compared(gone, (views[0], views[3]), views, "mamba_s-0001") == [1, 4]
    assert compared(Listing(), (None, None), [], "") == []
