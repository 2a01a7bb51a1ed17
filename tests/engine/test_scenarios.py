"""The scenario suite: every case is labelled, runs for real, and leaves what a diagnosis reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.data.corpus import open_corpus
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    RunFinished,
)
from engine.run.preflight import read_preflight
from engine.run.settings import RunConfig
from engine.run.spec import apply_patch
from engine.run.state import fold
from engine.scenarios import faults
from engine.scenarios.case import BASE, Case, as_they_are
from engine.scenarios.cases import CASES, find_cases
from engine.scenarios.data import (
    copied_articles,
    other_distribution,
    other_payload,
    raw_lengths,
    shuffled_targets,
    window_file,
)
from engine.scenarios.record import RUNS, TWINS, PlantedRun, Suite, read_suite, write_suite
from engine.scenarios.run import run_case

TINY = {"num_articles": 30, "num_chunks": 12, "dim": 32}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["scenarios", *map(str, arguments)])


# The list of cases.


def test_there_are_thirty_cases_and_more_eight_of_them_healthy_and_a_third_held_out() -> None:
    assert len(CASES) >= 30
    assert sum(not case.expects for case in CASES.values()) >= 8
    held_out = sum(case.split(0) == "held_out" for case in CASES.values())
    assert held_out >= len(CASES) / 3


def test_every_case_has_a_name_of_its_own_and_settings_that_hold() -> None:
    for name, case in CASES.items():
        assert name == case.name
        assert name.replace("_", "").isalnum()
        apply_patch(RunConfig(), {**BASE, **case.patch})


def test_what_fails_is_either_mended_by_settings_or_said_to_be_beyond_repair() -> None:
    for case in CASES.values():
        assert (case.mended is not None) + bool(case.beyond_repair) == bool(case.expects), case.name
        twin = case.twin()
        assert (twin is None) == (case.mended is None)
        if twin is not None:
            assert (twin.expects, twin.fault, twin.aftermath) == ("", None, None)
            config = apply_patch(RunConfig(), {**BASE, **twin.patch})
            faulty = apply_patch(RunConfig(), {**BASE, **case.patch})
            assert config != faulty or case.fault or case.asked, case.name
        if case.fault_is_once:
            assert case.fault is not None
            assert case.mended == {}
        assert not (case.notes and case.expects)


def test_the_twin_of_a_wrong_index_is_asked_of_the_right_one() -> None:
    assert (one := CASES["index_one_list"].twin()) is not None
    assert one.asked is not None
    assert one.asked.config.nprobe == 64
    assert (other := CASES["index_shifted"].twin()) is not None
    assert other.asked is not None
    assert other.asked.indexed is as_they_are


def test_every_third_seed_is_held_out_of_every_case() -> None:
    assert {case.split(2) for case in CASES.values()} == {"held_out"}
    assert CASES["passes"].split(0) == CASES["passes"].split(1) == "tune"


def test_a_case_that_is_not_there_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(ConfigError, match='Did you mean "hopeless"'):
        find_cases(("hopless",))


def test_cases_are_listed_without_numerics() -> None:
    code = "import sys, engine.scenarios.cases; sys.exit(bool({'torch', 'faiss', 'sklearn'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Data that are spoilt in one way each.


def test_copied_articles_stand_twice_under_other_titles(tmp_path: Path) -> None:
    corpus = copied_articles("passes", 0.5, **TINY)(tmp_path, 0).searched
    assert len(corpus.titles) == len(set(corpus.titles)) == 45
    vectors = corpus.all_vectors().reshape(45, 12, -1)
    assert np.einsum("acd,acd->ac", vectors[:15], vectors[30:]).min() > 0.999


def test_another_encoders_payload_has_the_texts_and_not_the_directions(tmp_path: Path) -> None:
    made = other_payload("passes", **TINY)(tmp_path, 0)
    trained, payload = open_corpus(Path(made.data.corpus)), made.payload
    assert payload is not None
    assert trained.text(5) == payload.text(5)
    left, right = trained.all_vectors(), payload.all_vectors()
    assert abs(float(np.einsum("nd,nd->n", left, right).mean())) < 0.2
    np.testing.assert_allclose(left @ left.T, right @ right.T, atol=1e-3)


def test_another_distribution_has_the_same_articles_in_the_same_encoders_space(tmp_path: Path) -> None:
    made = other_distribution("passes", {"noise": 0.9}, **TINY)(tmp_path, 0)
    trained, asked = open_corpus(Path(made.data.corpus)), made.searched
    assert trained.manifest.embedder == asked.manifest.embedder
    assert trained.titles == asked.titles
    assert made.payload is None
    alike = float(np.einsum("nd,nd->n", trained.all_vectors(), asked.all_vectors()).mean())
    assert 0.5 < alike < 0.999


def test_shuffled_targets_are_the_same_targets_in_another_order(tmp_path: Path) -> None:
    made = shuffled_targets("passes", **TINY)(tmp_path, 0)
    with np.load(made.data.train_npz) as arrays:
        targets, keys = arrays["target_vectors"], arrays["truth_keys"]
    true = made.searched.all_vectors()[keys[:, 0] * 12 + keys[:, 1]]
    assert np.einsum("wd,wd->w", targets, true).mean() < 0.5
    np.testing.assert_allclose(np.sort(targets[:, 0]), np.sort(true[:, 0]), atol=1e-6)


def test_raw_lengths_are_in_the_file_and_gone_when_it_is_read(tmp_path: Path) -> None:
    corpus = raw_lengths("passes", **TINY)(tmp_path, 0).searched
    stored = np.linalg.norm(np.load(corpus.parts[0].vectors), axis=1)
    assert stored.max() > 2 * stored.min()
    np.testing.assert_allclose(np.linalg.norm(corpus.all_vectors(), axis=1), 1, atol=1e-6)


def test_queries_of_a_file_of_windows_are_of_articles_that_it_does_not_hold(tmp_path: Path) -> None:
    made = window_file("passes", "named", **TINY)(tmp_path, 0)
    with np.load(made.data.train_npz) as arrays:
        assert arrays["article_ids"].max() == 19
    assert made.queried is not None
    assert made.queried.min() == 20 * 7


# Runs.


def test_a_case_leaves_a_run_that_was_looked_at_trained_and_evaluated(tmp_path: Path) -> None:
    case = Case(
        name="tiny",
        expects="",
        planted="nothing",
        data=window_file("passes", "named", **TINY),
        patch={"epochs": 1, "sampler.batch_size": 16},
        asked=CASES["passes"].asked,
    )
    planted = run_case(case, 1, tmp_path)
    run = RunDirectory(tmp_path / RUNS / "tiny-0001")
    assert (planted.run, planted.split, planted.seed) == ("tiny-0001", "tune", 1)
    state = fold(read_events(run.events_file))
    assert isinstance(state.ending, RunFinished)
    assert set(state.floors) == {"copy_last", "context_mean", "ridge"}
    assert read_preflight(run.preflight_file).items
    report = run.read_evals()["smoke-e0001"]
    assert set(report.rows) == {"model", "copy_last", "context_mean", "ridge", "oracle"}
    assert report.rows["oracle"].exact.r1 > 0.95
    assert "epoch 1/1" in run.log_file.read_text()
    with pytest.raises(ConfigError, match="holds a run tiny-0001 already"):
        run_case(case, 1, tmp_path)


def start(argv: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*argv, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_lost_run_that_is_resumed_by_its_spec_ends_as_its_twin(tmp_path: Path) -> None:
    case = Case(
        name="cut",
        expects="lost",
        planted="gone in the second epoch",
        data=window_file("passes", "named", **TINY),
        patch={"epochs": 2, "sampler.batch_size": 16},
        fault=faults.abandon(9),
        fault_is_once=True,
        mended={},
        aftermath=faults.lose_process,
    )
    planted = run_case(case, 0, tmp_path, twins=True)
    run, twin = (RunDirectory(tmp_path / folder / "cut-0000") for folder in (RUNS, TWINS))
    assert planted.twin == "cut-0000"
    spec = run.read_spec()
    assert (spec.evals, spec.resume_argv) == ({}, ["--resume"])
    assert spec.argv == [*planted.train, "--run-dir", str(run.path)]
    assert fold(read_events(run.events_file)).ending is None
    done = start(spec.argv, *spec.resume_argv)
    assert done.returncode == 0, done.stderr
    assert isinstance(fold(read_events(run.events_file)).ending, RunFinished)
    ours, its = ((one.checkpoints / "last" / "model.safetensors").read_bytes() for one in (run, twin))
    assert ours == its


@pytest.mark.slow
def test_a_fault_comes_back_in_a_child_and_does_nothing_where_there_is_nothing_to_spoil(tmp_path: Path) -> None:
    case = CASES["head_bias"]
    planted = run_case(case, 0, tmp_path)
    spec = RunDirectory(tmp_path / RUNS / planted.run).read_spec()

    def child(name: str, **patch: str) -> set[str]:
        run = RunDirectory(tmp_path / RUNS / name)
        run.path.mkdir()
        config = spec.patched({"epochs": 1, **{key.replace("__", "."): value for key, value in patch.items()}})
        run.spec_file.write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, id=name, config=config)))
        done = start(planted.train, "--run-dir", run.path)
        assert done.returncode == 0, done.stderr
        judged = fold(read_events(run.events_file)).checks[1]
        return {name for name, check in judged.items() if check.verdict == "missed"}

    assert "projection_head" in child("head_bias-0001")
    assert child("head_bias-0002", loss__contrast_space="target") == set()


def test_planting_asks_for_a_case_and_takes_what_train_takes(tmp_path: Path) -> None:
    plant = [sys.executable, "-P", "-m", "engine.scenarios.plant"]
    unknown = start(plant, "head_bais")
    assert unknown.returncode == 2
    assert 'Did you mean "head_bias"?' in unknown.stderr
    nowhere = start(plant, "head_bias", "--run-dir", tmp_path / "none")
    assert nowhere.returncode == 2
    assert "there is no such run directory" in nowhere.stderr


def test_a_suite_is_read_as_it_was_written_and_a_missing_one_says_how_to_make_it(tmp_path: Path) -> None:
    run = PlantedRun(name="a", run="a-0000", expects="", planted="x", split="tune", seed=0, seconds=1.5)
    write_suite(tmp_path, Suite(runs=[run]))
    assert read_suite(tmp_path).runs == [run]
    with pytest.raises(ConfigError, match="lvm-engine scenarios --out"):
        read_suite(tmp_path / "nowhere")
    (tmp_path / "scenarios.json").write_bytes(b"[]")
    with pytest.raises(ConfigError, match="no scenario suite"):
        read_suite(tmp_path)


def test_the_verb_lists_without_running_and_never_overwrites(tmp_path: Path) -> None:
    listed = invoke("--list", "--only", "passes", "--only", "lost")
    assert (listed.exit_code, len(listed.stdout.splitlines())) == (0, 2)
    assert invoke("--out", tmp_path).exit_code == 2
    assert invoke().exit_code == 2
    assert invoke("--out", tmp_path / "x", "--only", "los").exit_code == 2
    assert invoke("--out", tmp_path / "x", "--seeds", 2, "--seed", 5).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_the_verb_runs_a_case_and_writes_the_suites_file(tmp_path: Path) -> None:
    made = invoke("--out", tmp_path / "suite", "--only", "not_a_number_at_once", "--seed", 5, "--workers", 1)
    assert (made.exit_code, made.stdout.strip()) == (0, str(tmp_path / "suite"))
    written = msgspec.json.decode((tmp_path / "suite" / "scenarios.json").read_bytes(), type=Suite).runs
    assert [(run.name, run.seed, run.expects) for run in written] == [("not_a_number_at_once", 5, "non_finite")]
    assert written[0].train[-2:] == ["engine.scenarios.plant", "not_a_number_at_once"]
    assert written[0].beyond_repair
    assert not (tmp_path / "suite" / TWINS).exists()
    assert fold(read_events(tmp_path / "suite" / RUNS / written[0].run / "events.jsonl")).non_finite is not None
