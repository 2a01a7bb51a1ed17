"""A probe in words: the table, what is under way, and what the evidence recommends."""

from __future__ import annotations

from collections.abc import Iterator

from tui.control.probe.record import ProbeReport, Row, Verdict

COMPACT_HEADING = "  gate    gain  R@5    gain  try"
HEADING = f"{'':2} {'gate':>6} {'gain':>7}  {'R@5':>5} {'gain':>7} {'±':>5}  {'C@50':>5} {'s':>4}  verdict        try"


def table_lines(report: ProbeReport) -> Iterator[str]:
    """The table, the best first, with a heading; fits 80 columns but for long patches."""
    yield HEADING
    yield from (_row(row) for row in sorted(report.rows, key=_place))


def compact_rows(report: ProbeReport) -> Iterator[tuple[str, Row]]:
    """A line for each try, the best first, for where there is little room; with the row it tells of."""
    for row in sorted(report.rows, key=_place):
        if row.gate is None:
            yield f"{_MARKS[row.verdict]} {_standing(row):27} {row.tried.words}", row
            continue
        figures = f"{_share(row.gate)} {_signed(row.gate_gain):>6} {_share(row.r5)} {_signed(row.r5_gain):>6}"
        yield f"{_MARKS[row.verdict]} {figures:27} {row.tried.words}", row


def progress_line(report: ProbeReport) -> str:
    """How far it is."""
    under_way = [row.tried.words for row in report.rows for trial in row.trials if trial.state in _UNDER_WAY]
    now = f"; now {', '.join(under_way)}" if under_way else ""
    return f"probe: {report.num_done} of {report.num_trials} trials after {report.seconds:.0f} s{now}"


def closing_lines(report: ProbeReport) -> Iterator[str]:
    """What the figures are held against, how long it took, and the recommendation."""
    floors = ", ".join(f"{name} {value:.3f}" for name, value in report.floors.items())
    bar = f"{report.metric} at epoch {report.epoch}, bar {report.bar:.3f}"
    yield f"{bar}{f'; floors: {floors}' if floors else ''}"
    yield f"R@5 on {report.num_queries} held-out queries; each training ends at the gate, so its learning rate does too"
    yield from report.recommendation
    if report.fix:
        yield f"lvm-tui triage {report.run} --fix {report.fix} restarts with it"


_UNDER_WAY = ("training", "evaluating")
_MARKS: dict[Verdict, str] = {"base": " ", "helps": "+", "no difference": "=", "worse": "-", "unknown": "."}


def _place(row: Row) -> tuple[bool, int, int]:
    """The run itself first, then by rank, then the others in the ladder's order."""
    return row.verdict != "base", row.rank or 1000, row.tried.number


def _row(row: Row) -> str:
    noise = None if row.r5_gain is None else row.r5_noise
    figures = (
        f"{row.rank or '-':>2} {_share(row.gate):>6} {_signed(row.gate_gain):>7}  {_share(row.r5):>5} "
        f"{_signed(row.r5_gain):>7} {_share(noise):>5}  {_share(row.contain50):>5} {row.seconds:>4.0f}"
    )
    return f"{figures}  {_standing(row):13}  {row.tried.words}{_details(row)}"


def _standing(row: Row) -> str:
    """The verdict, or how far its trials are where there is none yet."""
    under_way = next((trial for trial in row.trials if trial.state not in {"done", "failed", "hopeless"}), None)
    if under_way is not None and under_way.state != "waiting":
        return f"{under_way.state}{f' e{under_way.epoch}' if under_way.epoch else ''}"
    if under_way is not None:
        return "waiting"
    return next((trial.state for trial in row.trials if trial.state in {"failed", "hopeless"}), row.verdict)


def _details(row: Row) -> str:
    return "".join(f"  ({trial.detail})" for trial in row.trials if trial.detail)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
