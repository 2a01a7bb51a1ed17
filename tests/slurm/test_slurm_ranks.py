"""Two ranks in one job of a real Slurm, trained by the real engine: gate, restart with a fix, a rank that dies."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from processes import wait_until
from slurm_lab import Lab

from engine.run.directory import RunDirectory
from engine.run.settings import PatchValue
from engine.run.spec import apply_patch
from engine.run.state import Status
from tui.control import launcher

pytestmark = pytest.mark.slurm
SMALL: dict[str, PatchValue] = {
    "epochs": 200,
    "nproc": 2,
    "model.width": 64,
    "model.layers": 1,
    "model.head_width": 16,
    "sampler.batch_size": 64,
    "sampler.accumulate": 1,
    "optimizer.lr": 3e-3,
    "schedule.warmup_steps": 5,
}
SLOW_S = 240.0
"""Two ranks start, meet and train on cores that they share with a cluster."""


@pytest.fixture
def ranked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The real engine, in two ranks, on a model of seconds."""
    argv = [sys.executable, "-P", "-m", "engine"]
    monkeypatch.setattr(launcher, "engine_argv", lambda verb, *rest: [*argv, verb, *rest])
    small = apply_patch(lab.file.run["mamba_s"], SMALL)
    lab.actions.file = lab.file = msgspec.structs.replace(lab.file, run={**lab.file.run, "mamba_s": small})
    return lab


def ranks_of(run: RunDirectory) -> list[psutil.Process]:
    """The ranks that are alive in a run's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        if "engine.verbs.rank" in " ".join(argv) and str(run.path) in argv:
            found.append(process)
    return found


def test_two_ranks_are_gated_and_restarted_with_a_fix_as_one_process_is(ranked: Lab) -> None:
    run = ranked.actions.start("mamba_s")
    wait_until(lambda: ranked.view(run).state.gates, SLOW_S)
    view = ranked.view(run)
    assert view.state.started is not None
    assert view.state.started.ranks == 2
    assert view.gate_judgement(view.gate).verdict == "missed"
    plan = ranked.actions.plan_restart(view, [view])
    child = ranked.actions.restart(plan)
    parent = ranked.wait(run, Status.STOPPED, timeout_s=SLOW_S)
    assert "last" in parent.state.checkpoints
    wait_until(lambda: ranked.view(child).state.last_step, SLOW_S)
    assert ranked.view(child).spec.config.loss.temperature == 0.05
    assert ranked.view(child).spec.config.nproc == 2
    assert len(ranks_of(child)) == 2
    assert ranks_of(run) == []
    ranked.actions.kill(child)
    ranked.wait(child, Status.STOPPED, Status.FAILED, timeout_s=SLOW_S)
    wait_until(lambda: ranks_of(child) == [], 60.0)


def test_a_rank_that_dies_in_a_job_is_named(ranked: Lab) -> None:
    run = ranked.actions.start("mamba_s")
    wait_until(lambda: ranked.view(run).state.last_step, SLOW_S)
    second = next(rank for rank in ranks_of(run) if rank.environ().get("RANK") == "1")
    os.kill(second.pid, signal.SIGKILL)
    view = ranked.wait(run, Status.FAILED, timeout_s=SLOW_S)
    assert "rank 1 was killed by SIGKILL" in view.reason
    assert ranks_of(run) == []
    assert Path(run.exit_file).exists()
