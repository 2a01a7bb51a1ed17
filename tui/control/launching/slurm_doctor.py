"""Whether a cluster is fit for a launcher: asked, then tried out with a small job that reports what its node finds."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.run.directory import make_runs_dir
from engine.run.files import read_regular
from engine.run.launch import JobSeen, LauncherConfig
from engine.run.node_report import versions
from tui.control.launching.protocol import Finding, LaunchError, Verdict
from tui.control.launching.slurm_job import carried, shell_script, submit_options
from tui.control.launching.slurm_queue import call, list_jobs

WAIT_S = 60.0
"""For the job to be through."""
SETTLE_S = 20.0
"""Beyond the job's end for its file to be seen here: three times a shared folder's usual five seconds, and some."""
LATE_S, VERY_LATE_S = 2.0, 60.0
"""Between the clocks: ages are wrong, and heartbeats mean nothing."""
LOOKS_S = 0.5
NOT_HERE = "open the room where sbatch, squeue and scancel are on the PATH, such as a login node of the cluster"
NO_ANSWER = "ask whether the cluster is up; SLURM_CONF must be as in a shell where squeue works"


class _NodeReport(Struct):
    nonce: str
    host: str
    time: float
    versions: dict[str, str]
    cpus: int
    disk_free: int


def examine_slurm(name: str, settings: LauncherConfig, runs_dir: Path, *, with_job: bool = True) -> list[Finding]:
    """Everything that a launcher needs, in the order in which it would fail.

    Args:
        name: of the launcher's table.
        settings: the table.
        runs_dir: that the nodes must see.
        with_job: hand in a job; else only ask.
    """
    found = [_look_at_root(name, settings, runs_dir)] if settings.root else []
    try:
        version = call(["sbatch", "--version"]).strip()
        found.append(Finding("ok", f"{name}: version", version))
        list_jobs(["lvm-doctor"])
        found += [Finding("ok", f"{name}: controller", "answers"), _look_at_partition(name, settings)]
    except LaunchError as error:
        mend = NO_ANSWER if shutil.which("sbatch") else NOT_HERE
        return [*found, Finding("failed", f"{name}: controller", str(error), mend)]
    if with_job and all(finding.verdict != "failed" for finding in found):
        found += _try_job(name, settings, runs_dir)
    return found


def _look_at_root(name: str, settings: LauncherConfig, runs_dir: Path) -> Finding:
    if runs_dir.is_relative_to(settings.root):
        return Finding("ok", f"{name}: root", f"{runs_dir} is below {settings.root}")
    mend = f"set [room] runs_dir to a folder below {settings.root}"
    return Finding("failed", f"{name}: root", f"{runs_dir} is not below {settings.root}", mend)


def _look_at_partition(name: str, settings: LauncherConfig) -> Finding:
    listed = [line.split("|") for line in call(["sinfo", "--noheader", "--format=%R|%a|%D"]).splitlines()]
    up = {fields[0]: fields[1].strip() for fields in listed if len(fields) == 3}
    wanted = settings.partition
    what = f"{name}: partition"
    if wanted is None:
        return Finding("ok", what, f"the cluster's default; there are {', '.join(sorted(up))}")
    missing = [part for part in wanted.split(",") if part not in up]
    if missing:
        mend = f"set [launcher.{name}] partition to one of: {', '.join(sorted(up))}"
        return Finding("failed", what, f"there is no {', '.join(missing)}", mend)
    down = [part for part in wanted.split(",") if up[part] != "up"]
    if down:
        return Finding("warning", what, f"{', '.join(down)} is {up[down[0]]}: jobs wait", "wait, or name another")
    return Finding("ok", what, f"{wanted} is up")


def _try_job(name: str, settings: LauncherConfig, runs_dir: Path) -> list[Finding]:
    """Hand in a job that writes a report into a folder beside the runs, and read it here."""
    nonce = f"lvm-doctor-{secrets.token_hex(6)}"
    folder, what = runs_dir / f".{nonce}", f"{name}: job"
    try:
        make_runs_dir(runs_dir)
        folder.mkdir(mode=0o700)
        began = time.time()
        job_id = _hand_in(settings, nonce, folder)
        try:
            report, seen = _await(nonce, folder)
        finally:
            if not list_jobs([nonce]).get(nonce, JobSeen(state="gone")).has_ended:
                call(["scancel", job_id])
        return _judge(name, nonce, report, seen, folder, began)
    except (LaunchError, OSError) as error:
        return [Finding("failed", what, str(error), f"mend [launcher.{name}], or what Slurm names")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hand_in(settings: LauncherConfig, nonce: str, folder: Path) -> str:
    short = msgspec.structs.replace(settings, time="5")
    argv = [sys.executable, "-P", "-m", "engine.run.node_report", nonce, str(folder / "report.json")]
    script = shell_script(argv, carried(settings))
    answer = call(["sbatch", "--parsable", *submit_options(short, name=nonce, folder=folder)], stdin=script)
    return answer.strip().partition(";")[0]


def _await(nonce: str, folder: Path) -> tuple[_NodeReport | None, JobSeen]:
    deadline, seen = time.monotonic() + WAIT_S, JobSeen()
    while time.monotonic() < deadline:
        report = _read(folder / "report.json")
        seen = list_jobs([nonce]).get(nonce, seen)
        if report is not None:
            return report, seen
        if seen.has_ended and not seen.is_waiting:
            deadline = min(deadline, time.monotonic() + SETTLE_S) if seen.state == "COMPLETED" else 0.0
        time.sleep(LOOKS_S)
    return _read(folder / "report.json"), seen


def _read(path: Path) -> _NodeReport | None:
    try:
        return msgspec.json.decode(read_regular(path, 1 << 16), type=_NodeReport)
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def _judge(
    name: str, nonce: str, report: _NodeReport | None, seen: JobSeen, folder: Path, began: float
) -> list[Finding]:
    job, shared = f"{name}: job", f"{name}: shared folder"
    if report is None and seen.is_waiting:
        why = f"waits ({seen.reason or 'no reason given'}); not waited for beyond {WAIT_S:.0f} s, and cancelled"
        return [Finding("warning", job, why, "ask again when the cluster has room: what its nodes see is not known")]
    if report is None and seen.state == "COMPLETED":
        mend = "set [room] runs_dir to a folder that the nodes see under the same path"
        return [Finding("failed", shared, f"what the job wrote in {folder.parent} is not seen here", mend)]
    if report is None:
        said = _last_line(folder / "slurm.log") or "it left no word here"
        why = f"job {seen.job_id or nonce} {seen.state.lower() or 'is not known to Slurm'}: {said}"
        return [Finding("failed", job, why, f"{sys.executable} and this program must be there on the nodes as well")]
    return [
        Finding("ok", job, f"ran on {report.host} with {report.cpus} CPUs"),
        _judge_nonce(shared, nonce, report),
        judge_versions(f"{name}: packages", versions(), report.versions),
        judge_clock(f"{name}: clock", report.time, began, time.time()),
    ]


def _judge_nonce(what: str, nonce: str, report: _NodeReport) -> Finding:
    if report.nonce != nonce:
        return Finding("failed", what, f"holds another job's report ({report.nonce})", "ask again")
    return Finding("ok", what, f"what {report.host} writes is read here; {report.disk_free / (1 << 30):.1f} GiB left")


def judge_versions(what: str, here: Mapping[str, str], there: Mapping[str, str]) -> Finding:
    """Packages that are missing there fail; others than here are a warning."""
    missing = [name for name in here if not there.get(name)]
    if missing:
        mend = "run the room from an environment that the nodes see"
        return Finding("failed", what, f"not installed there: {', '.join(missing)}", mend)
    other = [f"{name} {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]
    if other:
        return Finding("warning", what, "; ".join(other), "the same environment on both keeps figures comparable")
    return Finding("ok", what, "the same there as here")


def judge_clock(what: str, there: float, before: float, after: float) -> Finding:
    """A time told there must lie between two told here; all are Unix times."""
    off = max(before - there, there - after, 0.0)
    verdict: Verdict = "failed" if off > VERY_LATE_S else "warning" if off > LATE_S else "ok"
    told = f"differs by {off:.0f} s at least" if off > LATE_S else f"within {max(LATE_S, after - before):.0f} s"
    return Finding(
        verdict, what, told, "" if verdict == "ok" else "synchronise the clocks (NTP): ages are told by them"
    )


def _last_line(log: Path) -> str:
    try:
        lines = read_regular(log, 1 << 20).decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
