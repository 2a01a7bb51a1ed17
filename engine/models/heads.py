"""The projection head: the space in which the playbook's loss contrasts, and the check that it is built right.

The check looks at a head as it runs, or at one that is only known by its weights, from whichever program.

Shapes: B batch, D vector width, P projection width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.run.convert import ConfigError

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


_Layer = nn.Linear | nn.LayerNorm | nn.BatchNorm1d


def head_of_weights(weights: Mapping[str, Tensor]) -> nn.Module | None:
    """A head that has these weights, built from their shapes alone; None where they hold no linear layer.

    Two dimensions are a linear layer, one dimension a norm (of a batch where it keeps running means, else of a layer),
    in the order of the layers' numbers. Weights that are laid out as the playbook's head become that head, whose
    forward pass ends in the L2 norm.

    Args:
        weights: of the head alone, by names such as `mlp.3.weight`.

    Raises:
        ConfigError: the layers are not numbered, one cannot be, or does not fit the next.
    """
    layers = [_layer_of(name, {key: weights[f"{name}.{key}"] for key in keys}) for name, keys in _layer_names(weights)]
    if not any(isinstance(layer, nn.Linear) for layer in layers):
        return None
    _refuse_unchained(layers)
    match layers:
        case [nn.Linear() as first, nn.LayerNorm() as norm, nn.Linear() as last] if "bias" not in last.state_dict():
            head = ProjectionHead(first.in_features, first.out_features, last.out_features)
            head.mlp = nn.Sequential(first, nn.GELU(), norm, last)
            return head
        case _:
            return _NormalisedStack(*layers)


class _NormalisedStack(nn.Sequential):
    """A head laid out otherwise. Weights cannot show the L2 norm at the end, so it is taken to be there."""

    def forward(self, x_BD: Tensor) -> Tensor:
        for layer in self:
            x_BD = layer(x_BD)
        return functional.normalize(x_BD, dim=-1)


def _layer_names(weights: Mapping[str, Tensor]) -> list[tuple[str, list[str]]]:
    """Layers in the order of their numbers, each with the names of its tensors."""
    layers: dict[str, list[str]] = {}
    for name in weights:
        layer, _, key = name.rpartition(".")
        layers.setdefault(layer, []).append(key)
    unnumbered = [name for name in layers if not name.rpartition(".")[2].isdecimal()]
    if unnumbered:
        raise ConfigError(
            f"the head's layer {unnumbered[0]!r} has no number, so nobody can say which layer is the last. Save the "
            "head as a torch.nn.Sequential, whose layers are numbered."
        )
    kept = {name: keys for name, keys in layers.items() if "weight" in keys}
    return sorted(kept.items(), key=lambda item: int(item[0].rpartition(".")[2]))


def _refuse_unchained(layers: Sequence[_Layer]) -> None:
    width = None
    for layer in layers:
        takes = layer.in_features if isinstance(layer, nn.Linear) else layer.weight.numel()
        if width is not None and takes != width:
            raise ConfigError(
                f"the head's layers do not fit together: one gives {width} numbers, the next takes {takes}."
            )
        width = layer.out_features if isinstance(layer, nn.Linear) else takes


def _layer_of(name: str, tensors: Mapping[str, Tensor]) -> _Layer:
    weight, bias = tensors["weight"], tensors.get("bias")
    if weight.ndim not in (1, 2) or not weight.numel():
        raise ConfigError(
            f"the head's layer {name!r} has a weight of {_shown(weight)}; a linear layer's has two dimensions, a "
            "norm's one. Name a file whose head is made of these."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ConfigError(
            f"the head's layer {name!r} has a bias of {_shown(bias)} for a weight of {_shown(weight)}: the file is "
            "damaged, or not of this head."
        )
    layer: _Layer
    if weight.ndim == 2:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    elif "running_mean" in tensors:
        return nn.BatchNorm1d(weight.numel()).eval()  # enough to be told from a layer norm
    else:
        layer = nn.LayerNorm(weight.numel(), bias=bias is not None)
    layer.load_state_dict({key: value.float() for key, value in tensors.items() if key in {"weight", "bias"}})
    return layer


def _shown(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "no dimensions"


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
