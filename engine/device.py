"""Devices and threads: the only place that knows on what the numbers are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from engine.run.convert import ConfigError


def pick_device(name: str) -> torch.device:
    """The device a run asks for; `auto` takes the first of cuda, mps, cpu that is there.

    Raises:
        ConfigError: the named device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if name not in available:
        raise ConfigError(f'device: there is no kind of device "{name}". Known: auto, {", ".join(available)}.')
    if not available[name]:
        there = " or ".join(kind for kind in available if available[kind])
        raise ConfigError(f'device: "{name}" is not available on this machine. Use "auto" or {there}.')
    return torch.device(name)


def set_threads(n: int) -> int:
    """Compute with `n` CPU threads; 0 keeps what the environment (OMP_NUM_THREADS) says. Returns the number in use."""
    if n > 0:
        torch.set_num_threads(n)
    return torch.get_num_threads()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def has_fused_optimizer(device: torch.device) -> bool:
    """Whether an optimizer can move all weights in one pass; elsewhere not in every version of PyTorch."""
    return device.type in {"cpu", "cuda"}


def computes_in_cache(device: torch.device) -> bool:
    """Whether work is best cut to the size of a cache; elsewhere every piece costs a launch and is best whole."""
    return device.type == "cpu"


def autocast(device: torch.device, precision: Literal["float32", "bf16"]) -> AbstractContextManager[object]:
    """Within it, matrix products are computed in `precision`; what they are made of and give is converted by itself."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def keep_norms_in_float32(model: nn.Module) -> None:
    """Have the RMS norms of a model take float32 within `autocast` as well, as PyTorch itself sees to for layer norms.

    Their weights are float32, and a mean of squares loses most to eight bits of mantissa.
    """
    for module in model.modules():
        if isinstance(module, nn.RMSNorm):
            module.register_forward_pre_hook(lambda _module, inputs: (inputs[0].float(),))
