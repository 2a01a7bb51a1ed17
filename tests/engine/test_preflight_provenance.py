"""Provenance: mixed encoders and shifted rows are found by label and by vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.data.corpus import open_corpus
from engine.preflight.provenance import judge_labels, judge_provenance
from engine.preflight.subject import Subject, open_subject
from engine.preflight.vectors import judge_finite
from engine.run.preflight import PreflightItem
from engine.run.settings import DataConfig, Gate
from tests.reference.small_corpus import make_corpus, rewrite_manifest, walk

LENGTHS = [8] * 12
DIM = 32


def subject(folder: Path, payload: Path | None = None, **data: Any) -> Subject:
    if not (folder / "c").exists():
        make_corpus(folder / "c", LENGTHS, walk(LENGTHS, dim=DIM))
    settings = {"corpus": str(folder / "c"), "context": 3, "val_share": 0.2} | data
    return open_subject(DataConfig(**settings), [Gate()], folder, payload)


def write_npz(path: Path, vectors: npt.NDArray[np.float32], *, keys: bool = False, **labels: str) -> str:
    starts = [article * 8 + offset for article in range(12) for offset in range(5)]
    arrays: dict[str, Any] = {
        "context_sequences": np.stack([vectors[start : start + 3] for start in starts]),
        "target_vectors": vectors[[start + 3 for start in starts]],
        "article_ids": np.array(starts) // 8,
        **{name: np.array(value) for name, value in labels.items()},
    }
    if keys:
        arrays["truth_keys"] = np.stack([np.array(starts) // 8, np.array(starts) % 8 + 3], axis=1)
    np.savez(path, **arrays)
    return str(path)


def rotated(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same texts in another encoder: every cosine between chunks is kept, none between the two is."""
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(DIM, DIM)))
    return (vectors @ turn).astype(np.float32)


def alignment(items: list[PreflightItem]) -> PreflightItem:
    return next(item for item in items if item.name == "payload_alignment")


def test_one_corpus_for_everything_is_fine_and_says_so(tmp_path: Path) -> None:
    alone = judge_provenance(subject(tmp_path))
    assert [(item.name, item.verdict) for item in alone] == [("provenance", "passed")]
    assert "one source trains, judges and is searched" in alone[0].detail
    same = judge_provenance(subject(tmp_path, tmp_path / "c"))
    assert [(item.name, item.verdict) for item in same] == [("provenance", "passed")]


@pytest.mark.parametrize(
    ("changes", "level", "verdict"),
    [
        ({}, "must", "passed"),
        ({"embedder": "another"}, "must", "missed"),
        ({"norm": "none"}, "should", "missed"),
        ({"embedder": "another", "norm": "none"}, "must", "missed"),
    ],
)
def test_labels_that_differ_are_named(tmp_path: Path, changes: dict[str, str], level: str, verdict: str) -> None:
    make_corpus(tmp_path / "payload", LENGTHS, walk(LENGTHS, dim=DIM))
    rewrite_manifest(tmp_path / "payload", **changes)
    item = judge_labels(subject(tmp_path, tmp_path / "payload"))
    assert (item.level, item.verdict) == (level, verdict)
    assert all(label in item.detail for label in changes)


def test_a_file_that_names_its_encoder_is_held_to_it(tmp_path: Path) -> None:
    make_corpus(tmp_path / "payload", LENGTHS, walk(LENGTHS, dim=DIM))
    vectors = walk(LENGTHS, dim=DIM)
    judged = {}
    for name, labels in {"same": {"embedder": "test-encoder"}, "other": {"embedder": "gtr-t5"}, "silent": {}}.items():
        npz = write_npz(tmp_path / f"{name}.npz", vectors, **labels)
        judged[name] = judge_labels(subject(tmp_path, tmp_path / "payload", train_npz=npz, test_share=0.0))
    assert {name: item.verdict for name, item in judged.items()} == {
        "same": "passed",
        "other": "missed",
        "silent": "undecidable",
    }
    assert judged["silent"].level == "should"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"embedder_id": "test-encoder", "norm": "l2_once", "metric": "ip"}, "passed"),
        ({"embedder_id": "test-encoder", "metric": "Cosine"}, "passed"),  # of unit vectors the same
        ({"embedder_id": "unknown"}, "undecidable"),
        ({"embedder_id": "gtr-t5"}, "missed"),
        ({"embedder_id": "test-encoder", "metric": "l2"}, "missed"),
        ("no JSON", "undecidable"),
    ],
)
def test_the_playbooks_provenance_is_read(tmp_path: Path, said: Any, verdict: str) -> None:
    make_corpus(tmp_path / "payload", LENGTHS, walk(LENGTHS, dim=DIM))
    text = said if isinstance(said, str) else json.dumps(said)
    npz = write_npz(tmp_path / "playbook.npz", walk(LENGTHS, dim=DIM), provenance=text)
    assert judge_labels(subject(tmp_path, tmp_path / "payload", train_npz=npz, test_share=0.0)).verdict == verdict


def test_what_the_playbooks_tools_pickle_beside_the_windows_is_never_opened(tmp_path: Path) -> None:
    npz = write_npz(tmp_path / "playbook.npz", walk(LENGTHS, dim=DIM), keys=True)
    with np.load(npz) as arrays:
        pickled = np.array(["anything"], object)
        np.savez(npz, last_meta=pickled, provenance=pickled, **arrays)
    make_corpus(tmp_path / "payload", LENGTHS, walk(LENGTHS, dim=DIM))
    looked_at = subject(tmp_path, tmp_path / "payload", train_npz=npz, test_share=0.0)
    assert judge_labels(looked_at).verdict == "undecidable"
    assert judge_finite(looked_at)[0].verdict == "passed"
    assert alignment(judge_provenance(looked_at)).verdict == "passed"


@pytest.mark.parametrize(("keys", "how"), [(True, "by key"), (False, "by nearest vector")])
def test_targets_in_another_encoder_than_the_payload_block(tmp_path: Path, keys: bool, how: str) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    make_corpus(tmp_path / "payload", LENGTHS, vectors)
    for made, verdict in ((vectors, "passed"), (rotated(vectors), "missed")):
        npz = write_npz(tmp_path / f"{verdict}.npz", made, keys=keys)
        items = judge_provenance(subject(tmp_path, tmp_path / "payload", train_npz=npz, test_share=0.0))
        item = alignment(items)
        assert (item.level, item.verdict) == ("must", verdict)
        assert how in item.detail
        assert item.value is not None
        assert (item.value > 0.999) == (verdict == "passed")


def test_rows_in_another_order_are_found_by_key_only(tmp_path: Path) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    make_corpus(tmp_path / "payload", LENGTHS, np.roll(vectors, 1, axis=0))
    for keys, verdict in ((True, "missed"), (False, "passed")):
        npz = write_npz(tmp_path / f"{keys}.npz", vectors, keys=keys)
        items = judge_provenance(subject(tmp_path, tmp_path / "payload", train_npz=npz, test_share=0.0))
        assert alignment(items).verdict == verdict


def test_two_corpora_are_paired_by_title_and_text(tmp_path: Path) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    for made, verdict in ((vectors.astype(np.float16), "passed"), (rotated(vectors), "missed")):
        folder = tmp_path / verdict
        make_corpus(folder, LENGTHS, made, dtype=str(made.dtype))
        item = alignment(judge_provenance(subject(tmp_path, folder)))
        assert item.verdict == verdict
        assert "by title" in item.detail


def test_a_few_wrong_rows_move_the_low_percentile(tmp_path: Path) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    spoilt = vectors.copy()
    spoilt[::15] = walk([1] * len(spoilt[::15]), dim=DIM, seed=7)  # 7 in 100
    make_corpus(tmp_path / "payload", LENGTHS, spoilt)
    item = alignment(judge_provenance(subject(tmp_path, tmp_path / "payload")))
    assert item.verdict == "missed"


def test_another_width_is_another_encoder(tmp_path: Path) -> None:
    make_corpus(tmp_path / "payload", LENGTHS, walk(LENGTHS, dim=16))
    item = alignment(judge_provenance(subject(tmp_path, tmp_path / "payload")))
    assert (item.verdict, item.value) == ("missed", None)
    assert "32 dimensions and the payload 16" in item.detail


def test_the_evaluation_file_is_held_against_the_payload_too(tmp_path: Path) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    npz = write_npz(tmp_path / "eval.npz", rotated(vectors))
    make_corpus(tmp_path / "payload", LENGTHS, vectors.astype(np.float16), dtype="float16")
    items = judge_provenance(subject(tmp_path, tmp_path / "payload", eval_npz=npz))
    verdicts = {item.name: item.verdict for item in items}
    assert (verdicts["payload_alignment"], verdicts["eval_alignment"]) == ("passed", "missed")
    assert open_corpus(tmp_path / "payload").dim == DIM
