"""A Slurm of its own on loopback: munged, slurmctld and slurmd as real processes, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from processes import patience, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "scontrol")
CPUS = 60
"""What the node says it has: Slurm counts them, the kernel does not, so that 50 small jobs run at once or wait."""
CONF = """
ClusterName=lvm
SlurmctldHost=localhost(127.0.0.1)
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait={kill_wait_s}
MinJobAge={min_job_age_s}
MessageTimeout=5
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1,sched_min_interval=100000
NodeName=first NodeHostname=localhost NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus} State=UNKNOWN
NodeName=second NodeHostname=localhost NodeAddr=127.0.0.1 Port={second_port} CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=first Default=YES MaxTime=INFINITE State=UP
PartitionName=wide Nodes=first,second MaxTime=INFINITE State=UP
PartitionName=shut Nodes=first MaxTime=INFINITE State=DOWN
"""


def why_not_here() -> str:
    """What is missing to start a Slurm here; empty where nothing is."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"Slurm is not installed here ({', '.join(missing)} missing): none of what it does was tested"
    return "" if os.geteuid() == 0 else "Slurm's daemons want root here: none of what Slurm does was tested"


class Cluster:
    """The daemons, each of which can be killed and started again."""

    def __init__(self, folder: Path, *, min_job_age_s: int = 300, kill_wait_s: int = 5) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        for name in ("state", "spool-first", "spool-second"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        self.conf.write_text(
            CONF.format(
                folder=folder,
                controller_port=_free_port(),
                node_port=_free_port(),
                second_port=_free_port(),
                min_job_age_s=min_job_age_s,
                kill_wait_s=kill_wait_s,
                cpus=CPUS,
            )
        )
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SLURM_CONF": str(self.conf)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all of them, and wait until both nodes are idle."""
        self._spawn(
            "munged",
            "munged",
            "--foreground",
            "--force",
            f"--key-file={self.folder}/munge.key",
            f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed",
        )
        wait_until((self.folder / "munge.socket").exists, patience(20))
        self.start_controller(is_first=True)
        self.start_node()
        self.start_node("second")
        wait_until(
            lambda: self("sinfo", "--noheader", "-N", "-p", "wide", "-o", "%T").split() == ["idle"] * 2, patience(30)
        )

    def start_controller(self, *, is_first: bool = False) -> None:
        """Start slurmctld; returns once it answers."""
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.conf), *(["-c"] if is_first else []))
        wait_until(lambda: self._lives("slurmctld") and "UP" in self("scontrol", "ping"), patience(30))

    def start_node(self, name: str = "first") -> None:
        """Start the slurmd of a node; both nodes are this machine."""
        self._spawn("slurmd" if name == "first" else name, "slurmd", "-D", "-f", str(self.conf), "-N", name)

    def kill(self, name: str) -> None:
        """Kill a daemon, kill -9, and nothing else of its group."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(30)

    def __call__(self, *argv: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            argv,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        """Every job that the controller remembers, by id, with its state."""
        listed = self("squeue", "--noheader", "--states=all", "--format=%i %T")
        return dict(line.split(" ", 1) for line in listed.splitlines() if line[:1].isdigit())

    def stop(self) -> None:
        """End every job and every daemon."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            if "slurmctld" in self._daemons:
                self("scancel", "--user=root")
                self("scancel", "--signal=KILL", "--full", "--user=root")
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline and set(self.states().values()) & {"RUNNING", "COMPLETING"}:
                    time.sleep(0.2)
        for name in ("slurmd", "second", "slurmctld", "munged"):
            if name in self._daemons:
                self.kill(name)

    def _lives(self, name: str) -> bool:
        """Whether a daemon goes on; fails with its last words where it does not."""
        said = (self.folder / f"{name}.out").read_text(errors="replace")
        assert self._daemons[name].poll() is None, said[-500:]
        return True

    def _spawn(self, name: str, *argv: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            program = shutil.which(argv[0], path=self.environment["PATH"])
            assert program is not None
            self._daemons[name] = subprocess.Popen(
                [program, *argv[1:]], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
