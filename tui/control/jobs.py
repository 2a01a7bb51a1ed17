"""Jobs on a run that is there already: a look at its data, evaluations, and what is fitted after training.

Each is one engine command, run below a wrapper of its own in `evals/<name>.job`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from engine.run.directory import Life
from engine.run.heads import HeadReport, RerankReport
from engine.run.launch import LOCAL
from engine.run.settings import EvalConfig
from tui.control.views import RunView

JobAction = Literal["evaluate", "evaluate_full", "evaluate_fitted", "evaluate_tuned", "align", "rerank", "preflight"]
JOBS: tuple[JobAction, ...] = get_args(JobAction)
TUNED = "smoke-tuned"
"""Name of the smoke evaluation on an index of its own; it counts as the smoke evaluation."""


@dataclass(frozen=True, slots=True)
class Job:
    """A command to run."""

    name: str
    """Of its folder, and of the report it writes: `smoke-e0004`."""
    verb: str
    arguments: tuple[str, ...]
    launcher: str = LOCAL
    """Name of what starts it."""


def evaluation_job(run: RunView, name: str, index_dir: Path, *, fitted: bool = False, tuned: bool = False) -> Job:
    """The evaluation `[eval.NAME]` of the run's best checkpoint.

    Args:
        run: that has one.
        name: of its settings.
        index_dir: where indexes are kept.
        fitted: behind what was fitted and lifts.
        tuned: on an index of its own, chosen by measurement, whatever index the settings name.
    """
    settings = evaluation_settings(run, name)
    if tuned:
        settings = msgspec.structs.replace(settings, faiss="", index="auto", tune=True)
    job = f"{name}{'-fitted' if fitted else '-tuned' if tuned else ''}-e{best_epoch(run):04d}"
    return Job(
        job,
        "evaluate",
        (
            *("--checkpoint", str(run.directory.checkpoints / "best")),
            *_searched(settings),
            *("--limit", str(settings.limit), "--nprobe", str(settings.nprobe), "--seed", str(settings.seed)),
            *("--index", settings.index, *(("--tune",) if settings.tune else ())),
            *("--gate-contain50", str(settings.contain50), "--gate-r5", str(settings.r5)),
            *("--gate-eff5", str(settings.eff5), "--gate-p95", str(settings.p95_ms)),
            *("--index-dir", str(index_dir)),
            *(_fitted_options(run) if fitted else ()),
            *("--out", str(run.directory.evals / f"{job}.json")),
        ),
        settings.launcher,
    )


def _launcher(run: RunView) -> str:
    """What starts a job that is no evaluation: what starts the smoke evaluation."""
    return evaluation_settings(run, "smoke").launcher


def _searched(settings: EvalConfig) -> tuple[str, ...]:
    """What is searched, and with which windows, where it is not the run's own corpus."""
    named = {
        "--corpus": settings.corpus,
        "--eval-npz": settings.eval_npz,
        "--payload": settings.payload,
        "--faiss": settings.faiss,
    }
    return tuple(part for option, value in named.items() if value for part in (option, value))


def _fitting_arguments(run: RunView, out: Path) -> tuple[str, ...]:
    """What fits to the run's best checkpoint, in the corpus that its smoke evaluation searches."""
    settings = evaluation_settings(run, "smoke")
    corpus = settings.corpus or settings.payload
    searched = ("--corpus", corpus) if corpus else ()
    return ("--checkpoint", str(run.directory.checkpoints / "best"), *searched, "--out", str(out))


def _fitted_options(run: RunView) -> tuple[str, ...]:
    """The reranker where it lifts, else the head.

    Not both: a reranker is fitted to the predictions as they are, and behind a head it does less than alone (R@5 .472
    against .496 on the embedded corpus).
    """
    if lifts(run.fitted.get("reranker")):
        return ("--reranker", str(fitted_reranker(run)))
    return ("--head", str(fitted_head(run))) if lifts(run.fitted.get("alignment head")) else ()


def align_job(run: RunView) -> Job:
    """Fit an alignment head to the run's best checkpoint, and judge it."""
    return Job("align", "align", _fitting_arguments(run, fitted_head(run)), _launcher(run))


def rerank_job(run: RunView) -> Job:
    """Fit a reranker to the run's best checkpoint, and judge it."""
    return Job("rerank", "rerank", _fitting_arguments(run, fitted_reranker(run)), _launcher(run))


def preflight_job(run: RunView) -> Job:
    """Look at the run's data again."""
    return Job("preflight", "preflight", ("--run-dir", str(run.directory.path)), _launcher(run))


def make_job(action: JobAction, run: RunView, index_dir: Path) -> Job:
    """The job behind an action."""
    makers: dict[JobAction, Callable[[], Job]] = {
        "evaluate": lambda: evaluation_job(run, "smoke", index_dir),
        "evaluate_full": lambda: evaluation_job(run, "full", index_dir),
        "evaluate_fitted": lambda: evaluation_job(run, "full", index_dir, fitted=True),
        "evaluate_tuned": lambda: evaluation_job(run, "smoke", index_dir, tuned=True),
        "align": lambda: align_job(run),
        "rerank": lambda: rerank_job(run),
        "preflight": lambda: preflight_job(run),
    }
    return makers[action]()


def evaluation_settings(run: RunView, name: str) -> EvalConfig:
    """The settings of an evaluation: the run's own, else the playbook's (all queries for `full`)."""
    default = EvalConfig(limit=0, at_epoch=0) if name == "full" else EvalConfig()
    return run.spec.evals.get(name, default)


def is_searchable(run: RunView) -> bool:
    """Whether the run's evaluations name something to search besides what it is trained on."""
    return any(settings.corpus or settings.payload for settings in run.spec.evals.values())


def best_epoch(run: RunView) -> int:
    """The epoch of the run's best checkpoint, which is there."""
    return run.state.checkpoints["best"].epoch


def has_failed(life: Life) -> bool:
    """Whether a job ended without doing what was asked; exit code 1 says that a gate or a check failed."""
    return not life.is_busy and life.exit is not None and life.exit.code >= 2


def lifts(report: HeadReport | RerankReport | None) -> bool:
    """Whether something was fitted, and lifts R@5 beyond its interval."""
    return report is not None and report.lifted


def fitted_head(run: RunView) -> Path:
    """Where the run's alignment head is kept."""
    return run.directory.evals / "align.safetensors"


def fitted_reranker(run: RunView) -> Path:
    """Where the run's reranker is kept."""
    return run.directory.evals / "rerank.safetensors"
