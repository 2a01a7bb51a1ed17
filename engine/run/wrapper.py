"""The supervising parent of an engine: starts it detached, waits, and writes down how it ended.

Standard library only, so that it stays small for the days it waits. `python -m engine.run.wrapper RUN_DIR` returns once
the engine runs (0), or says why it does not (2: somebody else holds the lock, or the command cannot be executed);
the supervisor itself goes on in a session of its own, out of reach of any terminal's hang-up. Within a scheduler's job
it stays in the foreground, and what it is told by a name of its own is that it is the job that is wanted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from engine.run.files import clear_temporaries, open_regular, why_unsafe
from engine.run.process import boot_id, identify
from engine.run.secrets import without_secrets

GRACE_S = 10.0
"""From TERM to KILL. An engine needs a step and a checkpoint, below 3 s for the models measured here."""
GRACE_VARIABLE = "LVM_GRACE_S"
"""Environment variable that sets another grace period, for models whose checkpoint takes longer."""
LAST_LINE = 300
"""Characters of output kept in exit.json: at most 3,600 bytes of JSON, within what is reserved."""
LOG_TAIL = 8192
"""Bytes of output looked at for it."""
NEARLY_NOTHING = 64 * 1024
"""Bytes: an engine that fails on a disk with less left has failed because of it."""
RESERVED_BYTES = 4096
"""exit.json is reserved at the start, so that it can be written on a disk that has filled up since."""
LOCK_FD_VARIABLE = "LVM_LOCK_FD"
LOCK_HOLDER_VARIABLE = "LVM_LOCK_HOLDER"
"""Name of the job whose wrapper holds the lock for an engine that cannot hold it as well."""
IN_JOB = "--in-job"
"""`--in-job NONCE RUN_DIR`: supervise in the foreground, as the job of that name."""
HEARTBEAT_S = 10.0
HEARTBEAT_FILE, BEGAN_PREFIX = "heartbeat", "began."
"""The file that a job touches while it is there; and the one that only the first job of a name can make."""


def main(argv: list[str] | None = None) -> int:
    """Detach, start, report; see the module."""
    given = argv or sys.argv[1:]
    nonce, given = (given[1], given[2:]) if given[0] == IN_JOB else ("", given)
    run_dir = Path(given[0]).absolute()
    for path in (run_dir, run_dir / "spec.json"):
        reason = why_unsafe(path) if path.exists() else ""
        if reason:
            print(f"{path}: refused: {reason}", file=sys.stderr)  # noqa: T201
            return 2
    lock_fd = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(50):  # a prober's shared lock lasts microseconds; an owner's lasts
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            time.sleep(0.002)
    else:
        print(f"{run_dir.name} is already running: its lock is held", file=sys.stderr)  # noqa: T201
        return 2
    if nonce:
        return _run_in_job(run_dir, lock_fd, nonce)
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            problem = pipe.read().decode()
        if problem:
            print(problem, file=sys.stderr)  # noqa: T201
        return 2 if problem else 0
    os.close(told)
    os.setsid()
    code = 2
    try:
        code = _supervise(run_dir, lock_fd, tell)
    except (OSError, ValueError, LookupError, TypeError) as error:
        with contextlib.suppress(OSError):  # told already: the engine ran, and writing its end failed
            os.write(tell, f"{run_dir.name} could not be started: {error}".encode())
    finally:
        os._exit(code)


def _run_in_job(run_dir: Path, lock_fd: int, nonce: str) -> int:
    """Supervise in the foreground of a scheduler's job, as long as the folder says that this job is wanted.

    A lock of another host's may not be seen here: a file that exactly one job can make is what lets a job begin.
    """
    refusal = why_unwanted(run_dir, nonce)
    if not refusal:
        try:
            token = os.open(run_dir / f"{BEGAN_PREFIX}{nonce}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(token, f"{socket.gethostname()} {os.environ.get('SLURM_JOB_ID', '')}\n".encode())
            os.close(token)
        except FileExistsError:
            refusal = "a job of the same name has begun before"
    if refusal:
        print(f"{run_dir.name} is not started: {refusal}", file=sys.stderr)  # noqa: T201
        return 2
    tell = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # nobody waits for word: exit.json has it
    try:
        return _supervise(run_dir, lock_fd, tell, nonce)
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"{run_dir.name} could not be started: {error}", file=sys.stderr)  # noqa: T201
        return 2


def why_unwanted(run_dir: Path, nonce: str) -> str:
    """Why a job of this name may not run here: launch.json names another, or says that no job is wanted any more.

    Where it cannot be read, nothing is said: a shared folder that is away for a moment ends no training.
    """
    try:
        launch = json.loads((run_dir / "launch.json").read_text())
        wanted, ended = launch["nonce"], launch["ended"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if wanted != nonce:
        return f"the job that is wanted now is {wanted}, not {nonce}"
    return f"its job was called off ({ended})" if ended else ""


def _beat(run_dir: Path, nonce: str, engine: int) -> None:
    """Say again and again that this job is there; end its engine once another job is wanted instead."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})  # they are for the thread that waits
    while True:
        with contextlib.suppress(OSError):
            (run_dir / HEARTBEAT_FILE).touch(mode=0o600)
        if why_unwanted(run_dir, nonce):
            _signal_group(engine, signal.SIGKILL)
            return
        time.sleep(HEARTBEAT_S)


def _supervise(run_dir: Path, lock_fd: int, tell: int, nonce: str = "") -> int:
    spec = json.loads((run_dir / "spec.json").read_text())
    clear_temporaries(run_dir)
    _write_in_place(run_dir / "exit.json", b"")
    (run_dir / "stop").unlink(missing_ok=True)  # it was meant for the attempt before this one
    log_fd = os.open(run_dir / "output.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.chdir(run_dir)
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((null, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(fd, target)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    attempt = 1 + _previous_attempt(run_dir)
    argv = spec["argv"] + (spec["resume_argv"] if attempt > 1 else [])
    nodes = int(spec.get("config", {}).get("nodes", 1)) if nonce else 1
    argv = [*srun_argv(nodes), *argv]
    grace_s = float(os.environ.get(GRACE_VARIABLE, GRACE_S))
    kills_before = _out_of_memory_kills()
    os.set_inheritable(lock_fd, True)
    failed_told, failed_tell = os.pipe()  # close-on-exec: end of file means that the engine's program runs
    engine = os.fork()
    if engine == 0:
        # srun starts the engine from a daemon of its own, which hands no descriptor on: it is told who holds the lock
        lock = {LOCK_FD_VARIABLE: str(lock_fd)} if nodes == 1 else {LOCK_HOLDER_VARIABLE: nonce}
        _become_engine(argv, {**spec["env"], **lock}, failed_tell)
    os.close(failed_tell)
    os.set_inheritable(lock_fd, False)
    _pass_on_terminate(engine, grace_s)
    try:
        _write_processes(run_dir, started, attempt, engine)
    except OSError:
        os.kill(engine, signal.SIGKILL)  # nobody could find it without run.json
        raise
    if nonce:
        threading.Thread(target=_beat, args=(run_dir, nonce, engine), daemon=True).start()
    with os.fdopen(failed_told, "rb") as pipe:
        problem = pipe.read().decode()
    if not problem:
        os.close(tell)
    _, status, usage = os.wait4(engine, 0)  # goes on waiting after a handler ran
    signal.setitimer(signal.ITIMER_REAL, 0)
    _signal_group(engine, signal.SIGKILL)  # what the engine left behind in its group
    code = os.waitstatus_to_exitcode(status)
    scale = 1 if sys.platform == "darwin" else 1024
    shell_code = code if code >= 0 else 128 - code
    last = problem or (_last_line(run_dir / "output.log") if code else "")
    ended = {
        "code": shell_code,
        "kind": "never_started" if problem else _kind(run_dir, code, last, _out_of_memory_kills() - kills_before),
        "wall_s": round(time.monotonic() - began, 3),
        "maxrss_bytes": usage.ru_maxrss * scale,
        "last_line": without_secrets(last)[:LAST_LINE],
    }
    _write_in_place(run_dir / "exit.json", json.dumps(ended).encode())
    if problem:  # whoever is told finds it ended
        os.close(lock_fd)
        os.write(tell, problem.encode())
    return shell_code


def srun_argv(nodes: int) -> list[str]:
    """What starts a command once on each of several nodes of this allocation; nothing for one node."""
    if nodes == 1:
        return []
    return ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]


def _become_engine(argv: list[str], env: dict[str, str], failed_tell: int) -> None:
    """Replace this process by the engine, in a session of its own so that its whole group can be swept."""
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execvpe(argv[0], argv, {**os.environ, **env})
    except OSError as error:
        os.write(failed_tell, f"{argv[0]}: {error.strerror}".encode())
        os._exit(126 if isinstance(error, PermissionError) else 127)


def _pass_on_terminate(engine: int, grace_s: float) -> None:
    """From now on TERM to this process is passed on to the engine's group, and KILL follows after the grace."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        _signal_group(engine, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, grace_s)

    def kill(_number: int, _frame: FrameType | None) -> None:
        _signal_group(engine, signal.SIGKILL)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGTERM, terminate)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _previous_attempt(run_dir: Path) -> int:
    try:
        return int(json.loads((run_dir / "run.json").read_text())["attempt"])
    except (OSError, ValueError, KeyError):
        return 0


def _write_processes(run_dir: Path, started: str, attempt: int, engine: int) -> None:
    """run.json, replaced whole."""
    wrapper, started_engine = identify(os.getpid()), identify(engine)
    record = {
        "boot_id": boot_id(),
        "host": socket.gethostname(),
        "started": started,
        "wrapper_pid": os.getpid(),
        "wrapper_ticks": wrapper.start_ticks if wrapper else "",
        "engine_pid": engine,
        "engine_ticks": started_engine.start_ticks if started_engine else "",
        "attempt": attempt,
    }
    temporary = run_dir / ".run.json.tmp"
    temporary.write_text(json.dumps(record))
    temporary.chmod(0o600)
    temporary.replace(run_dir / "run.json")


def _write_in_place(path: Path, data: bytes) -> None:
    """Overwrite within the reserved blocks: needs no free space, and blanks stand for "not ended yet"."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(fd, data.ljust(RESERVED_BYTES), 0)
    os.fsync(fd)
    os.close(fd)


def _last_line(log: Path) -> str:
    """The last line that is not blank, which for an uncaught exception names it; empty if the log cannot tell.

    Whatever has become of the log meanwhile must not stand between an engine's end and its record.
    """
    try:
        fd = open_regular(log)
        with os.fdopen(fd, "rb") as file:
            file.seek(max(0, os.fstat(fd).st_size - LOG_TAIL))
            lines = [line for line in file.read(LOG_TAIL).decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def _kind(run_dir: Path, code: int, last_line: str, out_of_memory_kills: int) -> str:
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory_kills:  # the engine's, or of one of its ranks
        return "out_of_memory"
    if code < 0:
        return "signal"
    if "MemoryError" in last_line or "out of memory" in last_line.lower():
        return "out_of_memory"
    # a traceback may not have fitted on the disk that caused it
    is_full = code != 0 and os.statvfs(run_dir).f_bavail * os.statvfs(run_dir).f_frsize < NEARLY_NOTHING
    return "disk_full" if is_full or "No space left on device" in last_line else "exited"


def _out_of_memory_kills(root: Path = Path("/")) -> int:
    """How often the kernel killed for memory in this process's control group since it exists; 0 where none tells.

    Args:
        root: where proc and sys are.
    """
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return 0
    kills = 0
    for _number, controllers, path in (group for group in groups if len(group) == 3):
        if not controllers:  # version 2: one tree for all
            counters = root / f"sys/fs/cgroup{path}/memory.events"
        elif "memory" in controllers.split(","):
            counters = root / f"sys/fs/cgroup/memory{path}/memory.oom_control"
        else:
            continue
        with contextlib.suppress(OSError):
            kills += sum(
                int(line.split()[1]) for line in counters.read_text().splitlines() if line.startswith("oom_kill ")
            )
    return kills


if __name__ == "__main__":
    sys.exit(main())
