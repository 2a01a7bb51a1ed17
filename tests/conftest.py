"""Fixtures of both packages: runs files, recorded runs, and a fake engine behind the real launcher."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from processes import FAKE_ENGINE, end
from recorded import RUNS_TOML, missed_mamba, passed_amn
from slurm_cluster import Cluster, why_not_here
from slurm_lab import Lab

from engine.run.directory import RunDirectory, list_runs
from engine.run.runs_file import RunsFile, load_runs
from tui.control import launcher
from tui.control.watcher import Watcher

# a shared machine is slow now and then; that is not what these tests are about
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background jobs are deaf to it, and so would be every program that the tests start and interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def folders_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests, and the programs they start, cache, are set to and remember is not the person's."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CACHE", "CONFIG", "STATE"):
            patch.setenv(f"XDG_{kind}_HOME", str(tmp_path_factory.mktemp(kind.lower())))
        yield


@pytest.fixture
def runs_file(tmp_path: Path) -> RunsFile:
    """A room whose runs go to `tmp_path / "runs"`."""
    path = tmp_path / "runs.toml"
    path.write_text(RUNS_TOML)
    return load_runs(path)


@pytest.fixture
def recorded_runs(runs_file: RunsFile) -> Path:
    """A runs folder with a Mamba-S run that missed its gate and an AMN run that passed."""
    missed_mamba(runs_file.runs_dir)
    passed_amn(runs_file.runs_dir)
    return runs_file.runs_dir


@pytest.fixture
def watcher(recorded_runs: Path) -> Watcher:
    """A watcher that has read the recorded runs."""
    watching = Watcher(recorded_runs, 120.0)
    watching.catch_up()
    return watching


@pytest.fixture
def fake_engine(runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Launches go to the fake engine; the list takes options for it. Whatever still runs at the end is killed."""
    options: list[str] = []

    def argv(verb: str, *arguments: str) -> list[str]:
        return [sys.executable, str(FAKE_ENGINE), verb, *arguments, *options]

    monkeypatch.setattr(launcher, "engine_argv", argv)
    monkeypatch.setenv("LVM_GRACE_S", "0.3")
    yield options
    for run in list_runs(runs_file.runs_dir):
        for folder in (run.path, *run.evals.glob("*.job")):
            end(RunDirectory(folder))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm that answers, for all tests that leave it as it was."""
    if why := why_not_here():
        pytest.skip(why)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def lab(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A room over that Slurm whose engine is the fake one; what is left at the end is ended."""
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setenv("LVM_GRACE_S", "1")
    made = Lab(slurm, tmp_path)
    monkeypatch.setattr(launcher, "engine_argv", made.argv)
    yield made
    made.end()
