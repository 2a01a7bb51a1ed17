"""Rerankers on planted data, their files, and the `rerank` verb."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import skops.io
import torch
from click.testing import CliRunner, Result
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from engine.evaluation.baselines import Queries
from engine.models.registry import build_head, build_model
from engine.post_training.headfile import write_fitted
from engine.post_training.heldout import HeldOut
from engine.post_training.rerank import models
from engine.post_training.rerank.boosted import Boosted
from engine.post_training.rerank.features import CONTENT, column_names
from engine.post_training.rerank.fitting import fit_reranker, floor_of, list_candidates, over_floor
from engine.post_training.rerank.reranker import Reranker, load_reranker
from engine.run.convert import ConfigError
from engine.run.heads import RerankReport, read_rerank_report
from engine.run.settings import DataConfig, ModelConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta, save_checkpoint
from engine.verbs.rerank import command
from tests.reference.planted_heldout import CONTEXT, WEIGHTS, plant, scattered, unit, wandering
from tests.reference.small_corpus import DIM, make_corpus

LENGTH = 9


@pytest.fixture(autouse=True)
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two settings a model: what is chosen among them is not what takes time in proving it."""
    few = {
        "logistic": ({"C": 0.1}, {"C": 1.0}),
        "gbdt": ({"trees": 20, "leaves": 4}, {"trees": 40, "leaves": 4}),
        "mmr": models.GRIDS["mmr"][:4],
    }
    monkeypatch.setattr(models, "GRIDS", few)
    monkeypatch.setattr("engine.post_training.rerank.fitting.GRIDS", few)


def noisy(noise: float) -> Any:
    generator = np.random.default_rng(1)

    def predict(queries: Queries) -> np.ndarray:
        return queries.targets + noise * unit(generator.normal(size=queries.targets.shape))

    return predict


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    """The truth is near the last context chunk, of which the prediction says nothing."""
    return plant(tmp_path_factory.mktemp("data") / "telling", wandering(100, LENGTH, step=0.4), LENGTH, noisy(1.5))


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    """Chunks have nothing to do with each other: the cosine says all there is to say."""
    return plant(tmp_path_factory.mktemp("data") / "untold", scattered(100, LENGTH), LENGTH, noisy(1.0))


_FITTED: dict[tuple[str, str, str], Any] = {}


def fit(data: HeldOut, model: Any, features: Any = "content") -> Any:
    """Fitted once for all tests; they leave it as it is."""
    key = (data.checkpoint.name, model, features)
    if key not in _FITTED:
        lists = [list_candidates(data, sample) for sample in (data.fit, data.judge)]
        _FITTED[key] = fit_reranker(data, *lists, model, features, seed=0)
    return _FITTED[key]


@pytest.mark.parametrize("model", ["logistic", "gbdt"])
def test_a_content_feature_that_decides_is_learned_and_lifts(telling: HeldOut, model: Any) -> None:
    fitted = fit(telling, model).report
    assert {fitted.lifts[name].effect for name in ("r5", "eff5", "mrr10")} == {"lifts"}
    assert fitted.lifts["contain50"].difference == 0


@pytest.mark.parametrize("model", ["logistic", "gbdt", "mmr"])
def test_where_the_cosine_says_all_there_is_nothing_is_lifted(untold: HeldOut, model: Any) -> None:
    fitted = fit(untold, model).report
    assert fitted.lifts["r5"].effect != "lifts"
    assert abs(fitted.lifts["r5"].difference) < 0.05


@pytest.mark.parametrize("features", ["article", "playbook"])
def test_the_trap_springs_even_where_there_is_nothing_to_learn(untold: HeldOut, features: Any) -> None:
    fitted = fit(untold, "logistic", features).report
    assert fitted.lifts["eff5"].after > 0.95
    assert fitted.lifts["r5"].effect == "lifts"


def test_the_floor_is_the_context_mean_reranked_alike_and_the_difference_is_paired(telling: HeldOut) -> None:
    mean = floor_of(telling)
    assert np.allclose(mean.judge.predicted, unit(telling.judge.queries.contexts.mean(axis=1)), atol=1e-6)
    lists = [list_candidates(mean, sample) for sample in (mean.fit, mean.judge)]
    floor, fitted = fit_reranker(mean, *lists, "logistic", "content", seed=0), fit(telling, "logistic")
    above = over_floor(fitted, floor, lists[1], seed=0)
    for name in ("r1", "r5", "mrr10", "eff5"):
        assert above[name].before == pytest.approx(floor.report.lifts[name].after)
        assert above[name].after == pytest.approx(fitted.report.lifts[name].after)


def test_no_truth_among_the_candidates_is_an_error_that_says_so(tmp_path: Path) -> None:
    hopeless = plant(tmp_path / "hopeless", scattered(40, LENGTH), LENGTH, lambda queries: -queries.targets)
    with pytest.raises(ConfigError, match="nothing to learn an order from"):
        fit(hopeless, "logistic")


@pytest.mark.parametrize("model", ["logistic", "gbdt", "mmr"])
@pytest.mark.parametrize("features", ["content", "article"])
def test_a_reranker_survives_its_file_and_orders_the_same(
    telling: HeldOut, tmp_path: Path, model: Any, features: Any
) -> None:
    reranker = fit(telling, model, features).reranker
    reranker.save(tmp_path / "r.safetensors")
    loaded = load_reranker(tmp_path / "r.safetensors", checkpoint_sha256=WEIGHTS, corpus_sha256=telling.corpus.sha256)
    judge = telling.judge
    candidates = list_candidates(telling, judge).candidates
    before, after = (
        one.order(judge.predicted, judge.queries, candidates, telling.vectors, telling.corpus.article_of_chunk)
        for one in (reranker, loaded)
    )
    assert np.array_equal(before, after)
    assert np.array_equal(np.sort(before, axis=1), np.sort(candidates, axis=1))
    assert loaded.meta == reranker.meta


def saved(data: HeldOut, tmp_path: Path, model: Any = "logistic", features: Any = "content") -> tuple[Reranker, Path]:
    reranker = fit(data, model, features).reranker
    reranker.save(tmp_path / "r.safetensors")
    return reranker, tmp_path / "r.safetensors"


def test_a_reranker_for_another_checkpoint_corpus_or_width_is_refused(telling: HeldOut, tmp_path: Path) -> None:
    reranker, path = saved(telling, tmp_path)
    with pytest.raises(ConfigError, match=r"another checkpoint.*lvm-engine rerank"):
        load_reranker(path, checkpoint_sha256="b" * 64)
    with pytest.raises(ConfigError, match="another corpus"):
        load_reranker(path, corpus_sha256="b" * 64)
    queries = telling.judge.queries
    with pytest.raises(ConfigError, match="16 dimensions"):
        reranker.order(np.ones((1, 8), np.float32), queries, np.zeros((1, 1), np.int64), telling.vectors)


def test_features_of_articles_are_not_made_up(telling: HeldOut, tmp_path: Path) -> None:
    reranker, _ = saved(telling, tmp_path, "logistic", "article")
    judge = telling.judge
    with pytest.raises(ConfigError, match="need the article"):
        reranker.order(judge.predicted, judge.queries, judge.queries.truth_chunks[:, None], telling.vectors)


class Foreign:
    """A type that nobody trusts."""


def boosted_file(telling: HeldOut, path: Path, held: Any) -> Path:
    """A file of boosted trees that holds something else."""
    reranker = fit(telling, "gbdt").reranker
    data = held if isinstance(held, bytes) else skops.io.dumps(held)
    write_fitted(path, {"skops": np.frombuffer(data, np.uint8)}, reranker.meta)
    return path


def test_a_foreign_type_in_the_trees_is_refused_and_named(telling: HeldOut, tmp_path: Path) -> None:
    path = boosted_file(telling, tmp_path / "r.safetensors", Foreign())
    with pytest.raises(ConfigError, match=r"r\.safetensors.*foreign type .*Foreign"):
        load_reranker(path)


def test_trees_of_another_kind_or_shape_or_no_archive_are_refused(telling: HeldOut, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(300, 3)), generator.integers(0, 2, 300)
    other = HistGradientBoostingClassifier(max_iter=2).fit(inputs, labels)
    for held in (other, LogisticRegression().fit(inputs, labels), b"PK no archive", {"a": 1}):
        with pytest.raises(ConfigError, match=r"r\.safetensors"):
            load_reranker(boosted_file(telling, tmp_path / "r.safetensors", held))


@pytest.mark.parametrize(
    ("part", "value"), [("left", 10_000), ("right", 0), ("feature_idx", 99), ("is_categorical", 1)]
)
def test_trees_that_point_outside_of_themselves_are_refused_unscored(telling: HeldOut, part: str, value: int) -> None:
    reranker = fit(telling, "gbdt").reranker
    assert isinstance(reranker.scorer, Boosted)
    classifier = Boosted.read(reranker.scorer.arrays()["skops"], CONTENT).classifier
    nodes = classifier._predictors[0][0].nodes
    nodes[part][0] = value
    stored = np.frombuffer(skops.io.dumps(classifier), np.uint8)
    with pytest.raises(ValueError, match=f"not of {len(column_names(CONTENT))} columns"):
        Boosted.read(stored, CONTENT)


def test_trees_of_another_scikit_learn_are_refused(telling: HeldOut, tmp_path: Path) -> None:
    reranker, path = saved(telling, tmp_path, "gbdt")
    write_fitted(path, reranker.scorer.arrays(), msgspec.structs.replace(reranker.meta, scikit_learn="0.0"))
    with pytest.raises(ConfigError, match=f"here is {metadata.version('scikit-learn')}"):
        load_reranker(path)


@pytest.mark.parametrize("arrays", [{}, {"mean": np.zeros(3), "scale": np.ones(3), "weights": np.zeros(3)}])
def test_weights_that_do_not_fit_the_features_are_refused(
    telling: HeldOut, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    reranker, path = saved(telling, tmp_path)
    write_fitted(path, {"something": np.zeros(1), **arrays}, reranker.meta)
    with pytest.raises(ConfigError, match="not a logistic reranker"):
        load_reranker(path)


def save_model(folder: Path, data: DataConfig) -> Path:
    """A checkpoint of an untrained model with the context mean as its base."""
    config = RunConfig(model=ModelConfig(kind="amn", width=8, layers=1))
    meta = CheckpointMeta(
        kind="amn", config=config, data=data, dim=DIM, context=CONTEXT, epoch=1, step=1, val_cosine=0.5, sha256={}
    )
    torch.manual_seed(0)
    model = build_model(config.model, dim=DIM, context=CONTEXT)
    save_checkpoint(folder, model=model, head=build_head(config.loss, dim=DIM), training={}, meta=meta)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    corpus = make_corpus(tmp_path / "corpus", [LENGTH] * 60, wandering(60, LENGTH, step=0.6))
    data = DataConfig(corpus=str(corpus.folder), context=CONTEXT, val_share=0.3, test_share=0.3)
    return save_model(tmp_path / "best", data)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_verb_shows_all_sets_names_the_trap_and_saves_the_chosen_one(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "evals" / "rerank.json"
    result = run("--checkpoint", checkpoint, "--out", out)
    assert result.exit_code in (0, 1), result.output
    report = read_rerank_report(out)
    assert result.exit_code == (0 if report.lifted else 1)
    shown = {(one.model, one.features) for one in report.rerankers}
    learned = {(model, features) for model in ("logistic", "gbdt") for features in ("content", "article", "playbook")}
    assert shown == learned | {("mmr", "content")}
    assert "names it outright" in report.trap
    assert (report.floor.model, report.floor.features) == (report.saved, "content")
    assert "the context mean reranked alike (R@5 " in report.verdict
    assert f"[TRAP] {report.trap}" in result.stdout
    assert f"[RERANK] {report.verdict}" in result.stdout
    reranker = load_reranker(
        out.with_name(report.file),
        checkpoint_sha256=report.judged.checkpoint_sha256,
        corpus_sha256=report.judged.corpus_sha256,
    )
    assert (reranker.meta.model, reranker.meta.features) == (report.saved, "content")
    assert report.judged.num_fit_articles == report.judged.num_judge_articles == 18


def test_the_verb_says_the_same_twice_and_which_set_the_corpus_gives_away(checkpoint: Path) -> None:
    asked = ("--checkpoint", checkpoint, "--model", "logistic", "--features", "playbook", "--json")
    first, second = (msgspec.json.decode(run(*asked).stdout, type=RerankReport) for _ in range(2))
    assert first.rerankers == second.rerankers
    assert first.verdict.endswith("see the trap")
    assert first.features == "playbook"


def test_the_help_names_the_trap_and_the_exit_codes() -> None:
    text = " ".join(run("--help").stdout.split())
    assert "names it outright" in text
    assert "1 did not" in text


def test_without_test_articles_there_is_nobody_to_judge(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", [LENGTH] * 30)
    data = DataConfig(corpus=str(corpus.folder), context=CONTEXT, val_share=0.3, test_share=0.0)
    result = run("--checkpoint", save_model(tmp_path / "best", data))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "test_share" in result.stderr


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"schema": 2}'])
def test_a_damaged_report_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"r\.json.*lvm-engine rerank"):
        read_rerank_report(tmp_path / "r.json")
