"""Retrieval of a model on windows of articles it never saw, beside floors and ceiling on the same windows.

The gates are held against exact search; the latency gate against the index. A prediction that is not finite is counted
as not found and leaves every gate undecidable: such a model neither crashes the evaluation nor passes it.

Legend: Q queries, L context length, D vector width, N chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray, IndexArray
from engine.data.split import Split
from engine.data.windows import CorpusWindows
from engine.evaluation.baselines import POOL, Payload, Queries, cached_baselines, measure
from engine.evaluation.metrics import latency_percentiles
from engine.evaluation.misses import count_modes, describe_misses
from engine.evaluation.reranked import Rerank, Reranked, first_without, rerank_row
from engine.evaluation.retrieval import shared_share
from engine.run.convert import ConfigError
from engine.run.evals import (
    EvalGate,
    EvalRow,
    GateName,
    IndexReport,
    Interval,
    Latency,
    Miss,
    MissMode,
    RetrievalFigures,
)
from engine.run.gates import hold
from engine.run.settings import EvalConfig

Predict = Callable[[FloatArray], FloatArray]
"""(B, L, D) float32 contexts to (B, D) predictions."""

MAX_FORWARDS = 200
"""Single forward passes timed; percentiles settle well before."""
_WARM_UP = 5
_WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured."""

    rows: dict[str, EvalRow]
    """By predictor: model, reranked (where there is a reranker), the floors, oracle."""
    gates: list[EvalGate]
    index: IndexReport
    latency: Latency
    forward: Latency
    num_queries: int
    num_articles: int
    """Articles the queries come from: the units of the intervals."""
    notes: list[str]
    misses: list[Miss]
    """A sample of them."""
    miss_modes: dict[MissMode, int]
    """All of them, counted."""


def evaluate(
    source: CorpusWindows,
    split: Split,
    predict: Predict,
    *,
    payload: Payload,
    config: EvalConfig,
    threads: int,
    cache: Path | None = None,
    rerank: Rerank | None = None,
) -> Evaluation:
    """Evaluate a predictor on the test windows of a corpus.

    Args:
        source: windows of the corpus that is searched.
        split: the one the model was trained with; its test windows are the queries, its training windows fit the ridge.
        predict: the model.
        payload: the same corpus's vectors and index.
        config: how many queries, and the bars.
        threads: of the single-query searches that are timed.
        cache: folder that keeps the rows of floors and ceiling; None for none.
        rerank: orders the first 50 candidates anew; the gates are then held against what it makes of them.

    Raises:
        ConfigError: there is no test window.
    """
    queries = Queries.gather(source, sample_queries(split.test, config.limit, config.seed))
    return evaluate_queries(
        source,
        queries,
        split.train,
        predict,
        payload=payload,
        config=config,
        threads=threads,
        cache=cache,
        rerank=rerank,
    )


def evaluate_queries(
    source: CorpusWindows,
    queries: Queries,
    train: IndexArray,
    predict: Predict,
    *,
    payload: Payload,
    config: EvalConfig,
    threads: int,
    cache: Path | None = None,
    rerank: Rerank | None = None,
) -> Evaluation:
    """Evaluate a predictor on queries, wherever they come from; otherwise as `evaluate`.

    Args:
        source: windows of the corpus that is searched.
        queries: what is asked.
        train: (W,) int64 windows of `source` to fit the ridge on; of other articles than the queries'.
    """
    predicted = predict_all(predict, queries.contexts)
    model = measure(predicted, queries, payload, top=payload.pool(queries))
    reranked = rerank_row(model, predicted, queries, rerank) if rerank else None
    baselines = cached_baselines(source, train, queries, payload, cache)
    latencies = payload.index.time_single_queries(
        predicted, payload.pool(queries), nprobe=payload.nprobe, threads=threads
    )
    latency = latency_percentiles(latencies, threads)
    judged = reranked.row if reranked else model.row
    ranks = reranked.ranks if reranked else model.exact.ranks
    candidates = reranked.top if reranked else first_without(model.exact.top, queries.context_chunks)
    best = model.exact.top[:, 0]
    return Evaluation(
        rows={"model": model.row, **({"reranked": reranked.row} if reranked else {}), **baselines},
        gates=judge(judged, latency, config),
        index=IndexReport(
            kind=payload.index.kind,
            nlist=payload.index.nlist,
            nprobe=min(payload.nprobe, payload.index.nlist),
            recall50=shared_share(model.found[:, :POOL], model.exact.top[:, :POOL]),
            threads=threads,
            origin=payload.index.origin,
        ),
        latency=latency,
        forward=latency_percentiles(_time_forwards(predict, queries.contexts, threads), threads),
        num_queries=len(queries.contexts),
        num_articles=len(np.unique(queries.articles)),
        notes=_notes(model.row, len(queries.contexts), config, reranked),
        misses=describe_misses(source.corpus, queries, ranks, candidates, best, config.seed),
        miss_modes=count_modes(source.corpus, queries, ranks, candidates, best),
    )


def sample_queries(test: IndexArray, limit: int, seed: int) -> IndexArray:
    """At most `limit` test windows, drawn without replacement, in ascending order; all of them for a limit of 0.

    Raises:
        ConfigError: there are none.
    """
    if not len(test):
        raise ConfigError(
            "[data] test_share = 0: the checkpoint's split keeps no articles for evaluation, and queries from articles "
            "it was trained on would prove nothing. Train with a test_share above 0."
        )
    if not limit or limit >= len(test):
        return test
    return np.sort(np.random.default_rng(seed).choice(test, limit, replace=False))


def judge(model: EvalRow, latency: Latency, config: EvalConfig) -> list[EvalGate]:
    """Hold the model's figures against the four bars.

    The verdict is the figure's. Where the bar lies inside the figure's interval other articles could have turned it,
    and the detail says so.
    """
    noise = model.intervals
    held: tuple[tuple[GateName, float | None, float, bool, Interval | None], ...] = (
        ("contain50", model.exact.contain50, config.contain50, True, noise.contain50 if noise else None),
        ("r5", model.exact.r5, config.r5, True, noise.r5 if noise else None),
        ("eff5", model.exact.eff5, config.eff5, True, noise.eff5 if noise else None),
        ("p95_ms", latency.p95, config.p95_ms, False, None),
    )
    gates = []
    for name, value, bar, at_least, interval in held:
        judged = hold(None if model.num_non_finite else value, bar, at_least=at_least)
        if model.num_non_finite:
            detail, interval = f"{model.num_non_finite} predictions are not finite", None
        else:
            detail = judged.detail + _noise_in_words(interval, bar)
        gates.append(
            EvalGate(name=name, value=judged.value, bar=bar, verdict=judged.verdict, detail=detail, interval=interval)
        )
    return gates


def _noise_in_words(interval: Interval | None, bar: float) -> str:
    if interval is None or interval.low == interval.high:  # all found, or none: resamples cannot tell the spread
        return ""
    return f"{', within noise' if interval.holds(bar) else ''} (95 %: {interval.low:.3f} to {interval.high:.3f})"


def eval_line(figures: RetrievalFigures, latency: Latency) -> str:
    """The playbook's `[EVAL]` line."""
    p95 = "nan" if latency.p95 is None else f"{latency.p95:.2f}ms"
    return (
        f"[EVAL] Contain@20={figures.contain20:.3f} Contain@50={figures.contain50:.3f} R@1={figures.r1:.3f} "
        f"R@5={figures.r5:.3f} R@10={figures.r10:.3f} Eff@5={figures.eff5:.3f} P95={p95}"
    )


def predict_all(predict: Predict, contexts: FloatArray) -> FloatArray:
    """(Q, D) float32 predictions; rows that have a direction are brought to unit length."""
    parts = [predict(contexts[start : start + _WINDOWS_AT_ONCE]) for start in range(0, len(contexts), _WINDOWS_AT_ONCE)]
    predicted = np.concatenate(parts).astype(np.float32)
    lengths = np.linalg.norm(predicted, axis=1, keepdims=True)
    predicted /= np.where(lengths > 0, lengths, 1)
    return predicted


def _time_forwards(predict: Predict, contexts: FloatArray, threads: int) -> npt.NDArray[np.float64]:
    """Milliseconds of single forward passes, computed with `threads` threads."""
    from engine.device import set_threads

    before = set_threads(0)
    set_threads(threads)
    try:
        for context in contexts[:_WARM_UP]:
            predict(context[None])
        latencies = []
        for context in contexts[:MAX_FORWARDS]:
            began = time.perf_counter_ns()
            predict(context[None])
            latencies.append(time.perf_counter_ns() - began)
    finally:
        set_threads(before)
    return np.array(latencies) / 1e6


def _notes(model: EvalRow, num_queries: int, config: EvalConfig, reranked: Reranked | None) -> list[str]:
    notes = []
    if reranked:
        notes.append(
            f"the gates are held against the reranked row; reranking took {reranked.ms_a_query:.2f} ms a query, all at "
            "once, which the latency of the index leaves out"
        )
    if num_queries < config.limit:
        notes.append(f"{num_queries:,} queries instead of {config.limit:,}: there are no more windows to ask about")
    if model.num_non_finite:
        notes.append(f"{model.num_non_finite:,} of {num_queries:,} predictions are not finite; no gate can be decided")
    return notes
