"""Alignment heads on planted maps, their files, and the `align` verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from engine.data.windows import CorpusWindows
from engine.models.registry import build_head, build_model
from engine.post_training.alignment import (
    RIDGE_L2,
    AlignmentHead,
    fit_alignment,
    load_head,
    procrustes_maps,
    ridge_maps,
)
from engine.post_training.heldout import FOLDS, article_folds, open_held_out
from engine.run.convert import ConfigError
from engine.run.heads import NO_CHANGE, read_head_report
from engine.run.settings import DataConfig, ModelConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta, save_checkpoint
from engine.verbs.align import command
from tests.reference.planted_heldout import CONTEXT, WEIGHTS, plant, scattered, unit
from tests.reference.small_corpus import DIM, make_corpus

LENGTH = 8
SHARES = {"val_share": 0.3, "test_share": 0.3}


def planted(tmp_path: Path, change: np.ndarray, *, noise: float = 0.5) -> Any:
    """Predictions that are the noisy truth, changed by a linear map."""
    generator = np.random.default_rng(1)

    def predict(queries: Any) -> np.ndarray:
        noisy = queries.targets + noise * unit(generator.normal(size=queries.targets.shape))
        return noisy @ change

    return plant(tmp_path / "corpus", scattered(120, LENGTH), LENGTH, predict)


def rotation(seed: int, strength: float) -> np.ndarray:
    """An orthogonal map that turns vectors by part of the way to a random one."""
    skew = np.random.default_rng(seed).normal(size=(DIM, DIM))
    return torch.linalg.matrix_exp(torch.from_numpy(strength * (skew - skew.T))).numpy()


def test_the_ridge_undoes_a_planted_linear_map_and_lifts_retrieval(tmp_path: Path) -> None:
    change = np.eye(DIM) + 0.3 * np.random.default_rng(0).normal(size=(DIM, DIM))
    head, fitted = fit_alignment(planted(tmp_path, change), "ridge", seed=0)
    assert fitted.setting != NO_CHANGE
    assert {fitted.lifts[name].effect for name in ("r5", "cosine")} == {"lifts"}
    undone = head.apply(unit(scattered(50, 1) @ change))
    assert np.einsum("qd,qd->q", undone, scattered(50, 1)).mean() > 0.9


def test_procrustes_undoes_a_planted_rotation_and_lifts_retrieval(tmp_path: Path) -> None:
    turn = rotation(0, 0.3)
    head, fitted = fit_alignment(planted(tmp_path, turn), "procrustes", seed=0)
    assert fitted.setting == "share=1"
    assert fitted.lifts["r5"].effect == "lifts"
    assert np.allclose(head.matrix @ head.matrix.T, np.eye(DIM), atol=1e-5)
    assert np.einsum("ij,ij->i", turn @ head.matrix, np.eye(DIM)).min() > 0.9


@pytest.mark.parametrize("kind", ["ridge", "procrustes"])
def test_predictions_that_need_no_map_are_left_alone(tmp_path: Path, kind: Any) -> None:
    head, fitted = fit_alignment(planted(tmp_path, np.eye(DIM), noise=0.0), kind, seed=0)
    assert fitted.setting == NO_CHANGE
    assert np.array_equal(head.matrix, np.eye(DIM, dtype=np.float32))
    assert {lift.difference for lift in fitted.lifts.values()} == {0.0}


@pytest.mark.parametrize("kind", ["ridge", "procrustes"])
def test_predictions_that_are_noise_are_not_lifted(tmp_path: Path, kind: Any) -> None:
    generator = np.random.default_rng(3)
    noise = plant(
        tmp_path / "corpus", scattered(80, LENGTH), LENGTH, lambda queries: generator.normal(size=queries.targets.shape)
    )
    _, fitted = fit_alignment(noise, kind, seed=0)
    assert fitted.lifts["r5"].effect != "lifts"


def test_the_ridge_equals_least_squares_on_extended_data() -> None:
    generator = np.random.default_rng(0)
    inputs, wanted = unit(generator.normal(size=(30, 6))), unit(generator.normal(size=(30, 6)))
    for l2 in RIDGE_L2:
        extended = np.vstack([inputs, np.sqrt(l2) * np.eye(6)])
        rest = np.vstack([wanted - inputs, np.zeros((6, 6))])
        delta = np.linalg.lstsq(extended.astype(np.float64), rest.astype(np.float64), rcond=None)[0]
        assert np.allclose(ridge_maps(inputs, wanted)[f"l2={l2:g}"], np.eye(6) + delta, atol=1e-6)


def test_the_full_share_is_the_nearest_rotation_and_leaves_unseen_directions_where_they_are() -> None:
    generator = np.random.default_rng(0)
    turn = rotation(1, 0.2)
    inputs = unit(generator.normal(size=(200, DIM)))
    full = procrustes_maps(inputs, (inputs @ turn).astype(np.float32))["share=1"]
    assert np.allclose(full, turn, atol=1e-4)
    flat = inputs.copy()
    flat[:, DIM // 2 :] = 0  # nothing is known of half of the directions
    unseen = procrustes_maps(flat, flat)["share=1"]
    assert np.allclose(unseen, np.eye(DIM), atol=1e-4)


@given(st.lists(st.integers(0, 30), min_size=20, max_size=200), st.integers(0, 5))
def test_folds_try_every_row_once_and_never_know_its_article(articles: list[int], seed: int) -> None:
    named = np.array([*range(FOLDS), *articles])
    tried_rows = []
    for known, tried in article_folds(named, seed):
        assert not set(named[known]) & set(named[tried])
        assert len(known) + len(tried) == len(named)
        tried_rows += tried.tolist()
    assert sorted(tried_rows) == list(range(len(named)))


def save_model(folder: Path, data: DataConfig, *, dim: int = DIM, nan: bool = False) -> Path:
    """A checkpoint of an untrained model with the context mean as its base."""
    config = RunConfig(model=ModelConfig(kind="amn", width=8, layers=1))
    model = build_model(config.model, dim=dim, context=data.context)
    if nan:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float("nan"))
    meta = CheckpointMeta(
        kind="amn", config=config, data=data, dim=dim, context=data.context, epoch=1, step=1, val_cosine=0.5, sha256={}
    )
    save_checkpoint(folder, model=model, head=build_head(config.loss, dim=dim), training={}, meta=meta)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> CorpusWindows:
    return CorpusWindows(make_corpus(tmp_path / "corpus", [7, 9, 8, 12] * 10), CONTEXT)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.parametrize("seed", range(3))
def test_fitting_articles_and_judged_articles_and_training_articles_are_disjoint(
    source: CorpusWindows, tmp_path: Path, seed: int
) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, split_seed=seed, **SHARES)
    held_out = open_held_out(save_model(tmp_path / "best", data), "", fit_limit=1000, limit=0, seed=0)
    fit, judge = (set(sample.queries.articles.tolist()) for sample in (held_out.fit, held_out.judge))
    assert fit
    assert judge
    assert not fit & judge
    assert len(fit | judge) == 24  # of 40: the rest trained
    assert np.allclose(np.linalg.norm(held_out.fit.predicted, axis=1), 1, atol=1e-5)


def test_the_verb_writes_a_head_that_is_read_back_and_a_report(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **SHARES)
    checkpoint, out = save_model(tmp_path / "best", data), tmp_path / "evals" / "align.json"
    result = run("--checkpoint", checkpoint, "--out", out)
    assert result.exit_code in (0, 1), result.output
    report = read_head_report(out)
    assert result.exit_code == (0 if report.lifted else 1)
    assert f"[ALIGN] {report.verdict}" in result.stdout
    assert [one.kind for one in report.maps] == ["ridge", "procrustes"]
    head = load_head(
        out.with_name(report.file),
        checkpoint_sha256=report.judged.checkpoint_sha256,
        corpus_sha256=report.judged.corpus_sha256,
    )
    assert head.meta.kind == report.saved
    assert head.meta.num_fit_articles == report.judged.num_fit_articles == 12


def test_the_verb_says_the_same_twice(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **SHARES)
    checkpoint = save_model(tmp_path / "best", data)
    first, second = (
        msgspec.json.decode(run("--checkpoint", checkpoint, "--kind", "ridge", "--json").stdout) for _ in range(2)
    )
    assert first["maps"] == second["maps"]
    assert first["maps"][0]["kind"] == "ridge"


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"val_share": 0.3, "test_share": 0.0}, "test_share"),
        ({"val_share": 0.05, "test_share": 0.3}, "validation articles are too few"),
    ],
)
def test_a_split_without_articles_to_fit_or_judge_on_is_named(
    source: CorpusWindows, tmp_path: Path, shares: dict[str, float], says: str
) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **shares)
    result = run("--checkpoint", save_model(tmp_path / "best", data))
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_a_model_whose_predictions_are_nan_is_refused(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **SHARES)
    result = run("--checkpoint", save_model(tmp_path / "best", data, nan=True))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not finite" in result.stderr


@pytest.mark.parametrize("name", ["align.json", "align.safetensors"])
def test_out_names_the_head_or_its_report_and_both_are_written(
    source: CorpusWindows, tmp_path: Path, name: str
) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **SHARES)
    assert run("--checkpoint", save_model(tmp_path / "best", data), "--out", tmp_path / "new" / name).exit_code < 2
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["align.json", "align.safetensors"]


@pytest.mark.parametrize("name", ["head", ".", "head.txt"])
def test_out_is_neither_a_folder_nor_a_file_of_another_kind(source: CorpusWindows, tmp_path: Path, name: str) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, **SHARES)
    result = run("--checkpoint", save_model(tmp_path / "best", data), "--out", tmp_path / name)
    assert result.exit_code == 2
    assert "--out" in result.stderr


def make_head(tmp_path: Path) -> tuple[AlignmentHead, Path]:
    head, _ = fit_alignment(planted(tmp_path, rotation(0, 0.15)), "procrustes", seed=0)
    head.save(tmp_path / "head.safetensors")
    return head, tmp_path / "head.safetensors"


def test_a_head_survives_its_file_bit_for_bit(tmp_path: Path) -> None:
    head, path = make_head(tmp_path)
    loaded = load_head(path, checkpoint_sha256=WEIGHTS)
    predicted = scattered(10, 1)
    assert np.array_equal(loaded.apply(predicted), head.apply(predicted))
    assert np.allclose(np.linalg.norm(loaded.apply(predicted), axis=1), 1, atol=1e-6)
    assert loaded.meta == head.meta


def test_a_head_does_not_make_a_broken_prediction_whole(tmp_path: Path) -> None:
    head, _report = fit_alignment(planted(tmp_path, rotation(0, 0.1)), "ridge", seed=0)
    predicted = np.eye(3, DIM, dtype=np.float32)
    predicted[1, 2], predicted[2, 0] = np.nan, np.inf
    applied = head.apply(predicted)
    assert np.isfinite(applied).all(axis=1).tolist() == [True, False, False]
    assert np.linalg.norm(applied[0]) == pytest.approx(1, abs=1e-6)


def test_a_head_for_another_checkpoint_corpus_or_width_is_refused(tmp_path: Path) -> None:
    head, path = make_head(tmp_path)
    with pytest.raises(ConfigError, match=r"another checkpoint.*lvm-engine align"):
        load_head(path, checkpoint_sha256="b" * 64)
    with pytest.raises(ConfigError, match="another corpus"):
        load_head(path, corpus_sha256="b" * 64)
    with pytest.raises(ConfigError, match="16 dimensions"):
        head.apply(scattered(4, 1, dim=8))


@pytest.mark.parametrize("damage", ["missing", "text", "no metadata", "nan", "shape"])
def test_a_damaged_head_is_named(tmp_path: Path, damage: str) -> None:
    head, path = make_head(tmp_path)
    meta = {"lvm": msgspec.json.encode(head.meta).decode()}
    bad = {
        "text": b"no tensors",
        "no metadata": safetensors.numpy.save({"matrix": head.matrix}),
        "nan": safetensors.numpy.save({"matrix": np.full_like(head.matrix, np.nan)}, metadata=meta),
        "shape": safetensors.numpy.save({"matrix": head.matrix[:3].copy()}, metadata=meta),
    }
    path.unlink() if damage == "missing" else path.write_bytes(bad[damage])
    with pytest.raises(ConfigError, match=r"head\.safetensors"):
        load_head(path)
