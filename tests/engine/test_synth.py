"""Planted scenarios: each is what its preset says, to a calculation and to a model trained on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from msgspec.structs import replace

from engine.data.corpus import open_corpus, verify_corpus
from engine.data.split import Split, split_windows
from engine.data.synth import (
    EFF_MISS,
    HOPELESS,
    LEAK,
    MISS,
    PASSES,
    PRESETS,
    Planted,
    Scenario,
    plant,
    write_scenario,
    write_windows,
)
from engine.data.windows import UNKNOWN, ArrayWindows, CorpusWindows
from engine.evaluation.baselines import Queries
from engine.evaluation.exact import search_exactly
from engine.evaluation.metrics import retrieval_figures
from engine.run.directory import RunDirectory
from engine.run.evals import RetrievalFigures
from engine.run.event_file import read_events
from engine.run.events import (
    EpochRecord,
    Verdict,
)
from engine.run.settings import DataConfig, EvalConfig, Gate, PatchValue, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.state import fold
from engine.training.recorder import Recorder
from engine.training.trainer import Trainer
from engine.verbs.data import command

GATE = Gate().at_least
BARS = EvalConfig()
CONTEXT = DataConfig().context
ARTICLES = 40
SMALL: dict[str, int] = {"num_articles": 8, "num_chunks": 15, "dim": 64}
ALL = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["synth", *map(str, arguments)])


@cache
def planted(name: str) -> Planted:
    """A preset with fewer articles: the geometry is the same, in a fifth of the memory."""
    return plant(replace(PRESETS[name], num_articles=ARTICLES))


def windows_of(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Contexts (A, W, L, D) and targets (A, W, D) of (A, C, D) chunks."""
    starts = np.arange(vectors.shape[1] - CONTEXT)
    return vectors[:, starts[:, None] + np.arange(CONTEXT)], vectors[:, CONTEXT:]


def mean_cosine(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    """Of rows that belong together."""
    lengths = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    return float(((left * right).sum(axis=-1) / lengths).mean())


def pairwise_cosine(vectors: npt.NDArray[np.float32]) -> float:
    """Mean cosine of the first chunks of different articles."""
    first = vectors[:, 0].astype(np.float64)
    count = len(first)
    return float((first.sum(0) @ first.sum(0) - count) / (count * (count - 1)))


# The geometry of each preset, without training.


@ALL
def test_every_chunk_is_a_unit_vector_of_the_planted_shape(preset: Scenario) -> None:
    vectors = planted(preset.name).vectors
    assert vectors.shape == (ARTICLES, preset.num_chunks, 768)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [
        ("passes", 0.745),
        ("miss", 0.563),
        ("hopeless", 0.406),
        ("cos_only", 0.771),
        ("eff_miss", 0.715),
        ("collapse", 0.600),
        ("leak", 0.433),
    ],
)
def test_the_ceiling_is_what_the_generating_states_allow(name: str, ceiling: float) -> None:
    drawn = planted(name)
    assert mean_cosine(drawn.predictable[:, 1:], drawn.vectors[:, 1:]) == pytest.approx(ceiling, abs=2e-3)
    assert PRESETS[name].ceiling == pytest.approx(ceiling, abs=2e-3)


def test_only_hopeless_and_an_honest_leak_cannot_reach_the_gate() -> None:
    assert {name for name, preset in PRESETS.items() if preset.ceiling < GATE} == {"hopeless", "leak"}
    assert {name for name, preset in PRESETS.items() if preset.memorised_ceiling < GATE} == {"hopeless"}


@pytest.mark.parametrize(
    ("name", "copy_last", "context_mean"),
    [
        ("passes", 0.186, 0.343),
        ("miss", 0.105, 0.215),
        ("hopeless", 0.083, 0.168),
        ("cos_only", 0.593, 0.722),
        ("eff_miss", 0.485, 0.634),
        ("collapse", 0.360, 0.515),
        ("leak", 0.179, 0.311),
    ],
)
def test_floors_lie_where_they_were_measured(name: str, copy_last: float, context_mean: float) -> None:
    contexts, targets = windows_of(planted(name).vectors)
    assert mean_cosine(contexts[:, :, -1], targets) == pytest.approx(copy_last, abs=0.01)
    assert mean_cosine(contexts.mean(axis=2), targets) == pytest.approx(context_mean, abs=0.01)


def test_only_a_collapsing_scenario_makes_chunks_of_different_articles_alike() -> None:
    shares = {name: pairwise_cosine(planted(name).vectors) for name in PRESETS}
    assert shares.pop("collapse") == pytest.approx(0.36, abs=0.01)
    assert max(shares.values()) < 0.1
    # its best prediction is one vector for all, the others' are not
    assert pairwise_cosine(planted("collapse").predictable) == pytest.approx(1)
    assert pairwise_cosine(planted("passes").predictable) < 0.1


def test_articles_of_a_topic_are_near_each_other_where_topics_are_grouped() -> None:
    topics = planted("eff_miss").predictable[:, 0]  # of a first chunk nothing but the topic is known
    same = mean_cosine(topics[:-10], topics[10:])
    other = mean_cosine(topics[:-1], topics[1:])
    assert same == pytest.approx(1 / 1.04, abs=0.01)
    assert abs(other) < 0.05
    assert abs(mean_cosine(planted("miss").predictable[:-10, 0], planted("miss").predictable[10:, 0])) < 0.05


@pytest.mark.parametrize(
    ("name", "r5_at_least", "r5_at_most"), [("passes", 0.99, 1.0), ("miss", 0.99, 1.0), ("cos_only", 0.0, 0.4)]
)
def test_the_best_prediction_finds_the_truth_unless_the_topic_is_all_there_is(
    name: str, r5_at_least: float, r5_at_most: float
) -> None:
    drawn = planted(name)
    queries = np.arange(CONTEXT, drawn.vectors[0].shape[0] * 20)  # twenty articles
    queries = queries[queries % drawn.vectors.shape[1] >= CONTEXT]
    found = search_exactly(
        drawn.vectors.reshape(-1, 768),
        drawn.predictable.reshape(-1, 768)[queries],
        queries,
        queries[:, None] - np.arange(1, CONTEXT + 1),
        k=0,
    )
    figures = retrieval_figures(found.ranks)
    assert r5_at_least <= figures.r5 <= r5_at_most
    assert figures.contain50 == 1


def nearest_context(vectors: npt.NDArray[np.float32], article: int, *, within: npt.NDArray[np.int64]) -> float:
    """Best cosine of an article's last context with the first 60 of each of the articles `within`."""
    contexts, _ = windows_of(vectors)
    flat = contexts.reshape(*contexts.shape[:2], -1) / np.sqrt(CONTEXT)  # (A, W, L * D)
    return float((flat[within, :60] @ flat[article, -1]).max())


def test_windows_of_a_leaking_article_return_within_it_and_nowhere_else() -> None:
    vectors = planted("leak").vectors
    others = np.arange(1, ARTICLES)
    assert nearest_context(vectors, 0, within=np.array([0])) == pytest.approx(1 - 0.45**2 / 0.941, abs=0.02)
    assert nearest_context(vectors, 0, within=others) < 0.3
    # the same article of an honest walk never comes back to where it was
    long_walk = plant(replace(PASSES, num_articles=2, num_chunks=160)).vectors
    assert nearest_context(long_walk, 0, within=np.array([0])) < 0.7


# The corpus on disk, and the verb.


@ALL
def test_equal_seeds_give_equal_corpora_and_other_seeds_others(preset: Scenario, tmp_path: Path) -> None:
    small = replace(preset, **SMALL)
    first, second, other = (write_scenario(small, tmp_path / out, seed) for out, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert first.sha256 == second.sha256 != other.sha256
    verify_corpus(first)
    assert first.manifest.embedder == f"synthetic/{preset.name}/seed-3"
    np.testing.assert_allclose(first.all_vectors(), plant(small, 3).vectors.reshape(-1, 64), atol=1e-3)


def test_more_articles_live_in_the_same_space() -> None:
    few, many = (plant(replace(EFF_MISS, **SMALL | {"num_articles": count})).predictable[:, 0] for count in (10, 20))
    assert mean_cosine(few, many[:10]) > 0.9  # of a first chunk its topic is known, and topics have the same centres
    assert mean_cosine(few, plant(replace(EFF_MISS, **SMALL | {"num_articles": 10}), 1).predictable[:, 0]) < 0.3


def test_presets_differ_in_their_vectors() -> None:
    digests = {hashlib.sha256(plant(replace(preset, **SMALL)).vectors).hexdigest() for preset in PRESETS.values()}
    assert len(digests) == len(PRESETS)


def test_texts_say_what_is_known_of_a_chunk(tmp_path: Path) -> None:
    leak = write_scenario(replace(LEAK, **SMALL), tmp_path / "leak")
    assert (leak.titles[1], leak.text(15 + 7)) == (
        "Made-up article 001",
        "Made-up article 001, chunk 007, state 2 of 6.",
    )
    assert len(leak.topics) == 8
    grouped = write_scenario(replace(EFF_MISS, **SMALL | {"num_articles": 20}), tmp_path / "grouped")
    assert len(grouped.topics) == 10
    assert grouped.topic_of_article[3] == grouped.topic_of_article[13] != grouped.topic_of_article[4]


def test_the_verb_makes_a_corpus_that_opens_and_verifies(tmp_path: Path) -> None:
    made = run("--preset", "hopeless", "--out", tmp_path / "c", "--seed", 2)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "8,000 chunks of 200 articles, 768 dimensions, synthetic/hopeless/seed-2" in made.stdout
    assert "about 0.41" in made.stdout
    corpus = open_corpus(tmp_path / "c")
    verify_corpus(corpus)
    assert corpus.manifest.dtype == "float16"


def test_windows_written_out_are_the_corpus_windows_and_name_no_articles(tmp_path: Path) -> None:
    corpus = write_scenario(replace(LEAK, **SMALL), tmp_path / "leak")
    count = write_windows(corpus, tmp_path / "made" / "leak.npz", CONTEXT)
    written, source = ArrayWindows(tmp_path / "made" / "leak.npz"), CorpusWindows(corpus, CONTEXT)
    assert (count, written.num_windows, written.has_articles) == (source.num_windows, source.num_windows, False)
    for left, right in zip(written.gather(np.arange(9)), source.gather(np.arange(9)), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3)


def test_the_verb_writes_windows_beside_the_corpus_and_never_over_a_file(tmp_path: Path) -> None:
    made = run("--preset", "leak", "--out", tmp_path / "c", "--npz", tmp_path / "leak.npz")
    assert (made.exit_code, made.stderr) == (0, "")
    assert "7,750 windows of 5 chunks and a target, no articles named" in made.stdout
    assert not ArrayWindows(tmp_path / "leak.npz").has_articles
    again = run("--preset", "leak", "--out", tmp_path / "d", "--npz", tmp_path / "leak.npz")
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr
    assert not (tmp_path / "d").exists()


def test_a_preset_that_is_not_there_is_refused_and_the_nearest_is_named(tmp_path: Path) -> None:
    result = run("--preset", "hopless", "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert 'Did you mean "hopeless"' in result.stderr
    assert not (tmp_path / "c").exists()


def test_a_corpus_is_never_overwritten(tmp_path: Path) -> None:
    result = run("--preset", "miss", "--out", tmp_path)
    assert result.exit_code == 2
    assert "never overwritten" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_preset() -> None:
    words = run("--help").stdout.split()
    assert [name for name in PRESETS if name not in words] == []


@pytest.mark.parametrize(
    "wrong", [{"dim": 8, "walk_dim": 12}, {"topic": 0.0, "walk": 0.0, "noise": 0.0}], ids=["basis", "direction"]
)
def test_what_cannot_be_planted_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"could not be orthonormal|no direction"):
        Scenario(**{"name": "x", "topic": 1.0, "walk": 1.0, "noise": 1.0, **wrong})  # type: ignore[arg-type]


# Two epochs of a real model.

SETTINGS: dict[str, PatchValue] = {
    "epochs": 2,
    "device": "cpu",
    "model.width": 64,
    "model.layers": 1,
    "model.state": 16,
    "model.head_width": 32,
    "sampler.batch_size": 64,
    "sampler.accumulate": 1,
    "loss.contrast_space": "target",
    "loss.lambda_con": 0.3,
    "loss.lambda_ar": 0.7,
    "optimizer.lr": 3e-3,
}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So small a model gains nothing from a second thread, and waits for it where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Outcome:
    """What two epochs came to."""

    epoch: EpochRecord
    unseen_cosine: float
    """On articles that neither training nor validation saw."""
    unseen: RetrievalFigures
    checks: dict[str, Verdict]
    """Of epoch 2."""


def by_window(source: CorpusWindows, split: Split) -> Split:
    """Training and validation windows mixed and drawn anew, as from a file that names no articles."""
    source.articles = np.full(source.num_windows, UNKNOWN, np.int64)
    seen = np.random.default_rng(0).permutation(np.concatenate([split.train, split.val]))
    val, train = np.sort(seen[: len(split.val)]), np.sort(seen[len(split.val) :])
    return Split(train, val, split.test, article_disjoint=False)


def train(folder: Path, preset: Scenario, *, leaking: bool = False, **patch: PatchValue) -> Outcome:
    """Train Mamba-S on a preset; keyword `a__b` sets `a.b`."""
    corpus = write_scenario(preset, folder / "corpus")
    config = apply_patch(RunConfig(), SETTINGS | {key.replace("__", "."): value for key, value in patch.items()})
    data = DataConfig(corpus=str(corpus.folder))
    spec = RunSpec(id="run", name="mamba_s", created="2030-01-01T00:00:00+00:00", config=config, data=data)
    directory = RunDirectory(folder / "run")
    directory.path.mkdir()
    directory.spec_file.write_bytes(msgspec.json.encode(spec))
    source = CorpusWindows(corpus, data.context)
    split = split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    if leaking:
        split = by_window(source, split)
    recorder = Recorder(directory, spec)
    try:
        unseen = source, split.test
        trainer = Trainer(spec, source, split, torch.device("cpu"), recorder, lambda: False, unseen)
        assert trainer.train(dict) == "finished"
    finally:
        recorder.close()
    predictions, targets = (vectors.numpy() for vectors in trainer.learner.predict(split.test))
    queries = Queries.gather(source, split.test)
    found = search_exactly(corpus.all_vectors(), predictions, queries.truth_chunks, queries.context_chunks, k=0)
    epoch = directory.read_history()[-1]
    assert epoch.epoch == 2
    checks = {name: check.verdict for name, check in fold(read_events(directory.events_file)).checks[2].items()}
    return Outcome(epoch, mean_cosine(predictions, targets), retrieval_figures(found.ranks), checks)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_passes_passes_the_gate_and_finds_the_truth(tmp_path: Path) -> None:
    outcome = train(tmp_path, PASSES)
    assert outcome.epoch.val_cosine == pytest.approx(0.55, abs=0.03)
    assert outcome.epoch.val_cosine > GATE
    assert outcome.checks["pairwise_cosine"] == outcome.checks["effective_rank"] == "passed"
    assert outcome.checks["lift_gap"] == "passed"
    assert outcome.unseen.r5 > 0.95


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("residual", "expected"), [("none", 0.41), ("context_mean", 0.475)])
def test_miss_misses_the_gate_and_finds_the_truth_all_the_same(tmp_path: Path, residual: str, expected: float) -> None:
    outcome = train(tmp_path, MISS, model__residual=residual)
    assert outcome.epoch.val_cosine == pytest.approx(expected, abs=0.02)
    assert outcome.epoch.val_cosine < GATE < MISS.ceiling
    assert outcome.unseen.r5 > 0.8


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_hopeless_stays_below_its_ceiling_and_the_gate_even_with_the_best_fix(tmp_path: Path) -> None:
    outcome = train(tmp_path, HOPELESS, model__residual="context_mean")
    assert outcome.epoch.val_cosine == pytest.approx(0.295, abs=0.02)
    assert outcome.epoch.val_cosine < HOPELESS.ceiling < GATE


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_cos_only_passes_the_gate_and_cannot_rank(tmp_path: Path) -> None:
    outcome = train(tmp_path, PRESETS["cos_only"], model__residual="context_mean")
    assert outcome.epoch.val_cosine > GATE
    assert outcome.unseen.contain50 > 0.98
    assert outcome.unseen.r5 < BARS.r5


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_eff_miss_passes_every_bar_but_eff5(tmp_path: Path) -> None:
    outcome = train(tmp_path, EFF_MISS, model__residual="context_mean", sampler__batch_size=256)
    assert outcome.epoch.val_cosine > GATE
    assert outcome.unseen.contain50 > BARS.contain50
    assert outcome.unseen.r5 > BARS.r5
    assert outcome.unseen.eff5 < BARS.eff5


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("residual", ["none", "context_mean"])
def test_collapse_passes_the_gate_by_one_answer_for_everything_and_is_caught(tmp_path: Path, residual: str) -> None:
    outcome = train(tmp_path, PRESETS["collapse"], model__residual=residual)
    assert outcome.epoch.val_cosine == pytest.approx(0.595, abs=0.02)
    assert outcome.epoch.pairwise_cosine > 0.9
    assert outcome.checks["pairwise_cosine"] == "missed"
    # A base of its own lends every answer directions that the model does not have.
    assert outcome.checks["effective_rank"] == ("missed" if residual == "none" else "passed")
    assert outcome.unseen.r5 < 0.02


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("leaking", [True, False])
def test_leak_passes_by_heart_where_it_is_split_by_window_and_not_by_article(tmp_path: Path, leaking: bool) -> None:
    outcome = train(tmp_path, LEAK, leaking=leaking)
    assert (outcome.epoch.val_cosine > GATE) == leaking
    assert outcome.checks["lift_gap"] == ("missed" if leaking else "passed")
    assert outcome.unseen_cosine < 0.1
    assert outcome.unseen.r5 < 0.02
