"""The projection head: the space in which the playbook's loss contrasts, and the check that it is built right.

Shapes: B batch, D vector width, P projection width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

UNIT_TOLERANCE = 1e-4
"""How far a projected vector's norm may lie from 1: a thousand times float32's rounding over 256 components."""


class ProjectionHead(nn.Module):
    """Linear, GELU, LayerNorm, Linear without bias, L2 norm.

    A bias on the last layer would add one direction to every vector, and cosines would rise without meaning; without
    the norm before it, a few large components could decide them.
    """

    def __init__(self, dim: int, hidden: int = 512, width: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, width, bias=False)
        )

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, P) unit vectors from (B, D) ones."""
        return functional.normalize(self.mlp(x_BD), dim=-1)


def verify_projection(head: nn.Module) -> tuple[bool, str]:
    """Whether a head is built as the playbook asks: unit norm, LayerNorm before the last layer, no bias on that.

    Looks at what the head does to probe vectors as well as at its layers.

    Returns:
        The verdict, and in words what holds or what is wrong.
    """
    layers = [module for module in head.modules() if not list(module.children())]
    linear = [index for index, module in enumerate(layers) if isinstance(module, nn.Linear)]
    if not linear:
        return False, "it has no linear layer"
    last = layers[linear[-1]]
    before = layers[linear[-1] - 1] if linear[-1] else None
    assert isinstance(last, nn.Linear)
    first = layers[linear[0]]
    assert isinstance(first, nn.Linear)
    problems = []
    if last.bias is not None:
        problems.append("the last layer has a bias")
    if not isinstance(before, nn.LayerNorm):
        problems.append("no LayerNorm before the last layer")
    probe_BD = torch.randn(32, first.in_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output_BP = head(functional.normalize(probe_BD, dim=-1).to(first.weight))
    error = (output_BP.float().norm(dim=-1) - 1).abs().max().item()
    if not error <= UNIT_TOLERANCE:  # also where it is NaN
        problems.append(f"outputs are not of unit length (off by {error:.2g}, bar {UNIT_TOLERANCE:g})")
    if problems:
        return False, "; ".join(problems)
    return True, f"unit length within {error:.1g}, LayerNorm before the last layer, no bias on it"
