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

from engine.baselines import POOL, Payload, Queries, cached_baselines, measure
from engine.data.corpus import FloatArray, IndexArray
from engine.data.split import Split
from engine.data.windows import CorpusWindows
from engine.metrics import latency_percentiles
from engine.retrieval import ExactResult, shared_share
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
    Retrieved,
)
from engine.run.gates import hold
from engine.run.settings import EvalConfig

Predict = Callable[[FloatArray], FloatArray]
"""(B, L, D) float32 contexts to (B, D) predictions."""

SHOWN = 5
MAX_MISSES = 100
MAX_FORWARDS = 200
"""Single forward passes timed; percentiles settle well before."""
_WARM_UP = 5
_WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured."""

    rows: dict[str, EvalRow]
    """By predictor: model, the floors, oracle."""
    gates: list[EvalGate]
    index: IndexReport
    latency: Latency
    forward: Latency
    num_queries: int
    num_articles: int
    """Articles the queries come from: the units of the intervals."""
    notes: list[str]
    misses: list[Miss]


def evaluate(
    source: CorpusWindows,
    split: Split,
    predict: Predict,
    *,
    payload: Payload,
    config: EvalConfig,
    threads: int,
    cache: Path | None = None,
) -> Evaluation:
    """Evaluate a predictor on test windows.

    Args:
        source: windows of the corpus that is searched.
        split: the one the model was trained with; its test windows are the queries, its training windows fit the ridge.
        predict: the model.
        payload: the same corpus's vectors and index.
        config: how many queries, and the bars.
        threads: of the single-query searches that are timed.
        cache: folder that keeps the rows of floors and ceiling; None for none.

    Raises:
        ConfigError: there is no test window.
    """
    windows = sample_queries(split.test, config.limit, config.seed)
    queries = Queries.gather(source, windows)
    predicted = _predict_all(predict, queries.contexts)
    model = measure(predicted, queries, payload, top=payload.pool(queries))
    baselines = cached_baselines(source, split.train, windows, queries, payload, cache)
    latencies = payload.index.time_single_queries(
        predicted, payload.pool(queries), nprobe=payload.nprobe, threads=threads
    )
    latency = latency_percentiles(latencies, threads)
    return Evaluation(
        rows={"model": model.row, **baselines},
        gates=judge(model.row, latency, config),
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
        num_queries=len(windows),
        num_articles=len(np.unique(queries.articles)),
        notes=_notes(model.row, len(windows), config),
        misses=_describe_misses(source, queries, model.exact, config.seed),
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


def _predict_all(predict: Predict, contexts: FloatArray) -> FloatArray:
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


def _notes(model: EvalRow, num_queries: int, config: EvalConfig) -> list[str]:
    notes = []
    if num_queries < config.limit:
        notes.append(f"{num_queries:,} queries instead of {config.limit:,}: the test articles have no more windows")
    if model.num_non_finite:
        notes.append(f"{model.num_non_finite:,} of {num_queries:,} predictions are not finite; no gate can be decided")
    return notes


def _describe_misses(source: CorpusWindows, queries: Queries, exact: ExactResult, seed: int) -> list[Miss]:
    """A sample of the queries whose truth is not in the first 5, with what was found instead."""
    missed = np.flatnonzero((exact.ranks == 0) | (exact.ranks > SHOWN))
    if len(missed) > MAX_MISSES:
        missed = np.sort(np.random.default_rng(seed).choice(missed, MAX_MISSES, replace=False))
    corpus = source.corpus
    misses = []
    for query in missed.tolist():
        truth = int(queries.truth_chunks[query])
        article = int(corpus.article_of_chunk[truth])
        own = set(queries.context_chunks[query].tolist())
        found = [chunk for chunk in exact.top[query].tolist() if chunk >= 0 and chunk not in own][:SHOWN]
        misses.append(
            Miss(
                title=corpus.titles[article],
                topic=corpus.topics[corpus.topic_of_article[article]],
                rank=int(exact.ranks[query]),
                mode=_mode(source, article, found),
                context_last=corpus.text(truth - 1),
                truth=corpus.text(truth),
                retrieved=[
                    Retrieved(chunk=chunk, title=corpus.titles[corpus.article_of_chunk[chunk]], text=corpus.text(chunk))
                    for chunk in found
                ],
            )
        )
    return misses


def _mode(source: CorpusWindows, article: int, found: list[int]) -> MissMode:
    """Where the first chunk found comes from, as seen from the query's article."""
    if not found:
        return "not finite"
    corpus = source.corpus
    other = int(corpus.article_of_chunk[found[0]])
    if other == article:
        return "own article"
    return "same topic" if corpus.topic_of_article[other] == corpus.topic_of_article[article] else "unrelated"
