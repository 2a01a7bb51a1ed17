"""What one unit of work costs on this machine: the numbers that `lvm-engine plan` multiplies.

    python -m benchmarks.unit_costs --folder scratch --out units.json

Makes corpora of seeded noise in that folder (float16, 40 chunks an article, in shards) and removes them afterwards; the
larger takes 0.9 GB. Every unit is measured at two sizes, so that the file says how far a law holds. Times are processor
seconds of one thread, which others on the machine disturb least. Takes some ten minutes, and 5 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.first_batch import make_corpus
from engine.data.corpus import Corpus, LazyVectors, check_digests, open_corpus
from engine.data.importers import import_corpus
from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation.exact import search_exactly
from engine.evaluation.fastscan import train_fastscan
from engine.evaluation.retrieval import POINTS_PER_LIST, ROUNDS, _train, choose_nlist
from engine.plan.units import Unit, UnitName, Units
from engine.run.runs_file import CORPORA
from engine.run.settings import ModelConfig, RunConfig
from engine.training.disk import checkpoint_bytes
from engine.training.learner import Learner

CONTEXT = 5
QUERIES = 1000
ENOUGH_S = 4.0
SMALL_DIM = 384
_ADDED = 65_536
MODELS = {"mamba_s": ModelConfig(), "amn": ModelConfig(kind="amn", layers=2)}

Figures = dict[UnitName, float]


def main() -> None:
    """Measure at two sizes, write one file, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chunks", type=int, nargs=2, default=[73_000, 584_000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--machine", default="", help="what to call it; cores and processor by default")
    parser.add_argument("--child", type=Path)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(opened(given.child)))
        return
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    threadpool_limits(1)
    sizes: list[Figures] = []
    for chunks in given.chunks:
        folder = given.folder / f"units-{chunks}"
        try:
            sizes.append(measure(make(folder, chunks, given.dim)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    low, high = given.chunks
    units = [
        Unit(name=name, value=sizes[1][name], smallest_value=sizes[0][name], per=PER[name], low=low, high=high)
        for name in sizes[0]
    ]
    units += [texts(), *checkpoints(given.folder, given.dim)]
    packed = Units(
        machine=given.machine or default_machine(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dim=given.dim,
        context=CONTEXT,
        command=f"python -m benchmarks.unit_costs --chunks {low} {high} --dim {given.dim}",
        units=units,
    )
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode(packed)) + b"\n")
    print(given.out.read_text())


PER: dict[UnitName, str] = {
    "open_s": "chunk",
    "open_bytes": "chunk",
    "digest_s": "byte",
    "kmeans_s": "sampled chunk, list, round and dimension",
    "assign_s": "chunk, list and dimension",
    "encode_s": "chunk and dimension",
    "exact_s": "query, chunk and dimension",
    "exact_disk_s": "query, chunk and dimension",
    "mamba_s_window_s": "window",
    "amn_window_s": "window",
}


def make(folder: Path, chunks: int, dim: int) -> Corpus:
    """A corpus of noise, in four shards."""
    make_corpus(folder / "whole", chunks, dim)
    files = folder / "whole" / "vectors_f16.npy", folder / "whole" / "articles.jsonl"
    made = import_corpus(*files, folder / "cut", embedder="none", shard_rows=chunks // 4 + 40)
    shutil.rmtree(folder / "whole")
    return made


def measure(corpus: Corpus) -> Figures:
    """Every unit but those of checkpoints, at the size of a corpus."""
    count, dim = corpus.num_chunks, corpus.dim
    command = [sys.executable, "-m", "benchmarks.unit_costs", "--folder", ".", "--out", ".", "--child"]
    runs = [
        json.loads(subprocess.run([*command, str(corpus.folder)], check=True, capture_output=True).stdout) for _ in "ab"
    ]
    num_bytes = sum((corpus.folder / name).stat().st_size for name in corpus.manifest.files)
    figures: Figures = {
        "open_s": min(run["s"] for run in runs) / count,
        "open_bytes": min(run["bytes"] for run in runs) / count,
        "digest_s": least(lambda: check_digests(corpus)) / num_bytes,
    }
    say(figures)
    vectors = corpus.all_vectors()
    generator = np.random.default_rng(0)
    rows = generator.choice(np.arange(CONTEXT, count), QUERIES, replace=False)
    queries = vectors[rows - 1] + vectors[rows]
    contexts = rows[:, None] - np.arange(1, CONTEXT + 1)
    products = QUERIES * count * dim
    searched: dict[UnitName, Any] = {"exact_s": vectors, "exact_disk_s": LazyVectors(corpus)}
    for name, each in searched.items():
        figures[name] = least(lambda each=each: search_exactly(each, queries, rows, contexts, k=55)) / products
    say(figures)
    figures |= built(vectors)
    say(figures)
    del vectors
    for name, config in MODELS.items():
        figures[f"{name}_window_s"] = trained(corpus, config)  # type: ignore[index]
    say(figures)
    return figures


def built(vectors: Any) -> Figures:
    """Units of building an index: k-means alone, then what a block of chunks costs to add."""
    count, dim = vectors.shape
    nlist = choose_nlist(count)
    sample = np.ascontiguousarray(vectors[: min(count, nlist * POINTS_PER_LIST)])
    began = time.process_time()
    flat = _train(sample, "flat", nlist)
    kmeans = (time.process_time() - began) / (len(sample) * nlist * ROUNDS * dim)
    fast = train_fastscan(sample, flat.quantizer, nlist)
    block = np.ascontiguousarray(vectors[-_ADDED:])
    assigned = least(lambda: faiss.knn(block, centroids_of(flat), 1, metric=faiss.METRIC_INNER_PRODUCT))
    added = least(lambda: fast.add(block))
    return {
        "kmeans_s": kmeans,
        "assign_s": assigned / (len(block) * nlist * dim),
        "encode_s": max(added - assigned, 1e-3) / (len(block) * dim),
    }


def centroids_of(index: Any) -> Any:
    """(nlist, D) float32."""
    return index.quantizer.reconstruct_n(0, index.nlist)


def trained(corpus: Corpus, config: ModelConfig) -> float:
    """Seconds a window of the fastest training step, gathering included."""
    source = CorpusWindows(corpus, CONTEXT)
    run = RunConfig(model=config)
    learner = Learner(run, source, torch.device("cpu"))
    size, parts = run.sampler.batch_size, run.sampler.accumulate
    generator = np.random.default_rng(0)

    def step() -> None:
        windows = generator.choice(source.num_windows, size * parts, replace=False)
        learner.take_step(list(windows.reshape(parts, size)), step=1, lr=1e-4)

    return least(step) / (size * parts)


def default_machine() -> str:
    """Cores, processor, threads used, and whether there was a GPU that nobody asked."""
    gpu = "a GPU that was not used" if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {platform.machine()}, {gpu}, one thread"


def texts() -> Unit:
    """Bytes of a chunk's text, compressed: of the embedded corpus, since noise says nothing."""
    corpus = open_corpus(CORPORA / "wikileads")
    each = sum(part.articles.stat().st_size for part in corpus.parts) / corpus.num_chunks
    size = corpus.num_chunks
    return Unit(name="text_bytes", value=each, smallest_value=each, per="chunk", low=size, high=size)


def checkpoints(folder: Path, dim: int) -> list[Unit]:
    """Bytes of a checkpoint at two widths, between and beyond which they lie on a line."""
    units = []
    learners = {}
    for width in (SMALL_DIM, dim):
        place = folder / f"units-width-{width}"
        try:
            made = make(place, 4000, width)
            source = CorpusWindows(made, CONTEXT)
            for name, config in MODELS.items():
                learner = Learner(RunConfig(model=config), source, torch.device("cpu"))
                learners[name, width] = float(checkpoint_bytes(learner))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    for name in MODELS:
        small, large = learners[name, SMALL_DIM], learners[name, dim]
        units.append(
            Unit(
                name=f"{name}_checkpoint_bytes",  # type: ignore[arg-type]
                value=large,
                smallest_value=small,
                per="checkpoint",
                low=SMALL_DIM,
                high=dim,
            )
        )
    return units


def open_in_child(folder: Path) -> dict[str, float]:
    """What `opened` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.unit_costs", "--folder", ".", "--out", ".", "--child", str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def opened(folder: Path) -> dict[str, float]:
    """Seconds until windows and split of a corpus are known, and the memory that they take."""

    def peak() -> int:
        with open("/proc/self/status") as status:
            return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])

    before, began = peak(), time.process_time()
    source = CorpusWindows(open_corpus(folder), CONTEXT)
    split_windows(source, val_share=0.1, test_share=0.1, seed=0)
    return {"s": time.process_time() - began, "bytes": float(peak() - before)}


def least(body: Callable[[], object]) -> float:
    """The least processor seconds of some turns, of one where it is long: others on the machine can only make one
    slower."""
    seconds: list[float] = []
    while sum(seconds) < ENOUGH_S:
        began = time.process_time()
        body()
        seconds.append(time.process_time() - began)
    return min(seconds)


def say(figures: Figures) -> None:
    """Progress, on stderr."""
    print({name: f"{value:.3g}" for name, value in figures.items()}, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
