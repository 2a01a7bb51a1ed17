"""Peak memory of some code, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_REPORT = """
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""
"""Not ru_maxrss, which begins with what the parent had when it forked."""


def peak_kilobytes(code: str, *arguments: object) -> int:
    """The most resident memory that a Python program ever has, in kB, imports included; it finds `sys.argv[1:]`."""
    command = [sys.executable, "-c", code + _REPORT, *map(str, arguments)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
