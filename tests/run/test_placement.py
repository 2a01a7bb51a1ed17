"""Where ranks are: on this node alone, or where a job step of Slurm says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.run.convert import ConfigError
from engine.run.placement import FIRST_PORT, NUM_PORTS, first_host, place_ranks
from engine.run.settings import RunConfig

STEP = {"SLURM_JOB_ID": "4711", "SLURM_NODEID": "1", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "gpu[07-08]"}


def test_one_node_needs_nobody_and_meets_on_loopback() -> None:
    placement = place_ranks(RunConfig(nproc=4), "small-0001", {})
    assert (placement.num_ranks, placement.node, placement.meeting) == (4, 0, "")


def test_several_nodes_meet_at_the_first_of_the_job() -> None:
    first, second = (
        place_ranks(RunConfig(nproc=2, nodes=2), "small-0001", STEP | {"SLURM_NODEID": node}) for node in "01"
    )
    assert second.num_ranks == 4
    assert second.meeting == "gpu07:24711"
    assert (first.node, second.node) == (0, 1)
    assert first._replace(node=1) == second


@pytest.mark.parametrize("missing", STEP)
def test_several_nodes_without_slurm_are_told_how_to_get_them(missing: str) -> None:
    environment = {name: value for name, value in STEP.items() if name != missing}
    with pytest.raises(ConfigError, match=rf"{missing} is not in the environment.*srun --nodes=2"):
        place_ranks(RunConfig(nodes=2), "small-0001", environment)


def test_an_allocation_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nodes = 4: this job step is on 2 \(SLURM_NNODES\)"):
        place_ranks(RunConfig(nodes=4), "small-0001", STEP)


@given(job=st.integers(1, 2**31))
def test_the_port_of_a_job_is_below_those_that_systems_give_out(job: int) -> None:
    meeting = place_ranks(RunConfig(nodes=2), "small-0001", STEP | {"SLURM_JOB_ID": str(job)}).meeting
    assert FIRST_PORT <= int(meeting.partition(":")[2]) < FIRST_PORT + NUM_PORTS <= 32_768


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[003-010,12],login", "gpu003"),
        ("a,b", "a"),
        ("rack1-[2,5-7]", "rack1-2"),
        ("node[1]", "node1"),
    ],
)
def test_the_first_host_is_read_as_slurm_writes_it(names: str, first: str) -> None:
    assert first_host(names) == first


def test_a_list_without_a_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="no host"):
        first_host("")
