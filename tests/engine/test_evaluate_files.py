"""`evaluate` with the playbook's own files: what it measures, and what it refuses before it measures anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from engine.data.payload_corpus import import_payload
from engine.models.registry import build_head, build_model
from engine.run.evals import EvalReport, read_report
from engine.run.settings import DataConfig, ModelConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta, save_checkpoint
from engine.verbs.align import command as align
from engine.verbs.evaluate import command
from engine.verbs.rerank import command as rerank
from tests.reference.plain_retrieval import rank_of_truth, share_within
from tests.reference.playbook_files import DIM, Playbook, write_index, write_playbook, write_windows
from tests.reference.small_corpus import make_corpus

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 5
CONTEXT = 3
LOW = ("--gate-contain50", 0, "--gate-r5", 0, "--gate-eff5", 0, "--gate-p95", 10_000)


@pytest.fixture
def files(tmp_path: Path) -> Playbook:
    return write_playbook(tmp_path, LENGTHS, CONTEXT)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_model(tmp_path / "best")


def save_model(folder: Path, *, dim: int = DIM, context: int = CONTEXT) -> Path:
    """An untrained AMN, which predicts the mean of the context, of a training on windows."""
    config = RunConfig(model=ModelConfig(kind="amn", width=8, layers=1))
    torch.manual_seed(0)
    save_checkpoint(
        folder,
        model=build_model(config.model, dim=dim, context=context),
        head=build_head(config.loss, dim=dim),
        training={},
        meta=CheckpointMeta(
            kind="amn",
            config=config,
            data=DataConfig(train_npz="train.npz", context=context),
            corpus_sha256="",
            dim=dim,
            context=context,
            epoch=4,
            step=9,
            val_cosine=0.5,
            sha256={},
        ),
    )
    return folder


def run(files: Playbook, checkpoint: Path, *more: object) -> Result:
    folder = files.payload.parent
    given = ("--eval-npz", files.eval_npz, "--payload", files.payload, "--trust-pickle")
    where = ("--checkpoint", checkpoint, "--index-dir", folder / "indexes", "--out", folder / "report.json")
    return CliRunner().invoke(command, [str(argument) for argument in (*where, *given, *LOW, *more)])


def measured(files: Playbook, checkpoint: Path, *more: object) -> tuple[EvalReport, Result]:
    result = run(files, checkpoint, *more)
    assert result.exit_code == 0, result.output
    return read_report(files.payload.parent / "report.json"), result


def refused(files: Playbook, checkpoint: Path, *more: object) -> str:
    """The one line of an error; nothing was written."""
    result = run(files, checkpoint, *more)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not (files.payload.parent / "report.json").exists()
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_the_playbooks_files_give_the_figures_of_their_definitions(files: Playbook, checkpoint: Path) -> None:
    report, _result = measured(files, checkpoint, "--faiss", files.index)
    contexts = files.truths[:, None] + np.arange(-CONTEXT, 0)
    means = files.vectors[contexts].mean(axis=1)
    ranks = [
        rank_of_truth(files.vectors, mean, int(truth), own.tolist())
        for mean, truth, own in zip(means, files.truths, contexts, strict=True)
    ]
    row = report.rows["context_mean"].exact
    assert row.r5 == pytest.approx(share_within(ranks, 5))
    assert row.contain50 == pytest.approx(share_within(ranks, 50))
    within = [rank_of_truth(files.vectors, m, int(t), []) for m, t in zip(means, files.truths, strict=True)]
    assert report.rows["context_mean"].exact_with_context.r5 == pytest.approx(share_within(within, 5))
    assert report.rows["oracle"].on_index.r1 == 1.0
    assert (report.index.origin, report.num_queries) == ("given", len(files.truths))
    assert report.embedder == "test-encoder"


def test_a_converted_payload_is_read_without_trust_and_figures_stay(files: Playbook, checkpoint: Path) -> None:
    first, _result = measured(files, checkpoint)
    folder = files.payload.parent
    arguments = ("--checkpoint", checkpoint, "--eval-npz", files.eval_npz, "--payload", files.payload)
    rest = ("--index-dir", folder / "indexes", "--out", folder / "again.json", *LOW)
    result = CliRunner().invoke(command, [str(argument) for argument in (*arguments, *rest)])
    assert result.exit_code == 0, result.output
    again = read_report(folder / "again.json")
    assert again.rows == first.rows
    assert again.index.origin == "cached"


def test_a_corpus_folder_is_a_payload(files: Playbook, checkpoint: Path) -> None:
    corpus = make_corpus(files.payload.parent / "corpus", LENGTHS, files.vectors)
    write_windows(files, CONTEXT, truth_keys=files.truths)
    report, result = measured(files, checkpoint, "--payload", corpus.folder)
    assert report.rows["oracle"].exact.r1 == 1.0
    assert "truth to payload cosine: mean 1.000" in result.stderr


def test_misaligned_targets_are_refused_unless_that_is_allowed(files: Playbook, checkpoint: Path) -> None:
    write_windows(files, CONTEXT, targets=files.vectors[files.truths - 1])
    said = refused(files, checkpoint)
    assert "eval.npz: its targets are not the vectors of" in said
    assert "bar 0.98" in said
    assert "--allow-misaligned" in said
    report, _result = measured(files, checkpoint, "--allow-misaligned")
    assert any("its targets are not the vectors" in note for note in report.notes)


def test_another_encoder_or_metric_is_refused(files: Playbook, checkpoint: Path) -> None:
    corpus = make_corpus(files.payload.parent / "corpus", LENGTHS, files.vectors)
    said = {"embedder_id": "another-encoder", "metric": "l2"}
    write_windows(files, CONTEXT, truth_keys=files.truths, provenance=np.array([json.dumps(said)]))
    line = refused(files, checkpoint, "--payload", corpus.folder)
    assert "another-encoder" in line
    assert "test-encoder" in line
    assert "metric l2" in line


def test_truth_keys_of_another_payload_are_refused(files: Playbook, checkpoint: Path) -> None:
    keys = np.load(files.eval_npz)["truth_keys"]
    write_windows(files, CONTEXT, truth_keys=keys + 10_000)
    assert "none of its" in refused(files, checkpoint)
    keys[3] = [9, 9]
    write_windows(files, CONTEXT, truth_keys=keys)
    assert "1 of" in refused(files, checkpoint)
    report, _result = measured(files, checkpoint, "--allow-misaligned")
    assert report.num_queries == len(files.truths) - 1


def test_another_width_is_refused(files: Playbook, tmp_path: Path) -> None:
    assert "in 16 dimensions" in refused(files, save_model(tmp_path / "wide", dim=24))
    num = len(files.truths)
    write_windows(files, CONTEXT, contexts=np.ones((num, CONTEXT, 24)), targets=np.ones((num, 24)))
    assert "payload.npy: holds vectors of 16" in refused(files, tmp_path / "wide")


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (lambda files: files.eval_npz.write_bytes(files.eval_npz.read_bytes()[:900]), "eval.npz: not a whole npz"),
        (lambda files: write_windows(files, CONTEXT, targets=None), "eval.npz: has no key targets"),
        (lambda files: files.payload.write_bytes(files.payload.read_bytes()[:900]), "payload.npy: cannot be unpickled"),
        (lambda files: write_index(files.index, files.vectors[::-1].copy() * -1), "payload.index: is an index"),
        (lambda files: files.index.unlink(), "payload.index: cannot be read"),
    ],
)
def test_a_damaged_file_is_one_error_that_names_it(plant: Any, says: str, files: Playbook, checkpoint: Path) -> None:
    plant(files)
    assert says in refused(files, checkpoint, "--faiss", files.index)


def test_files_come_together(files: Playbook, checkpoint: Path) -> None:
    for more, says in {
        ("--payload", "p.npy"): "--eval-npz, which is not given",
        ("--eval-npz", "e.npz"): "needs --payload",
        ("--eval-npz", "e.npz", "--payload", "p.npy", "--corpus", "c"): "--corpus",
    }.items():
        result = CliRunner().invoke(command, ["--checkpoint", str(checkpoint), *more])
        assert result.exit_code == 2
        assert says in result.stderr


def test_an_index_that_is_given_is_not_chosen_too(files: Playbook, checkpoint: Path) -> None:
    assert "Leave out --index or --faiss" in refused(files, checkpoint, "--faiss", files.index, "--index", "flat")


def test_tuning_reports_what_was_tried_and_what_was_not_used(files: Playbook, checkpoint: Path) -> None:
    report, result = measured(files, checkpoint, "--tune")
    assert report.trials
    assert any((trial.kind, trial.nprobe) == (report.index.kind, report.index.nprobe) for trial in report.trials)
    assert "not the locked 64" in result.stderr
    assert "[TUNE] *" in result.stdout
    given, _result = measured(files, checkpoint, "--tune", "--faiss", files.index)
    assert {trial.nlist for trial in given.trials} == {4}
    hopeless = run(files, checkpoint, "--tune", "--gate-p95", 1e-6)
    assert hopeless.exit_code == 1
    assert "this is the fastest" in hopeless.stderr


def test_own_context_is_named_where_it_would_stand_first(files: Playbook, checkpoint: Path) -> None:
    report, result = measured(files, checkpoint)
    assert report.miss_modes["own context"] > 0
    assert "own context would stand first" in result.stdout
    missed = sum(count for mode, count in report.miss_modes.items() if mode != "own context")
    assert missed == round((1 - report.rows["model"].exact.r5) * report.num_queries)


def test_what_was_fitted_is_named_and_so_are_queries_of_the_articles_it_was_fitted_on(
    tmp_path: Path, checkpoint: Path
) -> None:
    files = write_playbook(tmp_path, LENGTHS * 2, CONTEXT)
    folder = files.payload.parent
    head, reranker = folder / "head.safetensors", folder / "reranker.safetensors"
    payload = import_payload(files.payload, folder / "corpus", trusted=True).folder
    fit = ("--checkpoint", str(checkpoint), "--corpus", str(payload), "--out")
    assert CliRunner().invoke(align, [*fit, str(head)]).exit_code in (0, 1)
    more = ("--model", "logistic", "--features", "playbook")
    assert CliRunner().invoke(rerank, [*fit, str(reranker), *more]).exit_code in (0, 1)

    searched = ("--payload", payload)
    notes = measured(files, checkpoint, *searched)[0].notes
    assert not any("fitted" in note for note in notes)
    report, _result = measured(files, checkpoint, *searched, "--head", head, "--reranker", reranker)
    notes = report.notes
    assert [gate.value for gate in report.gates if gate.name == "r5"] == [report.rows["reranked"].exact.r5]
    for words in (
        f"goes through the head {head} (",
        f"reranked row is by {reranker} (logistic, playbook, ",
        "gates say nothing of the model",
        "orders those of the head",
        f"of {len(files.truths)} queries are of articles that the head or reranker was fitted on",
    ):
        assert [words in note for note in notes].count(True) == 1, (words, notes)
    assert sum("fitted on 8 validation articles" in note for note in notes) == 2
