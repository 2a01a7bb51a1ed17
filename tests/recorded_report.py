"""A recorded retrieval evaluation, whole and of this version's schema."""

from __future__ import annotations

from engine.run.evals import EvalGate, EvalReport, EvalRow, IndexReport, Latency, RetrievalFigures
from engine.run.gates import hold


def eval_report(name: str = "smoke-e0004", *, epoch: int = 4, r5: float = 0.43, p95: float = 1.23) -> EvalReport:
    """An evaluation of 1000 queries at Contain@50 = 0.68; its gates are held against the playbook's bars."""
    figures = RetrievalFigures(
        contain20=0.62, contain50=0.68, r1=0.25, r5=r5, r10=max(0.58, r5), mrr10=0.33, eff5=r5 / 0.68
    )
    floor = RetrievalFigures(contain20=0.61, contain50=0.72, r1=0.2, r5=0.392, r10=0.5, mrr10=0.28, eff5=0.55)
    oracle = RetrievalFigures(contain20=1.0, contain50=1.0, r1=1.0, r5=1.0, r10=1.0, mrr10=1.0, eff5=1.0)
    bars = {"contain50": (0.68, 0.60), "r5": (r5, 0.40), "eff5": (r5 / 0.68, 0.68), "p95_ms": (p95, 1.45)}
    gates = []
    for gate, (value, bar) in bars.items():
        judged = hold(value, bar, at_least=gate != "p95_ms")
        gates.append(EvalGate(name=gate, value=value, bar=bar, verdict=judged.verdict, detail=judged.detail))  # type: ignore[arg-type]
    latency = Latency(p50=0.8, p95=p95, p99=p95 * 1.3, threads=1, num_queries=1000)
    rows = {"model": figures, "copy_last": floor, "context_mean": floor, "ridge": floor, "oracle": oracle}
    return EvalReport(
        name=name,
        created=f"2023-11-14T23:{epoch:02d}:00+00:00",
        argv=["lvm-engine", "evaluate", "--checkpoint", "checkpoints/best"],
        checkpoint="/runs/mamba_s-0001/checkpoints/best",
        checkpoint_sha256="0" * 64,
        epoch=epoch,
        corpus="wikileads",
        corpus_sha256="1" * 64,
        embedder="all-mpnet-base-v2",
        num_chunks=21_805,
        payload_rule="all chunks of the corpus; the query's own 5 context chunks are left out",
        num_queries=1000,
        asked=1000,
        rows={
            key: EvalRow(cosine=0.5, exact=value, exact_with_context=value, on_index=value)
            for key, value in rows.items()
        },
        gates=gates,
        index=IndexReport(kind="IVF128,Flat", nlist=128, nprobe=64, recall50=0.99, threads=1, origin="built"),
        latency=latency,
        forward=latency,
        seconds=12.5,
        eval_line=(
            f"[EVAL] Contain@20=0.620 Contain@50=0.680 R@1=0.250 R@5={r5:.3f} R@10=0.580 "
            f"Eff@5={r5 / 0.68:.3f} P95={p95:.2f}ms"
        ),
    )
