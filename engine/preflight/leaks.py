"""Leaks: what stands on both sides of the split, so that validation asks for what training was told.

Legend: W windows, B rows, D vector width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.data.corpus import FloatArray, IndexArray
from engine.data.windows import ArrayWindows, WindowSource
from engine.preflight.subject import Side, Subject, sampled, spread
from engine.run.preflight import PreflightItem

SAME = 0.995
"""Cosine from which two chunks count as one. On the embedded corpus the nearest chunks of different articles reach .967
(boilerplate such as "won ten BAFTA Awards"), and nothing lies between that and an actual copy."""
SHARE_BAR = 0.01
"""A corpus may quote itself here and there; of windows that overlap, most chunks are shared."""
CHANCE = 0.05
"""How often a corpus that quotes itself just so often may be called leaky."""
MAX_QUERIES = 1024
MAX_TRAINED = 131_072
"""Chunks that near-duplicates are looked for among: 5 s at 768 dimensions, whatever the size of the data."""
MAX_JUDGED_WINDOWS = 4096
MAX_TRAINED_WINDOWS = 65_536
SHOWN_PAIRS = 3
_ROWS_AT_ONCE = 8192
_GRID = 1024
"""Coordinates are rounded to 1 / 1024 before rows are compared, so that rounding errors make no difference."""


def judge_leaks(subject: Subject) -> list[PreflightItem]:
    """Every way in which an answer can be known beforehand."""
    items = [judge_articles(subject), judge_near_duplicates(subject)]
    if isinstance(subject.source, ArrayWindows):
        items.append(judge_chunks(subject))
    if subject.unseen is not None:
        items.append(judge_unseen(subject))
    return items


def judge_articles(subject: Subject) -> PreflightItem:
    """Articles with windows in more than one of training, validation and test: |A_train & A_val| + ... must be 0.

    Where the data name no articles nobody can count them; then chunks on both sides tell, see `judge_chunks`.
    """
    split, articles = subject.split, subject.source.articles
    if not split.article_disjoint:
        return PreflightItem(
            name="articles_shared",
            group="leak",
            level="should",
            verdict="undecidable",
            value=None,
            bar=0.0,
            detail="the split cannot be shown to be article-disjoint: the data name no articles. "
            "Add article_ids to the file, or train on a corpus folder",
        )
    sides = [set(articles[windows].tolist()) for windows in (split.train, split.val, split.test)]
    shared = len(sides[0] & sides[1]) + len(sides[0] & sides[2]) + len(sides[1] & sides[2])
    counts = f"{len(sides[0]):,} train, {len(sides[1]):,} validate, {len(sides[2]):,} test"
    return PreflightItem(
        name="articles_shared",
        group="leak",
        level="must",
        verdict="missed" if shared else "passed",
        value=float(shared),
        bar=0.0,
        detail=f"{shared:,} articles stand on two sides of the split; the bar is 0. Split by article"
        if shared
        else f"no article stands on two sides of the split: {counts}",
    )


def judge_chunks(subject: Subject) -> PreflightItem:
    """Share of the different chunks in validation and test windows that a training window has as its target.

    For files of windows, whose article ids may be missing or be something else, such as the windows' own numbers.
    Windows that overlap and were split one by one share most of their chunks: what validation asks for is then known
    from training, and val_cosine measures memory.
    """
    held_out = np.concatenate([subject.split.val, subject.split.test])
    shared = _count_shared(subject.source, subject.split.train, subject.source, held_out)
    if not shared.is_leak:
        meaning = "windows that overlap do not stand on both sides"
    elif subject.split.article_disjoint:
        meaning = (
            "article_ids put windows that overlap under different articles, so validation asks for what training was "
            "told and val_cosine flatters. Give one id to all windows of an article"
        )
    else:
        meaning = (
            "windows that overlap were split one by one, so validation asks for what training was told and val_cosine "
            "flatters. Add article_ids (or truth_keys) to the file so that it is split by article, or train on a "
            "corpus folder"
        )
    return shared.judge("chunks_shared", "chunks in held-out windows are targets of training", meaning)


def judge_unseen(subject: Subject) -> PreflightItem:
    """The same share of the windows of `eval_npz`, against all windows of the run, validation's included."""
    unseen = subject.unseen
    assert unseen is not None
    known = np.sort(np.concatenate([subject.split.train, subject.split.val]))
    shared = _count_shared(subject.source, known, unseen, np.arange(unseen.num_windows))
    meaning = (
        "it judges articles that were trained on. Make it of articles that are in neither training nor validation"
        if shared.is_leak
        else "its articles are new to the model"
    )
    return shared.judge("eval_chunks_shared", "chunks in eval_npz are targets of training or validation", meaning)


def judge_near_duplicates(subject: Subject) -> PreflightItem:
    """Share of held-out chunks x with max over training chunks y of cos(x, y) >= 0.995.

    Above 1 %, and by more than chance, it must be mended: copies under other ids leak as surely as shared articles. A
    few are a note, because articles quote each other.
    """
    trained = Side.of(subject.source, subject.split.train, MAX_TRAINED)
    judged = [Side.of(subject.source, windows, MAX_QUERIES) for windows in (subject.split.val, subject.split.test)]
    if subject.unseen is not None:
        judged.append(Side.of(subject.unseen, np.arange(subject.unseen.num_windows), MAX_QUERIES))
    best = [_nearest(side.vectors(), trained) for side in judged if len(side.numbers)]
    cosines = np.concatenate([cosine for cosine, _ in best])
    names = [(side, row) for side in judged for row in range(len(side.numbers))]
    rows = np.concatenate([row for _, row in best])
    worst = [
        f"{cosines[number]:.3f} {names[number][0].describe(names[number][1])} | {trained.describe(int(rows[number]))}"
        for number in np.argsort(-cosines, kind="stable")[:SHOWN_PAIRS].tolist()
    ]
    share = float(np.mean(cosines >= SAME))
    missed = exceeds(int(np.count_nonzero(cosines >= SAME)), len(cosines))
    remedy = "Remove the copies, or give copies of an article one id, so that they fall on one side. " if missed else ""
    return PreflightItem(
        name="near_duplicates",
        group="leak",
        level="must" if missed else "should",
        verdict="missed" if missed else "passed",
        value=share,
        bar=SHARE_BAR,
        detail=f"{share:.1%} of {len(cosines):,} held-out chunks have a training chunk at a cosine of {SAME} or more "
        f"(bar {SHARE_BAR:.0%}){sampled(len(trained.numbers), trained.total)}. {remedy}Nearest: {'; '.join(worst)}",
    )


def row_keys(vectors: FloatArray) -> IndexArray:
    """(..., D) unit vectors to int64 keys (...,), equal where the vectors are, up to rounding errors of float32."""
    rounded = np.round(vectors.reshape(-1, vectors.shape[-1]) * _GRID).astype(np.int16)
    keys = np.fromiter((hash(row.tobytes()) for row in rounded), np.int64, len(rounded))
    return keys.reshape(vectors.shape[:-1])


@dataclass(frozen=True, slots=True)
class _Shared:
    """Chunks of judged windows, each counted once, and how many of them are targets that are known."""

    count: int
    total: int
    looked_at: str
    """What was sampled; empty where everything was looked at."""

    @property
    def is_leak(self) -> bool:
        return exceeds(self.count, self.total)

    def judge(self, name: str, what: str, meaning: str) -> PreflightItem:
        """The item that says so."""
        return PreflightItem(
            name=name,
            group="leak",
            level="must",
            verdict="missed" if self.is_leak else "passed",
            value=self.count / self.total,
            bar=SHARE_BAR,
            detail=f"{self.count:,} of {self.total:,} {what} ({self.count / self.total:.1%}, bar {SHARE_BAR:.0%})"
            f"{self.looked_at}: {meaning}",
        )


def _count_shared(source: WindowSource, trained: IndexArray, other: WindowSource, judged: IndexArray) -> _Shared:
    """Chunks of the judged windows that are the target of a trained one.

    Chunks are counted, not windows: one quotation stands in every window around it.
    """
    some, few = spread(trained, MAX_TRAINED_WINDOWS), spread(judged, MAX_JUDGED_WINDOWS)
    targets = np.concatenate([row_keys(source.gather(block)[1]) for block in _blocks(some)])
    chunks: list[IndexArray] = []
    for block in _blocks(few):
        contexts, own = other.gather(block)
        chunks += [row_keys(contexts).reshape(-1), row_keys(own)]
    distinct = np.unique(np.concatenate(chunks))
    notes = [
        f"{len(kept):,} of {len(windows):,} {name} windows"
        for name, kept, windows in (("judged", few, judged), ("trained", some, trained))
        if len(kept) < len(windows)
    ]
    looked_at = f" (a sample: {' and '.join(notes)})" if notes else ""
    return _Shared(int(np.isin(distinct, targets).sum()), len(distinct), looked_at)


def exceeds(count: int, total: int, bar: float = SHARE_BAR) -> bool:
    """Whether a share is above the bar by more than chance: P(X >= count) < 5 %, X binomial of `total` and the bar.

    In a small corpus a single quotation is above any bar, and so is no reason to block it.
    """
    if count <= bar * total:
        return False
    log_choices = math.lgamma(total + 1)
    fewer = sum(
        math.exp(
            log_choices
            - math.lgamma(number + 1)
            - math.lgamma(total - number + 1)
            + number * math.log(bar)
            + (total - number) * math.log1p(-bar)
        )
        for number in range(count)
    )
    return 1 - fewer < CHANCE


def _nearest(queries: FloatArray, trained: Side) -> tuple[FloatArray, IndexArray]:
    """Of each of (B, D) queries the best cosine (B,) with a training chunk, and that chunk's row (B,)."""
    cosines, rows = np.full(len(queries), -1, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, len(trained.numbers), _ROWS_AT_ONCE):
        scores = queries @ trained.vectors(slice(start, start + _ROWS_AT_ONCE)).T
        found = scores.argmax(axis=1)
        better = scores[np.arange(len(queries)), found]
        rows = np.where(better > cosines, start + found, rows)
        cosines = np.maximum(cosines, better)
    return cosines, rows


def _blocks(windows: IndexArray) -> list[IndexArray]:
    return [windows[start : start + _ROWS_AT_ONCE] for start in range(0, len(windows), _ROWS_AT_ONCE)]
