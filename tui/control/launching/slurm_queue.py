"""What Slurm says: its commands, called with a time limit, and squeue's listing, read line by line.

squeue and sbatch are enough: the database of old jobs, which many clusters do not have, is never asked.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from engine.run.launch import JobSeen
from tui.control.launching.protocol import LaunchError
from tui.control.launching.slurm_job import submitting

TIMEOUT_S = 20.0
"""For one of Slurm's commands. Twice Slurm's own patience with a controller that is silent."""
FORMAT = "%i|%j|%T|%Q|%S|%e|%N|%R"
"""Job id, name, state, priority, start, end, nodes, and, last because it may hold anything, the reason."""
MAX_TEXT = 200
LAST_TIME = 2.0**32
"""Unix time. What is expected later than 2106 is not a time but a mistake."""
MAX_NAMES = 100_000
"""Characters of names in a command; beyond them all jobs are listed. A single argument may have 131,072."""
_ERROR = re.compile(r"^(sbatch|squeue|scancel|sinfo|slurm_\w+)(:? (error|fatal))?: *")


class SilentError(LaunchError):
    """Slurm did not answer, so that nothing is known."""


def call(argv: Sequence[str], *, stdin: str = "", timeout_s: float = TIMEOUT_S, lock_fd: int = -1) -> str:
    """What one of Slurm's commands prints.

    Args:
        argv: the command.
        stdin: what it reads.
        timeout_s: after which it is given up.
        lock_fd: a descriptor that it shall hold as long as it lives; -1 for none.

    Raises:
        SilentError: it is not there, took too long, or could not reach the controller.
        LaunchError: Slurm refused.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=submitting(),
            pass_fds=() if lock_fd < 0 else (lock_fd,),
        )
    except FileNotFoundError:
        raise SilentError(f"{argv[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise SilentError(f"{argv[0]} has not answered within {timeout_s:.0f} s") from None
    except OSError as error:
        raise SilentError(f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        raise _failure(argv[0], done.returncode, done.stderr)
    return done.stdout


def list_jobs(names: Iterable[str]) -> dict[str, JobSeen]:
    """What Slurm says of the jobs of these names, all asked at once; those it does not know are left out.

    Raises:
        SilentError: it does not answer.
    """
    wanted = list(names)
    named = f"--name={','.join(wanted)}"
    argv = ["squeue", "--noheader", "--states=all", f"--format={FORMAT}", *([named] if len(named) < MAX_NAMES else [])]
    try:
        return parse_queue(call(argv), wanted) if wanted else {}
    except SilentError:
        raise
    except LaunchError as error:
        raise SilentError(str(error)) from None


def parse_queue(listing: str, names: Iterable[str]) -> dict[str, JobSeen]:
    """The jobs of these names in a listing of `FORMAT`; lines of another shape are passed over.

    Of several jobs of one name the one that lives counts, else the newest.
    """
    wanted, found = set(names), dict[str, JobSeen]()
    for line in listing.splitlines():
        fields = line.split("|", 7)
        if len(fields) != 8 or fields[1] not in wanted or not fields[0][:1].isdigit():
            continue
        job_id, name, state, priority, starts, ends, nodes, reason = (field.strip()[:MAX_TEXT] for field in fields)
        seen = JobSeen(
            state=state,
            job_id=job_id,
            # a job that runs names its node there
            reason=reason.strip("()") if reason.startswith("(") and reason != "(None)" else "",
            starts=_time(starts) if state == "PENDING" else None,
            priority=priority,
            nodes=nodes,
        )
        if seen.has_ended:
            seen = msgspec.structs.replace(seen, ended=_time(ends))
        before = found.get(name)
        if before is None or before.has_ended or not seen.has_ended:
            found[name] = seen
    return found


def silence(problem: str, names: Iterable[str]) -> Mapping[str, JobSeen]:
    """What is known of jobs where Slurm does not answer."""
    return {name: JobSeen(problem=problem) for name in names}


def _time(text: str) -> float | None:
    """squeue's time in UTC, which its environment asks for; None for N/A."""
    try:
        told = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return told if 0 < told < LAST_TIME else None


def _failure(program: str, code: int, stderr: str) -> LaunchError:
    lines = [_ERROR.sub("", line).strip() for line in stderr.splitlines() if line.strip()]
    # its programs end with the sentence that sums up, which is the one to be read where there is room for one only
    words = "; ".join(dict.fromkeys([*lines[-1:], *lines]))[:MAX_TEXT] or f"exit {code}"
    is_silent = re.search(
        r"unable to contact|connect|socket timed out|zero bytes|communication|authentication|munge|"
        r"configuration source|fetch config|backup controller|standby|try again",
        words,
        re.IGNORECASE,
    )
    return (SilentError if is_silent else LaunchError)(f"{program}: {words}")
