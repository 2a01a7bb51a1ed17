"""Devices and threads: the only place that knows on what the numbers are computed."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from engine.run.convert import ConfigError
from engine.run.events import RankFigures


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


def device_of_rank(name: str, local_rank: int, nproc: int) -> torch.device:
    """The device of one of a node's ranks: on CUDA the one of its number.

    Raises:
        ConfigError: the node has not enough of them.
    """
    device = pick_device(name)
    if device.type == "mps" and nproc > 1:
        raise ConfigError(f'nproc = {nproc}: there is one mps device, and ranks do not share it. Use device = "cpu".')
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if nproc > there:
        raise ConfigError(
            f'nproc = {nproc}: this node has {there} CUDA devices. Ask for as many, or for device = "cpu".'
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def collective_backend(device: torch.device) -> Literal["nccl", "gloo"]:
    """What ranks exchange tensors of a device with."""
    return "nccl" if device.type == "cuda" else "gloo"


def measure_rank(rank: int, device: torch.device) -> RankFigures:
    """What a process costs now, and its device; CUDA alone tells of itself."""
    used = total = utilisation = None
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used = total - free
        with suppress(ModuleNotFoundError, RuntimeError):  # NVIDIA's library for it is a package of its own
            utilisation = float(torch.cuda.utilization(device))
    return RankFigures(
        rank=rank,
        device=str(device),
        memory_bytes=_resident_bytes(),
        cpu_s=time.process_time(),
        device_used_bytes=used,
        device_total_bytes=total,
        device_percent=utilisation,
    )


def _resident_bytes() -> int:
    """Of this process; where the system does not tell, the most that it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
