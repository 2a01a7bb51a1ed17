"""Devices and threads: the only place that knows on what the numbers are computed."""

from __future__ import annotations

import torch

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
