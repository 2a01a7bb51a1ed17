"""Starting, resuming, stopping and killing engines: the only place of the room that touches a process.

What is started, and how, stands in a folder's `spec.json`; which launcher carries it out, there as well. The rest of
the room knows of launchers no more than that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import MAX_JSON, RunDirectory, is_locked, list_runs
from engine.run.files import read_regular, write_atomically
from engine.run.launch import LauncherConfig
from engine.run.runs_file import RunsFile, absolute_evaluation, corpus_folder, npz_path
from engine.run.settings import DataConfig, Patch, RunConfig
from engine.run.spec import RunSpec
from tui.control.launching.local import LocalLauncher
from tui.control.launching.protocol import Launcher, LaunchError
from tui.control.launching.slurm import SlurmLauncher

__all__ = ["LaunchError", "Launcher"]


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

    Raises:
        ConfigError: its launcher is none, or cannot see the folder.
    """
    launch = launcher_settings(file, runs_dir, config.launcher)
    threads = config.threads or (launch.cpus if launch else threads_each(runs_dir, len(file.room.compare)))

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
            env=engine_env(threads),
            launch=launch,
            revision=_revision(),
        )

    return RunDirectory.create(runs_dir, name, spec_for)


def launcher_settings(file: RunsFile, runs_dir: Path, name: str) -> LauncherConfig | None:
    """The settings of a launcher by its name; None for this machine.

    Raises:
        ConfigError: there is none of that name, or its nodes do not see the folder of the runs.
    """
    settings = file.launcher_named(name)
    if settings is not None and settings.root and not runs_dir.is_relative_to(settings.root):
        raise ConfigError(
            f"{file.path}, [launcher.{name}] root: {runs_dir} is not below {settings.root}, so that its nodes would "
            "not see the runs. Set [room] runs_dir to a folder below it, or leave root out."
        )
    return settings


def launcher_of(folder: Path) -> Launcher:
    """What carries out the `spec.json` of this folder: a scheduler where it names one, else this machine."""
    try:
        launch = msgspec.json.decode(read_regular(folder / "spec.json", MAX_JSON), type=_Named).launch
    except (OSError, msgspec.DecodeError, ValueError, RecursionError):
        launch = None  # whoever starts it says what is wrong with the file
    return LocalLauncher() if launch is None else SlurmLauncher()


class _Named(msgspec.Struct):
    launch: LauncherConfig | None = None


def start(folder: Path) -> None:
    """Start, or resume, what `spec.json` in this folder says; returns once it runs, or waits with a scheduler.

    Raises:
        LaunchError: somebody else runs it, or its command cannot be executed.
    """
    launcher_of(folder).submit(folder)


def start_evaluation(
    run: RunDirectory,
    name: str,
    argv: list[str],
    env: Mapping[str, str],
    *,
    launcher: str = "local",
    launch: LauncherConfig | None = None,
) -> RunDirectory:
    """Start an evaluation below a wrapper of its own, in `evals/<name>.job`.

    Args:
        run: that is evaluated.
        name: of the job.
        argv: the command.
        env: what is set for it.
        launcher: name of what starts it.
        launch: the settings of that; None for this machine.

    Raises:
        LaunchError: one of this name is running, or it cannot be started.
    """
    run.evals.mkdir(mode=0o700, exist_ok=True)
    job = RunDirectory(run.evals / f"{name}.job")
    job.path.mkdir(mode=0o700, exist_ok=True)
    if is_busy(job):
        raise LaunchError(f"evaluation {name} of {run.id} is running already")
    spec: dict[str, object] = {"argv": argv, "resume_argv": [], "env": dict(env)}
    if launch is not None:
        spec |= {"launch": launch, "config": {"launcher": launcher}}
    write_atomically(job.spec_file, msgspec.json.encode(spec))
    start(job.path)
    for watched in (run.evals, run.path):  # whose times the watchers of an ended run look at
        os.utime(watched)
    return job


def request_stop(run: RunDirectory) -> None:
    """Ask the engine to finish its step, save a checkpoint and end; call off a job that has not begun."""
    launcher_of(run.path).stop(run)


def kill(run: RunDirectory) -> None:
    """End a run now.

    Raises:
        LaunchError: nothing of it is alive, or it cannot be reached.
    """
    launcher_of(run.path).kill(run)


def is_busy(run: RunDirectory) -> bool:
    """Whether an engine is there, or may yet come. Where the folder cannot tell, its scheduler is asked.

    Raises:
        LaunchError: the scheduler does not answer.
    """
    life = run.read_life()
    if life.lock_held or not life.is_busy:
        return life.lock_held
    return SlurmLauncher().is_there(run, life)


def wait_until_ended(run: RunDirectory, timeout_s: float) -> bool:
    """Wait until nothing of it runs or waits, by what its folder says; True if that came."""
    deadline = time.monotonic() + timeout_s
    while run.read_life().is_busy:
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
