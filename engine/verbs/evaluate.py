"""`lvm-engine evaluate`: the retrieval of a checkpoint on articles it never saw, its gates, floors and ceiling."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.files import user_cache
from engine.run.secrets import shown_argv
from engine.run.settings import EvalConfig

if TYPE_CHECKING:
    from engine.data.corpus import IndexArray
    from engine.evaluation.evaluator import Evaluation, Predict
    from engine.evaluation.fastscan import IndexChoice
    from engine.evaluation.inputs import EvalInputs, PlaybookFiles
    from engine.evaluation.retrieval import ChunkIndex
    from engine.run.evals import EvalReport, IndexTrial
    from engine.training.checkpoint import CheckpointMeta

BARS = EvalConfig()
_share = click.FloatRange(0, 1)
_path = click.Path(path_type=Path)


@click.command("evaluate")
@click.option("--checkpoint", type=_path, required=True, help="Checkpoint or run folder (its best).")
@click.option("--limit", type=click.IntRange(0), default=BARS.limit, show_default=True, help="Queries; 0 takes all.")
@click.option("--eval-npz", type=_path, help="Windows to query, as the playbook's tools write them; needs --payload.")
@click.option("--payload", type=_path, help="What --eval-npz is searched in: the playbook's .npy, or a corpus folder.")
@click.option("--faiss", type=_path, help="Index of the payload; without it one is built and kept.")
@click.option("--trust-pickle", is_flag=True, help="Open a pickled payload once, and keep a safe copy of it.")
@click.option("--allow-misaligned", is_flag=True, help="Go on where --eval-npz and --payload do not fit together.")
@click.option(
    "--index",
    "index_kind",
    type=click.Choice(["auto", "flat", "fastscan"]),
    default=BARS.index,
    show_default=True,
    help="Lists of vectors, or of codes with exact refinement: faster on large corpora, which is when auto takes it.",
)
@click.option("--nprobe", type=click.IntRange(1), default=BARS.nprobe, show_default=True, help="Index lists visited.")
@click.option("--tune", is_flag=True, help="Choose nlist and nprobe by measurement: best recall within --gate-p95.")
@click.option("--seed", type=click.IntRange(0), default=BARS.seed, show_default=True, help="Of the sample of queries.")
@click.option("--gate-contain50", type=_share, default=BARS.contain50, show_default=True, help="Contain@50 at least.")
@click.option("--gate-r5", type=_share, default=BARS.r5, show_default=True, help="R@5 at least.")
@click.option("--gate-eff5", type=_share, default=BARS.eff5, show_default=True, help="R@5 / Contain@50 at least.")
@click.option("--gate-p95", type=click.FloatRange(0, min_open=True), default=BARS.p95_ms, show_default=True, help="ms.")
@click.option("--corpus", default="", help="Corpus to search: folder or embedded:NAME; the checkpoint's by default.")
@click.option("--index-dir", type=_path, help="Where indexes are kept; the user's cache by default.")
@click.option("--device", default="cpu", show_default=True, help="Where the model runs.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of timed searches and passes.")
@click.option("--head", type=_path, help="Alignment head behind the model: a file of `lvm-engine align`.")
@click.option("--reranker", type=_path, help="Orders the first 50 candidates anew: a file of `lvm-engine rerank`.")
@click.option("--by-topic", is_flag=True, help="Print the figures of each topic, beside the context mean's.")
@click.option("--out", type=_path, help="Report to write; misses go beside it.")
@user_errors
def command(
    checkpoint: Path,
    limit: int,
    eval_npz: Path | None,
    payload: Path | None,
    faiss: Path | None,
    trust_pickle: bool,
    allow_misaligned: bool,
    index_kind: IndexChoice,
    nprobe: int,
    tune: bool,
    seed: int,
    gate_contain50: float,
    gate_r5: float,
    gate_eff5: float,
    gate_p95: float,
    corpus: str,
    index_dir: Path | None,
    device: str,
    threads: int,
    head: Path | None,
    reranker: Path | None,
    by_topic: bool,
    out: Path | None,
) -> int:
    """Evaluate a checkpoint's retrieval over a FAISS index.

    Exit codes: 0 all gates passed, 1 a gate was missed or cannot be decided, 2 could not.
    """
    from engine.evaluation.text import render

    config = EvalConfig(
        limit=limit,
        index=index_kind,
        tune=tune,
        nprobe=nprobe,
        seed=seed,
        contain50=gate_contain50,
        r5=gate_r5,
        eff5=gate_eff5,
        p95_ms=gate_p95,
    )
    if out and out.is_dir():
        raise ConfigError(f"--out: {out} is a folder. Name the file to write, such as {out / 'smoke.json'}.")
    files = _named_files(eval_npz, payload, faiss, trust_pickle, allow_misaligned, corpus)
    report, evaluation = _evaluate(
        checkpoint, config, corpus, files, index_dir, device, threads, out, head=head, reranker=reranker
    )
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if out:
        _write(report, evaluation, out)
    click.echo(render(report, by_topic=by_topic))
    return 0 if report.passed else 1


def _named_files(
    eval_npz: Path | None, payload: Path | None, faiss: Path | None, trusted: bool, allow_misaligned: bool, corpus: str
) -> PlaybookFiles | None:
    """The playbook's files, if they were named; they come together."""
    if eval_npz is None:
        if payload or faiss:
            raise ConfigError(
                f"{'--payload' if payload else '--faiss'}: is searched with the windows of --eval-npz, which is not "
                "given. Name that file too, or a corpus folder with --corpus to query its own test articles."
            )
        return None
    if payload is None:
        raise ConfigError(f"--eval-npz {eval_npz}: needs --payload, the vectors that its truth_keys name.")
    from engine.evaluation.inputs import PlaybookFiles

    if corpus:
        raise ConfigError("--corpus: --eval-npz is searched in --payload. Leave --corpus out, or --eval-npz.")
    return PlaybookFiles(eval_npz, payload, faiss, trusted=trusted, allow_misaligned=allow_misaligned)


def _evaluate(
    checkpoint: Path,
    config: EvalConfig,
    corpus_name: str,
    files: PlaybookFiles | None,
    index_dir: Path | None,
    device: str,
    threads: int,
    out: Path | None,
    *,
    head: Path | None,
    reranker: Path | None,
) -> tuple[EvalReport, Evaluation]:
    from engine.device import pick_device
    from engine.evaluation.baselines import Payload
    from engine.evaluation.evaluator import eval_line, evaluate_queries
    from engine.post_training.applied import apply_fitted
    from engine.run.evals import EvalReport
    from engine.training.checkpoint import load_model, try_first

    folder = find_checkpoint(checkpoint)
    try_first(folder)
    loaded = load_model(folder, pick_device(device))
    meta = loaded.meta
    began = time.monotonic()
    cache = index_dir or default_index_dir()
    if files:
        inputs = _open_files(meta, files, config, cache, fitted=bool(head or reranker))
    else:
        inputs = _open_corpus(folder, meta, corpus_name, config, cache)
    corpus = inputs.source.corpus
    applied = apply_fitted(
        loaded.predict,
        head=head,
        reranker=reranker,
        checkpoint_sha256=meta.sha256["model.safetensors"],
        corpus=corpus,
        vectors=inputs.vectors,
    )
    index, nprobe, trials, notes = _pick_index(inputs, applied.predict, config, threads)
    measured = evaluate_queries(
        inputs.source,
        inputs.queries,
        inputs.train,
        applied.predict,
        payload=Payload(inputs.vectors, index, nprobe),
        config=config,
        threads=threads,
        cache=cache,
        rerank=applied.rerank,
    )
    report = EvalReport(
        name=out.stem if out else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=shown_argv(sys.argv),
        checkpoint=str(folder.absolute()),
        checkpoint_sha256=meta.sha256["model.safetensors"],
        epoch=meta.epoch,
        corpus=corpus.manifest.name,
        corpus_sha256=corpus.sha256,
        embedder=inputs.embedder,
        num_chunks=corpus.num_chunks,
        payload_rule=f"all {corpus.num_chunks:,} chunks, without the query's own {meta.context} context chunks",
        num_queries=measured.num_queries,
        num_articles=measured.num_articles,
        asked=config.limit,
        rows=measured.rows,
        gates=measured.gates,
        index=measured.index,
        trials=trials,
        latency=measured.latency,
        forward=measured.forward,
        seconds=round(time.monotonic() - began, 3),
        head=applied.head,
        reranker=applied.reranker,
        miss_modes=measured.miss_modes,
        notes=[*measured.notes, *applied.notes, *inputs.notes, *notes],
        eval_line="",
    )
    return msgspec.structs.replace(report, eval_line=eval_line(report.judged.exact, measured.latency)), measured


def _open_corpus(folder: Path, meta: CheckpointMeta, name: str, config: EvalConfig, cache: Path) -> EvalInputs:
    """The test windows of the checkpoint's corpus, or of the one that was named."""
    from engine.evaluation.inputs import corpus_inputs
    from engine.evaluation.searched import open_searched

    searched = open_searched(folder, meta, name)
    inputs = corpus_inputs(searched.source, searched.split, config, cache)
    inputs.notes.extend(searched.notes)
    return inputs


def _open_files(
    meta: CheckpointMeta, files: PlaybookFiles, config: EvalConfig, cache: Path, *, fitted: bool
) -> EvalInputs:
    """The windows of an evaluation file, searched in its payload; with a note where they are not of new articles."""
    from engine.evaluation.inputs import playbook_inputs
    from engine.evaluation.searched import has_learned_from, split_for, unknown_articles

    inputs = playbook_inputs(files, dim=meta.dim, context=meta.context, config=config, cache=cache)
    source, named = inputs.source, str(files.payload)
    of_queries = f"of {len(inputs.queries.articles):,} queries are of articles that"
    if not has_learned_from(meta, source.corpus, named):
        inputs.notes.append(unknown_articles(meta))
    elif num_learned := _count_among(inputs, split_for(meta, source, named).train):
        inputs.notes.append(
            f"{num_learned:,} {of_queries} the model was trained on: these figures say nothing of new articles"
        )
    if fitted and (num_fitted := _count_among(inputs, split_for(meta, source, named).val)):
        inputs.notes.append(
            f"{num_fitted:,} {of_queries} the head or reranker was fitted on: what it brings there, it would not bring "
            "on new articles"
        )
    return inputs


def _count_among(inputs: EvalInputs, windows: IndexArray) -> int:
    """Queries of the articles that windows of the searched corpus come from."""
    import numpy as np

    return int(np.isin(inputs.queries.articles, inputs.source.articles[windows]).sum())


def _pick_index(
    inputs: EvalInputs, predict: Predict, config: EvalConfig, threads: int
) -> tuple[ChunkIndex, int, list[IndexTrial], list[str]]:
    """The index to search, lists to visit, what was tried for it, and what a reader should know."""
    from engine.evaluation.evaluator import predict_all
    from engine.evaluation.tuner import candidates, tune

    if not config.tune:
        index = inputs.open_index(config.index, None)
        _say_built(index)
        return index, config.nprobe, [], []
    choices = [(config.index, None)] if inputs.index_is_given else candidates(config.index, len(inputs.vectors))
    tuned = tune(
        (inputs.open_index(kind, nlist) for kind, nlist in choices),
        predict_all(predict, inputs.tuning),
        inputs.vectors,
        p95_ms=config.p95_ms,
        locked=config.nprobe,
        threads=threads,
    )
    _say_built(tuned.index)
    return tuned.index, tuned.nprobe, tuned.trials, [tuned.note]


def _say_built(index: ChunkIndex) -> None:
    if index.reason:
        click.echo(f"index: built {index.kind} ({index.reason})", err=True)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a path names: the best one of a run folder, else the path itself."""
    return path / "checkpoints" / "best" if (path / "checkpoints").is_dir() else path


def default_index_dir() -> Path:
    """Where indexes are kept unless --index-dir says otherwise; they can be deleted at any time."""
    return user_cache("indexes")


def _write(report: EvalReport, evaluation: Evaluation, out: Path) -> None:
    """The report and its misses; the report last, so that whoever sees it finds both."""
    from engine.run.files import write_atomically

    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [msgspec.json.encode(miss) + b"\n" for miss in evaluation.misses]
    write_atomically(out.with_name(f"{out.stem}.misses.jsonl"), b"".join(lines))
    write_atomically(out, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
