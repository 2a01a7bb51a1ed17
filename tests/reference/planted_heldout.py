"""Both samples of a checkpoint that never was: planted predictions over a small corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation.baselines import Queries
from engine.post_training.heldout import HeldOut, Sample
from engine.run.settings import DataConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta
from tests.reference.small_corpus import DIM, make_corpus

Array = npt.NDArray[Any]
CONTEXT = 3
WEIGHTS = "a" * 64


def unit(rows: Array) -> Array:
    """Rows of length 1, float32."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def scattered(num_articles: int, length: int, *, dim: int = DIM, seed: int = 0) -> Array:
    """Unit vectors that have nothing to do with each other: (num_articles * length, dim)."""
    return unit(np.random.default_rng(seed).normal(size=(num_articles * length, dim)))


def wandering(num_articles: int, length: int, *, step: float, dim: int = DIM, seed: int = 0) -> Array:
    """Unit vectors of which each is near the one before it in its article."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(num_articles):
        vector = unit(generator.normal(size=dim))
        for _ in range(length):
            vector = unit(vector + step * unit(generator.normal(size=dim)))
            rows.append(vector)
    return np.array(rows)


def plant(folder: Path, vectors: Array, length: int, predict: Callable[[Queries], Array]) -> HeldOut:
    """Held-out samples of a corpus of articles of `length` chunks, 40 % of them to fit on and 40 % to judge by."""
    corpus = make_corpus(folder, [length] * (len(vectors) // length), vectors)
    source = CorpusWindows(corpus, CONTEXT)
    split = split_windows(source, val_share=0.4, test_share=0.4, seed=0)
    data = DataConfig(corpus=str(folder), context=CONTEXT, val_share=0.4, test_share=0.4)
    meta = CheckpointMeta(
        kind="planted",
        config=RunConfig(),
        data=data,
        dim=corpus.dim,
        context=CONTEXT,
        epoch=1,
        step=1,
        val_cosine=None,
        sha256={"model.safetensors": WEIGHTS},
    )
    fit, judge = (Queries.gather(source, windows) for windows in (split.val, split.test))
    return HeldOut(
        fit=Sample(fit, unit(predict(fit))),
        judge=Sample(judge, unit(predict(judge))),
        corpus=corpus,
        vectors=corpus.all_vectors(),
        checkpoint=folder,
        meta=meta,
        notes=[],
    )
