"""Small corpora and window files for tests, made in milliseconds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.corpus import Corpus, open_corpus
from engine.data.importers import import_corpus

DIM = 16


def walk(lengths: list[int], *, dim: int = DIM, seed: int = 0) -> npt.NDArray[np.float32]:
    """Unit vectors in which the chunks of an article resemble each other: (sum(lengths), dim) float32."""
    generator = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        topic = generator.normal(size=dim)
        rows += [topic + generator.normal(size=dim) for _ in range(length)]
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_articles(path: Path, lengths: list[int]) -> Path:
    """articles.jsonl(.gz) with telling texts; two topics that take turns."""
    lines = [
        {"title": f"Article {a}", "topic": "AB"[a % 2], "chunks": [f"article {a} chunk {c}" for c in range(length)]}
        for a, length in enumerate(lengths)
    ]
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def make_corpus(
    folder: Path, lengths: list[int], vectors: npt.NDArray[Any] | None = None, *, dtype: str = "float32"
) -> Corpus:
    """A corpus folder of articles with these numbers of chunks."""
    stored = walk(lengths) if vectors is None else vectors
    folder.parent.mkdir(parents=True, exist_ok=True)
    np.save(folder.with_suffix(".vectors.npy"), stored.astype(dtype))
    articles = write_articles(folder.with_suffix(".articles.jsonl"), lengths)
    import_corpus(folder.with_suffix(".vectors.npy"), articles, folder, embedder="test-encoder")
    return open_corpus(folder)


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Change keys of a manifest behind the program's back."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
