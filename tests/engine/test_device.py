"""Devices and threads: what is there is taken, what is not is refused in words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.device import (
    autocast,
    collective_backend,
    computes_in_cache,
    device_of_rank,
    has_fused_optimizer,
    keep_norms_in_float32,
    measure_rank,
    pick_device,
    set_threads,
    synchronize,
)
from engine.run.convert import ConfigError


@pytest.fixture
def without_accelerators(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def test_auto_takes_the_first_that_is_there(without_accelerators: pytest.MonkeyPatch) -> None:
    assert pick_device("auto") == torch.device("cpu")
    without_accelerators.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    without_accelerators.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("without_accelerators")
def test_what_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(ConfigError, match=r'"cuda" is not available on this machine\. Use "auto" or cpu'):
        pick_device("cuda")
    with pytest.raises(ConfigError, match=r'no kind of device "tpu"\. Known: auto, cuda, mps, cpu'):
        pick_device("tpu")


def test_threads_are_set_and_zero_keeps_them() -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(1) == 1 == torch.get_num_threads()
        assert set_threads(0) == 1
    finally:
        torch.set_num_threads(before)


def test_synchronizing_waits_for_the_device_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(device.type))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for kind in ("cpu", "cuda", "mps"):
        synchronize(torch.device(kind))
    assert waited == ["cuda", "mps"]


def test_bf16_is_what_products_are_computed_in_and_only_within() -> None:
    layer, vectors = nn.Linear(4, 4), torch.ones(2, 4)
    with autocast(torch.device("cpu"), "bf16"):
        assert layer(vectors).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "float32"):
        assert layer(vectors).dtype == torch.float32
    assert layer(vectors).dtype == torch.float32


def test_norms_take_float32_where_they_are_asked_to() -> None:
    norm = nn.RMSNorm(4)
    keep_norms_in_float32(nn.Sequential(norm))
    assert norm(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_each_kind_of_device_gets_what_suits_it() -> None:
    kinds = [torch.device(kind) for kind in ("cpu", "cuda", "mps")]
    assert [has_fused_optimizer(kind) for kind in kinds] == [True, True, False]
    assert [computes_in_cache(kind) for kind in kinds] == [True, False, False]


def test_a_rank_takes_the_cuda_device_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert device_of_rank("auto", 1, 2) == torch.device("cuda:1")
    assert taken == [1]
    with pytest.raises(ConfigError, match="nproc = 4: this node has 2 CUDA devices"):
        device_of_rank("cuda", 0, 4)
    assert device_of_rank("cpu", 3, 4) == torch.device("cpu")


def test_ranks_do_not_share_the_one_mps_device(without_accelerators: pytest.MonkeyPatch) -> None:
    without_accelerators.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_of_rank("mps", 0, 1) == torch.device("mps")
    with pytest.raises(ConfigError, match=r"ranks do not share it\. Use device = \"cpu\""):
        device_of_rank("auto", 0, 2)


def test_ranks_exchange_with_what_their_device_has() -> None:
    kinds = [torch.device(kind) for kind in ("cpu", "cuda", "mps")]
    assert [collective_backend(kind) for kind in kinds] == ["gloo", "nccl", "gloo"]


def test_cuda_alone_tells_of_itself_and_says_nothing_of_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = measure_rank(0, torch.device("cpu"))
    assert on_cpu.memory_bytes > 50e6, "a process that has loaded PyTorch"
    assert on_cpu.cpu_s > 0
    assert (on_cpu.device_used_bytes, on_cpu.device_total_bytes, on_cpu.device_percent) == (None, None, None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "utilization", lambda _device: 87)
    on_cuda = measure_rank(1, torch.device("cuda:1"))
    assert (on_cuda.rank, on_cuda.device) == (1, "cuda:1")
    assert (on_cuda.device_used_bytes, on_cuda.device_total_bytes, on_cuda.device_percent) == (5 << 30, 8 << 30, 87.0)

    def lacks_a_library(_device: torch.device) -> int:
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "utilization", lacks_a_library)
    assert measure_rank(1, torch.device("cuda:1")).device_percent is None
