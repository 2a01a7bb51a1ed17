"""A rank that takes a step and ends in the documented order, in a process of its own for every file to
meet in: `python -m tests.reference.rank_end FILE ...`. Exits with how many did not end cleanly.

The processes are forked of one that has loaded PyTorch and not used it yet: loading it is what takes long.
"""

from __future__ import annotations

import gc
import os
import sys

import torch
import torch._dynamo  # seconds, which the wrapper of a module would take for it in every process
from torch import nn

from engine.training.rank_launch import STORE_VARIABLE
from engine.training.ranks import joined
from tests.reference.rank_programs import TIMEOUT_S


def take_a_step() -> None:
    """One forward and one backward pass with the others."""
    with joined(torch.device("cpu"), TIMEOUT_S) as ranks:
        forward = ranks.wrap(nn.Linear(64, 64))
        ranks.backward(forward(torch.ones(8, 64), exchange=True).sum(), exchange=True)


def main() -> int:
    """As one of the ranks that the environment tells of, as often as there are files."""
    unclean = 0
    gc.freeze()  # what is loaded is collected by none of them
    for file in sys.argv[1:]:
        child = os.fork()
        if child == 0:
            os.environ[STORE_VARIABLE] = file
            torch.set_num_threads(1)
            take_a_step()
            return 0  # and the interpreter ends as it does
        unclean += os.waitpid(child, 0)[1] != 0
    return unclean


if __name__ == "__main__":
    sys.exit(main())
