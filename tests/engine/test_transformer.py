"""The transformer against attention written out: one window, one position and one head at a time."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.models.registry import build_model
from engine.models.transformer import CausalTransformer, visible_positions
from engine.run.convert import ConfigError
from engine.run.settings import ModelConfig, RunConfig
from engine.run.spec import apply_patch
from tests.reference.plain_transformer import stepwise_transformer

PLAIN = ModelConfig(kind="transformer", width=32, layers=2, head_width=8)
WITH_MEAN = msgspec.structs.replace(PLAIN, residual="context_mean")
TOLERANCE = 1e-5


def contexts(count: int = 8, length: int = 5, hidden: tuple[int, ...] = ()) -> Tensor:
    context = functional.normalize(torch.randn(count, length, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    context[:, list(hidden)] = 0
    return context


def build(config: ModelConfig = PLAIN, *, seed: int = 0, length: int = 5) -> CausalTransformer:
    model = build_model(config, dim=24, context=length, seed=seed)
    assert isinstance(model, CausalTransformer)
    return model


def trained(config: ModelConfig = PLAIN, *, length: int = 5) -> CausalTransformer:
    """As if some steps had been taken: the output layer is not zero, and positions tell themselves apart."""
    model, random = build(config, length=length), torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.output_proj.weight, std=0.3, generator=random)
    torch.nn.init.normal_(model.positions, generator=random)
    return model


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random projection of the output: no symmetry can hide a fault."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((output * weights).sum(), inputs))


@pytest.mark.parametrize("hidden", [(), (0, 1), (1, 3), (4,)], ids=str)
@pytest.mark.parametrize("config", [PLAIN, WITH_MEAN], ids=lambda config: config.residual)
def test_it_is_attention_written_out_in_values_and_every_gradient(config: ModelConfig, hidden: tuple[int, ...]) -> None:
    model, context = trained(config), contexts(4, hidden=hidden).requires_grad_()
    fast, plain = model(context), stepwise_transformer(model, context)
    inputs = [context, *model.parameters()]
    assert torch.allclose(fast, plain, atol=TOLERANCE)
    for found, expected in zip(gradients(fast, inputs), gradients(plain, inputs), strict=True):
        assert (found - expected).abs().max() < TOLERANCE * max(1.0, expected.abs().max().item())


def test_attention_to_later_positions_is_told_apart() -> None:
    model, context = trained(), contexts()
    assert (model(context) - stepwise_transformer(model, context, causal=False)).abs().max() > 0.01


def test_hidden_oldest_chunks_are_a_shorter_window() -> None:
    model = trained(WITH_MEAN)
    assert torch.allclose(model(contexts(hidden=(0, 1))), model(contexts()[:, 2:]), atol=1e-6)


def test_the_order_of_the_chunks_matters() -> None:
    model, swapped = trained(), contexts()[:, [1, 0, 2, 3, 4]]
    assert (model(contexts()) - model(swapped)).abs().max() > 0.01


def test_a_position_sees_itself_and_what_is_not_hidden_before_it() -> None:
    context = torch.tensor([[0.0, 1.0, 0.0, 2.0]])[..., None]
    assert visible_positions(context)[0, 0].int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]


def test_a_window_of_hidden_chunks_alone_gives_finite_numbers() -> None:
    model, context = trained(), contexts(2, hidden=(0, 1, 2, 3, 4))
    output = model(context)
    assert all(gradient.isfinite().all() for gradient in gradients(output, list(model.parameters())))
    assert torch.allclose(output.norm(dim=-1), torch.ones(2), atol=1e-6)


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
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
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
    assert not torch.equal(first.positions, other.positions)


def test_heads_that_do_not_fit_the_width_are_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="head_width 64 must divide width = 32"):
        apply_patch(RunConfig(), {"model.kind": "transformer", "model.width": 32})


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match='Did you mean "transformer"'):
        apply_patch(RunConfig(), {"model.kind": "transfomer"})
