"""What was fitted after a training, and what it changed: the reports of `align` and `rerank`.

Every figure is of articles that neither the training nor the fitting saw, before and after on the same queries. The
interval is of the difference, over paired resamples of articles: a gain whose interval holds 0 is not a gain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError
from engine.run.evals import Interval
from engine.run.files import read_regular

Figure = Literal["cosine", "r1", "r5", "contain50", "mrr10", "eff5"]
Effect = Literal["lifts", "does not lift", "harms"]
AlignmentKind = Literal["ridge", "procrustes"]
RerankModel = Literal["logistic", "gbdt", "mmr"]
FeatureSet = Literal["content", "article", "playbook"]
MAX_REPORT = 4 << 20
NO_CHANGE = "no change"
"""The setting of a map that leaves predictions as they are."""
DECIDES: Figure = "r5"
"""The figure that decides whether there was a lift."""

TRAP = (
    "A corpus that holds the true next chunk gives it away to whoever may look at chunk numbers: `next chunk` (+1 gap) "
    "names it outright, `same article` nearly so. With them Eff@5 is about 1 without any learning, and says nothing of "
    "the model. `content` looks at vectors alone."
)

Report = TypeVar("Report", "HeadReport", "RerankReport")


class Lift(Struct, frozen=True, kw_only=True):
    """A figure before and after, on the same queries."""

    before: float
    after: float
    difference: float
    """after - before."""
    interval: Interval | None
    """95 %, of the difference; None where the queries come from a single article."""

    @property
    def effect(self) -> Effect:
        """What the interval allows to say; without one, nothing was shown."""
        if self.interval is None or self.interval.holds(0.0):
            return "does not lift"
        return "lifts" if self.interval.low > 0 else "harms"

    def in_words(self, name: str) -> str:
        """`lifts R@5 by +0.037 [+0.012, +0.061]`, and the like."""
        if self.interval is None:
            return f"does not lift {name} for sure: the queries come from a single article ({self.difference:+.3f})"
        span = f"{self.difference:+.3f} [{self.interval.low:+.3f}, {self.interval.high:+.3f}]"
        if self.effect == "does not lift":
            return f"does not lift {name}: the interval holds 0 ({span})"
        return f"{self.effect} {name} by {span}"


class Trial(Struct, frozen=True, kw_only=True):
    """A setting that cross-validation tried on the fitting articles."""

    setting: str
    """In words, such as `l2=30`."""
    mrr10: float
    """Of the fitting queries, each answered by what was fitted without its article."""


class Judged(Struct, frozen=True, kw_only=True):
    """Which articles fitted and which judged; together with the figures, all that a verdict rests on."""

    created: str
    """UTC, ISO 8601."""
    argv: list[str]
    """The command that made it."""
    checkpoint: str
    """Folder of the checkpoint, absolute."""
    checkpoint_sha256: str
    """Of its weights."""
    corpus: str
    corpus_sha256: str
    payload_rule: str
    """What is searched and what is left out, in words."""
    num_fit_articles: int
    num_fit_queries: int
    num_judge_articles: int
    num_judge_queries: int
    seed: int
    seconds: float
    """The whole of it, without start-up."""
    notes: list[str] = field(default_factory=list)


class FittedMap(Struct, frozen=True, kw_only=True):
    """A linear map that was fitted, and what it changed."""

    kind: AlignmentKind
    setting: str
    """The trial that won; `no change` where nothing was better."""
    trials: list[Trial]
    mrr10: float
    """Of the winning trial."""
    lifts: dict[Figure, Lift]


class HeadReport(Struct, frozen=True, kw_only=True):
    """A whole alignment; `evals/align.json`. Written once, atomically."""

    schema: Literal[1] = 1
    judged: Judged
    maps: list[FittedMap]
    saved: AlignmentKind
    """The kind that did best on the fitting articles; the judge articles had no say."""
    file: str
    """Name of the head's file beside the report; empty where none was asked for."""
    verdict: str
    """Of the saved one, in words."""
    lifted: bool
    """Whether the saved one lifts R@5 beyond its interval."""


class FittedReranker(Struct, frozen=True, kw_only=True):
    """A reranker that was fitted, and what it changed."""

    model: RerankModel
    features: FeatureSet
    setting: str
    """The trial that won."""
    trials: list[Trial]
    mrr10: float
    """Of the winning trial."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of a logistic regression: by feature, for features of unit variance."""
    lifts: dict[Figure, Lift]


class RerankReport(Struct, frozen=True, kw_only=True):
    """A whole reranking; `evals/rerank.json`. Written once, atomically."""

    schema: Literal[1] = 1
    judged: Judged
    rerankers: list[FittedReranker]
    """Every model that was asked for with every feature set, on the same queries."""
    floor: FittedReranker
    """The context mean's candidates, reordered by a reranker of the saved kind that was fitted to them."""
    over_floor: dict[Figure, Lift]
    """The saved reranker over that: before is the floor's figure, after the model's. What is the model's own."""
    saved: RerankModel
    """Of the models with the chosen features, the one that did best on the fitting articles."""
    features: FeatureSet
    """Of the saved one."""
    trap: str = TRAP
    file: str
    """Name of the reranker's file beside the report; empty where none was asked for."""
    verdict: str
    """Of the saved one, in words."""
    lifted: bool
    """Whether the saved one lifts R@5 beyond its interval."""


def read_head_report(path: Path) -> HeadReport:
    """Read an alignment's report.

    Raises:
        ConfigError: it is missing, damaged or of another schema.
    """
    return _read(path, HeadReport, "align")


def read_rerank_report(path: Path) -> RerankReport:
    """Read a reranking's report.

    Raises:
        ConfigError: it is missing, damaged or of another schema.
    """
    return _read(path, RerankReport, "rerank")


def _read(path: Path, kind: type[Report], verb: str) -> Report:
    try:
        return msgspec.json.decode(read_regular(path, MAX_REPORT), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a report of `lvm-engine {verb}`: {error}. Run it again.") from None
