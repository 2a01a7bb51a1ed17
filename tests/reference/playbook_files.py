"""The playbook's files for tests: a pickled payload in no order, windows that name its chunks, an index of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from tests.reference.small_corpus import DIM, walk

FIRST_ARTICLE = 100
"""The payload counts articles from here: its numbers are not those of a corpus."""
PROVENANCE = {"embedder_id": "test-encoder", "norm": "l2_once", "metric": "ip"}


@dataclass
class Playbook:
    """Paths, and what the files hold."""

    payload: Path
    eval_npz: Path
    index: Path
    vectors: npt.NDArray[np.float32]
    """(N, D) in reading order."""
    truths: npt.NDArray[np.int64]
    """(Q,) chunks in reading order."""
    entries: dict[int, Any]


def write_playbook(folder: Path, lengths: list[int], context: int) -> Playbook:
    """Files of articles with these numbers of chunks; every window of every second article is a query."""
    vectors = walk(lengths)
    article = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(length) for length in lengths])
    order = np.random.default_rng(0).permutation(len(vectors)).tolist()
    entries = {
        number: (
            f"article {article[chunk]} chunk {position[chunk]}",
            {
                "article_index": int(article[chunk]) + FIRST_ARTICLE,
                "chunk_index": int(position[chunk]),
                "cpe_id": f"cpe-{chunk}",
            },
            vectors[chunk],
        )
        for number, chunk in enumerate(order)
    }
    np.save(folder / "payload.npy", entries, allow_pickle=True)  # type: ignore[arg-type]
    truths = np.flatnonzero((position >= context) & (article % 2 == 0))
    files = Playbook(folder / "payload.npy", folder / "eval.npz", folder / "payload.index", vectors, truths, entries)
    keys = np.stack([article[truths] + FIRST_ARTICLE, position[truths]], axis=1)
    write_windows(files, context, truth_keys=keys)
    write_index(files.index, vectors[order])
    return files


def write_windows(files: Playbook, context: int, **changed: Any) -> None:
    """The file of windows, with some keys otherwise; None leaves one out. A pickled key is always there."""
    keys = {
        "contexts": files.vectors[files.truths[:, None] + np.arange(-context, 0)],
        "targets": files.vectors[files.truths],
        "last_meta": np.array([{"anything": 1}], object),
        "provenance": np.array([json.dumps(PROVENANCE)]),
    }
    if files.eval_npz.exists():
        keys["truth_keys"] = np.load(files.eval_npz)["truth_keys"]
    kept = {name: value for name, value in (keys | changed).items() if value is not None}
    np.savez(files.eval_npz, allow_pickle=True, **kept)


def write_index(path: Path, vectors: npt.NDArray[np.float32], *, metric: int = faiss.METRIC_INNER_PRODUCT) -> None:
    """An IVF index of vectors, labelled by row."""
    index = faiss.index_factory(vectors.shape[1], "IVF4,Flat", metric)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(path))


__all__ = ["DIM", "Playbook", "write_index", "write_playbook", "write_windows"]
