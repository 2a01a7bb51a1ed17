"""The projection head, and the check that tells a good one from four bad ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.models.heads import ProjectionHead, verify_projection
from engine.models.registry import build_head
from engine.run.settings import LossConfig


class NotNormalised(nn.Module):
    """A head that forgets the L2 norm."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = ProjectionHead(24, 16, 8).mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.mlp(x)
        return output


def head_of(*layers: nn.Module) -> ProjectionHead:
    head = ProjectionHead(24, 16, 8)
    head.mlp = nn.Sequential(*layers)
    return head


def test_the_playbooks_head_is_as_it_should_be() -> None:
    holds, detail = verify_projection(ProjectionHead(768))
    assert holds
    assert "no bias" in detail


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (head_of(nn.Linear(24, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8)), "bias"),
        (head_of(nn.Linear(24, 16), nn.GELU(), nn.Linear(16, 8, bias=False)), "no LayerNorm"),
        (head_of(nn.Linear(24, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 8, bias=False)), "no LayerNorm"),
        (NotNormalised(), "unit length"),
        (nn.GELU(), "no linear layer"),
    ],
)
def test_a_head_built_otherwise_is_named(head: nn.Module, complaint: str) -> None:
    holds, detail = verify_projection(head)
    assert not holds
    assert complaint in detail


def test_a_head_whose_weights_are_not_finite_is_not_of_unit_length() -> None:
    head = ProjectionHead(24, 16, 8)
    head.mlp[0].weight.data[0, 0] = torch.nan
    assert verify_projection(head)[0] is False


def test_projected_vectors_are_of_unit_length() -> None:
    output = ProjectionHead(24, 16, 8)(functional.normalize(torch.randn(5, 24), dim=-1))
    assert output.shape == (5, 8)
    assert torch.allclose(output.norm(dim=-1), torch.ones(5), atol=1e-5)


def test_contrast_in_the_target_space_has_no_head() -> None:
    assert build_head(LossConfig(contrast_space="target"), dim=24) is None
    assert build_head(LossConfig(), dim=24) is not None
