"""AMN, the baseline."""

from __future__ import annotations

import torch
from torch.nn import functional

from engine.models.amn import AttentionMixture
from engine.models.registry import build_model
from engine.run.settings import ModelConfig

CONFIG = ModelConfig(kind="amn", width=32, layers=2)


def contexts(count: int = 8) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 5, 24, generator=torch.Generator().manual_seed(0)), dim=-1)


def build() -> AttentionMixture:
    model = build_model(CONFIG, dim=24, context=5)
    assert isinstance(model, AttentionMixture)
    return model


def test_it_starts_at_the_context_mean() -> None:
    assert torch.allclose(build()(contexts()), functional.normalize(contexts().mean(1), dim=-1), atol=1e-6)


def test_it_leaves_the_context_mean_once_its_output_layer_has_weights() -> None:
    model = build()
    torch.nn.init.normal_(model.output_proj.weight, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(model(contexts()), functional.normalize(contexts().mean(1), dim=-1), atol=1e-2)


def test_it_learns_to_copy_the_newest_chunk() -> None:
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    context = contexts(64)

    def cosine() -> torch.Tensor:
        return (model(context) * context[:, -1]).sum(-1).mean()

    before = cosine().item()
    for _ in range(60):
        optimizer.zero_grad()
        (1 - cosine()).backward()
        optimizer.step()
    assert before < 0.6
    assert cosine().item() > 0.9


def test_hidden_chunks_get_no_attention() -> None:
    model = build()
    model.gate.data.fill_(1.0)
    hidden, shorter = contexts(), contexts()[:, 2:]
    hidden[:, :2] = 0
    assert torch.allclose(model(hidden), model(shorter), atol=1e-6)


def test_every_parameter_receives_a_gradient_after_the_first_step() -> None:
    model = build()
    torch.nn.init.normal_(model.output_proj.weight, generator=torch.Generator().manual_seed(0))
    model.gate.data.fill_(0.1)
    (model(contexts()) * contexts()[:, 0]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
