"""The launcher for clusters with Slurm, by its command line: sbatch, squeue, scancel.

Before sbatch is asked, `launch.json` names the job that is meant, by a name used once. Whatever happens then (a crash,
a lost answer, a controller that is killed) the job is found by that name, and of all jobs of that name one can begin.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.directory import MAX_JSON, Life, RunDirectory
from engine.run.files import read_regular
from engine.run.launch import JobSeen, Launch, LauncherConfig, write_launch
from engine.run.process import send
from engine.run.wrapper import GRACE_S, GRACE_VARIABLE
from tui.control.launching.protocol import Finding, LaunchError
from tui.control.launching.slurm_job import carried, job_script, submit_options
from tui.control.launching.slurm_queue import SilentError, call, list_jobs

ESCALATE_S = 5.0
"""Beyond the wrapper's own grace: what is not over then is cancelled, which ends in KILL after Slurm's KillWait."""
LOOKS_S = 0.1
Ended = Literal["cancelled", "refused", "given_up"]


class _Ranks(Struct):
    launcher: str = ""
    nproc: int = 1
    nodes: int = 1


class _Asked(Struct):
    """What of a `spec.json` concerns a scheduler."""

    launch: LauncherConfig
    config: _Ranks = field(default_factory=_Ranks)


class SlurmLauncher:
    """Starts engines as jobs of Slurm. What is started, and with which settings, stands in the folders themselves."""

    def __init__(self, name: str = "", settings: LauncherConfig | None = None, *, with_job: bool = True) -> None:
        self.name, self.settings = name, settings
        """The table to examine, for the doctor."""
        self.with_job = with_job

    def submit(self, folder: Path) -> None:
        """Hand it to sbatch, once: an earlier intent whose answer was lost is looked up by its name first.

        Raises:
            LaunchError: it was refused; or it is not known whether it was taken, and the next look will tell.
        """
        asked = _read_asked(folder)
        with _submitting(folder) as lock_fd:
            life = RunDirectory(folder).read_life()
            launch = self._known(folder, life)
            if launch is None:
                launch = _new_launch(folder, asked, life)
                write_launch(folder, launch)
            elif launch.job_id:
                write_launch(folder, launch)
                return
            self._sbatch(folder, asked, launch, lock_fd)

    def poll(self, launches: Iterable[Launch]) -> Mapping[str, JobSeen]:
        """What one squeue says of all of them."""
        names = [launch.nonce for launch in launches]
        try:
            found = list_jobs(names)
        except SilentError as error:
            return {name: JobSeen(problem=str(error)) for name in names}
        return {name: found.get(name, JobSeen()) for name in names}

    def stop(self, run: RunDirectory) -> None:
        """The stop file for an engine that runs; scancel for a job that has not begun."""
        life = run.read_life()
        if life.is_submitted:
            self.kill(run)
        else:
            run.stop_file.touch(mode=0o600)

    def kill(self, run: RunDirectory) -> None:
        """Stop file, TERM through scancel, and scancel itself if that was not enough; blocks until one was.

        A job that has not begun is cancelled at once. One that Slurm knows nothing of is given up: should it begin all
        the same, it ends before its engine starts.
        """
        life = run.read_life()
        launch = life.launch
        if launch is None or not life.is_busy:
            raise LaunchError(f"{run.id} is not running")
        seen = list_jobs([launch.nonce]).get(launch.nonce, JobSeen())
        if life.is_submitted and (seen.is_waiting or seen.is_running):
            how = "while it waited" if seen.is_waiting else "as it began"
            self._call_off(run.path, launch, "cancelled", f"job {seen.job_id} was cancelled {how}")
            call(["scancel", seen.job_id])
        elif seen.is_running:
            self._end(run, seen.job_id)
        elif life.lock_held:
            self._end_unlisted(run, life, seen)
        else:
            known = f"says that job {seen.job_id} is {seen.state.lower()}" if seen.state else "knows no job of it"
            self._call_off(run.path, launch, "given_up", f"Slurm {known}")

    def is_there(self, run: RunDirectory, life: Life) -> bool:
        """Whether a job that the folder cannot tell of may run, or come to run.

        Raises:
            LaunchError: Slurm does not answer.
        """
        assert life.launch is not None
        try:
            seen = list_jobs([life.launch.nonce]).get(life.launch.nonce)
        except SilentError as error:
            raise LaunchError(f"{run.id}: whether its job runs cannot be known: {error}") from None
        return seen is None or not seen.has_ended

    def doctor(self, runs_dir: Path) -> list[Finding]:
        """Slurm, the shared folder, and what a job finds on its node."""
        from tui.control.launching.slurm_doctor import examine_slurm

        assert self.settings is not None, "without its table there is nothing to examine"
        return examine_slurm(self.name, self.settings, runs_dir, with_job=self.with_job)

    def _known(self, folder: Path, life: Life) -> Launch | None:
        """The launch to go on with, which is new where nothing can come of the one before: then None.

        Raises:
            LaunchError: it runs, or may, or it cannot be known.
        """
        launch = life.launch
        if life.lock_held:
            raise LaunchError(f"{folder.name} is running already")
        if launch is None or not life.is_busy:
            return None
        seen = list_jobs([launch.nonce]).get(launch.nonce)
        if seen is not None and seen.has_ended:
            return None
        if life.is_submitted and not launch.job_id:
            return launch if seen is None else msgspec.structs.replace(launch, job_id=seen.job_id)
        state = seen.state.lower() if seen is not None else "not known to Slurm any more"
        mend = f"To call it off: lvm-tui stop --kill {folder.name}"
        raise LaunchError(f"{folder.name} is with Slurm already: job {launch.job_id} is {state}. {mend}")

    def _sbatch(self, folder: Path, asked: _Asked, launch: Launch, lock_fd: int) -> None:
        argv = sbatch_argv(asked.launch, launch.nonce, folder, asked.config.nproc, asked.config.nodes)
        script = job_script(launch, folder, carried(asked.launch))
        try:
            answer = call(argv, stdin=script, lock_fd=lock_fd)
        except SilentError as error:
            if "connect failure" in str(error) or "not installed" in str(error):  # nothing can have arrived
                self._call_off(folder, launch, "refused", str(error))
                raise LaunchError(f"{folder.name} could not be started: {error}") from None
            raise LaunchError(
                f"{folder.name}: whether Slurm took its job is not known ({error}); it is looked up by its name, "
                f"and lvm-tui resume {folder.name} asks once more"
            ) from None
        except LaunchError as error:
            self._call_off(folder, launch, "refused", str(error))
            raise LaunchError(f"{folder.name} could not be started: {error}") from None
        job_id = re.match(r"\s*(\d+)", answer)
        if job_id is not None:  # else it is found by its name
            write_launch(folder, msgspec.structs.replace(launch, job_id=job_id[1]))

    def _end(self, run: RunDirectory, job_id: str) -> None:
        """TERM to the wrapper alone, which passes it on; then to everything, with KILL behind it."""
        run.stop_file.touch(mode=0o600)
        call(["scancel", "--batch", "--signal=TERM", job_id])
        deadline = time.monotonic() + float(os.environ.get(GRACE_VARIABLE, GRACE_S)) + ESCALATE_S
        while run.read_life().is_busy:
            if time.monotonic() > deadline:
                call(["scancel", job_id])
                return
            time.sleep(LOOKS_S)

    def _end_unlisted(self, run: RunDirectory, life: Life, seen: JobSeen) -> None:
        """End what runs though Slurm says otherwise: a controller that was restored may hold it to be waiting still."""
        run.stop_file.touch(mode=0o600)
        if seen.is_waiting:
            call(["scancel", seen.job_id])
        if life.processes is None or not send(life.processes.wrapper, signal.SIGTERM):
            where = f"{life.processes.host}, process {life.processes.wrapper_pid}" if life.processes else "another host"
            raise LaunchError(
                f"{run.id} is asked through its folder to finish its step and save: Slurm knows no running job of it. "
                f"If it goes on, end it there: {where}"
            )

    def _call_off(self, folder: Path, launch: Launch, ended: Ended, why: str) -> None:
        """Say on disk that no engine is wanted of it, so that one that comes late ends by itself."""
        write_launch(folder, msgspec.structs.replace(launch, ended=ended, why=why))


def sbatch_argv(settings: LauncherConfig, name: str, folder: Path, nproc: int = 1, nodes: int = 1) -> list[str]:
    """The command that hands a job to Slurm; its script comes on standard input."""
    return ["sbatch", "--parsable", *submit_options(settings, name=name, folder=folder, nproc=nproc, nodes=nodes)]


def _new_launch(folder: Path, asked: _Asked, life: Life) -> Launch:
    attempt = 1 + (life.processes.attempt if life.processes else 0)
    run = folder.parent.parent.name + "." if folder.suffix == ".job" else ""
    return Launch(
        launcher=asked.config.launcher,
        kind=asked.launch.kind,
        nonce=f"lvm-{run}{folder.name}-{attempt}-{secrets.token_hex(6)}",
        attempt=attempt,
        asked=time.time(),
        poll_s=asked.launch.poll_s,
        silent_s=asked.launch.silent_s,
    )


def _read_asked(folder: Path) -> _Asked:
    try:
        return msgspec.json.decode(read_regular(folder / "spec.json", MAX_JSON), type=_Asked)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{folder / 'spec.json'}: names no launcher that can be used: {error}") from None


@contextmanager
def _submitting(folder: Path) -> Iterator[int]:
    """Hold this folder's submission; sbatch holds it as well, so that one that outlives this process is waited for.

    Raises:
        LaunchError: a submission is under way.
    """
    fd = os.open(folder / ".submit.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(f"{folder.name}: it is being handed to Slurm; look again in a moment") from None
        yield fd
    finally:
        os.close(fd)
