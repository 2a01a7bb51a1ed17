"""Starts a node's ranks with PyTorch's elastic launcher (that of torchrun), waits, and says how they ended.

No rank is ever started again: a training resumes from its checkpoint, and that is for whoever watches it to decide.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.run.convert import ConfigError
from engine.run.placement import Placement

LOST_EXIT = 75
"""A rank's exit code when others were lost or late: it is not the cause. EX_TEMPFAIL of sysexits.h."""
STORE_VARIABLE = "LVM_RANKS_STORE"
"""File in which the ranks of a single node meet."""
REPORTS = ".ranks"
"""Folder in the run's where ranks leave why they failed, while they run."""


class Failure(NamedTuple):
    """How a rank failed."""

    exit_code: int
    """Negative: by that signal."""
    message: str
    """What it said, its exception's name before it; empty for nothing."""
    at: float
    """Unix time in whole seconds."""


class RanksEnded(NamedTuple):
    """How a node's ranks ended."""

    code: int
    """0; else the root cause's own exit code, 128 + n for signal n, or 2 where it has none."""
    reason: str
    """The root cause in words; empty where there is nothing to say."""


def root_cause(failures: Mapping[int, Failure]) -> RanksEnded:
    """Which of the failed ranks took the others along.

    A rank that others report as late is the cause, however it was ended since. Else the first one that failed, leaving
    aside those that say they only lost another, and those that were told to end because of it.
    """
    for failure in failures.values():
        name, _, message = failure.message.partition(": ")
        if name == "LateRankError":
            return RanksEnded(2, f"{message}.")

    def order(rank: int) -> tuple[bool, bool, float, int]:
        failure = failures[rank]
        return failure.exit_code == LOST_EXIT, failure.exit_code == -signal.SIGTERM, failure.at, rank

    rank = min(failures, key=order)
    failure = failures[rank]
    if failure.exit_code < 0:
        killed = signal.Signals(-failure.exit_code).name
        return RanksEnded(128 - failure.exit_code, f"rank {rank} was killed by {killed}.")
    said = failure.message.removeprefix("ConfigError: ").removeprefix("LostRankError: ")
    code = 2 if failure.exit_code == LOST_EXIT else failure.exit_code
    return RanksEnded(
        code, f"rank {rank}: {said}" if said else f"rank {rank} ended with exit code {failure.exit_code}."
    )


def launch_ranks(arguments: Sequence[str], placement: Placement, run_dir: Path) -> RanksEnded:
    """Start the ranks of this node, wait for them all, and say how they ended.

    TERM and INT stay with the caller's handlers, which ask the ranks to stop; QUIT ends them at once.

    Args:
        arguments: of Python, for each rank.
        placement: of the ranks.
        run_dir: of the run.

    Raises:
        ConfigError: the nodes did not meet.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    is_alone = placement.nodes == 1
    reports = run_dir / f"{REPORTS}-{placement.node}"
    shutil.rmtree(reports, ignore_errors=True)
    if is_alone:
        reports.mkdir(mode=0o700)
        _stay_on_this_machine(reports)
    config = LaunchConfig(
        min_nodes=placement.nodes,
        max_nodes=placement.nodes,
        nproc_per_node=placement.nproc,
        run_id=placement.name,
        rdzv_backend="c10d" if is_alone else "static",
        rdzv_endpoint=str(reports / "launcher") if is_alone else placement.meeting,
        rdzv_configs={"store_type": "file"} if is_alone else {"rank": placement.node},
        local_addr="127.0.0.1" if is_alone else None,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(reports)),
        signals_to_handle="SIGQUIT",
    )
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        return root_cause(
            {
                rank: Failure(failure.exitcode, _message(failure.error_file_data), failure.timestamp)
                for rank, failure in error.failures.items()
            }
        )
    except SignalException as error:
        return RanksEnded(128 + error.sigval, f"ended by {error.sigval.name}.")
    except RendezvousError as error:
        raise ConfigError(
            f"{placement.meeting}: the {placement.nodes} nodes of the run did not meet: {error}"
        ) from None
    finally:
        shutil.rmtree(reports, ignore_errors=True)
    return RanksEnded(0, "")


def _message(report: Mapping[str, object]) -> str:
    """What a failed rank left as its reason."""
    message = report.get("message")
    if isinstance(message, Mapping):
        return str(message.get("message", ""))
    return ""


def _stay_on_this_machine(folder: Path) -> None:
    """Ranks of one node need no network, and nobody else should be able to talk to them.

    PyTorch's stores listen on every interface and know no password, and the launcher unpickles what is in its own: it
    and the ranks meet in files of this user instead. What the ranks exchange goes over loopback.
    """
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ[STORE_VARIABLE] = str(folder / "store")
    name = "lo0" if sys.platform == "darwin" else "lo"
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", name)
