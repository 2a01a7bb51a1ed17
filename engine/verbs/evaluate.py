"""`lvm-engine evaluate`: the retrieval of a checkpoint on articles it never saw, its gates, floors and ceiling."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig, EvalConfig

if TYPE_CHECKING:
    from engine.checkpoint import CheckpointMeta, LoadedModel
    from engine.data.corpus import Corpus, FloatArray
    from engine.evaluator import Evaluation, Predict
    from engine.fastscan import IndexChoice
    from engine.run.evals import EvalReport, EvalRow, Interval

BARS = EvalConfig()
_share = click.FloatRange(0, 1)


@click.command("evaluate")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="Checkpoint or run folder (its best)."
)
@click.option("--limit", type=click.IntRange(0), default=BARS.limit, show_default=True, help="Queries; 0 takes all.")
@click.option(
    "--index",
    "index_kind",
    type=click.Choice(["auto", "flat", "fastscan"]),
    default="auto",
    show_default=True,
    help="Lists of vectors, or of codes with exact refinement: faster on large corpora, which is when auto takes it.",
)
@click.option("--nprobe", type=click.IntRange(1), default=BARS.nprobe, show_default=True, help="Index lists visited.")
@click.option("--seed", type=click.IntRange(0), default=BARS.seed, show_default=True, help="Of the sample of queries.")
@click.option("--gate-contain50", type=_share, default=BARS.contain50, show_default=True, help="Contain@50 at least.")
@click.option("--gate-r5", type=_share, default=BARS.r5, show_default=True, help="R@5 at least.")
@click.option("--gate-eff5", type=_share, default=BARS.eff5, show_default=True, help="R@5 / Contain@50 at least.")
@click.option("--gate-p95", type=click.FloatRange(0, min_open=True), default=BARS.p95_ms, show_default=True, help="ms.")
@click.option("--corpus", default="", help="Corpus to search: folder or embedded:NAME; the checkpoint's by default.")
@click.option(
    "--index-dir", type=click.Path(path_type=Path), help="Where indexes are kept; the user's cache by default."
)
@click.option("--device", default="cpu", show_default=True, help="Where the model runs.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of timed searches and passes.")
@click.option("--by-topic", is_flag=True, help="Print the figures of each topic, beside the context mean's.")
@click.option("--out", type=click.Path(path_type=Path), help="Report to write; misses go beside it.")
@user_errors
def command(
    checkpoint: Path,
    limit: int,
    index_kind: IndexChoice,
    nprobe: int,
    seed: int,
    gate_contain50: float,
    gate_r5: float,
    gate_eff5: float,
    gate_p95: float,
    corpus: str,
    index_dir: Path | None,
    device: str,
    threads: int,
    by_topic: bool,
    out: Path | None,
) -> int:
    """Evaluate a checkpoint's retrieval over a FAISS index.

    Exit codes: 0 all gates passed, 1 a gate was missed or cannot be decided, 2 could not.
    """
    config = EvalConfig(
        limit=limit, nprobe=nprobe, seed=seed, contain50=gate_contain50, r5=gate_r5, eff5=gate_eff5, p95_ms=gate_p95
    )
    if out and out.is_dir():
        raise ConfigError(f"--out: {out} is a folder. Name the file to write, such as {out / 'smoke.json'}.")
    report, evaluation = _evaluate(checkpoint, config, corpus, index_kind, index_dir, device, threads, out)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if out:
        _write(report, evaluation, out)
    click.echo(render(report, by_topic=by_topic))
    return 0 if report.passed else 1


def _evaluate(
    checkpoint: Path,
    config: EvalConfig,
    corpus_name: str,
    index_kind: IndexChoice,
    index_dir: Path | None,
    device: str,
    threads: int,
    out: Path | None,
) -> tuple[EvalReport, Evaluation]:
    from engine.baselines import Payload
    from engine.checkpoint import load_model
    from engine.data.corpus import open_corpus
    from engine.data.split import split_windows
    from engine.data.windows import CorpusWindows
    from engine.device import pick_device
    from engine.evaluator import eval_line, evaluate
    from engine.retrieval import open_index
    from engine.run.evals import EvalReport
    from engine.run.runs_file import corpus_folder

    folder = find_checkpoint(checkpoint)
    loaded = load_model(folder, pick_device(device))
    meta = loaded.meta
    if meta.data.train_npz and not corpus_name:
        raise ConfigError(
            f"{folder}: was trained on {meta.data.train_npz}, which holds windows but no corpus to search. "
            "Name the corpus its chunks come from with --corpus."
        )
    chosen = corpus_folder(DataConfig(corpus=corpus_name or meta.data.corpus), Path.cwd())
    began = time.monotonic()
    corpus = open_corpus(chosen)
    if corpus.dim != meta.dim:
        raise ConfigError(
            f"{folder}: predicts vectors of {meta.dim} dimensions, but {chosen} holds {corpus.dim}: they come from "
            "different encoders. Name the corpus the model was trained on with --corpus."
        )
    is_own = _learned_from(meta, corpus, corpus_name)
    if not (is_own or corpus_name):
        raise ConfigError(
            f"{chosen}: the corpus was changed since {folder} was trained on it, and with it the split: articles it "
            "has learned from would be queried. Restore the corpus, or name it with --corpus to evaluate all the same."
        )
    source = CorpusWindows(corpus, meta.context)
    shares = meta.data if is_own else DataConfig()  # the split it was trained with says nothing of other articles
    split = split_windows(source, val_share=shares.val_share, test_share=shares.test_share, seed=shares.split_seed)
    cache = index_dir or default_index_dir()
    vectors = corpus.all_vectors()
    index = open_index(corpus, vectors, cache, choice=index_kind)
    if index.reason:
        click.echo(f"index: built {index.kind} ({index.reason})", err=True)
    measured = evaluate(
        source,
        split,
        _predictor(loaded, device),
        payload=Payload(vectors, index, config.nprobe),
        config=config,
        threads=threads,
        cache=cache,
    )
    notes = list(measured.notes)
    if not is_own:
        trained_on = meta.data.train_npz or meta.data.corpus
        notes.append(f"the model was trained on {trained_on}: whether it saw these articles is not known")
    report = EvalReport(
        name=out.stem if out else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=sys.argv,
        checkpoint=str(folder.absolute()),
        checkpoint_sha256=meta.sha256["model.safetensors"],
        epoch=meta.epoch,
        corpus=corpus.manifest.name,
        corpus_sha256=corpus.sha256,
        embedder=corpus.manifest.embedder,
        num_chunks=corpus.num_chunks,
        payload_rule=f"all {corpus.num_chunks:,} chunks, without the query's own {meta.context} context chunks",
        num_queries=measured.num_queries,
        num_articles=measured.num_articles,
        asked=config.limit,
        rows=measured.rows,
        gates=measured.gates,
        index=measured.index,
        latency=measured.latency,
        forward=measured.forward,
        seconds=round(time.monotonic() - began, 3),
        notes=notes,
        eval_line=eval_line(measured.rows["model"].exact, measured.latency),
    )
    return report, measured


def _learned_from(meta: CheckpointMeta, corpus: Corpus, named: str) -> bool:
    """Whether a model learned from this corpus as it is now, so that the split it was trained with applies."""
    if meta.data.train_npz:
        return False
    return meta.corpus_sha256 == corpus.sha256 if meta.corpus_sha256 else named in ("", meta.data.corpus)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a path names: the best one of a run folder, else the path itself."""
    return path / "checkpoints" / "best" if (path / "checkpoints").is_dir() else path


def default_index_dir() -> Path:
    """Where indexes are kept unless --index-dir says otherwise; they can be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvm-tui" / "indexes"


def render(report: EvalReport, *, by_topic: bool = False) -> str:
    """The report as text: table with intervals, `[EVAL]`, floors, ceiling, index, gates; figures by topic if asked."""
    articles = f" of {report.num_articles:,} articles" if report.num_articles else ""
    head = (
        f"{'':14} cosine   C@20   C@50    R@1    R@5   R@10 MRR@10  Eff@5 | own context in: C@50    R@5 | index: C@50"
    )
    lines = [
        f"{report.num_queries:,} queries{articles} over {report.payload_rule}; {report.embedder}",
        head,
        *(line for name, row in report.rows.items() for line in _table_lines(name, row)),
        *(_topic_lines(report.rows) if by_topic else ()),
        report.eval_line,
        *(_figures_line("FLOOR", name, report.rows[name]) for name in report.rows if name not in ("model", "oracle")),
        _figures_line("CEILING", "oracle", report.rows["oracle"]),
        f"[INDEX] {report.index.kind} nprobe={report.index.nprobe} recall@50={_number(report.index.recall50)} "
        f"P50={_number(report.latency.p50)}ms P95={_number(report.latency.p95)}ms P99={_number(report.latency.p99)}ms "
        f"threads={report.latency.threads} forward P50={_number(report.forward.p50)}ms",
        *(f"[GATE] {gate.name} {gate.verdict}: {gate.detail}" for gate in report.gates),
    ]
    return "\n".join(lines)


def _table_lines(name: str, row: EvalRow) -> list[str]:
    """A row, and below it its 95 % intervals, each ending under its figure."""
    exact = row.exact
    figures = (exact.contain20, exact.contain50, exact.r1, exact.r5, exact.r10, exact.mrr10, exact.eff5)
    within = row.exact_with_context
    line = (
        f"{name:14}{_number(row.cosine):>7}{''.join(f'{figure:7.3f}' for figure in figures)} |"
        f"{within.contain50:21.3f}{within.r5:7.3f} |{row.on_index.contain50:12.3f}"
    )
    if row.intervals is None:
        return [line]
    contain50, r5, eff5 = map(_span, (row.intervals.contain50, row.intervals.r5, row.intervals.eff5))
    return [line, f"{'  95 %':21}{contain50:>14}{r5:>14}{eff5:>21}"]


def _topic_lines(rows: dict[str, EvalRow]) -> list[str]:
    """A table of topics: how many queries of how many articles, and the model beside the context mean."""
    model, floor = rows["model"].by_topic, rows["context_mean"].by_topic
    wide = max((len(topic) for topic in model), default=0) + 2
    lines = [f"{'':{wide}}queries articles    R@5         95 %   C@50         95 % | context mean: R@5   C@50"]
    for topic, figures in model.items():
        spans = figures.intervals
        r5, contain50 = (_span(spans.r5), _span(spans.contain50)) if spans else ("", "")
        lines.append(
            f"{topic:{wide}}{figures.num_queries:7,}{figures.num_articles:9,}{figures.r5:7.3f}{r5:>13}"
            f"{figures.contain50:7.3f}{contain50:>13} |{floor[topic].r5:18.3f}{floor[topic].contain50:7.3f}"
        )
    return lines


def _span(interval: Interval) -> str:
    """The interval; a dash where all resamples agree, which says nothing of the spread."""
    return f"{interval.low:.3f}-{interval.high:.3f}" if interval.low < interval.high else "-"


def _figures_line(label: str, name: str, row: EvalRow) -> str:
    exact = row.exact
    return (
        f"[{label}] {name} Contain@20={exact.contain20:.3f} Contain@50={exact.contain50:.3f} R@1={exact.r1:.3f} "
        f"R@5={exact.r5:.3f} R@10={exact.r10:.3f} Eff@5={exact.eff5:.3f} cosine={_number(row.cosine)}"
    )


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:.3f}"


def _predictor(loaded: LoadedModel, device: str) -> Predict:
    """The model as a function of arrays."""
    import torch

    from engine.device import pick_device

    model, place = loaded.model.eval(), pick_device(device)

    def predict(contexts: FloatArray) -> FloatArray:
        with torch.inference_mode():
            predicted: FloatArray = model(torch.from_numpy(contexts).to(place)).float().cpu().numpy()
        return predicted

    return predict


def _write(report: EvalReport, evaluation: Evaluation, out: Path) -> None:
    """The report and its misses; the report last, so that whoever sees it finds both."""
    from engine.run.files import write_atomically

    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [msgspec.json.encode(miss) + b"\n" for miss in evaluation.misses]
    write_atomically(out.with_name(f"{out.stem}.misses.jsonl"), b"".join(lines))
    write_atomically(out, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
