"""Provenance: whether training, evaluation and payload come from one encoder.

Vectors of two encoders can have the same width and look alike, and nothing that is trained on one finds anything in the
other. What files say of themselves is compared first; where truths can be found in the payload, the vectors decide.

Legend: W windows, B rows, N chunks, D vector width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from engine.data.corpus import Corpus, FloatArray, IndexArray
from engine.data.npz import open_npz
from engine.data.payload_corpus import UNKNOWN_EMBEDDER
from engine.data.playbook_files import read_provenance
from engine.data.windows import ArrayWindows, CorpusWindows, WindowSource
from engine.preflight.subject import Side, Subject, sampled, spread
from engine.run.convert import ConfigError
from engine.run.events import Verdict
from engine.run.preflight import Level, PreflightItem

MEAN_BAR = 0.98
"""Mean cosine between what should be one chunk: float16 or int8 storage stays above .999, two encoders gave .14."""
LOW_BAR = 0.95
"""The same of the 5th percentile: a few wrong rows in twenty are a shift of the order, not noise."""
MAX_TRUTHS = 1024
LABELS = ("embedder", "norm", "metric")
INNER_PRODUCTS = ("ip", "inner_product", "dot", "cosine")
"""Metrics that are one and the same on unit vectors, which is what vectors are normalised to when they are read."""
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file says of its vectors; an empty label where it says nothing."""

    role: str
    """`training`, `evaluation` or `payload`."""
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Chunks of two files that should be the same."""

    left: FloatArray
    """(B, D) unit vectors that train or judge."""
    right: FloatArray
    """(B, D) unit vectors of the payload."""
    how: Literal["by key", "by title", "by nearest vector"]
    num_known: int
    """Of how many these are a sample."""


def judge_provenance(subject: Subject) -> list[PreflightItem]:
    """Labels, and vectors where there is a payload to hold them against."""
    items = [judge_labels(subject)]
    payload = subject.payload
    if payload is None or (subject.corpus is not None and subject.corpus.sha256 == payload.sha256):
        return items
    items.append(judge_alignment("payload_alignment", "training", subject.source, payload))
    if subject.unseen is not None:
        items.append(judge_alignment("eval_alignment", "evaluation", subject.unseen, payload))
    return items


def judge_labels(subject: Subject) -> PreflightItem:
    """Embedder, norm and metric must be one, as far as they are named.

    Of norms that differ a warning is enough, because vectors are normalised when they are read.
    """
    origins = [_origin("training", subject.source)]
    origins += [_origin("evaluation", subject.unseen)] if subject.unseen else []
    origins += [_origin_of_corpus("payload", subject.payload)] if subject.payload else []
    differing = [label for label in LABELS if len({origin.labels[label] for origin in origins} - {""}) > 1]
    named = "; ".join(f"{origin.role}: {_describe(origin)}" for origin in origins)
    unnamed = [origin.role for origin in origins if not origin.labels["embedder"]]
    level: Level = "must"
    verdict: Verdict = "passed"
    if differing:
        level = "should" if differing == ["norm"] else "must"
        verdict, end = (
            "missed",
            (
                f": {', '.join(differing)} differ. Embed all of them with one encoder and import them again with "
                "`lvm-engine data import`"
            ),
        )
    elif unnamed and len(origins) > 1:
        level, verdict = "should", "undecidable"
        end = f": no encoder is named by {' and '.join(unnamed)}. Save the arrays embedder, norm and metric with them"
    elif len(origins) == 1:
        end = ": one source trains, judges and is searched"
    else:
        end = ": the same"
    return PreflightItem(
        name="provenance", group="provenance", level=level, verdict=verdict, value=None, bar=None, detail=named + end
    )


def judge_alignment(name: str, role: str, source: WindowSource, payload: Corpus) -> PreflightItem:
    """Cosines between truths and the same chunks in the payload: mean >= .98 and 5th percentile >= .95.

    Args:
        name: of the item.
        role: what the truths are for.
        source: whose targets are the truths.
        payload: what is searched.
    """
    if source.dim != payload.dim:
        return PreflightItem(
            name=name,
            group="provenance",
            level="must",
            verdict="missed",
            value=None,
            bar=MEAN_BAR,
            detail=f"{role} has {source.dim} dimensions and the payload {payload.dim}: they come from different "
            "encoders. Embed both with one",
        )
    pairs = _pair(source, payload)
    cosines = np.einsum("bd,bd->b", pairs.left, pairs.right, dtype=np.float64)
    mean, low = float(cosines.mean()), float(np.percentile(cosines, 5))
    missed = mean < MEAN_BAR or low < LOW_BAR
    meaning = (
        f"what {role} calls a chunk is another vector in the payload, so it cannot be found there. Embed both with one "
        "encoder, in one order"
        if missed
        else "the same vectors"
    )
    return PreflightItem(
        name=name,
        group="provenance",
        level="must",
        verdict="missed" if missed else "passed",
        value=mean,
        bar=MEAN_BAR,
        detail=f"{len(cosines):,} truths of {role}{sampled(len(cosines), pairs.num_known)} held against the payload "
        f"{pairs.how}: mean cosine {mean:.3f} (bar {MEAN_BAR}), 5th percentile {low:.3f} (bar {LOW_BAR}): {meaning}",
    )


def _origin(role: str, source: WindowSource) -> Origin:
    if isinstance(source, CorpusWindows):
        return _origin_of_corpus(role, source.corpus)
    assert isinstance(source, ArrayWindows)
    return Origin(role, {label: _plain(name) for label, name in _labels_in(source.path).items()})


def _labels_in(path: Path) -> dict[str, str]:
    """What a file of windows says: in arrays of the labels' names, or in the playbook's `provenance`."""
    try:
        arrays = open_npz(path, (*LABELS, "provenance"))
        said = read_provenance(path, arrays.get("provenance"))
    except ConfigError:  # pickled, or no JSON: it says nothing that can be read
        return dict.fromkeys(LABELS, "")
    labels = {"embedder": said.encoder, "norm": said.norm, "metric": said.metric}
    for label in LABELS:
        if label in arrays and arrays[label].size == 1 and arrays[label].dtype.kind in "US":
            value = arrays[label].reshape(-1)[0]
            labels[label] = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return labels


def _origin_of_corpus(role: str, corpus: Corpus) -> Origin:
    manifest = corpus.manifest
    labels = {"embedder": manifest.embedder, "norm": manifest.norm, "metric": manifest.metric}
    return Origin(role, {label: _plain(name) for label, name in labels.items()})


def _plain(name: str) -> str:
    """A label under one of its names: `ip` for what is an inner product on unit vectors, nothing for `unknown`."""
    if name == UNKNOWN_EMBEDDER:
        return ""
    return "ip" if name.lower() in INNER_PRODUCTS else name


def _describe(origin: Origin) -> str:
    return ", ".join(f"{label} {value}" for label, value in origin.labels.items() if value) or "not named"


def _pair(source: WindowSource, payload: Corpus) -> Pairs:
    """Truths beside the same chunks of the payload; beside the nearest where nothing says which are the same."""
    if isinstance(source, CorpusWindows):
        rows, chunks = _by_title(source.corpus, payload)
        if len(rows):
            some = spread(np.arange(len(rows)), MAX_TRUTHS)
            return Pairs(source.corpus.vectors(rows[some]), payload.vectors(chunks[some]), "by title", len(rows))
    elif isinstance(source, ArrayWindows):
        rows, chunks = _by_key(source, payload)
        if len(rows):
            some = spread(np.arange(len(rows)), MAX_TRUTHS)
            return Pairs(source.gather(rows[some])[1], payload.vectors(chunks[some]), "by key", len(rows))
    targets = Side.of(source, np.arange(source.num_windows), MAX_TRUTHS).vectors()
    return Pairs(targets, _nearest(targets, payload), "by nearest vector", source.num_windows)


def _by_title(corpus: Corpus, payload: Corpus) -> tuple[IndexArray, IndexArray]:
    """Chunks of both corpora that have title, place and text in common."""
    places = {title: article for article, title in enumerate(payload.titles)}
    left: list[int] = []
    right: list[int] = []
    for article, title in enumerate(corpus.titles):
        other = places.get(title)
        if other is None:
            continue
        first, end = corpus.first_chunk[article : article + 2].tolist()
        there, there_end = payload.first_chunk[other : other + 2].tolist()
        for place in range(min(end - first, there_end - there)):
            if corpus.text(first + place) == payload.text(there + place):
                left.append(first + place)
                right.append(there + place)
    return np.array(left, np.int64), np.array(right, np.int64)


def _by_key(source: ArrayWindows, payload: Corpus) -> tuple[IndexArray, IndexArray]:
    """Windows whose `truth_keys` (W, 2) name an article and a chunk of it by number, and that chunk of the payload."""
    nothing = np.zeros(0, np.int64)
    keys = open_npz(source.path, ["truth_keys"]).get("truth_keys")
    if keys is None or keys.shape != (source.num_windows, 2) or keys.dtype.kind not in "iu":
        return nothing, nothing
    articles, places = keys.astype(np.int64).T
    known = (articles >= 0) & (articles < len(payload.titles)) & (places >= 0)
    within = np.where(known, articles, 0)
    chunks = payload.first_chunk[within] + places
    if not (known & (chunks < payload.first_chunk[within + 1])).all():
        return nothing, nothing  # the keys count something else than this payload's articles
    return np.arange(source.num_windows), chunks


def _nearest(queries: FloatArray, payload: Corpus) -> FloatArray:
    """The payload vector nearest to each of (B, D) queries."""
    cosines, chunks = np.full(len(queries), -2, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, payload.num_chunks, _ROWS_AT_ONCE):
        block = np.arange(start, min(start + _ROWS_AT_ONCE, payload.num_chunks))
        scores = queries @ payload.vectors(block).T
        found = scores.argmax(axis=1)
        better = scores[np.arange(len(queries)), found]
        chunks = np.where(better > cosines, start + found, chunks)
        cosines = np.maximum(cosines, better)
    return payload.vectors(chunks)
