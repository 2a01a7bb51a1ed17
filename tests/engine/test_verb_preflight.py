"""The `preflight` verb, and what `train` makes of its verdict."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.data.corpus import open_corpus
from engine.run.directory import RunDirectory, take_lock
from engine.run.event_file import read_events
from engine.run.events import (
    EpochEnded,
    FloorsMeasured,
    PreflightJudged,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    WarningRaised,
)
from engine.run.preflight import PreflightReport, read_preflight
from engine.run.state import fold
from engine.run.wrapper import LOCK_FD_VARIABLE
from tests.reference.small_corpus import make_corpus, rewrite_manifest, walk
from tests.reference.small_training import make_run, make_spec

FLAGS = shlex.split("--model-type amn --epochs 2 --batch-size 8 --grad-accum-steps 2 --d-model 32 --device cpu")
REASON = "the file of the original experiment, trained to show what it does"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def leaky_file(path: Path) -> Path:
    """Overlapping windows of eight articles that it does not name."""
    vectors = walk([9] * 8)
    starts = [article * 9 + offset for article in range(8) for offset in range(5)]
    contexts = np.stack([vectors[start : start + 4] for start in starts])
    np.savez(path, context_sequences=contexts, target_vectors=vectors[[start + 4 for start in starts]])
    return path


def leaky_run(folder: Path, *, override: str = "") -> RunDirectory:
    """A run of that file, as a launcher makes it."""
    folder.mkdir()
    spec = make_spec(folder, gates=[], epochs=1)
    npz = leaky_file(folder.parent / "leaky.npz")
    data = msgspec.structs.replace(spec.data, train_npz=str(npz), context=4, test_share=0.0)
    run = RunDirectory(folder)
    run.spec_file.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(spec, data=data, preflight_override=override))
    )
    return run


def only(run: RunDirectory, kind: type) -> list[object]:
    return [event for event in read_events(run.events_file) if isinstance(event, kind)]


def test_an_honest_corpus_is_clear(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 12)
    result = invoke("preflight", "--corpus", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "[PREFLIGHT] articles_shared PASSED: no article stands on two sides" in result.stdout
    assert "BLOCKS" not in result.stderr


def test_a_leaky_file_is_a_verdict_and_exit_code_one(tmp_path: Path) -> None:
    result = invoke("preflight", "--train-npz", leaky_file(tmp_path / "w.npz"), "--out", tmp_path / "report.json")
    assert result.exit_code == 1
    assert "[PREFLIGHT] chunks_shared MISSED" in result.stdout
    assert "BLOCKS: chunks_shared" in result.stderr
    assert [item.name for item in read_preflight(tmp_path / "report.json").blocking] == ["chunks_shared"]


def test_a_program_reads_the_report_as_json(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 12)
    result = invoke("preflight", "--corpus", tmp_path / "c", "--val-split", 0.3, "--json", "--no-cache")
    report = msgspec.convert(json.loads(result.stdout), PreflightReport)
    assert report.data == str(tmp_path / "c")
    assert report.data_sha256


def test_a_run_directory_brings_its_data_and_gates_and_gets_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    assert invoke("preflight", "--run-dir", run.path).exit_code == 0
    assert read_preflight(run.preflight_file).blocking == []
    assert not run.events_file.exists(), "events are the engine's alone"


def test_a_payload_of_another_encoder_blocks(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 12)
    make_corpus(tmp_path / "p", [9] * 12, walk([9] * 12, seed=3))
    rewrite_manifest(tmp_path / "p", embedder="another")
    result = invoke("preflight", "--corpus", tmp_path / "c", "--payload-corpus", tmp_path / "p")
    assert result.exit_code == 1
    assert "BLOCKS: provenance, payload_alignment" in result.stderr


@pytest.mark.slow
def test_a_hopeless_scenario_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    assert invoke("data", "synth", "--preset", "hopeless", "--out", tmp_path / "c").exit_code == 0
    result = invoke("preflight", "--corpus", tmp_path / "c")
    assert result.exit_code == 0, "a warning blocks nothing"
    assert "gate_within_reach MISSED" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--run-dir", "r", "--corpus", "c"], "--corpus: a run directory's data are in its spec.json"),
        (["--run-dir", "nowhere"], "spec.json: cannot be read"),
        (["--corpus", "nowhere"], "nowhere does not exist"),
        (["--train-npz", "nowhere.npz"], "nowhere.npz does not exist"),
        (["--eval-npz", "nowhere.npz"], "--eval-npz: "),
        (["--train-npz", "."], "is no regular file"),
        (["--payload-corpus", "embedded:wikilead"], 'Did you mean "embedded:wikileads"'),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("preflight", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_report_is_not_written_over_a_folder(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 12)
    result = invoke("preflight", "--corpus", tmp_path / "c", "--out", tmp_path)
    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)


def test_a_report_that_cannot_be_written_is_an_error_that_says_how_to_mend_it(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 12)
    result = invoke("preflight", "--corpus", tmp_path / "c", "--out", tmp_path / "c" / "manifest.json" / "report.json")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert "Name another file with --out." in result.stderr


# What train does with it.


def test_training_looks_first_and_measures_the_floors_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=1)
    assert invoke("train", "--run-dir", run.path).exit_code == 0
    kinds = [type(event) for event in read_events(run.events_file)]
    assert kinds.index(PreflightJudged) < kinds.index(RunStarted)
    (judged,) = only(run, PreflightJudged)
    assert isinstance(judged, PreflightJudged)
    assert (judged.verdict, judged.blocking, judged.override) == ("passed", [], "")
    (measured,) = only(run, FloorsMeasured)
    assert isinstance(measured, FloorsMeasured)
    assert measured.floors == read_preflight(run.preflight_file).floors


def test_a_leak_blocks_and_nothing_is_trained(tmp_path: Path) -> None:
    run = leaky_run(tmp_path / "leaky-0001")
    result = invoke("train", "--run-dir", run.path)
    assert result.exit_code == 2
    assert "WARNING [PREFLIGHT] chunks_shared MISSED" in result.stdout
    assert (only(run, RunStarted), only(run, EpochEnded)) == ([], [])
    (judged,) = only(run, PreflightJudged)
    assert isinstance(judged, PreflightJudged)
    assert judged.verdict == "missed"
    assert judged.blocking[0].startswith("chunks_shared: ")
    last = read_events(run.events_file)[-1]
    assert isinstance(last, RunFailed)
    assert last.message.startswith("preflight: chunks_shared")
    assert "--override-preflight REASON" in last.message
    assert "lvm-tui start mamba_s --override REASON" in last.message
    assert read_preflight(run.preflight_file).blocking


def test_a_blocked_run_stays_blocked_when_it_is_resumed(tmp_path: Path) -> None:
    run = leaky_run(tmp_path / "leaky-0001")
    assert invoke("train", "--run-dir", run.path).exit_code == 2
    assert invoke("train", "--run-dir", run.path, "--resume").exit_code == 2
    assert only(run, RunStarted) == []


@pytest.mark.parametrize("where", ["flag", "spec"])
def test_a_written_reason_trains_and_is_recorded(tmp_path: Path, where: str) -> None:
    run = leaky_run(tmp_path / "leaky-0001", override=REASON if where == "spec" else "")
    flags = ["--override-preflight", REASON] if where == "flag" else []
    result = invoke("train", "--run-dir", run.path, *flags)
    assert result.exit_code == 0, result.output
    assert read_preflight(run.preflight_file).override == REASON
    state = fold(read_events(run.events_file))
    assert state.preflight is not None
    assert (state.preflight.verdict, state.preflight.override) == ("missed", REASON)
    warned = [event for event in only(run, WarningRaised) if isinstance(event, WarningRaised)]
    assert any(REASON in event.message for event in warned)
    assert only(run, RunFinished)


def test_the_playbooks_flags_take_a_reason_too(tmp_path: Path) -> None:
    npz = leaky_file(tmp_path / "w.npz")
    blocked = invoke("train", "--train-npz", npz, "--save-dir", tmp_path / "a", *FLAGS)
    assert blocked.exit_code == 2
    allowed = invoke("train", "--train-npz", npz, "--save-dir", tmp_path / "b", *FLAGS, "--override-preflight", REASON)
    assert allowed.exit_code == 0, allowed.output
    assert RunDirectory(tmp_path / "b").read_spec().preflight_override == REASON


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_blank_reason_is_refused(tmp_path: Path, reason: str) -> None:
    run = leaky_run(tmp_path / "leaky-0001")
    result = invoke("train", "--run-dir", run.path, "--override-preflight", reason)
    assert result.exit_code == 2
    assert "the reason is blank" in result.stderr
    assert not run.events_file.exists()


def test_a_blank_reason_in_the_spec_is_none(tmp_path: Path) -> None:
    run = leaky_run(tmp_path / "leaky-0001", override="   ")
    assert invoke("train", "--run-dir", run.path).exit_code == 2
    assert only(run, RunStarted) == []


def test_a_reason_that_is_not_needed_is_not_recorded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=1)
    assert invoke("train", "--run-dir", run.path, "--override-preflight", REASON).exit_code == 0
    assert read_preflight(run.preflight_file).override == ""
    assert not any(REASON in str(event) for event in only(run, WarningRaised))


def test_a_stop_during_the_preflight_is_honoured_and_the_resume_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "small-0001", epochs=1)
    lock = take_lock(run.lock_file)
    assert lock is not None
    with monkeypatch.context() as patch:
        patch.setenv(LOCK_FD_VARIABLE, str(lock))  # the verb closes it
        run.stop_file.touch()
        assert invoke("train", "--run-dir", run.path).exit_code == 0
    assert (len(only(run, RunStopped)), only(run, PreflightJudged)) == (1, [])
    assert invoke("train", "--run-dir", run.path, "--resume").exit_code == 0
    assert len(only(run, PreflightJudged)) == 1


def test_a_resume_does_not_look_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=1)
    assert invoke("train", "--run-dir", run.path).exit_code == 0
    spec = run.read_spec()
    longer = msgspec.structs.replace(spec, config=msgspec.structs.replace(spec.config, epochs=2))
    run.spec_file.write_bytes(msgspec.json.encode(longer))
    events = read_events(run.events_file)
    run.events_file.write_bytes(b"".join(run.events_file.read_bytes().splitlines(keepends=True)[:-1]))
    assert isinstance(events[-1], RunFinished)
    assert invoke("train", "--run-dir", run.path, "--resume").exit_code == 0
    assert len(only(run, PreflightJudged)) == 1
    assert len(run.read_history()) == 2


def test_vectors_without_a_direction_are_found_before_the_first_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    corpus = open_corpus(tmp_path / "corpus")
    stored = np.load(corpus.parts[0].vectors)
    stored[3] = 0
    np.save(corpus.parts[0].vectors, stored)
    assert invoke("train", "--run-dir", run.path).exit_code == 2
    assert [item.name for item in read_preflight(run.preflight_file).blocking] == ["vectors_finite", "data_unchanged"]


@pytest.mark.slow
def test_the_leak_scenario_is_blocked_from_the_command_line(tmp_path: Path) -> None:
    npz = tmp_path / "leak.npz"
    made = invoke("data", "synth", "--preset", "leak", "--out", tmp_path / "leak", "--npz", npz)
    assert made.exit_code == 0, made.output
    result = invoke("train", "--train-npz", npz, "--save-dir", tmp_path / "run", *FLAGS)
    assert result.exit_code == 2
    assert "preflight: chunks_shared: 2,866 of 3,692 chunks in held-out windows" in result.stderr
