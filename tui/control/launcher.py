"""Starting, resuming, stopping and killing engines: the only place of the room that touches a process.

Every engine and every evaluation runs below the wrapper, in a session of its own, with its output in a file: nothing
that happens to this process or its terminal reaches it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, is_locked, list_runs
from engine.run.files import write_atomically
from engine.run.process import send
from engine.run.runs_file import RunsFile, absolute_evaluation, corpus_folder, npz_path
from engine.run.settings import DataConfig, Patch, RunConfig
from engine.run.spec import RunSpec


class LaunchError(ConfigError):
    """An engine could not be started, stopped or resumed."""


def create_run(
    file: RunsFile,
    runs_dir: Path,
    name: str,
    config: RunConfig,
    *,
    parent: str | None = None,
    patch: Patch | None = None,
    fix: str | None = None,
    preflight_override: str = "",
    train: Sequence[str] = (),
) -> RunDirectory:
    """Freeze a spec into a new run folder; nothing runs yet. Call it under the launch lock.

    `train` is a command to use instead of `lvm-engine train`, with the same arguments.
    """

    def where(run_id: str) -> list[str]:
        return ["--run-dir", str(runs_dir / run_id)]

    def spec_for(run_id: str) -> RunSpec:
        return RunSpec(
            id=run_id,
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            data=_absolute_data(file),
            gates=file.gate,
            check=file.check,
            evals={key: absolute_evaluation(value, Path(file.path).parent) for key, value in file.eval.items()},
            parent=parent,
            patch=patch or {},
            fix=fix,
            preflight_override=preflight_override,
            argv=[*train, *where(run_id)] if train else engine_argv("train", *where(run_id)),
            resume_argv=["--resume"],
            env=engine_env(config.threads or threads_each(runs_dir, len(file.room.compare))),
            revision=_revision(),
        )

    return RunDirectory.create(runs_dir, name, spec_for)


def start(folder: Path) -> None:
    """Start, or resume, what `spec.json` in this folder says, below a wrapper; returns once it runs.

    Raises:
        LaunchError: somebody else runs it, or its command cannot be executed.
    """
    command = [sys.executable, "-P", "-m", "engine.run.wrapper", str(folder)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{folder.name} could not be started: {error}") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise LaunchError(f"{folder.name} could not be started: {reason[-1] if reason else 'the wrapper died'}")


def start_evaluation(run: RunDirectory, name: str, argv: list[str], env: Mapping[str, str]) -> RunDirectory:
    """Start an evaluation below a wrapper of its own, in `evals/<name>.job`.

    Raises:
        LaunchError: one of this name is running, or it cannot be started.
    """
    run.evals.mkdir(mode=0o700, exist_ok=True)
    job = RunDirectory(run.evals / f"{name}.job")
    job.path.mkdir(mode=0o700, exist_ok=True)
    if is_locked(job.lock_file):
        raise LaunchError(f"evaluation {name} of {run.id} is running already")
    spec = {"argv": argv, "resume_argv": [], "env": dict(env)}
    write_atomically(job.spec_file, msgspec.json.encode(spec))
    start(job.path)
    for watched in (run.evals, run.path):  # whose times the watchers of an ended run look at
        os.utime(watched)
    return job


def request_stop(run: RunDirectory) -> None:
    """Ask the engine to finish its step, save a checkpoint and end."""
    run.stop_file.touch(mode=0o600)


def kill(run: RunDirectory) -> None:
    """End a run now. The wrapper escalates from TERM to KILL; without a wrapper the engine is signalled itself.

    Raises:
        LaunchError: nothing of it is alive.
    """
    life = run.read_life()
    if life.processes is None or not life.lock_held:
        raise LaunchError(f"{run.id} is not running")
    if not (send(life.processes.wrapper, signal.SIGTERM) or send(life.processes.engine, signal.SIGKILL)):
        raise LaunchError(f"{run.id}: neither its wrapper nor its engine is alive, yet its lock is held")


def wait_until_ended(run: RunDirectory, timeout_s: float) -> bool:
    """Wait for the lock to be free; True if it is."""
    deadline = time.monotonic() + timeout_s
    while is_locked(run.lock_file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def engine_argv(verb: str, *arguments: str) -> list[str]:
    """The engine's command line, as a list."""
    return [sys.executable, "-P", "-m", "engine", verb, *arguments]


def engine_env(threads: int) -> dict[str, str]:
    """Environment that must be set before torch is imported.

    Spinning threads of two trainings on two cores made an epoch ten times slower; passive ones do not.
    """
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def threads_each(runs_dir: Path, expected: int) -> int:
    """CPU threads for one more run: the cores, shared by those alive and by as many as the room means to run."""
    alive = sum(is_locked(run.lock_file) for run in list_runs(runs_dir))
    return max(1, (os.cpu_count() or 1) // max(expected, alive + 1))


def _absolute_data(file: RunsFile) -> DataConfig:
    """The data settings with paths that hold wherever the engine is started."""
    base = Path(file.path).parent
    train, unseen = npz_path(file.data, "train_npz", base), npz_path(file.data, "eval_npz", base)
    data = msgspec.structs.replace(file.data, train_npz=str(train or ""), eval_npz=str(unseen or ""))
    if train or data.corpus.startswith("embedded:"):
        return data
    return msgspec.structs.replace(data, corpus=str(corpus_folder(data, base)))


def _revision() -> str:
    try:
        return version("lvm-tui")
    except PackageNotFoundError:
        return "unknown"
