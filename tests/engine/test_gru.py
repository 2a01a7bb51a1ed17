"""The GRU against its equations, one window and one position at a time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn import functional

from engine.cli import main
from engine.models.gru import GatedRecurrence, move_hidden_last
from engine.models.registry import build_model
from engine.run.convert import ConfigError
from engine.run.settings import ModelConfig, RunConfig
from engine.run.spec import apply_patch
from engine.training.checkpoint import load_model
from tests.reference.plain_gru import stepwise_gru
from tests.reference.small_corpus import make_corpus

PLAIN = ModelConfig(kind="gru", width=32, layers=2)
WITH_MEAN = msgspec.structs.replace(PLAIN, residual="context_mean")
TOLERANCE = 1e-5


def contexts(count: int = 8, length: int = 5, hidden: tuple[int, ...] = ()) -> Tensor:
    context = functional.normalize(torch.randn(count, length, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    context[:, list(hidden)] = 0
    return context


def build(config: ModelConfig = PLAIN, *, seed: int = 0, length: int = 5) -> GatedRecurrence:
    model = build_model(config, dim=24, context=length, seed=seed)
    assert isinstance(model, GatedRecurrence)
    return model


def trained(config: ModelConfig = PLAIN, *, length: int = 5) -> GatedRecurrence:
    """As if some steps had been taken: the output layer is not zero."""
    model = build(config, length=length)
    torch.nn.init.normal_(model.output_proj.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return model


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random projection of the output: no symmetry can hide a fault."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((output * weights).sum(), inputs))


@pytest.mark.parametrize("hidden", [(), (0, 1), (1, 3), (4,)], ids=str)
@pytest.mark.parametrize("config", [PLAIN, WITH_MEAN], ids=lambda config: config.residual)
def test_it_is_its_equations_in_values_and_every_gradient(config: ModelConfig, hidden: tuple[int, ...]) -> None:
    model, context = trained(config), contexts(4, hidden=hidden).requires_grad_()
    fast, plain = model(context), stepwise_gru(model, context)
    inputs = [context, *model.parameters()]
    assert torch.allclose(fast, plain, atol=TOLERANCE)
    for found, expected in zip(gradients(fast, inputs), gradients(plain, inputs), strict=True):
        assert (found - expected).abs().max() < TOLERANCE * max(1.0, expected.abs().max().item())


def test_a_recurrence_that_takes_hidden_chunks_in_is_told_apart() -> None:
    model, context = trained(), contexts(hidden=(0, 1))
    assert (model(context) - stepwise_gru(model, context, skip_hidden=False)).abs().max() > 0.01


def test_windows_of_one_batch_may_hide_different_chunks() -> None:
    model, context = trained(), contexts(3)
    context[0, :2], context[1, 4], context[2, :4] = 0, 0, 0
    assert torch.allclose(model(context), stepwise_gru(model, context), atol=TOLERANCE)


def test_hidden_oldest_chunks_are_a_shorter_window() -> None:
    model = trained(WITH_MEAN)
    assert torch.allclose(model(contexts(hidden=(0, 1))), model(contexts()[:, 2:]), atol=1e-6)


def test_hidden_chunks_move_behind_the_visible_ones_which_keep_their_order() -> None:
    context = torch.tensor([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])[..., None]
    visible, newest = move_hidden_last(context)
    assert visible[..., 0].tolist() == [[1, 2, 0, 0], [0, 0, 0, 0]]
    assert newest.tolist() == [1, 0]


@pytest.mark.parametrize("length", [1, 5, 100])
@pytest.mark.parametrize("config", [PLAIN, WITH_MEAN], ids=lambda config: config.residual)
def test_predictions_are_one_unit_vector_a_window(config: ModelConfig, length: int) -> None:
    predictions = trained(config, length=length)(contexts(length=length))
    assert predictions.shape == (8, 24)
    assert torch.allclose(predictions.norm(dim=-1), torch.ones(8), atol=1e-6)


def test_with_the_mean_as_its_base_it_starts_there_and_without_it_does_not() -> None:
    for hidden in ((), (0, 1)):
        context = contexts(hidden=hidden)
        mean = functional.normalize(context.mean(1), dim=-1)
        assert torch.allclose(build(WITH_MEAN)(context), mean, atol=1e-6)
        assert not torch.allclose(build(PLAIN)(context), mean, atol=0.1)


@pytest.mark.parametrize("config", [PLAIN, WITH_MEAN], ids=lambda config: config.residual)
def test_it_learns_eight_windows_by_heart(config: ModelConfig) -> None:
    model, context = build(config), contexts()
    targets = functional.normalize(torch.randn(8, 24, generator=torch.Generator().manual_seed(5)), dim=-1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = (model(context) * targets).sum(-1).mean().item()
    for _ in range(80):
        optimizer.zero_grad()
        (1 - (model(context) * targets).sum(-1).mean()).backward()
        optimizer.step()
    assert before < 0.3
    assert (model(context) * targets).sum(-1).min() > 0.99


def test_its_weights_follow_from_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = build(seed=3), build(seed=3), build(seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.input_proj.weight, other.input_proj.weight)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match='Did you mean "gru"'):
        apply_patch(RunConfig(), {"model.kind": "grru"})


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_the_playbooks_flag_trains_it_and_its_checkpoint_is_the_trained_model(kind: str, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", [9, 12, 10, 8, 11, 9, 13, 10])
    flags = ["--model-type", kind, "--epochs", "1", "--d-model", "64", "--n-layers", "1", "--batch-size", "8"]
    folders = ["--corpus", str(corpus.folder), "--save-dir", str(tmp_path / "run")]
    result = CliRunner().invoke(main, ["train", *flags, *folders])
    assert result.exit_code == 0, result.output
    loaded = load_model(tmp_path / "run" / "checkpoints" / "last", torch.device("cpu"))
    assert loaded.meta.kind == kind
    context = corpus.vectors(np.arange(5))[None]
    untrained = build_model(loaded.meta.config.model, dim=corpus.dim, context=5)
    assert not torch.equal(loaded.model(torch.from_numpy(context)), untrained(torch.from_numpy(context)))
