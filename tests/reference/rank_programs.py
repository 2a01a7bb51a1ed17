"""Programs whose processes are the ranks of a training, started without a launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from torch import distributed

TIMEOUT_S = 60.0
"""A rank is waited for so long."""
PATIENCE_S = 600.0
"""A program is waited for so long: a guard against one that hangs, and no bar."""
ROOT = Path(__file__).parents[2]


def open_store(count: int) -> distributed.TCPStore:
    """Where so many ranks meet, as long as it is held."""
    return distributed.TCPStore("127.0.0.1", 0, count + 1, is_master=True, wait_for_workers=False)


def run_ranks(module: str, count: int, *arguments: str) -> None:
    """Start so many processes of a module and wait for their clean end."""
    store = open_store(count)
    environment = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
    command = [sys.executable, "-m", module, *arguments]
    processes = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    try:
        said = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * count, "\n".join(said)
