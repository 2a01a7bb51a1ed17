"""Where the ranks of a training are: how many on how many nodes, which node this is, and where they meet.

Nothing but the run's settings and, on several nodes, what Slurm says in the environment of its job steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from engine.run.convert import ConfigError
from engine.run.settings import RunConfig

FIRST_PORT, NUM_PORTS = 20_000, 12_000
"""Nodes of a job meet at a port of its number within these: below those that systems give out by themselves."""


class Placement(NamedTuple):
    """The ranks of a training, as one node sees them."""

    nproc: int
    """Ranks on each node."""
    nodes: int
    node: int
    """Which one this is, from 0; the first one records."""
    meeting: str
    """`host:port` of the first node; empty on a single node, whose ranks meet in a file."""
    name: str
    """What tells this training from others that meet at the same place."""

    @property
    def num_ranks(self) -> int:
        """Over all nodes."""
        return self.nproc * self.nodes


def place_ranks(config: RunConfig, run_id: str, environment: Mapping[str, str]) -> Placement:
    """Where a run's ranks are.

    Args:
        config: its `nproc` and `nodes`.
        run_id: of the run.
        environment: of this process; asked where there are several nodes.

    Raises:
        ConfigError: several nodes, and this is no job step of Slurm on as many.
    """
    if config.nodes == 1:
        return Placement(config.nproc, 1, 0, "", run_id)
    try:
        job, node = environment["SLURM_JOB_ID"], int(environment["SLURM_NODEID"])
        count, names = int(environment["SLURM_NNODES"]), environment["SLURM_JOB_NODELIST"]
        port = FIRST_PORT + int(job) % NUM_PORTS
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"nodes = {config.nodes}: several nodes need a job step of Slurm on each, and {error.args[0]} is not in "
            f"the environment. Start it with `srun --nodes={config.nodes} --ntasks-per-node=1`, or set nodes = 1."
        ) from None
    if count != config.nodes:
        raise ConfigError(f"nodes = {config.nodes}: this job step is on {count} (SLURM_NNODES). Ask Slurm for as many.")
    return Placement(config.nproc, config.nodes, node, f"{first_host(names)}:{port}", f"{run_id}-{job}")


def first_host(names: str) -> str:
    """The first of a list of hosts as Slurm writes them: `gpu[003-010,12],login` begins with `gpu003`."""
    match = re.match(r"([^\[,]+)(?:\[([0-9]+)[^\]]*\])?", names)
    if match is None:
        raise ConfigError(f'SLURM_JOB_NODELIST: no host can be read of "{names}".')
    return match[1] + (match[2] or "")
