"""`lvm-tui doctor`: each check passes where all is well, and says what is wrong where something is."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from recorded import RUNS_TOML

from engine.run import node_report
from engine.run.launch import LauncherConfig
from tui.cli import main
from tui.control.launching.machine_doctor import (
    look_at_disk,
    look_at_folder,
    look_at_logout,
    look_at_terminal,
    look_at_versions,
)
from tui.control.launching.slurm_doctor import examine_slurm, judge_clock, judge_versions

GOOD = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("changes", "size", "wrong"),
    [
        ({}, (120, 40), []),
        ({}, (0, 0), []),
        ({"TERM": "dumb"}, (120, 40), ["terminal"]),
        ({"TERM": "vt100", "COLORTERM": ""}, (120, 40), ["colours"]),
        ({"TERM": "vt100", "COLORTERM": "", "NO_COLOR": "1"}, (120, 40), []),
        ({}, (79, 24), ["size"]),
        ({"LANG": "C"}, (80, 24), ["locale"]),
    ],
)
def test_a_terminal_is_looked_at(changes: dict[str, str], size: tuple[int, int], wrong: list[str]) -> None:
    found = look_at_terminal(GOOD | changes, os.terminal_size(size))
    assert [at.what for at in found if at.verdict == "warning"] == wrong
    assert all(at.mend for at in found if at.verdict != "ok")


def test_a_missing_package_fails() -> None:
    assert look_at_versions(node_report.versions()).verdict == "ok"
    found = look_at_versions({"python": "3.11", "torch": ""})
    assert (found.verdict, found.why) == ("failed", "not installed: torch")


def test_a_folder_that_others_may_write_in_fails(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (found,) = look_at_folder(runs)
    assert found.verdict == "ok"
    assert "will be made" in found.why
    assert not runs.exists()
    runs.mkdir(mode=0o700)
    assert [at.verdict for at in look_at_folder(runs)] == ["ok"]
    runs.chmod(0o777)
    (found,) = look_at_folder(runs)
    assert found.verdict == "failed"
    assert "anybody may write in it" in found.why


@pytest.mark.parametrize(("free", "verdict"), [(100 << 30, "ok"), (1 << 30, "warning"), (1 << 20, "failed")])
def test_a_disk_that_fills_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(200 << 30, 0, free))
    assert look_at_disk(tmp_path).verdict == verdict


def test_what_a_logout_ends_is_told(tmp_path: Path) -> None:
    assert look_at_logout(tmp_path, "me").verdict == "ok"
    conf = tmp_path / "etc/systemd/logind.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[Login]\n#KillUserProcesses=yes\n")
    assert look_at_logout(tmp_path, "me").verdict == "ok"
    conf.write_text("[Login]\nKillUserProcesses=yes\n")
    found = look_at_logout(tmp_path, "me")
    assert (found.verdict, found.mend) == ("warning", "loginctl enable-linger me")
    linger = tmp_path / "var/lib/systemd/linger/me"
    linger.parent.mkdir(parents=True)
    linger.touch()
    assert look_at_logout(tmp_path, "me").verdict == "ok"


def test_other_versions_there_are_a_warning_and_missing_ones_fail() -> None:
    here = {"python": "3.11", "torch": "2.13"}
    assert judge_versions("p", here, dict(here)).verdict == "ok"
    other = judge_versions("p", here, here | {"torch": "2.4"})
    assert (other.verdict, other.why) == ("warning", "torch 2.4 there, 2.13 here")
    assert judge_versions("p", here, {"python": "3.11"}).verdict == "failed"


@pytest.mark.parametrize(
    ("there", "verdict"), [(101.0, "ok"), (99.0, "ok"), (90.0, "warning"), (110.0, "warning"), (300.0, "failed")]
)
def test_clocks_that_differ_are_told(there: float, verdict: str) -> None:
    assert judge_clock("c", there, 100.0, 102.0).verdict == verdict


def test_a_node_tells_what_it_finds(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert node_report.main(["n0nce", str(path)]) == 0
    told = msgspec.json.decode(path.read_bytes())
    assert told["nonce"] == "n0nce"
    assert told["versions"] == node_report.versions()
    assert told["cpus"] >= 1


def test_a_cluster_that_is_not_there_fails_at_its_first_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = examine_slurm("lab", LauncherConfig(kind="slurm"), tmp_path)
    assert (found.verdict, found.what, found.why) == ("failed", "lab: controller", "sbatch is not installed here")
    assert "on the PATH" in found.mend, "whether a cluster is up is another question"


def test_a_folder_outside_the_shared_one_fails_whatever_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examine_slurm("lab", LauncherConfig(kind="slurm", root="/shared"), tmp_path)
    assert [at.verdict for at in found] == ["failed", "failed"]
    assert found[0].mend == "set [room] runs_dir to a folder below /shared"


def test_the_command_works_without_any_launcher_and_ends_with_1_where_something_failed(tmp_path: Path) -> None:
    config = tmp_path / "runs.toml"
    config.write_text(RUNS_TOML)
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o700)
    told = CliRunner().invoke(main, ["doctor", "--config", str(config)])
    assert told.exit_code == 0, told.output
    assert "packages" in told.stdout
    assert "controller" not in told.stdout
    runs.chmod(0o777)
    refused = CliRunner().invoke(main, ["doctor", "--config", str(config), "--json"])
    assert refused.exit_code == 1
    found = msgspec.json.decode(refused.stdout)["findings"]
    assert [at["what"] for at in found if at["verdict"] == "failed"] == ["runs folder"]


def test_as_json_every_line_has_its_parts(tmp_path: Path) -> None:
    config = tmp_path / "runs.toml"
    config.write_text(RUNS_TOML + '[launcher.lab]\nkind = "slurm"\nroot = "/nowhere"\n')
    told = CliRunner().invoke(main, ["doctor", "--config", str(config), "--json", "--no-job"])
    assert told.exit_code == 1
    found = msgspec.json.decode(told.stdout)["findings"]
    assert all(set(at) == {"verdict", "what", "why", "mend"} for at in found)
    assert next(at for at in found if at["what"] == "lab: root")["verdict"] == "failed"
