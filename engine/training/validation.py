"""Validation at the end of an epoch: what `inspect_predictions` sees, and the lift over the context mean.

The lift is the mean cosine of the predictions minus that of the context mean on the same windows. Taken on validation
windows and again on windows of articles that neither training nor validation sees, it must be the same; where a split
leaks, validation is flattered and the second is not. Plain cosines would not do: articles differ in how predictable
they are, and the context mean knows that as well as the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.split import Split
from engine.data.windows import ArrayWindows, WindowSource
from engine.models.floors import floor_predictions
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig
from engine.training.learner import Learner
from engine.training.sanity import Inspection, evenly, inspect_predictions, mean_pairwise_cosine

MAX_LIFT_WINDOWS = 2048
"""Windows that a lift is measured on, evenly spaced."""

MIN_LIFT_ARTICLES = 5
"""With fewer articles on a side nobody can say how far chance alone moves its lift, so nothing is compared."""

IndexArray = NDArray[np.int64]
Unseen = tuple[WindowSource, IndexArray]
"""Windows of articles that neither training nor validation sees, and where they are."""


@dataclass(frozen=True)
class Validated:
    """What an epoch's validation found."""

    inspection: Inspection
    val_lift: float
    unseen_lift: float | None
    """None where there are no unseen windows, like the next two."""
    unseen_windows: int | None
    """Windows behind `unseen_lift`."""
    lift_gap_error: float | None
    """Standard error of the difference of the two."""
    context_pairwise_cosine: float
    """Mean cosine between the context means of different validation windows."""


class Validator:
    """Validates a learner after every epoch.

    Args:
        source: the windows.
        split: which of them validate; its test windows are the unseen ones where it is by article.
        unseen: other unseen windows, which go before those.
    """

    def __init__(self, source: WindowSource, split: Split, unseen: Unseen | None = None) -> None:
        self._source, self._val = source, split.val
        if unseen is None and split.article_disjoint and len(split.test):
            unseen = source, split.test
        self._seen = LiftProbe(source, split.val)
        probe = None if unseen is None else LiftProbe(*unseen)
        is_telling = probe is not None and min(probe.num_articles, self._seen.num_articles) >= MIN_LIFT_ARTICLES
        self._unseen = probe if is_telling else None

    @torch.no_grad()
    def validate(self, learner: Learner) -> Validated:
        """Judge the model as it is now."""
        predictions, targets = learner.predict(self._val)
        seen = self._seen.measure(evenly(predictions, MAX_LIFT_WINDOWS), evenly(targets, MAX_LIFT_WINDOWS))
        probe, unseen = self._unseen, None
        if probe is not None:
            unseen = probe.measure(*learner.predict_from(probe.source, probe.windows))
        project = None if learner.head is None else learner.project
        return Validated(
            inspection=inspect_predictions(predictions, targets, self._source.articles[self._val], project),
            val_lift=seen.value,
            unseen_lift=unseen.value if unseen else None,
            unseen_windows=len(probe.windows) if probe else None,
            lift_gap_error=math.hypot(seen.error, unseen.error) if unseen else None,
            context_pairwise_cosine=self._seen.pairwise_cosine,
        )


class Lift(NamedTuple):
    """A lift over the context mean."""

    value: float
    error: float
    """Its standard error."""


class LiftProbe:
    """Windows of one side, and what the context mean scores on each.

    Args:
        source: where they are.
        windows: (W,) int64; at most `MAX_LIFT_WINDOWS` of them are used, evenly spaced.
    """

    def __init__(self, source: WindowSource, windows: IndexArray) -> None:
        self.source, self.windows = source, evenly(windows, MAX_LIFT_WINDOWS)
        contexts, targets = source.gather(self.windows)
        means = floor_predictions("context_mean", contexts)
        self.pairwise_cosine = mean_pairwise_cosine(torch.from_numpy(means))
        """Mean cosine between the context means of different windows."""
        self._floors = np.einsum("wd,wd->w", means, targets, dtype=np.float64)
        articles = source.articles[self.windows]
        groups = np.where(articles >= 0, articles, -1 - np.arange(len(articles)))  # an unknown one is its own
        self._article = np.unique(groups, return_inverse=True)[1].reshape(-1)
        self.num_articles = int(self._article.max()) + 1
        """Articles that the windows are of; where unknown, windows."""

    def measure(self, predictions: Tensor, targets: Tensor) -> Lift:
        """The lift of (W, D) predictions, on the CPU; NaN where one of them is not finite.

        Windows of an article overlap and succeed or fail together, so the error is that of a mean over clusters: the
        root of the summed squares of each article's deviation, over W; corrected for A articles by A / (A - 1).
        """
        cosines = (predictions * targets).sum(dim=1, dtype=torch.float64).numpy()
        lifts = cosines - self._floors
        value = float(lifts.mean())
        deviations = np.bincount(self._article, weights=lifts - value)
        correction = self.num_articles / max(1, self.num_articles - 1)
        return Lift(value, math.sqrt(correction * float(np.square(deviations).sum())) / len(lifts))


def open_unseen(data: DataConfig, base: Path, source: WindowSource) -> Unseen | None:
    """The windows of `data.eval_npz`, all of them unseen by training; None where none are named.

    Args:
        data: its settings.
        base: folder where relative paths start.
        source: what is trained on.

    Raises:
        ConfigError: the file is missing, damaged, or its windows are of another shape.
    """
    if not data.eval_npz:
        return None
    windows = ArrayWindows((base / Path(data.eval_npz).expanduser()).absolute())
    if (windows.context, windows.dim) != (source.context, source.dim):
        raise ConfigError(
            f"[data] eval_npz: the windows of {windows.path} are {windows.context} x {windows.dim}, those of training "
            f"{source.context} x {source.dim}. Name a file of the same encoder and context, or none."
        )
    return windows, np.arange(windows.num_windows)
