"""How long a training waits for its first batch on a large corpus, and with how much memory.

    python benchmarks/first_batch.py --folder big-corpus --chunks 584000 --dim 768

Makes the corpus in that folder unless it is there (seeded noise as float16, texts of 200 characters, 40 chunks an
article), then opens, splits, samples and gathers it in processes of their own. The least of the turns has the corpus in
the page cache; the first one may not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from engine.data.corpus import file_sha256
from engine.data.manifest import MANIFEST, Manifest

CHUNKS_EACH = 40
BATCH = (256, 4)


def main() -> None:
    """Make the corpus if it is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=584_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(first_batch(options.folder)))
        return
    if not (options.folder / MANIFEST).exists():
        make_corpus(options.folder, options.chunks, options.dim)
    for turn in range(options.turns):
        command = [sys.executable, __file__, "--child", "--folder", str(options.folder)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(f"turn {turn + 1}: first batch after {found['s']:.2f} s, peak {found['mb']:.0f} MB")


def first_batch(folder: Path) -> dict[str, float]:
    """Seconds from the opening to a batch of 256 x 4 windows, imports left out; peak resident megabytes, all in."""
    from engine.data.corpus import open_corpus
    from engine.data.split import split_windows
    from engine.data.windows import CorpusWindows
    from engine.training.sampler import EffectiveBatchSampler

    began = time.perf_counter()
    source = CorpusWindows(open_corpus(folder), 5)
    split = split_windows(source, val_share=0.1, test_share=0.1, seed=0)
    size, parts = BATCH
    sampler = EffectiveBatchSampler(
        split.train, source.articles[split.train], batch_size=size, accumulate=parts, max_per_article=0, seed=0
    )
    for windows in sampler.epoch(1)[0]:
        source.gather(windows)
    seconds = time.perf_counter() - began
    return {"s": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def make_corpus(folder: Path, chunks: int, dim: int) -> None:
    """A corpus of noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(folder / "vectors_f16.npy", "w+", np.float16, (chunks, dim))
    for start in range(0, chunks, 8192):
        part = random.standard_normal((min(8192, chunks - start), dim), np.float32)
        vectors[start : start + 8192] = part / np.linalg.norm(part, axis=1, keepdims=True)
    vectors.flush()
    articles = range(0, chunks, CHUNKS_EACH)
    with (folder / "articles.jsonl").open("w") as file:
        for article, first in enumerate(articles):
            texts = ["lorem ipsum " * 16 + str(chunk) for chunk in range(first, min(first + CHUNKS_EACH, chunks))]
            file.write(json.dumps({"title": f"article {article}", "topic": f"t{article % 12}", "chunks": texts}) + "\n")
    names = ("vectors_f16.npy", "articles.jsonl")
    manifest = Manifest(
        name="noise", embedder="none", norm="none", dim=dim, num_chunks=chunks, num_articles=len(articles),
        dtype="float16", files={name: file_sha256(folder / name) for name in names},
    )  # fmt: skip
    import msgspec

    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


if __name__ == "__main__":
    main()
