"""Recorded reports of what was fitted after a training: it lifts R@5, or it does not."""

from __future__ import annotations

from engine.run.evals import Interval
from engine.run.heads import FittedMap, FittedReranker, HeadReport, Judged, Lift, RerankReport

LIFT = Lift(before=0.44, after=0.509, difference=0.069, interval=Interval(low=0.044, high=0.095))
NO_LIFT = Lift(before=0.44, after=0.44, difference=0.0, interval=Interval(low=-0.009, high=0.008))


def judged(verb: str) -> Judged:
    """On which articles, and by which command."""
    return Judged(
        created="2023-11-14T23:30:00+00:00",
        argv=["lvm-engine", verb, "--checkpoint", "checkpoints/best"],
        checkpoint="/runs/mamba_s-0001/checkpoints/best",
        checkpoint_sha256="0" * 64,
        corpus="wikileads",
        corpus_sha256="1" * 64,
        payload_rule="all chunks of the corpus; the query's own 5 context chunks are left out",
        num_fit_articles=303,
        num_fit_queries=639,
        num_judge_articles=303,
        num_judge_queries=682,
        seed=0,
        seconds=7.5,
    )


def head_report(*, lift: Lift = LIFT) -> HeadReport:
    """A ridge."""
    ridge = FittedMap(kind="ridge", setting="l2=30", trials=[], mrr10=0.3, lifts={"r5": lift})
    return HeadReport(
        judged=judged("align"),
        maps=[ridge],
        saved="ridge",
        file="align.safetensors",
        verdict=f"ridge, l2=30: {lift.in_words('R@5')}",
        lifted=lift.effect == "lifts",
    )


def rerank_report(*, lift: Lift = LIFT) -> RerankReport:
    """A logistic regression over vectors alone."""
    logistic = FittedReranker(
        model="logistic", features="content", setting="l2=1", trials=[], mrr10=0.34, lifts={"r5": lift}
    )
    return RerankReport(
        judged=judged("rerank"),
        rerankers=[logistic],
        floor=logistic,
        over_floor={"r5": NO_LIFT},
        saved="logistic",
        features="content",
        file="rerank.safetensors",
        verdict=f"logistic over content: {lift.in_words('R@5')}",
        lifted=lift.effect == "lifts",
    )
