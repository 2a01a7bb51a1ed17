"""A run as a job of Slurm: the options that sbatch gets, the script that it gets, and the environment it sees.

This is the one place where something is written that a shell will read; every word of it goes through `shlex`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.run.launch import Launch, LauncherConfig
from engine.run.wrapper import GRACE_VARIABLE, IN_JOB

CARRIED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "XDG_CACHE_HOME")
"""Variables that every job has: who it is for, and where its programs and caches are."""
SUBMITS = ("SLURM_CONF",)
"""Variables that say which cluster is meant."""


def submit_options(settings: LauncherConfig, *, name: str, folder: Path, nproc: int = 1, nodes: int = 1) -> list[str]:
    """The options of sbatch for a job.

    Args:
        settings: the launcher's table.
        name: of the job.
        folder: of the run, where the job starts and where Slurm's own words go.
        nproc: ranks a node.
        nodes: of them.
    """
    chosen = {
        "--partition": settings.partition,
        "--account": settings.account,
        "--qos": settings.qos,
        "--gpus-per-node": settings.gpus * nproc or None,
        "--mem": settings.memory or None,
        "--time": settings.time or None,
    }
    return [
        f"--job-name={name}",
        f"--chdir={folder}",
        f"--output={str(folder).replace('%', '%%')}/slurm.log",
        "--open-mode=append",
        "--no-requeue",
        "--input=/dev/null",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={settings.cpus * nproc}",
        *(f"{option}={value}" for option, value in chosen.items() if value is not None),
        *settings.extra,
    ]


def job_script(launch: Launch, folder: Path, environment: Mapping[str, str]) -> str:
    """The script of a job: its environment, then the wrapper in the place of the shell, so that signals reach it.

    Args:
        launch: what the job is for.
        folder: of the run.
        environment: variables the job gets.
    """
    argv = [sys.executable, "-P", "-m", "engine.run.wrapper", IN_JOB, launch.nonce, str(folder)]
    return shell_script(argv, environment)


def shell_script(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """A script that sets an environment and becomes a command."""
    exported = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # what sbatch itself was given stays behind
    return "\n".join(["#!/bin/sh", "unset LC_ALL TZ", *exported, f"exec {shlex.join(argv)}", ""])


def carried(settings: LauncherConfig, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of an environment, what a job shall have: the usual few, and those that the table names."""
    known = os.environ if environment is None else environment
    names = dict.fromkeys([*CARRIED, GRACE_VARIABLE, *settings.pass_env])
    return {name: known[name] for name in names if name in known}


def submitting(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of an environment, what Slurm's commands shall see. SBATCH_PARTITION and its like would change what is asked."""
    known = os.environ if environment is None else environment
    return {name: known[name] for name in ("PATH", "HOME", "USER", "LOGNAME", *SUBMITS) if name in known} | {
        "LC_ALL": "C",
        "TZ": "UTC",
    }
