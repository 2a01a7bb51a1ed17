"""A stranger's file is opened in a child with limits first.

Libraries in C++ believe what a file says of its own sizes. The child has a limit of memory beyond what its libraries
take, and a time; only a file that it has opened and used is then opened here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Kind = Literal["faiss", "safetensors", "training"]

TIMEOUT_S = 60.0
"""To import a library and to open a file of a few gigabytes."""
HEADROOM_BYTES = 1 << 30
"""Beyond several times the file's size; a small file may still need tables of some hundred megabytes."""
_TIMES_THE_FILE = 4
_REASON_CHARS = 200


def why_unopenable(kind: Kind, path: Path, *, timeout_s: float = TIMEOUT_S) -> str:
    """Why a file should not be opened here; empty if a child has opened and used it within the limits.

    Args:
        kind: which library opens it.
        path: the file.
        timeout_s: for the child as a whole.

    Raises:
        OSError: it is missing.
    """
    memory = _TIMES_THE_FILE * path.stat().st_size + HEADROOM_BYTES
    command = [sys.executable, "-P", "-m", "engine.quarantine", kind, str(path.absolute()), str(memory)]
    # one thread: the stacks of others would count as memory
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it was not open after {timeout_s:.0f} s"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"it crashes the library that opens it ({name})"
    if done.returncode == 0:
        return ""
    reason = done.stdout.decode(errors="replace").strip()
    return reason or f"it cannot be opened within {memory / 1e9:.1f} GB"


def main() -> int:
    """Open the file that the command line names; the reason of a failure is printed."""
    kind, path, memory = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    openers: dict[str, Callable[[], Callable[[str], Any]]] = {
        "faiss": _faiss_opener,
        "safetensors": _safetensors_opener,
        "training": _training_opener,
    }
    opened_by = openers[kind]()
    limit = _address_space() + int(memory)
    with contextlib.suppress(ValueError):  # some systems have no such limit; the child is still none of this process
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        opened_by(path)
    except MemoryError:
        return 3
    except Exception as error:  # whatever a library makes of a hostile file
        text = (str(error).splitlines() or [""])[0] or type(error).__name__
        if "bad_alloc" in text:
            return 3
        sys.stdout.write(text[:_REASON_CHARS])
        return 1
    return 0


def _faiss_opener() -> Callable[[str], Any]:
    import faiss
    import numpy as np

    def opened(path: str) -> None:
        index = faiss.read_index(path)
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None:
            lists.nprobe = lists.nlist
        if index.ntotal:
            index.search(np.zeros((1, index.d), np.float32), 1)  # every list is walked through

    return opened


def _safetensors_opener() -> Callable[[str], Any]:
    from safetensors import safe_open

    def opened(path: str) -> None:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 # no mapping
                file.get_slice(name).get_shape()

    return opened


def _training_opener() -> Callable[[str], Any]:
    import torch

    return lambda path: torch.load(path, map_location="cpu", weights_only=True)


def _address_space() -> int:
    """Bytes of address space this process has; 0 where the system does not tell, so that the limit is stricter."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
