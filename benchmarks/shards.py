"""Gathering windows from a corpus in shards, and searching it, against the same corpus in one file, in one run.

    python benchmarks/shards.py --folder scratch --chunks 584000 --dim 768 --shard-rows 20000

Makes both corpora in that folder unless they are there: seeded noise as float16, 40 chunks an article. Batches are of
1,024 windows of 5 chunks and a target, drawn over the whole corpus, so that each crosses every shard. A speed is of the
fastest batch of all turns: others on the machine can only make one slower. Exact search is of 200 queries, from the
disk and from memory, and finds the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.first_batch import make_corpus
from engine.data.corpus import Corpus, LazyVectors, Vectors, open_corpus
from engine.data.importers import import_corpus
from engine.data.windows import CorpusWindows
from engine.evaluation.exact import search_exactly

BAR = 0.9
BATCH = 1024
SEARCHES = 3


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
    searched = search({name: source.corpus for name, source in sources.items()}, generator)
    return 0 if min(ratio, searched) >= BAR else 1


def search(corpora: dict[str, Corpus], generator: np.random.Generator) -> float:
    """Print the seconds of exact search; returns the share of one file's speed that shards have, both on the disk."""
    one = corpora["one file"]
    rows = generator.choice(np.arange(5, one.num_chunks), 200, replace=False)
    queries, contexts = one.vectors(rows - 1) + one.vectors(rows), rows[:, None] - np.arange(1, 6)
    ways: dict[str, Vectors] = {f"{name}, on the disk": LazyVectors(corpus) for name, corpus in corpora.items()}
    ways["one file, in memory"] = one.all_vectors()
    best, found = dict.fromkeys(ways, float("inf")), {}
    for _ in range(SEARCHES):
        for name, vectors in ways.items():
            began = time.perf_counter()
            found[name] = search_exactly(vectors, queries, rows, contexts, k=55)
            best[name] = min(best[name], time.perf_counter() - began)
    first, *others = found.values()
    assert all(np.array_equal(first.top, each.top) and np.array_equal(first.ranks, each.ranks) for each in others)
    for name, seconds in best.items():
        print(f"exact search of 200 queries, {name}: {seconds:.1f} s")
    ratio = best["one file, on the disk"] / best["shards, on the disk"]
    print(f"shards are searched at {ratio:.2f} of one file's speed, and find the same")
    return ratio


if __name__ == "__main__":
    raise SystemExit(main())
