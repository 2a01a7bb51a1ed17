"""Programs whose processes are the ranks of a training, started without a launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from torch import distributed

TIMEOUT_S = 60.0
"""A rank is waited for so long."""
ROOT = Path(__file__).parents[2]


def start_ranks(module: str, count: int, *arguments: str) -> tuple[list[subprocess.Popen[str]], object]:
    """So many processes of a module, and the store that they need as long as they run."""
    store = distributed.TCPStore("127.0.0.1", 0, count + 1, is_master=True, wait_for_workers=False)
    environment = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
    command = [sys.executable, "-m", module, *arguments]
    processes = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    return processes, store


def run_ranks(module: str, count: int, *arguments: str) -> None:
    """Start so many processes of a module and wait for their clean end."""
    processes, _store = start_ranks(module, count, *arguments)
    try:
        said = [process.communicate(timeout=2 * TIMEOUT_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * count, "\n".join(said)
