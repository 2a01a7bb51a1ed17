"""Training in bf16: the model's products alone are coarser, and a resume is as exact as ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.data.windows import open_windows
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
