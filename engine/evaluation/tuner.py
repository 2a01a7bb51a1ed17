"""Choosing an index by measurement: the best recall whose latency meets the gate.

The playbook locks nprobe at 64 so that figures speak of the model, not of the search. Tuning is therefore asked for,
done on queries that are not reported, and reported in full: what was tried, and that the locked value was not used.

Legend: T tuning queries, D vector width, N chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.data.corpus import FloatArray, Vectors
from engine.evaluation.exact import search_flat
from engine.evaluation.fastscan import MIN_CHUNKS, IndexChoice, IndexKind, resolve_kind
from engine.evaluation.metrics import latency_percentiles
from engine.evaluation.retrieval import ChunkIndex, choose_nlist, shared_share
from engine.run.convert import ConfigError
from engine.run.evals import IndexTrial

NPROBES = (8, 16, 32, 64, 128, 256)
QUERIES = 200
"""Tuning queries: enough for a P95, and as many single searches for each setting."""
MANY_CHUNKS = 200_000
"""From here an index takes a minute to build, so only the usual number of lists is tried."""
_K = 50

OpenIndex = Callable[[IndexKind, int], ChunkIndex]
"""Kind and nlist to an index of the payload."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The index that was chosen, and what it was chosen from."""

    index: ChunkIndex
    nprobe: int
    trials: list[IndexTrial]
    note: str
    """What a reader should know."""


def candidates(choice: IndexChoice, num_chunks: int) -> list[tuple[IndexKind, int]]:
    """Kinds and numbers of lists worth trying for a payload of N chunks.

    Raises:
        ConfigError: fast-scan was chosen for too few chunks.
    """
    kinds: list[IndexKind] = [resolve_kind(choice, num_chunks)]
    if choice == "auto" and num_chunks < MANY_CHUNKS:
        kinds = ["flat", "fastscan"] if num_chunks >= MIN_CHUNKS else ["flat"]
    usual = choose_nlist(num_chunks)
    nlists = [usual] if num_chunks >= MANY_CHUNKS else sorted({max(1, usual // 4), max(1, usual // 2), usual})
    return [(kind, nlist) for kind in kinds for nlist in nlists]


def tune(
    indexes: Iterable[ChunkIndex],
    queries: FloatArray,
    vectors: Vectors,
    *,
    p95_ms: float,
    locked: int,
    threads: int,
) -> Tuned:
    """Measure indexes at several nprobe and choose.

    Args:
        indexes: what may be searched, opened one after the other; two are held at a time.
        queries: (T, D) float32 predictions for windows that are not reported.
        vectors: (N, D) float32 unit vectors.
        p95_ms: the latency gate.
        locked: the nprobe that would have been used.
        threads: of the timed searches.

    Raises:
        ConfigError: no query is finite.
    """
    exact = search_flat(vectors, queries, min(_K, len(vectors)))
    best: tuple[tuple[bool, float, float], ChunkIndex, int] | None = None
    trials: list[IndexTrial] = []
    for index in indexes:
        for nprobe in sorted({min(nprobe, index.nlist) for nprobe in NPROBES}):
            p95 = _p95(index, queries, exact.shape[1], nprobe, threads)
            recall = shared_share(index.search(queries, exact.shape[1], nprobe=nprobe), exact)
            if p95 is None or recall is None:
                raise ConfigError(
                    "--tune: no prediction for the tuning queries is finite, so no index can be measured with them. "
                    "Evaluate without --tune to see what is wrong with the model."
                )
            trials.append(IndexTrial(kind=index.kind, nlist=index.nlist, nprobe=nprobe, recall50=recall, p95_ms=p95))
            meets = p95 <= p95_ms
            worth = (meets, recall if meets else 0.0, -p95)
            if best is None or worth > best[0]:
                best = worth, index, nprobe
    assert best is not None, "there is always an index to try"
    (meets, _recall, negative_p95), index, nprobe = best
    why = (
        f"the best recall within {p95_ms} ms of {len(trials)} settings"
        if meets
        else f"none of {len(trials)} settings meets {p95_ms} ms, and this is the fastest, P95 {-negative_p95:.2f} ms"
    )
    note = (
        f"the index was tuned on {len(queries)} other queries: {index.kind} at nprobe {nprobe}, not the locked "
        f"{locked} ({why})"
    )
    return Tuned(index, nprobe, trials, note)


def _p95(index: ChunkIndex, queries: FloatArray, k: int, nprobe: int, threads: int) -> float | None:
    """The lower of two rounds: others on the machine can only make it slower. None without a finite query."""
    rounds = (index.time_single_queries(queries, k, nprobe=nprobe, threads=threads) for _ in range(2))
    measured = [latency_percentiles(times, threads).p95 for times in rounds]
    return min((p95 for p95 in measured if p95 is not None), default=None)
