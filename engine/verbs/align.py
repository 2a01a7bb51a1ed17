"""`lvm-engine align`: a linear map from predictions to the truth, fitted and judged on different articles."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.heads import (
    DECIDES,
    NO_CHANGE,
    AlignmentKind,
    Figure,
    FittedMap,
    HeadReport,
    Judged,
    Lift,
    RerankReport,
)
from engine.run.secrets import shown_argv

FIGURE_NAMES: dict[Figure, str] = {
    "cosine": "cosine",
    "r1": "R@1",
    "r5": "R@5",
    "contain50": "Contain@50",
    "eff5": "Eff@5",
    "mrr10": "MRR@10",
}


@dataclass(frozen=True, slots=True)
class OutFiles:
    """Where what was fitted goes, and its report."""

    fitted: Path
    report: Path

    @classmethod
    def named(cls, out: Path | None) -> OutFiles | None:
        """Both files of --out, which names either; None where nothing is to be written.

        Raises:
            ConfigError: it names something else.
        """
        if out is None:
            return None
        if out.suffix not in (".json", ".safetensors") or out.is_dir():
            wanted = out.with_suffix(".safetensors") if out.name else out / "fitted.safetensors"
            raise ConfigError(f"--out: {out} is a folder, or neither .json nor .safetensors. Name a file: {wanted}.")
        return cls(out.with_suffix(".safetensors"), out.with_suffix(".json"))

    def write_report(self, report: HeadReport | RerankReport) -> None:
        """Write the report; after what was fitted, so that whoever sees it finds both."""
        from engine.run.files import write_atomically

        write_atomically(self.report, msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def fitting_options(fitted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a verb that fits something, called `fitted`, to a checkpoint."""
    path = click.Path(path_type=Path)
    out = f"The {fitted} to write (.safetensors), or its report (.json); the other goes beside it under the same name."
    options = (
        click.option("--checkpoint", type=path, required=True, help="Checkpoint or run folder (its best)."),
        click.option(
            "--corpus", default="", help="Corpus to search: folder or embedded:NAME; the checkpoint's by default."
        ),
        click.option(
            "--limit", type=click.IntRange(0), default=1000, show_default=True, help="Queries to judge by; 0: all."
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of samples, folds and intervals."
        ),
        click.option("--out", type=path, help=out),
        click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout."),
    )

    def add(body: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            body = option(body)
        return body

    return add


@click.command("align")
@fitting_options("head")
@click.option(
    "--kind", type=click.Choice(["ridge", "procrustes", "both"]), default="both", show_default=True, help="Of map."
)
@user_errors
def command(
    checkpoint: Path,
    corpus: str,
    kind: Literal["ridge", "procrustes", "both"],
    limit: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Fit a linear alignment head to a checkpoint's predictions.

    It is fitted on validation articles, from which the training learned nothing, and judged on test articles, against
    the model without it on the same queries. How strong it is comes from cross-validation by article; it may come out
    as no change at all.

    Exit codes: 0 lifts R@5 beyond its 95 % interval, 1 did not, 2 could not.
    """
    from engine.post_training.alignment import MAX_FIT, fit_alignment
    from engine.post_training.heldout import open_held_out
    from engine.verbs.evaluate import find_checkpoint

    files = OutFiles.named(out)
    kinds: list[AlignmentKind] = ["ridge", "procrustes"] if kind == "both" else [kind]
    began = time.monotonic()
    data = open_held_out(find_checkpoint(checkpoint), corpus, fit_limit=MAX_FIT, limit=limit, seed=seed)
    fitted = [fit_alignment(data, one, seed=seed) for one in kinds]
    head, best = max(fitted, key=lambda pair: pair[1].mrr10)
    judged = data.judged(argv=shown_argv(sys.argv), seed=seed, seconds=time.monotonic() - began)
    report = HeadReport(
        judged=judged,
        maps=[one for _, one in fitted],
        saved=best.kind,
        file=files.fitted.name if files else "",
        verdict=_verdict(best),
        lifted=best.lifts[DECIDES].effect == "lifts",
    )
    if files:
        head.save(files.fitted)
        files.write_report(report)
    click.echo(msgspec.json.encode(report) if as_json else render(report))
    return 0 if report.lifted else 1


def render(report: HeadReport) -> str:
    """The report as text."""
    lines = describe_judged(report.judged)
    for fitted in report.maps:
        chosen = ", ".join(f"{trial.setting} {trial.mrr10:.3f}" for trial in fitted.trials)
        lines += [
            f"{fitted.kind}: {fitted.setting}, chosen by MRR@10 on the fitting articles ({chosen})",
            *lift_lines(fitted.lifts),
        ]
    return "\n".join([*lines, f"[ALIGN] {report.verdict}"])


def describe_judged(judged: Judged) -> list[str]:
    """Head of a report's text: what was fitted and judged on, and its notes."""
    return [
        f"fitted on {judged.num_fit_queries:,} queries of {judged.num_fit_articles:,} validation articles, judged on "
        f"{judged.num_judge_queries:,} queries of {judged.num_judge_articles:,} test articles",
        f"searched: {judged.payload_rule}",
        *(f"note: {note}" for note in judged.notes),
    ]


def lift_lines(lifts: dict[Figure, Lift]) -> list[str]:
    """A line a figure: before, after, and the difference with its paired interval."""
    lines = []
    for figure, lift in lifts.items():
        span = f"[{lift.interval.low:+.3f}, {lift.interval.high:+.3f}]" if lift.interval else "[no interval]"
        change = f"{lift.before:.3f} -> {lift.after:.3f}  {lift.difference:+.3f} {span}"
        lines.append(f"  {FIGURE_NAMES[figure]:11}{change} {lift.effect}")
    return lines


def _verdict(fitted: FittedMap) -> str:
    if fitted.setting == NO_CHANGE:
        return f"{fitted.kind}: does not lift R@5: no change is what did best on the fitting articles"
    words = [fitted.lifts[figure].in_words(FIGURE_NAMES[figure]) for figure in (DECIDES, "eff5", "cosine")]
    return f"{fitted.kind}, {fitted.setting}: {'; '.join(words)}"
