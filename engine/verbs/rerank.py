"""`lvm-engine rerank`: a reranker of the first 50 candidates, fitted and judged on different articles."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import click
import msgspec

from engine.cli import user_errors
from engine.run.heads import DECIDES, FeatureSet, Figure, FittedReranker, Lift, RerankModel, RerankReport
from engine.run.secrets import shown_argv
from engine.verbs.align import FIGURE_NAMES, OutFiles, describe_judged, fitting_options, lift_lines

MODELS: tuple[RerankModel, ...] = ("logistic", "gbdt", "mmr")
SETS: tuple[FeatureSet, ...] = ("content", "article", "playbook")


@click.command("rerank")
@fitting_options("reranker")
@click.option(
    "--model",
    type=click.Choice([*MODELS, "all"]),
    default="all",
    show_default=True,
    help="Logistic regression, boosted trees, or maximal marginal relevance, the baseline that learns two numbers.",
)
@click.option(
    "--features",
    type=click.Choice(SETS),
    default="content",
    show_default=True,
    help="Of the reranker that is saved; the report shows all sets. MMR has but `content`.",
)
@user_errors
def command(
    checkpoint: Path,
    corpus: str,
    model: Literal["logistic", "gbdt", "mmr", "all"],
    features: FeatureSet,
    limit: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Fit a reranker of the exactly first 50 candidates.

    It is fitted on validation articles, from which the training learned nothing, and judged on test articles, against
    the order by cosine on the same queries.

    A trap: `article` adds whether a candidate is of the query's article, `playbook` also whether it is the chunk right
    after the context (+1 gap). In a corpus that holds the true next chunk the latter names it outright and the former
    nearly so: Eff@5 is then about 1 without any learning and says nothing of the model. `content` looks at vectors
    alone. The report shows all three on the same queries.

    Much of a lift comes from the context and not from the model: the context mean, reranked alike, stands beside it.

    Exit codes: 0 lifts R@5 beyond its 95 % interval, 1 did not, 2 could not.
    """
    from engine.post_training.heldout import open_held_out
    from engine.post_training.rerank.fitting import MAX_FIT, fit_reranker, floor_of, list_candidates, over_floor
    from engine.verbs.evaluate import find_checkpoint

    files = OutFiles.named(out)
    began = time.monotonic()
    data = open_held_out(find_checkpoint(checkpoint), corpus, fit_limit=MAX_FIT, limit=limit, seed=seed)
    fit, judge = list_candidates(data, data.fit), list_candidates(data, data.judge)
    models = MODELS if model == "all" else (model,)
    fitted = [
        fit_reranker(data, fit, judge, one, one_set, seed=seed)
        for one in models
        for one_set in (SETS if one != "mmr" else SETS[:1])  # MMR looks at vectors alone
    ]
    eligible = [one for one in fitted if one.report.features == features or one.report.model == "mmr"]
    chosen = max(eligible, key=lambda one: one.report.mrr10)
    best, mean = chosen.report, floor_of(data)
    floor_lists = (list_candidates(mean, mean.fit), list_candidates(mean, mean.judge))
    floor = fit_reranker(mean, *floor_lists, best.model, best.features, seed=seed)
    above = over_floor(chosen, floor, judge, seed=seed)
    report = RerankReport(
        judged=data.judged(argv=shown_argv(sys.argv), seed=seed, seconds=time.monotonic() - began),
        rerankers=[one.report for one in fitted],
        floor=floor.report,
        over_floor=above,
        saved=best.model,
        features=best.features,
        file=files.fitted.name if files else "",
        verdict=_verdict(best, above),
        lifted=best.lifts[DECIDES].effect == "lifts",
    )
    if files:
        chosen.reranker.save(files.fitted)
        files.write_report(report)
    click.echo(msgspec.json.encode(report) if as_json else render(report))
    return 0 if report.lifted else 1


def render(report: RerankReport) -> str:
    """The report as text: a table of all rerankers, the saved one in full, the trap and the verdict."""
    lines = [
        *describe_judged(report.judged),
        f"{'':20}{'R@5':>7}{'':18}{'Eff@5':>7}{'':18}{'R@1':>7}{'MRR@10':>8}  chosen",
    ]
    cosine = report.rerankers[0].lifts
    lines.append(
        f"{'cosine':20}{cosine['r5'].before:7.3f}{'':18}{cosine['eff5'].before:7.3f}{'':18}"
        f"{cosine['r1'].before:7.3f}{cosine['mrr10'].before:8.3f}"
    )
    lines += [_row(one) for one in report.rerankers]
    lines.append(_row(report.floor, "context mean, alike"))
    saved = next(one for one in report.rerankers if (one.model, one.features) == (report.saved, report.features))
    lines += [f"{saved.model} {saved.features}:", *lift_lines(saved.lifts)]
    if saved.weights:
        lines.append("  weights: " + ", ".join(f"{name} {weight:+.2f}" for name, weight in saved.weights.items()))
    return "\n".join([*lines, f"[TRAP] {report.trap}", f"[RERANK] {report.verdict}"])


def _row(fitted: FittedReranker, name: str = "") -> str:
    """Figures after reranking, with the intervals of their differences to those before."""
    lifts = fitted.lifts
    name = name or (fitted.model if fitted.model == "mmr" else f"{fitted.model} {fitted.features}")
    return (
        f"{name:20}{lifts['r5'].after:7.3f}{_span(lifts['r5']):18}{lifts['eff5'].after:7.3f}{_span(lifts['eff5']):18}"
        f"{lifts['r1'].after:7.3f}{lifts['mrr10'].after:8.3f}  {fitted.setting}"
    )


def _span(lift: Lift) -> str:
    """The interval of the difference."""
    return f" [{lift.interval.low:+.3f} {lift.interval.high:+.3f}]" if lift.interval else ""


def _verdict(fitted: FittedReranker, above: dict[Figure, Lift]) -> str:
    words = [fitted.lifts[figure].in_words(FIGURE_NAMES[figure]) for figure in (DECIDES, "eff5")]
    gift = "" if fitted.features == "content" else "; the corpus gives this away, see the trap"
    words.append(_beside_floor(above[DECIDES]))
    return f"{fitted.model}, {fitted.features}, {fitted.setting}: {'; '.join(words)}{gift}"


def _beside_floor(above: Lift) -> str:
    """Where the reranked model stands beside the reranked floor, and whether that is beyond the noise."""
    stands = {"lifts": "above", "does not lift": "not told apart from", "harms": "below"}[above.effect]
    return f"{stands} the context mean reranked alike (R@5 {above.difference:+.3f}{_span(above)})"
