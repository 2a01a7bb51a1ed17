"""Reference lines: what needs no training, what retrieval allows at best, and which way the data run.

Legend: W windows, B rows, L context length, K principal directions, D vector width, N chunks.
"""

from __future__ import annotations

import numpy as np

from engine.data.corpus import FloatArray, IndexArray
from engine.data.vector_files import SHORTEST
from engine.data.windows import CorpusWindows, WindowSource
from engine.models.floors import RIDGE_L2
from engine.preflight.stretches import Stretches
from engine.preflight.subject import Subject, sampled, spread
from engine.run.preflight import PreflightItem

ORACLE_BAR = 0.95
MAX_ORACLE_QUERIES = 256
MAX_RIDGE_WINDOWS = 8192
MAX_JUDGED_WINDOWS = 2048
MAX_RIDGE_FEATURES = 2048
"""Chunks of a window times directions: fewer directions where windows are long."""
SAME_SCORE = 1e-5
"""Chunks that score within this of the truth's 1 count as before it, as in an evaluation."""
_ROWS_AT_ONCE = 8192
_WINDOWS_AT_ONCE = 2048


def describe_floors(floors: dict[str, float], num_windows: int) -> PreflightItem:
    """Mean cosines on the validation windows of copying the last chunk, of the context's mean and of a linear map."""
    best = max(floors, key=lambda name: floors[name])
    figures = ", ".join(f"{name} {value:.3f}" for name, value in floors.items())
    return PreflightItem(
        name="floors",
        group="floors",
        level="info",
        verdict="passed",
        value=floors[best],
        bar=None,
        detail=f"{figures} on {num_windows:,} validation windows: what needs no training",
    )


def judge_oracle(subject: Subject) -> PreflightItem:
    """The ceiling of retrieval: R@5 and Contain@50 of the truth vectors themselves, searched exactly.

    A truth's rank is 1 + the chunks that score as high, its own context left out; copies in the payload push it back.
    """
    source, searched = subject.source, subject.searched
    if not isinstance(source, CorpusWindows) or searched is None or searched.sha256 != source.corpus.sha256:
        reason = "no corpus to search was named" if searched is None else "the payload is not the corpus that trains"
        return PreflightItem(
            name="oracle_retrieval",
            group="floors",
            level="info",
            verdict="undecidable",
            value=None,
            bar=None,
            detail=f"not measured: {reason}, so the truths' places in it are not known",
        )
    windows = subject.split.test if len(subject.split.test) else subject.split.val
    queries = spread(windows, MAX_ORACLE_QUERIES)
    ranks = oracle_ranks(source, queries)
    r5, contain50 = float(np.mean(ranks <= 5)), float(np.mean(ranks <= 50))
    missed = r5 < ORACLE_BAR
    meaning = (
        "the payload holds many copies of its chunks, and no model can do better. Remove repeated boilerplate"
        if missed
        else "every truth can be found"
    )
    return PreflightItem(
        name="oracle_retrieval",
        group="floors",
        level="should",
        verdict="missed" if missed else "passed",
        value=r5,
        bar=ORACLE_BAR,
        detail=f"truth vectors as queries over {searched.num_chunks:,} chunks, own context left out: R@5 {r5:.3f}, "
        f"Contain@50 {contain50:.3f} on {len(queries):,} windows{sampled(len(queries), len(windows))}: {meaning}",
    )


def oracle_ranks(source: CorpusWindows, windows: IndexArray) -> IndexArray:
    """(B,) ranks of the truth among all chunks with itself as the query, own context left out; 1 is the best."""
    corpus = source.corpus
    truths = source.target_chunks[windows]
    queries = corpus.vectors(truths)
    ranks = np.zeros(len(windows), np.int64)
    for start in range(0, corpus.num_chunks, _ROWS_AT_ONCE):
        block = np.arange(start, min(start + _ROWS_AT_ONCE, corpus.num_chunks))
        as_high = queries @ corpus.vectors(block).T >= 1 - SAME_SCORE
        own = (block >= truths[:, None] - source.context) & (block < truths[:, None])
        ranks += np.count_nonzero(as_high & ~own, axis=1)
    return ranks


def describe_direction(subject: Subject, stretches: Stretches, curve: list[float | None]) -> PreflightItem:
    """Ridge on the context against ridge on the same windows reversed, and the lag curve.

    Both ridges see the chunks in the K leading principal directions, so that they cost little; the cosines are with
    whole targets. Where forward is no better than backward, order tells nothing; then as good as all that can be
    predicted is what an article has in common.
    """
    train = spread(subject.split.train, MAX_RIDGE_WINDOWS)
    judged = spread(subject.split.val, MAX_JUDGED_WINDOWS)
    basis = stretches.basis[:, : max(1, MAX_RIDGE_FEATURES // (subject.source.context + 1))]
    forward, backward = ridge_cosines(subject.source, train, judged, basis)
    shown = " ".join("-" if cosine is None else f"{cosine:.3f}" for cosine in curve)
    return PreflightItem(
        name="direction",
        group="direction",
        level="info",
        verdict="passed",
        value=forward - backward,
        bar=None,
        detail=f"ridge {forward:.3f} forward, {backward:.3f} on reversed windows (in {basis.shape[1]} "
        f"principal directions, {len(train):,} windows); cosines of chunks 1 to {len(curve)} apart: {shown}",
    )


def ridge_cosines(
    source: WindowSource, train: IndexArray, judged: IndexArray, basis: FloatArray
) -> tuple[float, float]:
    """Mean cosine of a ridge's prediction of the last chunk of a window, and of the first from those after it.

    Weights are (X^T X + lambda I)^-1 X^T Y, one Gram matrix of all L + 1 chunks serving both.

    Args:
        source: where the windows are.
        train: (W,) windows to fit on.
        judged: (B,) windows to measure on.
        basis: (D, K) orthonormal directions.
    """
    width = basis.shape[1]
    features = (source.context + 1) * width
    gram = np.zeros((features, features))
    for windows in _blocks(train):
        chunks = _coordinates(source, windows, basis)
        gram += chunks.T @ chunks
    penalty = RIDGE_L2 * np.eye(features - width)
    chunks = _coordinates(source, judged, basis)
    known = {"forward": slice(0, features - width), "backward": slice(width, features)}
    wanted = {"forward": slice(features - width, features), "backward": slice(0, width)}
    cosines = {}
    for way, inputs in known.items():
        weights = np.linalg.solve(gram[inputs, inputs] + penalty, gram[inputs, wanted[way]])
        predicted = chunks[:, inputs] @ weights
        lengths = np.maximum(np.linalg.norm(predicted, axis=1), SHORTEST)
        cosines[way] = float((np.einsum("bk,bk->b", predicted, chunks[:, wanted[way]]) / lengths).mean())
    return cosines["forward"], cosines["backward"]


def _coordinates(source: WindowSource, windows: IndexArray, basis: FloatArray) -> FloatArray:
    """(B, (L + 1) * K): all chunks of windows in the basis, in reading order."""
    contexts, targets = source.gather(windows)
    chunks = np.concatenate([contexts, targets[:, None]], axis=1) @ basis  # (B, L + 1, K)
    return chunks.reshape(len(windows), -1)


def _blocks(windows: IndexArray) -> list[IndexArray]:
    return [windows[start : start + _WINDOWS_AT_ONCE] for start in range(0, len(windows), _WINDOWS_AT_ONCE)]
