"""The report of an evaluation as text, for a terminal or a log."""

from __future__ import annotations

from engine.run.evals import EvalReport, EvalRow, Interval

_NO_FLOORS = ("model", "reranked", "oracle")


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
        *(_figures_line("FLOOR", name, report.rows[name]) for name in report.rows if name not in _NO_FLOORS),
        _figures_line("CEILING", "oracle", report.rows["oracle"]),
        *_miss_lines(report),
        *_trial_lines(report),
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
    model, floor = rows.get("reranked", rows["model"]).by_topic, rows["context_mean"].by_topic
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


def _miss_lines(report: EvalReport) -> list[str]:
    """Where the first candidate of the misses comes from."""
    modes = dict(report.miss_modes)
    own_context = modes.pop("own context", 0)
    if not modes:
        return []
    counted = ", ".join(f"{mode} {count:,}" for mode, count in modes.items())
    return [
        f"[MISSES] {sum(modes.values()):,} of {report.num_queries:,} queries: {counted}; own context would stand first "
        f"in {own_context:,} of them, were it left in"
    ]


def _trial_lines(report: EvalReport) -> list[str]:
    """What tuning tried, the chosen setting marked."""
    chosen = (report.index.kind, report.index.nprobe)
    return [
        f"[TUNE]{' *' if (trial.kind, trial.nprobe) == chosen else '  '} {trial.kind} nprobe={trial.nprobe} "
        f"recall@50={trial.recall50:.3f} P95={trial.p95_ms:.3f}ms"
        for trial in report.trials
    ]


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
