"""`lvm-engine compare-models`: every kind of model under the same settings, in one table with floors and ceiling."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import click
import msgspec

from engine.cli import user_errors
from engine.comparison import KINDS, ModelTable, Reference, TrainedModel, compare_models
from engine.run.convert import ConfigError
from engine.run.evals import Interval, Intervals, RetrievalFigures
from engine.run.runs_file import EMBEDDED, RunsFile, corpus_folder, find_runs_file, load_runs
from engine.run.settings import DataConfig, PatchValue
from engine.run.spec import apply_patch

VARIED = ("model.kind", "model.residual")


@click.command("compare-models")
@click.option("--config", "config_file", help="A runs.toml; by default the one here, else the one that ships.")
@click.option("--run", "name", default="mamba_s", show_default=True, help="Its [run.NAME] that all models share.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as optimizer.lr=1e-3."
)
@click.option("--model-type", "kinds", type=click.Choice(KINDS), multiple=True, help="Only this kind; may be repeated.")
@click.option("--corpus", help="Corpus folder, or embedded:NAME; by default that of the runs.toml.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training windows; by default those of --run.")
@click.option("--limit", type=click.IntRange(0), default=0, show_default=True, help="Queries; 0 takes all.")
@click.option(
    "--index-dir", type=click.Path(path_type=Path), help="Where indexes are kept; the user's cache by default."
)
@click.option("--save-dir", type=click.Path(path_type=Path), help="Keep the run directories here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@user_errors
def command(
    config_file: str | None,
    name: str,
    settings: tuple[str, ...],
    kinds: tuple[str, ...],
    corpus: str | None,
    epochs: int | None,
    limit: int,
    index_dir: Path | None,
    save_dir: Path | None,
    as_json: bool,
) -> int:
    """Train and evaluate every kind of model, with and without the context mean as its base, one after another.

    All of them share data, split, seed, batches, steps and learning rate, and none ends early. Retrieval is that of the
    best checkpoint on articles that no training saw.

    Exit codes: 0 done, whatever the gates say; 1 a training did not reach its end; 2 could not.
    """
    runs = load_runs(find_runs_file(config_file))
    runs = msgspec.structs.replace(runs, data=_choose_data(runs, corpus))
    patch: dict[str, PatchValue] = {"checkpoint.patience": 0}
    patch |= dict(_read_setting(setting) for setting in settings)
    config = apply_patch(runs.named(name), patch | ({"epochs": epochs} if epochs else {}))
    evaluation = ["--limit", str(limit), *(["--index-dir", str(index_dir.absolute())] if index_dir else [])]
    with contextlib.ExitStack() as stack:
        home = save_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lvm-compare-")))
        table = compare_models(
            runs, config, kinds or KINDS, folder=home.absolute(), evaluation=evaluation, say=_narrate
        )
    click.echo(msgspec.json.encode(table) if as_json else render(table))
    return 0 if all(model.ending == "finished" for model in table.models) else 1


def render(table: ModelTable) -> str:
    """The table as text: models, floors, ceiling; shares with their 95 % intervals."""
    gate = next((model.gate for model in table.models if model.gate), "gate")
    config = table.config
    lines = [
        f"{table.corpus}: {config.epochs} epochs of {config.sampler.batch_size} x {config.sampler.accumulate}, "
        f"lr {config.optimizer.lr:g}, width {config.model.width}, {config.model.layers} layers, "
        f"contrast in the {config.loss.contrast_space} space, seed {config.seed}",
        f"{table.num_queries:,} queries over {table.payload_rule}; in brackets the 95 % interval",
        f"{'model':25}{gate:>16}{'best val@epoch':>16}{'R@5':>21}{'Contain@50':>21}  Eff@5"
        f"{'parameters':>11}{'seconds':>8}{'CPU s':>7}{'MB':>5}",
        *(_model_line(model) for model in table.models),
        *(_reference_line(f"floor {name}", reference) for name, reference in table.floors.items()),
    ]
    if table.ceiling:
        lines.append(_reference_line("ceiling oracle", table.ceiling))
    lines += [f"{model.run}: {model.ending}" for model in table.models if model.ending != "finished"]
    return "\n".join(lines)


def _model_line(model: TrainedModel) -> str:
    at_gate = f"{_number(model.gate_value)} {model.gate_verdict or 'not judged'}"
    best = f"{_number(model.best_val_cosine)}@{model.best_epoch}"
    return (
        f"{_label(model):25}{at_gate:>16}{best:>16}{_shares(model.figures, model.intervals)}"
        f"{model.num_parameters:11,}{model.seconds:8.1f}{model.cpu_s:7.1f}{model.peak_bytes / 1e6:5.0f}"
    )


def _label(model: TrainedModel) -> str:
    return model.kind if model.residual == "none" else f"{model.kind} + mean"


def _reference_line(label: str, reference: Reference) -> str:
    cosine = "" if reference.val_cosine is None else _number(reference.val_cosine)
    return f"{label:25}{'':16}{cosine:>16}{_shares(reference.figures, reference.intervals)}"


def _shares(figures: RetrievalFigures | None, intervals: Intervals | None) -> str:
    """R@5, Contain@50 and Eff@5."""
    if figures is None:
        return f"{'-':>21}{'-':>21}{'-':>7}"
    r5 = _share(figures.r5, intervals.r5 if intervals else None)
    return f"{r5}{_share(figures.contain50, intervals.contain50 if intervals else None)}{figures.eff5:7.3f}"


def _share(value: float, interval: Interval | None) -> str:
    noise = f" [{interval.low:.3f} {interval.high:.3f}]" if interval else ""
    return f"{value:.3f}{noise}".rjust(21)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _read_setting(setting: str) -> tuple[str, PatchValue]:
    """`optimizer.lr=1e-3` as key and value; what is no number and no true or false is text."""
    key, equals, text = setting.partition("=")
    if not equals or key in VARIED:
        problem = "the comparison sets this one itself" if key in VARIED else "not of the form KEY=VALUE"
        raise ConfigError(f'--set "{setting}": {problem}. Name a setting as in a runs.toml, such as optimizer.lr=1e-3.')
    try:
        value: int | float | bool | str = msgspec.json.decode(text, type=int | float | bool)
    except msgspec.DecodeError:
        value = text
    return key, value


def _choose_data(runs: RunsFile, corpus: str | None) -> DataConfig:
    """The data of the runs file, or those settings for another corpus; the corpus is known to be there."""
    if runs.data.train_npz and not corpus:
        raise ConfigError(f"{runs.path}, [data] train_npz: holds no chunks to search. Name a corpus with --corpus.")
    named = msgspec.structs.replace(runs.data, corpus=corpus or runs.data.corpus, train_npz="")
    folder = corpus_folder(named, Path.cwd() if corpus else Path(runs.path).parent)
    return named if named.corpus.startswith(EMBEDDED) else msgspec.structs.replace(named, corpus=str(folder))


def _narrate(line: str) -> None:
    click.echo(line, err=True)
