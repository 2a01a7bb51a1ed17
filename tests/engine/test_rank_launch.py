"""Which failed rank took the others along, and what is said of it."""

from __future__ import annotations

import itertools

import pytest

from engine.training.rank_launch import LOST_EXIT, Failure, RanksEnded, root_cause

LOST = Failure(LOST_EXIT, "LostRankError: rank 1 went away before the next step", 100)
TOLD_TO_END = Failure(-15, "", 100)
LATE = "LateRankError: rank 2 did not come to the next step within 3 s (rank_timeout_s): hung"


@pytest.mark.parametrize(
    ("failures", "ended"),
    [
        ({1: Failure(-9, "", 100)}, RanksEnded(137, "rank 1 was killed by SIGKILL.")),
        # its neighbours fail in the same second, and one is killed half a minute later because it does not end
        ({0: LOST, 1: Failure(-11, "", 100), 2: TOLD_TO_END}, RanksEnded(139, "rank 1 was killed by SIGSEGV.")),
        (
            {0: LOST, 1: Failure(-11, "", 100), 2: Failure(-9, "", 130)},
            RanksEnded(139, "rank 1 was killed by SIGSEGV."),
        ),
        ({0: LOST, 1: Failure(2, "ConfigError: disk: full.", 101)}, RanksEnded(2, "rank 1: disk: full.")),
        ({0: LOST, 1: Failure(2, "MemoryError: ", 101)}, RanksEnded(2, "rank 1: MemoryError: ")),
        ({0: Failure(1, "", 100), 1: Failure(1, "", 100)}, RanksEnded(1, "rank 0 ended with exit code 1.")),
        # what hangs is killed in the end, and was the cause all along
        ({1: Failure(LOST_EXIT, LATE, 100), 2: Failure(-9, "", 130)}, RanksEnded(2, f"{LATE.partition(': ')[2]}.")),
        ({0: LOST}, RanksEnded(2, "rank 0: rank 1 went away before the next step")),
        ({3: TOLD_TO_END}, RanksEnded(143, "rank 3 was killed by SIGTERM.")),
    ],
)
def test_the_root_cause_is_found_in_whatever_order_ranks_are_told(
    failures: dict[int, Failure], ended: RanksEnded
) -> None:
    for order in itertools.permutations(failures):
        assert root_cause({rank: failures[rank] for rank in order}) == ended
