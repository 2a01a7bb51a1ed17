"""Gathering windows from a corpus in shards, against the same corpus in one file, in turns within one run.

    python benchmarks/shards.py --folder scratch --chunks 584000 --dim 768 --shard-rows 20000

Makes both corpora in that folder unless they are there: seeded noise as float16, 40 chunks an article. Batches are of
1,024 windows of 5 chunks and a target, drawn over the whole corpus, so that each crosses every shard. A speed is of the
fastest batch of all turns: others on the machine can only make one slower.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.first_batch import make_corpus
from engine.data.corpus import open_corpus
from engine.data.importers import import_corpus
from engine.data.windows import CorpusWindows

BAR = 0.9
BATCH = 1024


def main() -> int:
    """Print the speeds and their ratio; exit code 1 if it is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=584_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--shard-rows", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=30)
    given = parser.parse_args()
    whole, cut = given.folder / "whole", given.folder / f"cut-{given.shard_rows}"
    if not whole.exists():
        make_corpus(whole, given.chunks, given.dim)
    if not cut.exists():
        files = whole / "vectors_f16.npy", whole / "articles.jsonl"
        import_corpus(*files, cut, embedder="none", shard_rows=given.shard_rows)
    sources = {name: CorpusWindows(open_corpus(folder), 5) for name, folder in (("one file", whole), ("shards", cut))}
    generator, best = np.random.default_rng(0), dict.fromkeys(sources, float("inf"))
    for turn in range(given.turns + 1):
        windows = generator.integers(sources["shards"].num_windows, size=BATCH)
        for name in list(sources)[:: 1 if turn % 2 else -1]:  # whoever comes second finds the pages read
            for again in range(2):
                began = time.perf_counter()
                sources[name].gather(windows)
                if turn and again:
                    best[name] = min(best[name], time.perf_counter() - began)
    ratio = best["one file"] / best["shards"]
    for name, seconds in best.items():
        parts = len(sources[name].corpus.parts)
        print(f"{name} ({parts}): {BATCH / seconds:,.0f} windows/s")
    print(f"shards have {ratio:.2f} of one file's speed (bar {BAR}): {'reached' if ratio >= BAR else 'not reached'}")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
