"""The evaluation of a scenario's run: as `lvm-engine evaluate` makes it, with an index that may be a wrong one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.data.corpus import FloatArray
from engine.data.split import split_windows
from engine.data.windows import CorpusWindows, WindowSource
from engine.evaluation.baselines import Payload, Queries
from engine.evaluation.evaluator import Evaluation, eval_line, evaluate_queries, sample_queries
from engine.evaluation.retrieval import open_index
from engine.run.directory import RunDirectory
from engine.run.evals import EvalReport
from engine.run.files import write_atomically
from engine.scenarios.case import Asked
from engine.scenarios.data import Made
from engine.training.checkpoint import LoadedModel, load_model

NAME = "smoke"


def evaluate_run(run: RunDirectory, made: Made, trained: WindowSource, asked: Asked, seed: int, cache: Path) -> None:
    """Evaluate a run's best checkpoint and write its report."""
    import torch

    began = time.monotonic()
    checkpoint = run.checkpoints / "best"
    loaded = load_model(checkpoint, torch.device("cpu"))
    source = CorpusWindows(made.searched, made.data.context)
    split = split_windows(
        source, val_share=made.data.val_share, test_share=made.data.test_share, seed=made.data.split_seed
    )
    windows = sample_queries(split.test if made.queried is None else made.queried, asked.config.limit, seed)
    queries = Queries.gather(source, windows)
    if asked.by_training:
        contexts, targets = trained.gather(windows)
        queries = _replaced(queries, contexts, targets)
    vectors = made.searched.all_vectors()
    index = open_index(made.searched, asked.indexed(vectors, seed), None)
    measured = evaluate_queries(
        source,
        queries,
        split.train,
        loaded.predict,
        payload=Payload(vectors, index, asked.config.nprobe),
        config=asked.config,
        threads=1,
        cache=cache,
    )
    report = _report(checkpoint, loaded, made, asked, measured, time.monotonic() - began)
    run.evals.mkdir(mode=0o700, exist_ok=True)
    write_atomically(run.evals / f"{report.name}.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def _replaced(queries: Queries, contexts: FloatArray, targets: FloatArray) -> Queries:
    return Queries(
        contexts=contexts,
        targets=targets,
        truth_chunks=queries.truth_chunks,
        context_chunks=queries.context_chunks,
        articles=queries.articles,
        topics=queries.topics,
    )


def _report(
    checkpoint: Path, loaded: LoadedModel, made: Made, asked: Asked, measured: Evaluation, seconds: float
) -> EvalReport:
    meta, corpus = loaded.meta, made.searched
    model = measured.rows["model"]
    return EvalReport(
        name=f"{NAME}-e{meta.epoch:04d}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=[],
        checkpoint=str(checkpoint),
        checkpoint_sha256=meta.sha256["model.safetensors"],
        epoch=meta.epoch,
        corpus=corpus.manifest.name,
        corpus_sha256=corpus.sha256,
        embedder=corpus.manifest.embedder,
        num_chunks=corpus.num_chunks,
        payload_rule=f"all {corpus.num_chunks:,} chunks, without the query's own {meta.context} context chunks",
        num_queries=measured.num_queries,
        num_articles=measured.num_articles,
        asked=asked.config.limit,
        rows=measured.rows,
        gates=measured.gates,
        index=measured.index,
        latency=measured.latency,
        forward=measured.forward,
        seconds=round(seconds, 3),
        miss_modes=measured.miss_modes,
        notes=measured.notes,
        eval_line=eval_line(model.exact, measured.latency),
    )
