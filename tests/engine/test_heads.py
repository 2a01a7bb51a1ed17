"""The projection head, and the check that tells a good one from four bad ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.models.heads import ProjectionHead, head_of_weights, verify_projection
from engine.models.registry import build_head
from engine.run.convert import ConfigError
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


LAYOUTS = {
    "right": [nn.Linear(24, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8, bias=False)],
    "bias": [nn.Linear(24, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8)],
    "no LayerNorm": [nn.Linear(24, 16), nn.GELU(), nn.Linear(16, 8, bias=False)],
    "no LayerNorm before the last": [nn.Linear(24, 16), nn.GELU(), nn.BatchNorm1d(16), nn.Linear(16, 8, bias=False)],
    "no LayerNorm before": [nn.Linear(24, 16), nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 8, bias=False)],
}


@pytest.mark.parametrize("complaint", LAYOUTS)
def test_a_head_is_judged_by_its_weights_alone_as_it_is_running(complaint: str) -> None:
    running = head_of(*LAYOUTS[complaint])
    rebuilt = head_of_weights(running.state_dict())
    assert rebuilt is not None
    holds, detail = verify_projection(rebuilt)
    assert holds == verify_projection(running)[0] == (complaint == "right")
    assert holds or complaint in detail
    vectors = functional.normalize(torch.randn(3, 24), dim=-1)
    assert complaint != "right" or torch.equal(rebuilt(vectors), running(vectors))


def test_the_tenth_layer_comes_after_the_ninth() -> None:
    layers = [*(nn.Linear(8, 8) for _ in range(9)), nn.LayerNorm(8), nn.Linear(8, 4, bias=False)]
    rebuilt = head_of_weights(dict(reversed(nn.Sequential(*layers).state_dict().items())))
    assert rebuilt is not None
    assert verify_projection(rebuilt)[0]


def test_weights_that_are_no_head_are_refused_in_words() -> None:
    assert head_of_weights({}) is None
    assert head_of_weights(nn.Sequential(nn.LayerNorm(8)).state_dict()) is None
    with pytest.raises(ConfigError, match="'fc1' has no number"):
        head_of_weights({"fc1.weight": torch.zeros(4, 8), "norm.weight": torch.zeros(4)})
    with pytest.raises(ConfigError, match="one gives 16 numbers, the next takes 12"):
        head_of_weights(nn.Sequential(nn.Linear(24, 16), nn.Linear(12, 8)).state_dict())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"0.weight": torch.zeros(4, 3, 2)}, r"layer '0' has a weight of 4 x 3 x 2"),
        ({"0.weight": torch.tensor(1.0)}, r"layer '0' has a weight of no dimensions"),
        ({"0.weight": torch.zeros(0, 4)}, r"layer '0' has a weight of 0 x 4"),
        ({"0.weight": torch.zeros(4, 4), "0.bias": torch.zeros(5)}, r"layer '0' has a bias of 5 for a weight of 4 x 4"),
    ],
)
def test_layers_that_cannot_be_are_refused_in_words(weights: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        head_of_weights(weights)
