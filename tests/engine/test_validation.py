"""Lifts over the context mean: against their definition, and a leak that only the second one shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.data.corpus import Corpus
from engine.data.split import Split, split_windows
from engine.data.windows import UNKNOWN, CorpusWindows
from engine.models.floors import floor_predictions
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig, ModelConfig, QueueConfig, RunConfig, SamplerConfig
from engine.training.learner import Learner
from engine.training.negative_queue import open_queue
from engine.training.validation import MIN_LIFT_ARTICLES, LiftProbe, Validator, open_unseen
from tests.reference.small_corpus import DIM, make_corpus

CONFIG = RunConfig(model=ModelConfig(width=16, layers=1, state=8, head_width=8))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "c", [7, 9, 12, 8, 10] * 6)


def make_learner(source: CorpusWindows) -> Learner:
    return Learner(CONFIG, source, torch.device("cpu"))


def test_how_alike_the_windows_are_is_told_beside_how_alike_the_predictions_are(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    windows = np.arange(25)
    means = floor_predictions("context_mean", source.gather(windows)[0]).astype(np.float64)
    pairs = [float(means[i] @ means[j]) for i in range(25) for j in range(25) if i != j]
    assert LiftProbe(source, windows).pairwise_cosine == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_the_lift_is_the_models_cosine_minus_the_context_means(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    windows = np.arange(40)
    contexts, targets = source.gather(windows)
    predictions = functional.normalize(torch.randn(40, DIM, generator=torch.Generator().manual_seed(0)), dim=-1)
    means = floor_predictions("context_mean", contexts)
    lifts = [float(predictions.numpy()[i] @ targets[i] - means[i] @ targets[i]) for i in range(40)]
    articles = source.articles[windows].tolist()
    mean = sum(lifts) / 40
    deviations = [sum(lifts[i] - mean for i in range(40) if articles[i] == article) for article in set(articles)]
    count = len(deviations)
    error = math.sqrt(count / (count - 1) * sum(deviation**2 for deviation in deviations)) / 40
    found = LiftProbe(source, windows).measure(predictions, torch.from_numpy(targets))
    assert found.value == pytest.approx(mean, abs=1e-6)
    assert found.error == pytest.approx(error, rel=1e-4)


def test_the_error_is_that_of_drawing_articles_anew() -> None:
    """Over many draws of articles whose windows succeed or fail together, the lifts scatter as the error says."""
    generator = np.random.default_rng(0)
    values, errors = [], []
    for _ in range(300):
        article = np.repeat(np.arange(30), 10)
        lifts = generator.normal(size=30)[article] + 0.3 * generator.normal(size=300)
        probe = LiftProbe.__new__(LiftProbe)
        probe._article, probe._floors, probe.num_articles = article, np.zeros(300), 30
        found = probe.measure(torch.from_numpy(lifts)[:, None], torch.ones(300, 1, dtype=torch.float64))
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)
    alone = np.std(lifts) / math.sqrt(300)  # as if windows were independent
    assert alone < 0.5 * np.mean(errors)


def test_a_prediction_that_is_not_finite_leaves_no_number(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    probe = LiftProbe(source, np.arange(10))
    predictions, targets = make_learner(source).predict(np.arange(10))
    assert math.isfinite(probe.measure(predictions, targets).value)
    predictions[3] = torch.nan
    assert math.isnan(probe.measure(predictions, targets).value)


def test_unseen_windows_are_the_tests_of_an_honest_split_or_those_that_are_named(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    learner = make_learner(source)
    split = split_windows(source, val_share=0.3, test_share=0.3, seed=0)
    found = Validator(source, split).validate(learner)
    assert found.unseen_windows == len(split.test)
    named = Validator(source, split, (source, split.train)).validate(learner)
    assert named.unseen_windows == len(split.train)
    assert named.unseen_lift != found.unseen_lift
    assert named.val_lift == found.val_lift
    mixed = Split(split.train, split.val, split.test, article_disjoint=False)
    assert Validator(source, mixed).validate(learner).unseen_lift is None
    nothing = Split(split.train, split.val, split.test[:0], article_disjoint=True)
    assert Validator(source, nothing).validate(learner).unseen_windows is None


def test_a_handful_of_articles_is_not_compared(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    few = np.flatnonzero(source.articles < MIN_LIFT_ARTICLES - 1)
    many = np.flatnonzero(source.articles >= MIN_LIFT_ARTICLES - 1)
    learner = make_learner(source)
    for val, test in ((few, many), (many, few)):
        assert Validator(source, Split(many, val, test, article_disjoint=True)).validate(learner).unseen_lift is None


def test_windows_of_unknown_article_are_each_their_own(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    source.articles = np.full(source.num_windows, UNKNOWN, np.int64)
    assert LiftProbe(source, np.arange(20)).num_articles == 20


def test_a_file_of_unseen_windows_is_opened_and_one_of_another_shape_refused(tmp_path: Path, corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    contexts, targets = source.gather(np.arange(12))
    np.savez(tmp_path / "eval.npz", sequences=contexts, targets=targets)
    assert open_unseen(DataConfig(), tmp_path, source) is None
    opened = open_unseen(DataConfig(eval_npz="eval.npz"), tmp_path, source)
    assert opened is not None
    assert opened[1].tolist() == list(range(12))
    with pytest.raises(ConfigError, match=r"eval_npz: the windows of .* are 3 x 16, those of training 4 x 16"):
        open_unseen(DataConfig(eval_npz="eval.npz"), tmp_path, CorpusWindows(corpus, 4))


class OnAccelerator(Tensor):
    """A tensor as on an accelerator that has neither float64 (MPS) nor memory that numpy can read."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # torch's own
        if func is Tensor.cpu:
            with torch._C.DisableTorchFunctionSubclass():
                return args[0].as_subclass(Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if func is Tensor.numpy or (isinstance(result, Tensor) and result.dtype == torch.float64):
            raise TypeError(f"{func.__name__}: not on this device")
        return result


def move_away(module: nn.Module | None) -> None:
    """Have a module's results lie on such an accelerator."""
    assert module is not None
    module.register_forward_hook(lambda _module, _inputs, output: output.as_subclass(OnAccelerator))


def test_an_accelerator_without_doubles_can_be_validated_on(corpus: Corpus) -> None:
    source = CorpusWindows(corpus, 3)
    split = split_windows(source, val_share=0.3, test_share=0.3, seed=0)
    config = RunConfig(
        model=CONFIG.model,
        sampler=SamplerConfig(batch_size=8, accumulate=2),
        queue=QueueConfig(size=20, same_topic_share=0.0),
    )
    cpu = torch.device("cpu")
    queue = open_queue(config, source, split.train, cpu)
    learner = Learner(config, source, cpu, queue)
    learner.take_step([split.train[:8], split.train[8:16]], step=0, lr=1e-3)
    validator = Validator(source, split)
    expected, drift = validator.validate(learner), learner.measure_drift()
    move_away(learner.model)
    move_away(learner.head)
    assert queue is not None
    queue._vectors = queue._vectors.as_subclass(OnAccelerator)
    with pytest.raises(TypeError, match="not on this device"):
        learner.model(torch.from_numpy(source.gather(split.val)[0])).double()
    assert validator.validate(learner) == expected
    assert drift is not None
    assert learner.measure_drift() == drift
