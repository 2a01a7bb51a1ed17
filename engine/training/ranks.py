"""Ranks: processes that train one model together, and what a training asks of them.

Every rank computes its slice of every micro-batch and holds the whole model; `torch.distributed` does the rest. A step
is that of one process, whatever their number:

- A micro-batch's windows are cut into one contiguous slice a rank (`part`), so every window is computed once.
- Targets carry no gradient, so what the queries are contrasted against is gathered as it is (`gather`): a plain
  all-gather is exact, and the queue takes in the same entries in the same order everywhere.
- Losses are shares of the effective batch's mean, which add up. DistributedDataParallel averages gradients over the
  ranks, so each share is multiplied by their number before (`backward`), and gradients are exchanged once a step, with
  its last micro-batch (`forward`).
- Whether to stop is agreed on before every step (`confer`): a request that reached any rank ends all at the same one.

`OneProcess` is a training without others: nothing is exchanged, and every answer is its own. Nothing else asks how many
ranks there are.

Shapes: E windows of an effective batch or a set to predict, e of them a rank's own, P width.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.nn.parallel import DistributedDataParallel

from engine.device import collective_backend, measure_rank
from engine.run.events import EpochRecord, RankFigures
from engine.training.rank_launch import STORE_VARIABLE

Places = NDArray[np.int64]

ROLL_CALL_S = 3.0
"""Seconds in which a rank that waited in vain expects the others to say that they are there."""
MEASURE_INTERVAL_S = 5.0
"""What a rank costs is measured at most this often."""


class LateRankError(RuntimeError):
    """A rank did not come to where the others waited for it."""


class LostRankError(RuntimeError):
    """The others are gone or going; why is known to whoever ended them."""


class OneProcess:
    """A training without others.

    Args:
        device: where it computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.count = 0, 1
        self.device = device
        self._measured_at = -MEASURE_INTERVAL_S

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that speaks and saves for all."""
        return self.rank == 0

    def part(self, size: int, rank: int | None = None) -> slice:
        """The slice of so many windows that is a rank's; this one's by default. Sizes differ by one at most."""
        rank = self.rank if rank is None else rank
        return slice(size * rank // self.count, size * (rank + 1) // self.count)

    def wrap(self, module: nn.Module) -> Callable[..., Any]:
        """The forward pass of a module whose gradients are to be exchanged.

        It takes `exchange=False` for a micro-batch that is not the last of its step, before the module's own arguments.
        """
        return lambda *arguments, exchange: module(*arguments)

    def backward(self, loss: Tensor, *, exchange: bool) -> None:
        """Gradients of a share of the loss, added to those there are; `exchange` makes them those of all shares."""
        loss.backward()  # type: ignore[no-untyped-call]

    def gather(self, own_eP: Tensor, places: Sequence[Places]) -> Tensor:
        """All ranks' rows, without gradient.

        Args:
            own_eP: this rank's.
            places: of each rank, where in the whole its rows stand; every place is in one of them.

        Returns:
            (E, P), the same on every rank.
        """
        return own_eP

    def add_up(self, numbers: list[float]) -> list[float]:
        """The sums over the ranks of some numbers, the same on every rank; whole ones stay whole."""
        return numbers

    def confer(self, *, stop: bool) -> bool:
        """Whether to stop, for all ranks alike: where it was asked of any."""
        return stop

    def told(self, record: EpochRecord) -> EpochRecord:
        """The first rank's record of an epoch, so that all judge by the same numbers."""
        return record

    def figures(self) -> list[RankFigures]:
        """What each rank costs; nothing where that was told within the last seconds."""
        now = time.monotonic()
        if now - self._measured_at < MEASURE_INTERVAL_S:
            return []
        self._measured_at = now
        return self._measure()

    def _measure(self) -> list[RankFigures]:
        return [measure_rank(self.rank, self.device)]


class ManyRanks(OneProcess):
    """One of several ranks; see the module. Made by `joined`.

    Args:
        rank: from 0.
        count: of all.
        device: where this one computes.
        timeout_s: how long to wait for another.
        store: a key-value store that is reachable when ranks hang.
    """

    def __init__(self, rank: int, count: int, device: torch.device, timeout_s: float, store: Store) -> None:
        super().__init__(device)
        self.rank, self.count = rank, count
        self._timeout_s, self._store = timeout_s, store
        self._module: DistributedDataParallel | None = None
        # Words and numbers of control, beside the tensors of the device: on CUDA these wait for no kernel.
        self._control = distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
        self._own = self._measure_own()
        self._all = [self._own] * count
        self._own_measured_at = time.monotonic()

    def wrap(self, module: nn.Module) -> Callable[..., Any]:
        self._module = DistributedDataParallel(module)
        return self._forward

    def _forward(self, *arguments: Any, exchange: bool) -> Any:
        assert self._module is not None
        with self._exchanging(exchange):
            return self._module(*arguments)

    def backward(self, loss: Tensor, *, exchange: bool) -> None:
        with self._waiting("the exchange of gradients"), self._exchanging(exchange):
            super().backward(loss * self.count, exchange=exchange)

    def _exchanging(self, exchange: bool) -> contextlib.AbstractContextManager[None]:
        assert self._module is not None
        return contextlib.nullcontext() if exchange else self._module.no_sync()

    def gather(self, own_eP: Tensor, places: Sequence[Places]) -> Tensor:
        most = max(map(len, places))
        padded = own_eP.new_zeros(most, own_eP.shape[1])
        padded[: len(own_eP)] = own_eP
        parts = [torch.empty_like(padded) for _ in places]
        with self._waiting("the exchange of targets"):
            distributed.all_gather(parts, padded, group=self._control if padded.device.type == "cpu" else None)
        whole_EP = own_eP.new_empty(sum(map(len, places)), own_eP.shape[1])
        for where, part in zip(places, parts, strict=True):
            whole_EP[torch.from_numpy(where).to(whole_EP.device)] = part[: len(where)]
        return whole_EP

    def add_up(self, numbers: list[float]) -> list[float]:
        sums = torch.tensor(numbers, dtype=torch.float64)
        with self._waiting("the adding of figures"):
            distributed.all_reduce(sums, group=self._control)
        return [type(own)(total) for own, total in zip(numbers, sums.tolist(), strict=True)]

    def confer(self, *, stop: bool) -> bool:
        if time.monotonic() - self._own_measured_at >= MEASURE_INTERVAL_S:
            self._own, self._own_measured_at = self._measure_own(), time.monotonic()
        own = torch.tensor([float(stop), *_as_numbers(self._own)], dtype=torch.float64)
        said = [torch.empty_like(own) for _ in range(self.count)]
        with self._waiting("the next step"):
            distributed.all_gather(said, own, group=self._control)
        self._all = [_from_numbers(rank, self.device.type, numbers.tolist()[1:]) for rank, numbers in enumerate(said)]
        return any(bool(numbers[0]) for numbers in said)

    def told(self, record: EpochRecord) -> EpochRecord:
        data = bytearray(msgspec.json.encode(record))
        length = torch.tensor([len(data)])
        with self._waiting("the epoch's end"):
            distributed.broadcast(length, 0, group=self._control)
            said = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_first:
                said = torch.frombuffer(data, dtype=torch.uint8)
            distributed.broadcast(said, 0, group=self._control)
        return record if self.is_first else msgspec.json.decode(said.numpy().tobytes(), type=EpochRecord)

    def _measure(self) -> list[RankFigures]:
        return self._all

    def _measure_own(self) -> RankFigures:
        return measure_rank(self.rank, self.device)

    @contextlib.contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        """Where others are waited for, and for what; an exchange that fails is put down to whoever is not there.

        Raises:
            LateRankError: names the ranks that did not come.
            LostRankError: they all came, so it is the connection that failed.
        """
        began = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
                raise
            waited_s = time.monotonic() - began
            absent = self._call_roll()
            if not absent:
                raise LostRankError(f"{what} failed on rank {self.rank}: {error}") from error
            names = f"rank {absent[0]}" if len(absent) == 1 else f"ranks {', '.join(map(str, absent))}"
            if waited_s < self._timeout_s:
                raise LostRankError(f"{names} went away before {what}") from error
            raise LateRankError(
                f"{names} did not come to {what} within {self._timeout_s:g} s (rank_timeout_s): hung, or much "
                "slower than the others"
            ) from error

    def _call_roll(self) -> list[int]:
        """Ranks that do not say within `ROLL_CALL_S` that they are there."""
        self._store.set(f"here/{self.rank}", "")
        deadline = time.monotonic() + ROLL_CALL_S
        absent = list(range(self.count))
        while absent and time.monotonic() < deadline:
            absent = [rank for rank in absent if not self._store.check([f"here/{rank}"])]
            time.sleep(0.05)
        return absent

    def leave(self) -> None:
        """End in the order that ends cleanly: wait for all, drop the wrapper, collect it, then leave the group."""
        with self._waiting("the end"):
            distributed.barrier(group=self._control)
        self._module = None
        gc.collect()
        distributed.destroy_process_group()


@contextlib.contextmanager
def joined(device: torch.device, timeout_s: float) -> Iterator[ManyRanks]:
    """This process as one of the ranks that PyTorch's elastic launcher has started.

    Where the body raises, the group is not left: the others may be gone, and the process is expected to end.

    Args:
        device: where this rank computes.
        timeout_s: how long to wait for another.
    """
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    timeout = timedelta(seconds=timeout_s)
    store = PrefixStore("ranks", _meeting(count, timeout))
    distributed.init_process_group(
        collective_backend(device), store=store, rank=rank, world_size=count, timeout=timeout
    )
    ranks = ManyRanks(rank, count, device, timeout_s, store)
    yield ranks
    ranks.leave()


def _meeting(count: int, timeout: timedelta) -> Store:
    """Where the ranks find each other; it outlives every one of them."""
    file = os.environ.get(STORE_VARIABLE)
    if file:
        store = distributed.FileStore(file)  # type: ignore[attr-defined]
        store.set_timeout(timeout)
        return store
    return distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, is_master=False, timeout=timeout
    )


_MISSING = -1.0


def _as_numbers(figures: RankFigures) -> list[float]:
    index = figures.device.partition(":")[2]
    known = (figures.device_used_bytes, figures.device_total_bytes, figures.device_percent)
    return [
        float(index or _MISSING),
        float(figures.memory_bytes),
        figures.cpu_s,
        *(_MISSING if number is None else float(number) for number in known),
    ]


def _from_numbers(rank: int, kind: str, numbers: list[float]) -> RankFigures:
    index, memory, cpu_s, used, total, percent = numbers
    return RankFigures(
        rank=rank,
        device=kind if index == _MISSING else f"{kind}:{index:.0f}",
        memory_bytes=int(memory),
        cpu_s=cpu_s,
        device_used_bytes=None if used == _MISSING else int(used),
        device_total_bytes=None if total == _MISSING else int(total),
        device_percent=None if percent == _MISSING else percent,
    )
