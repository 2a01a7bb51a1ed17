"""The report of a retrieval evaluation, `evals/<name>.json`: what was asked, of what, and every figure.

Read by the terminal as it is, so there are no numerics here. All shares are in [0, 1]; None stands for a number that
could not be measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.events import Verdict
from engine.run.files import read_regular

GateName = Literal["contain50", "r5", "eff5", "p95_ms"]
MissMode = Literal["own context", "own article", "same topic", "unrelated", "not finite"]
IndexOrigin = Literal["cached", "built", "given"]
MAX_REPORT = 16 << 20
"""Bytes; a larger file is no report and is not parsed."""


class RetrievalFigures(Struct, frozen=True, kw_only=True):
    """Where the truth ranks, over all queries."""

    contain20: float
    """Truth among the first 20 candidates."""
    contain50: float
    """Truth among the first 50 candidates."""
    r1: float
    """Truth first after ranking; by cosine, where there is no reranker."""
    r5: float
    """Truth in the first 5 after ranking."""
    r10: float
    """Truth in the first 10 after ranking."""
    mrr10: float
    """Mean of 1 / rank, 0 beyond the tenth."""
    eff5: float
    """r5 / contain50; 0 where contain50 is 0."""


class Interval(Struct, frozen=True, kw_only=True):
    """A 95 % bootstrap interval of a share."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies inside, its ends included."""
        return self.low <= value <= self.high


class Intervals(Struct, frozen=True, kw_only=True):
    """What other test articles of the same kind would have given."""

    contain50: Interval
    r5: Interval
    eff5: Interval


class TopicFigures(Struct, frozen=True, kw_only=True):
    """Where the truth ranks, over the queries of one topic; exact search, own context left out."""

    num_queries: int
    num_articles: int
    contain50: float
    r5: float
    intervals: Intervals | None
    """None where the queries come from a single article."""


class EvalRow(Struct, frozen=True, kw_only=True):
    """One predictor: the model, a floor, or the oracle."""

    cosine: float | None
    """Mean cosine(prediction, truth) over the queries; None where a prediction is not finite."""
    exact: RetrievalFigures
    """Exact search, the query's own context chunks left out. The gates are held against these."""
    exact_with_context: RetrievalFigures
    """Exact search with the own context chunks among the candidates."""
    on_index: RetrievalFigures
    """The index at its nprobe, own context chunks left out."""
    num_non_finite: int = 0
    """Predictions that hold NaN or infinity; they count as not found."""
    intervals: Intervals | None = None
    """Of `exact`; None where the queries come from a single article, and in reports made before there were any."""
    by_topic: dict[str, TopicFigures] = field(default_factory=dict)
    """The same queries by the topic of their article, in alphabetical order."""


class EvalGate(Struct, frozen=True, kw_only=True):
    """A figure held against its bar."""

    name: GateName
    value: float | None
    bar: float
    verdict: Verdict
    detail: str
    """Number, bar and margin in words, and whether the bar lies within the noise."""
    interval: Interval | None = None
    """Of the value; None where it has none."""


class IndexReport(Struct, frozen=True, kw_only=True):
    """The index that was searched."""

    kind: str
    """FAISS factory string, and the k factor of its refinement if it has one."""
    nlist: int
    nprobe: int
    """Lists visited by a query; at most nlist."""
    recall50: float | None
    """Share of the exact first 50 that the index finds, over the model's queries."""
    threads: int
    origin: IndexOrigin
    """`given`: somebody else's index, opened as it is."""


class IndexTrial(Struct, frozen=True, kw_only=True):
    """A setting of the index that tuning measured, on queries that are not reported."""

    kind: str
    nlist: int
    nprobe: int
    recall50: float
    """Share of the exact first 50 that it finds."""
    p95_ms: float


class Latency(Struct, frozen=True, kw_only=True):
    """Single-query latency in milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None
    threads: int
    num_queries: int


class EvalReport(Struct, frozen=True, kw_only=True):
    """A whole evaluation. Written once, atomically."""

    schema: Literal[1] = 1
    name: str
    """Name of the file, without its ending."""
    created: str
    """UTC, ISO 8601."""
    argv: list[str]
    """The command that made it."""
    checkpoint: str
    """Folder of the checkpoint, absolute."""
    checkpoint_sha256: str
    """Of its weights."""
    epoch: int
    corpus: str
    corpus_sha256: str
    embedder: str
    """The encoder of the corpus's vectors."""
    num_chunks: int
    """Candidates of a query, before its own context is left out."""
    payload_rule: str
    """What is searched and what is left out, in words."""
    num_queries: int
    num_articles: int = 0
    """Articles they come from, the units of the intervals; 0 in reports made before there were any."""
    asked: int
    """Queries asked for; 0 stands for all. More than `num_queries` where the data have no more."""
    rows: dict[str, EvalRow]
    """By predictor: model, reranked (where there is a reranker), copy_last, context_mean, ridge, oracle."""
    gates: list[EvalGate]
    index: IndexReport
    trials: list[IndexTrial] = field(default_factory=list)
    """What tuning tried before it chose the index; empty where the locked setting was used."""
    latency: Latency
    """Search on the index alone."""
    forward: Latency
    """The model's forward pass for one window."""
    seconds: float
    """The whole evaluation, without start-up."""
    head: str = ""
    """File of the alignment head that predictions went through, and its sha256; empty for none."""
    reranker: str = ""
    """File of the reranker of the row `reranked`, and its sha256; empty for none."""
    miss_modes: dict[MissMode, int] = field(default_factory=dict)
    """How many queries missed, by where their first candidate comes from; empty in reports made before it was kept.
    "own context" is counted in addition: misses at whose head a chunk of the own context would stand if it were left
    among the candidates."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know: fewer queries than asked, predictions that are not finite."""
    eval_line: str
    """The `[EVAL]` line."""

    @property
    def judged(self) -> EvalRow:
        """The row that the gates are held against."""
        return self.rows.get("reranked", self.rows["model"])

    @property
    def passed(self) -> bool:
        """Whether every gate was passed; an undecidable one was not."""
        return all(gate.verdict == "passed" for gate in self.gates)


class Retrieved(Struct, frozen=True, kw_only=True):
    """A chunk that was found instead."""

    chunk: int
    title: str
    text: str


class Miss(Struct, frozen=True, kw_only=True):
    """A query whose truth is not in the first 5; a line of `evals/<name>.misses.jsonl`."""

    title: str
    """The query's article."""
    topic: str
    rank: int
    """Rank of the truth by exact search, own context left out; 0 if it has none."""
    mode: MissMode
    """Where the first retrieved chunk comes from."""
    mode_with_context: MissMode | None = None
    """The same with the own context among the candidates: "own context" where a chunk of it ranks first. None in
    reports made before it was kept."""
    context_last: str
    """Text of the last context chunk."""
    truth: str
    """Text of the chunk that follows."""
    retrieved: list[Retrieved]
    """The first 5, best first."""


def read_report(path: Path) -> EvalReport:
    """Read an evaluation's report.

    Raises:
        ConfigError: it is missing, damaged or of another schema.
    """
    try:
        return msgspec.json.decode(read_regular(path, MAX_REPORT), type=EvalReport)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not an evaluation report: {error}. Evaluate again.") from None
