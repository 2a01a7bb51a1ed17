"""What a node finds: written by a job of `lvm-tui doctor`, in the folder that both must see. Standard library only.

`python -m engine.run.node_report NONCE FILE`
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.run.files import write_atomically

PACKAGES = ("lvm-tui", "torch", "numpy", "faiss-cpu", "msgspec", "safetensors", "scikit-learn")
"""What an engine computes with."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages; empty for one that is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def main(argv: list[str] | None = None) -> int:
    """Write the report."""
    nonce, path = argv or sys.argv[1:]
    report = {
        "nonce": nonce,
        "host": socket.gethostname(),
        "time": time.time(),
        "versions": versions(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "disk_free": shutil.disk_usage(Path(path).parent).free,
    }
    write_atomically(Path(path), json.dumps(report).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
