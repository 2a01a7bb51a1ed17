"""`lvm-tui doctor` on a real Slurm: all is well, and what is said where it is not."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner
from slurm_lab import Lab

from tui.cli import main
from tui.control.launching import slurm_doctor
from tui.control.launching.protocol import Finding
from tui.control.launching.slurm_doctor import examine_slurm

pytestmark = pytest.mark.slurm


def examine(lab: Lab, name: str = "lab", **changes: object) -> dict[str, Finding]:
    settings = msgspec.structs.replace(lab.file.launcher[name], **changes)
    return {at.what.partition(": ")[2]: at for at in examine_slurm(name, settings, lab.runs_dir)}


def test_a_cluster_that_is_fit_is_found_to_be(lab: Lab) -> None:
    found = examine(lab)
    assert {what: at.verdict for what, at in found.items()} == dict.fromkeys(
        ("version", "controller", "partition", "job", "shared folder", "packages", "clock"), "ok"
    )
    assert "22." in found["version"].why or "slurm" in found["version"].why
    assert [path.name for path in lab.runs_dir.iterdir()] == [], "nothing is left behind"


def test_a_partition_that_is_none_is_told_with_those_there_are(lab: Lab) -> None:
    found = examine(lab, partition="gpu")
    assert found["partition"].verdict == "failed"
    assert found["partition"].mend.endswith("to one of: main, shut, wide")
    assert "job" not in found


def test_a_job_that_waits_is_cancelled_and_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_doctor, "WAIT_S", 3.0)
    found = examine(lab, "shut")
    assert found["partition"].verdict == "warning"
    assert found["job"].verdict == "warning"
    assert "waits (PartitionDown)" in found["job"].why
    assert "PENDING" not in lab.cluster.states().values()


def test_a_python_that_the_nodes_have_not_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_doctor.sys, "executable", "/no/such/python")
    found = examine(lab)
    assert found["job"].verdict == "failed"
    assert "/no/such/python" in found["job"].why


def test_a_folder_that_is_another_there_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_doctor, "SETTLE_S", 1.0)
    monkeypatch.setattr(slurm_doctor, "shell_script", lambda *_: "#!/bin/sh\nexit 0\n")
    assert examine(lab)["shared folder"].verdict == "failed"


def test_the_command_asks_every_launcher(lab: Lab) -> None:
    told = CliRunner().invoke(main, ["doctor", "--no-job", "--config", str(lab.file.path)])
    assert told.exit_code == 0, told.output
    assert {"lab: partition", "shut: partition", "whole: partition"} <= {
        line[9:].split("  ")[0] for line in told.stdout.splitlines()
    }
