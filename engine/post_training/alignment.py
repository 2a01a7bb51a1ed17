"""A linear map from predictions towards the truth, fitted after the training on articles it did not learn from.

Two kinds, both of which can shrink to changing nothing:

- `ridge`: W = I + Delta, where Delta minimises |P (I + Delta) - T|^2 + l2 |Delta|^2, so that
  Delta = (P'P + l2 I)^-1 P' (T - P). The larger l2, the nearer to no change.
- `procrustes`: W = (1 - s) I + s R, where R is the orthogonal map nearest to taking P to T: U V' of the singular value
  decomposition of P'T (Schönemann 1966). The smaller s, the nearer to no change.

How strong it is comes from cross-validation by article, judged by MRR@10 over the whole corpus and not by the cosine:
on the embedded corpus the cosine would choose a map that raises itself and lowers R@5 (a plain model, l2 = 1: cosine
+.039, R@5 -.057).

Legend: Q queries, D vector width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray
from engine.data.vector_files import SHORTEST
from engine.evaluation.exact import search_exactly
from engine.evaluation.metrics import Ranks, mrr_at_k
from engine.evaluation.paired import measures_of, paired_lifts
from engine.post_training.headfile import FittedMeta, read_fitted, write_fitted
from engine.post_training.heldout import HeldOut, Sample, article_folds
from engine.run.convert import ConfigError
from engine.run.heads import NO_CHANGE, AlignmentKind, FittedMap, Trial

Matrix = npt.NDArray[np.float64]

RIDGE_L2 = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Penalties that are tried, from the weakest change to the strongest; for unit vectors."""
PROCRUSTES_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Shares s that are tried, likewise."""
_STAY = 1e-6
"""Times the number of windows, added to P'T: directions that no window has anything in are left where they are."""
MAX_FIT = 16_384
"""Fitting queries taken at most: a few for every dimension."""
MAX_SCORED = 1024
"""Fitting queries that a trial is scored by; each costs a search of the whole corpus."""


class HeadMeta(FittedMeta, frozen=True, kw_only=True):
    """What an alignment head's file says of itself."""

    kind: AlignmentKind
    setting: str
    """The trial that won, such as `l2=30`."""
    trials: list[Trial]


@dataclass(frozen=True, slots=True)
class AlignmentHead:
    """A fitted map. Made by `fit_alignment` or read by `load_head`."""

    matrix: FloatArray
    """(D, D) float32; a prediction, a row, is multiplied by it from the right."""
    meta: HeadMeta

    def apply(self, predicted: FloatArray) -> FloatArray:
        """Correct predictions.

        Args:
            predicted: (B, D) float32.

        Returns:
            (B, D) float32 unit vectors; zero where the map leaves no direction, and as it was where it is not finite.

        Raises:
            ConfigError: they have another width.
        """
        if predicted.ndim != 2 or predicted.shape[1] != len(self.matrix):
            raise ConfigError(
                f"the alignment head maps vectors of {len(self.matrix)} dimensions, these are {predicted.shape}: they "
                "come from another model. Fit a head to its checkpoint with `lvm-engine align`."
            )
        mapped = predicted.copy()
        finite = np.isfinite(predicted).all(axis=1)
        mapped[finite] = _unit(predicted[finite] @ self.matrix)
        return mapped

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        write_fitted(path, {"matrix": self.matrix}, self.meta)


def load_head(path: Path, *, checkpoint_sha256: str = "", corpus_sha256: str = "") -> AlignmentHead:
    """Read a head.

    Args:
        path: its file.
        checkpoint_sha256: of the weights whose predictions it shall correct; empty for no check.
        corpus_sha256: of the corpus that is searched; empty for no check.

    Raises:
        ConfigError: it is missing, damaged, or was fitted to another checkpoint or corpus.
    """
    arrays, meta = read_fitted(
        path, HeadMeta, verb="align", checkpoint_sha256=checkpoint_sha256, corpus_sha256=corpus_sha256
    )
    matrix = arrays.get("matrix", np.zeros(0, np.float32))
    if matrix.shape != (meta.dim, meta.dim) or matrix.dtype != np.float32:
        raise ConfigError(
            f"{path}: its matrix is {matrix.shape} {matrix.dtype}, not {(meta.dim, meta.dim)} float32. "
            "Fit again with `lvm-engine align`."
        )
    return AlignmentHead(matrix, meta)


def ridge_maps(predicted: FloatArray, targets: FloatArray) -> dict[str, Matrix]:
    """The ridge's map at every penalty that is tried, by setting.

    Args:
        predicted: (Q, D) unit vectors.
        targets: (Q, D) unit vectors.

    Returns:
        (D, D) float64 maps. One eigendecomposition of P'P = E diag(v) E' serves all: (P'P + l2 I)^-1 is
        E diag(1 / (v + l2)) E'.
    """
    inputs, wanted = predicted.astype(np.float64), targets.astype(np.float64)
    values, basis = np.linalg.eigh(inputs.T @ inputs)
    moments = basis.T @ (inputs.T @ (wanted - inputs))
    identity = np.eye(inputs.shape[1])
    return {f"l2={l2:g}": identity + basis @ (moments / (np.maximum(values, 0) + l2)[:, None]) for l2 in RIDGE_L2}


def procrustes_maps(predicted: FloatArray, targets: FloatArray) -> dict[str, Matrix]:
    """The rotation's mixture with the identity at every share that is tried, by setting.

    Args:
        predicted: (Q, D) unit vectors.
        targets: (Q, D) unit vectors.
    """
    identity = np.eye(predicted.shape[1])
    cross = predicted.T.astype(np.float64) @ targets.astype(np.float64) + _STAY * len(predicted) * identity
    left, _, right = np.linalg.svd(cross)
    rotation = left @ right
    return {f"share={share:g}": (1 - share) * identity + share * rotation for share in PROCRUSTES_SHARES}


_MAPS = {"ridge": ridge_maps, "procrustes": procrustes_maps}


def fit_alignment(data: HeldOut, kind: AlignmentKind, *, seed: int) -> tuple[AlignmentHead, FittedMap]:
    """Fit a map on the fitting articles and judge it on the others.

    Args:
        data: both samples.
        kind: of map.
        seed: of the folds and of the intervals.

    Returns:
        The head, and its trials and figures. The head changes nothing where no trial did better than that.
    """
    trials = _cross_validate(data, kind, seed)
    best = max(trials, key=lambda trial: trial.mrr10)  # the first of equals: the least change
    dim = data.vectors.shape[1]
    matrix = np.eye(dim)
    if best.setting != NO_CHANGE:
        matrix = _MAPS[kind](data.fit.predicted, data.fit.queries.targets)[best.setting]
    meta = HeadMeta(
        checkpoint_sha256=data.weights_sha256,
        corpus_sha256=data.corpus.sha256,
        dim=dim,
        num_fit_articles=data.fit.num_articles,
        kind=kind,
        setting=best.setting,
        trials=trials,
    )
    head = AlignmentHead(matrix.astype(np.float32), meta)
    judge = data.judge
    before = judge.predicted
    after = before if best.setting == NO_CHANGE else head.apply(before)  # not even by its rounding
    lifts = paired_lifts(
        measures_of(_ranks(data, judge, before), judge.cosines(before)),
        measures_of(_ranks(data, judge, after), judge.cosines(after)),
        judge.queries.articles,
        seed=seed,
    )
    return head, FittedMap(kind=kind, setting=best.setting, trials=trials, mrr10=best.mrr10, lifts=lifts)


def _cross_validate(data: HeldOut, kind: AlignmentKind, seed: int) -> list[Trial]:
    """No change, and every setting: each fitting query mapped by what was fitted without its article."""
    fit = data.fit
    mapped: dict[str, FloatArray] = {NO_CHANGE: fit.predicted}
    for known, tried in article_folds(fit.queries.articles, seed):
        maps: Mapping[str, Matrix] = _MAPS[kind](fit.predicted[known], fit.queries.targets[known])
        for setting, matrix in maps.items():
            rows = mapped.setdefault(setting, np.empty_like(fit.predicted))
            rows[tried] = _unit(fit.predicted[tried] @ matrix)
    scored = np.arange(len(fit.predicted))
    if len(scored) > MAX_SCORED:
        scored = np.sort(np.random.default_rng(seed).choice(scored, MAX_SCORED, replace=False))
    return [
        Trial(setting=setting, mrr10=mrr_at_k(_ranks(data, fit, rows, scored), 10)) for setting, rows in mapped.items()
    ]


def _ranks(data: HeldOut, sample: Sample, predicted: FloatArray, rows: npt.NDArray[np.int64] | None = None) -> Ranks:
    """Ranks of the truth among all chunks; of some rows, or of all."""
    chosen = slice(None) if rows is None else rows
    queries = sample.queries
    return search_exactly(
        data.vectors, predicted[chosen], queries.truth_chunks[chosen], queries.context_chunks[chosen], k=0
    ).ranks


def _unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Rows brought to length 1; zero where they have no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > SHORTEST, vectors / np.maximum(lengths, SHORTEST), 0)
