"""Training in bf16: the model's products alone are coarser, and a resume is as exact as ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.data.windows import open_windows
from engine.device import autocast, keep_norms_in_float32
from engine.models.mamba import causal_conv
from engine.models.registry import build_model
from engine.models.ssd import CHUNK, decayed_product
from engine.run.settings import ModelConfig
from engine.training.learner import Learner
from tests.reference.small_training import make_run, make_spec, rows_without_time, train_run, weights_digest


@pytest.mark.parametrize("kind", ["mamba_s", "amn", "gru", "transformer"])
def test_every_model_learns_in_bf16_nearly_what_it_learns_in_float32(tmp_path: Path, kind: str) -> None:
    cosines = []
    for precision in ("bf16", "float32"):
        run = make_run(tmp_path / f"{precision}-0001", model__kind=kind, precision=precision)
        assert train_run(run) == "finished"
        cosines.append(run.read_history()[-1].val_cosine)
    assert cosines[0] != cosines[1]
    assert cosines[0] == pytest.approx(cosines[1], abs=0.02)


def test_weights_gradients_and_moments_stay_float32(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "small-0001", precision="bf16")
    source = open_windows(spec.data, tmp_path)
    learner = Learner(spec.config, source, torch.device("cpu"))
    learner.take_step([torch.arange(8).numpy()], step=0, lr=1e-3)
    moments = [value for state in learner.optimizer.state.values() for value in state.values()]
    assert {tensor.dtype for tensor in (*learner.parameters, *moments)} == {torch.float32}
    lengths = learner.predict(torch.arange(8).numpy())[0].norm(dim=-1)
    assert torch.allclose(lengths, torch.ones(8), atol=1e-5)


def test_a_resumed_run_in_bf16_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    straight, run = (make_run(tmp_path / f"small-000{number}", precision="bf16") for number in (1, 2))
    train_run(straight)
    train_run(run, stop_at=4)
    train_run(run, resume=True)
    assert weights_digest(run) == weights_digest(straight)
    assert rows_without_time(run) == rows_without_time(straight)


ROUNDING = 2.0**-8
"""Of a number kept in bf16, relative."""


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def value_and_gradients(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    with autocast(torch.device("cpu"), "bf16"):
        value = function(*leaves)
    weights = draw(*value.shape, seed=9).to(value.dtype)
    return [value.detach(), *torch.autograd.grad(value, leaves, weights)]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


BF16 = torch.bfloat16
CASES = {
    "convolution": (causal_conv, [draw(4, 9, 6, seed=0, dtype=BF16), draw(4, 6, seed=1), draw(6, seed=2)]),
    "product": (
        decayed_product,
        [draw(3, 7, 7, seed=0, dtype=BF16), -draw(3, 2, 7, seed=1).abs(), draw(3, 2, 7, 5, seed=2)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_has_its_gradient_written_out_computes_in_float32_and_answers_in_each_inputs_type(name: str) -> None:
    function, inputs = CASES[name]
    found = value_and_gradients(function, inputs)
    exact = value_and_gradients(function, [tensor.double() for tensor in inputs])
    assert [tensor.dtype for tensor in found] == [torch.float32, *(tensor.dtype for tensor in inputs)]
    for one, reference in zip(found, exact, strict=True):
        assert relative_error(one, reference) < (ROUNDING if one.dtype == BF16 else 1e-6)


@pytest.mark.parametrize("length", [1, 5, CHUNK + 40])
def test_the_gradient_of_mamba_in_bf16_is_that_of_float32_but_for_rounding(length: int) -> None:
    model = build_model(ModelConfig(width=32, layers=2, state=16, head_width=16), dim=24, context=length)
    keep_norms_in_float32(model)
    context, target = (functional.normalize(draw(8, *shape, 24, seed=3), dim=-1) for shape in ([length], []))
    gradients = []
    for precision in ("bf16", "float32"):
        with autocast(torch.device("cpu"), precision):
            prediction = model(context)
        loss = (functional.normalize(prediction.float(), dim=-1) * target).sum()
        gradients.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]))
    assert gradients[0].dtype == torch.float32
    assert 0 < relative_error(*gradients) < 8 * ROUNDING


def test_validation_is_not_touched_by_the_precision_of_training(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "small-0001", precision="bf16")
    source = open_windows(spec.data, tmp_path)
    learner = Learner(spec.config, source, torch.device("cpu"))
    plain = Learner(make_spec(tmp_path / "small-0002").config, source, torch.device("cpu"))
    windows = torch.arange(8).numpy()
    assert torch.equal(learner.predict(windows)[0], plain.predict(windows)[0])
