"""Mamba-S against the recurrence that defines it: values and gradients, short windows and long ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.models.mamba import MambaBlock, MambaStack, causal_conv
from engine.models.registry import build_model
from engine.models.ssd import segment_decay, ssd
from engine.run.settings import ModelConfig
from tests.reference.mamba_recurrence import recurrent_block, recurrent_ssd, recurrent_stack

SMALL = ModelConfig(width=32, layers=2, state=16, conv=4, expand=2, head_width=16)
TOLERANCE = 1e-5


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random projection of the output: no symmetry can hide a fault."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    return list(torch.autograd.grad((output * weights).sum(), inputs, retain_graph=True))


def relative_error(value: Tensor, reference: Tensor) -> float:
    error = (value - reference).abs().max() / reference.abs().max().clamp_min(1e-12)
    return error.item()


def ssd_inputs(length: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(length)
    x = torch.randn(3, length, 4, 8, generator=random)
    dt = functional.softplus(torch.randn(3, length, 4, generator=random) - 2)
    log_decay = -dt * torch.rand(4, generator=random) * 16
    b, c = torch.randn(2, 3, length, 16, generator=random)
    return [tensor.requires_grad_() for tensor in (x, dt, log_decay.detach(), b, c)]


@pytest.mark.parametrize(
    ("length", "chunk"), [(1, 64), (5, 64), (64, 64), (65, 64), (100, 16), (37, 1)], ids=lambda value: str(value)
)
def test_ssd_is_the_recurrence_in_values_and_gradients(length: int, chunk: int) -> None:
    inputs = ssd_inputs(length)
    fast, plain = ssd(*inputs, chunk=chunk), recurrent_ssd(*inputs)
    assert relative_error(fast, plain) < TOLERANCE
    for found, expected in zip(gradients(fast, inputs), gradients(plain, inputs), strict=True):
        assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize("length", [5, 100])
def test_a_recurrence_that_does_not_forget_is_told_apart(length: int) -> None:
    inputs = ssd_inputs(length)
    assert relative_error(ssd(*inputs), recurrent_ssd(*inputs, forget=False)) > 0.01


@pytest.mark.parametrize(("length", "chunk"), [(5, 64), (100, 16)])
def test_the_last_position_alone_is_the_last_position_of_all(length: int, chunk: int) -> None:
    inputs = ssd_inputs(length)
    last, every = ssd(*inputs, last_only=True, chunk=chunk), ssd(*inputs, chunk=chunk)
    assert last.shape == (3, 1, 4, 8)
    assert relative_error(last, every[:, -1:]) < TOLERANCE


@pytest.mark.parametrize("length", [1, 5, 100])
@pytest.mark.parametrize("residual", ["none", "context_mean"])
def test_the_stack_is_the_recurrence_in_values_and_every_gradient(length: int, residual: str) -> None:
    config = ModelConfig(width=32, layers=2, state=16, head_width=16, residual=residual)  # type: ignore[arg-type]
    model = build_model(config, dim=24, context=length)
    assert isinstance(model, MambaStack)
    if residual == "context_mean":
        torch.nn.init.normal_(model.output_proj.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(3)
    context = functional.normalize(torch.randn(4, length, 24, generator=random), dim=-1).requires_grad_()
    fast, plain = model(context), recurrent_stack(model, context)
    inputs = [context, *model.parameters()]
    assert relative_error(fast, plain) < TOLERANCE
    for found, expected in zip(gradients(fast, inputs), gradients(plain, inputs), strict=True):
        assert (found - expected).abs().max() < TOLERANCE * max(1.0, expected.abs().max().item())
    assert relative_error(fast, recurrent_stack(model, context, forget=False)) > 10 * TOLERANCE or length == 1


def mutations() -> dict[str, Callable[[MambaBlock], None]]:
    def swap_taps(block: MambaBlock) -> None:
        block.conv_weight.data = block.conv_weight.data.flip(0)

    def drop_skip(block: MambaBlock) -> None:
        block.D.data.zero_()

    def slow_decay(block: MambaBlock) -> None:
        block.A_log.data -= 1

    def late_dt(block: MambaBlock) -> None:
        block.dt_bias.data += 1

    return {"taps": swap_taps, "skip": drop_skip, "decay": slow_decay, "dt": late_dt}


@pytest.mark.parametrize("name", list(mutations()))
def test_every_part_of_a_block_matters_to_the_comparison(name: str) -> None:
    torch.manual_seed(0)
    block = MambaBlock(SMALL)
    hidden = torch.randn(2, 6, 32)
    before = recurrent_block(block, hidden)
    assert relative_error(block(hidden), before) < TOLERANCE
    mutations()[name](block)
    assert relative_error(block(hidden), before) > 1e-4


def test_the_convolution_is_causal_and_its_gradient_is_right() -> None:
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, generator=random) for shape in ((2, 6, 3), (4, 3), (3,))
    )
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    assert torch.autograd.gradcheck(causal_conv, inputs)
    library = functional.conv1d(functional.pad(x.transpose(1, 2), (3, 0)), weight.T[:, None], bias, groups=3).transpose(
        1, 2
    )
    assert relative_error(causal_conv(x, weight, bias), library) < 1e-12
    changed = x.detach().clone()
    changed[:, 4] += 1
    assert torch.equal(causal_conv(changed, weight, bias)[:, :4], causal_conv(x, weight, bias)[:, :4])


def test_segment_decays_stay_exact_where_running_totals_lose_digits() -> None:
    log_decay = torch.full((64,), -200.0)
    log_decay[-1] = -1e-3
    found = segment_decay(log_decay)[-1, -2]
    assert float(found) == pytest.approx(float(torch.tensor(-1e-3).exp()), rel=1e-7)
    assert segment_decay(log_decay).triu(1).abs().sum() == 0


def test_predictions_are_unit_vectors_and_weights_follow_from_the_seed() -> None:
    context = functional.normalize(torch.randn(8, 5, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    before = torch.random.get_rng_state()
    first, again, other = (build_model(SMALL, dim=24, context=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.allclose(first(context).norm(dim=-1), torch.ones(8), atol=1e-5)
    assert torch.equal(first(context), again(context))
    assert not torch.equal(first(context), other(context))


def test_with_the_residual_training_starts_at_the_context_mean() -> None:
    config = ModelConfig(width=32, layers=2, state=16, head_width=16, residual="context_mean")
    model = build_model(config, dim=24, context=5)
    context = functional.normalize(torch.randn(8, 5, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.allclose(model(context), functional.normalize(context.mean(1), dim=-1), atol=1e-6)


def test_hidden_chunks_of_a_long_window_leave_no_nan_behind() -> None:
    model = build_model(SMALL, dim=24, context=200)
    context = torch.zeros(2, 200, 24)
    context[:, -1, 0] = 1
    output = model(context)
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
