"""Ranks: whatever their number, a step is that of one process, and every window is computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.training.ranks import OneProcess
from tests.reference.rank_steps import AVERAGED, CASES, computed_by, take_steps

TOLERANCE = 1e-5
"""|difference| / |what one process has|, of a tensor or a number."""
SMALL = 1e-2
"""A gradient smaller than this share of all of them is what larger ones leave of each other, and held to that share."""

Found = list[dict[str, dict[str, Any]]]
"""What each rank computed, by case."""


class OneOf(OneProcess):
    """A rank that is asked for its part alone."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(torch.device("cpu"))
        self.rank, self.count = rank, count


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, Any]]:
    """What one process computes, by case."""
    return {case: take_steps(case, folder, OneProcess(torch.device("cpu"))) for case in CASES}


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def ranks(request: pytest.FixtureRequest, folder: Path, alone: dict[str, dict[str, Any]]) -> Found:
    """What each of two ranks, and of three, computes of the same windows."""
    return computed_by(request.param, folder)


def errors(left: dict[str, Any], right: dict[str, Any]) -> dict[str, float]:
    """The largest relative error of each kind of result."""
    found = {}
    for what in ("weights", "predictions"):
        found[what] = max(error(*pair) for pair in zip(left[what], right[what], strict=True))
    steps = zip(left["figures"], right["figures"], strict=True)
    found["figures"] = max(error(step[name], other[name]) for step, other in steps for name in step)
    found["gradients"] = 0.0
    for step, other in zip(left["gradients"], right["gradients"], strict=True):
        whole = torch.cat([gradient.flatten() for gradient in step]).norm()
        for pair in zip(step, other, strict=True):
            found["gradients"] = max(found["gradients"], error(*pair, at_least=SMALL * float(whole)))
    return found


def error(left: Any, right: Any, at_least: float = 1e-9) -> float:
    """|left - right| / |left|, or over `at_least` where that is larger."""
    one, other = (torch.as_tensor(value, dtype=torch.float64) for value in (left, right))
    assert one.shape == other.shape
    return float((one - other).norm()) / max(float(one.norm()), at_least)


@pytest.mark.parametrize("case", CASES)
def test_ranks_take_the_steps_of_one_process(alone: dict[str, dict[str, Any]], ranks: Found, case: str) -> None:
    assert len(alone[case]["gradients"]) == len(alone[case]["figures"]) > 1
    for found in ranks:
        assert max(errors(alone[case], found[case]).values()) <= TOLERANCE, errors(alone[case], found[case])


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("queue")])
def test_the_queue_holds_the_same_in_the_same_order_on_every_rank(
    alone: dict[str, dict[str, Any]], ranks: Found, case: str
) -> None:
    held = alone[case]["queue"]
    for found in ranks:
        queue = found[case]["queue"]
        assert queue["windows"].tolist() == held["windows"].tolist()
        assert queue["position"] == held["position"]
        assert error(held["vectors"], queue["vectors"]) <= TOLERANCE


def test_shares_of_the_loss_that_are_averaged_are_noticed(alone: dict[str, dict[str, Any]], ranks: Found) -> None:
    found = errors(alone["accumulated"], ranks[0][AVERAGED])
    assert found["figures"] > 0.1, "the gradient's norm, before it is clipped"


@pytest.mark.parametrize("case", CASES)
def test_every_window_is_computed_by_one_rank(alone: dict[str, dict[str, Any]], ranks: Found, case: str) -> None:
    shares = zip(*(found[case]["computed"] for found in ranks), strict=True)
    assert [[window for own in share for window in own] for share in shares] == alone[case]["computed"]


def test_weights_are_the_same_bits_on_every_rank(ranks: Found) -> None:
    first, *others = ranks
    for case in CASES:
        for other in others:
            pairs = zip(first[case]["weights"], other[case]["weights"], strict=True)
            assert all(torch.equal(one, another) for one, another in pairs)


@given(size=st.integers(0, 400), count=st.integers(1, 17))
def test_parts_are_disjoint_complete_in_order_and_even(size: int, count: int) -> None:
    windows = np.arange(size)
    parts = [windows[OneOf(rank, count).part(size)] for rank in range(count)]
    assert np.array_equal(np.concatenate(parts), windows)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert [OneOf(0, count).part(size, rank) for rank in range(count)] == [
        OneOf(rank, count).part(size) for rank in range(count)
    ]
