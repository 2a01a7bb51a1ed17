"""A block of Mamba-S beside one of mambapy, forward and backward: CPU time and peak memory, each in its own process.

    pip install -c constraints.txt -e '.[peers]'
    python benchmarks/mamba_peers.py --turns 3

Both are pure PyTorch, width 256, state 128, convolution 4, expansion 2, one thread. They are not the same function:
Mamba-S is a Mamba-2 block (one decay a head), mambapy's a Mamba-1 block (a decay a channel and state) whose scan is
parallel. The C library's allocator gives large blocks back and faults them in anew, which costs mambapy more, so every
ratio is shown under its defaults and with that turned off. The children take turns; each figure is the least of them.
Needs 8 GB of memory, nearly all of it for mambapy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

CASES = {"window 5, batch 128": (5, 128), "window 100, batch 12": (100, 12)}
KINDS = ("mamba_s", "mambapy")
KEEP = str(4 << 30)
ALLOCATORS = {
    "allocator's defaults": {},
    "blocks kept": {"MALLOC_TRIM_THRESHOLD_": KEEP, "MALLOC_MMAP_THRESHOLD_": KEEP},
}
WIDTH, STATE = 256, 128
PASSES = {5: 5, 100: 2}
"""Timed in a child, after one that warms up."""


def main() -> None:
    """Run every case of every kind under every allocator setting, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "CASE"), help="measure one thing and print it as JSON")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child[0], *CASES[options.child[1]])))
        return
    for allocator, environment in ALLOCATORS.items():
        for case in CASES:
            seconds, peak = least(case, environment, options.turns)
            ours, theirs = (f"{seconds[kind] * 1e3:,.0f} ms {peak[kind] / 1e6:,.0f} MB" for kind in KINDS)
            faster, smaller = seconds["mambapy"] / seconds["mamba_s"], peak["mamba_s"] / peak["mambapy"]
            ratios = f"{faster:.0f} times faster, {smaller:.3f} of the memory"
            print(f"{allocator}, {case}: Mamba-S {ours}, mambapy {theirs}: {ratios}", flush=True)


def least(case: str, environment: dict[str, str], turns: int) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds of a pass and peak bytes by kind, the least of the turns."""
    seconds, peak = dict.fromkeys(KINDS, float("inf")), dict.fromkeys(KINDS, float("inf"))
    for _ in range(turns):
        for kind in KINDS:
            command = [sys.executable, __file__, "--child", kind, case]
            done = subprocess.run(
                command, env={**os.environ, **environment, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True
            )
            found = json.loads(done.stdout)
            seconds[kind], peak[kind] = min(seconds[kind], found["s"]), min(peak[kind], found["bytes"])
    return seconds, peak


def measure(kind: str, length: int, batch: int) -> dict[str, float]:
    """CPU seconds of a forward and backward pass, and how far the process's memory grew over what it began with."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    block = make_block(kind)
    hidden = torch.randn(batch, length, WIDTH, requires_grad=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = float("inf")
    for _ in range(1 + PASSES[length]):
        began = time.process_time()
        block(hidden).sum().backward()
        best = min(best, time.process_time() - began)
    return {"s": best, "bytes": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)}


def make_block(kind: str):
    """A block with norm and residual, of either kind."""
    if kind == "mamba_s":
        from engine.models.mamba import MambaBlock
        from engine.run.settings import ModelConfig

        return MambaBlock(ModelConfig(width=WIDTH, state=STATE))
    from mambapy.mamba import MambaConfig, ResidualBlock

    return ResidualBlock(MambaConfig(d_model=WIDTH, n_layers=1, d_state=STATE))


if __name__ == "__main__":
    main()
