"""A plan in words: a table for a terminal, or the page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.plan.figures import Figure, Group, Request, plan
from engine.plan.units import Unit, Units

SIZES = (584_000, 50_000_000, 1_000_000_000)
"""What is planned unless somebody names other sizes."""
_GROUPS = {"counts": "Counts", "disk": "Disk", "memory": "Memory", "time": "Time"}
_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_SPANS = ((86_400 * 365.25, "years"), (86_400, "days"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (0, "µs"))


def amount(value: float, group: Group) -> str:
    """A number of a group with its unit, to three digits; counts in full."""
    if group == "counts":
        return f"{value:,.0f}"
    if group in ("disk", "memory"):
        power = 0
        while value >= 999.5 and power < len(_BYTES) - 1:
            value, power = value / 1000, power + 1
        return f"{_short(value)} {_BYTES[power]}"
    for span, name in _SPANS:
        if value >= span:
            return f"{_short(value / (span or 1e-6))} {name}"
    raise ValueError(f"{value} s is no time")


def text_table(requests: Sequence[Request], units: Units) -> str:
    """Every figure of one size a line, with how it is known."""
    lines = []
    for request in requests:
        lines.append(f"{request.chunks:,} chunks of {request.dim} dimensions")
        for figure in plan(request, units):
            shown = amount(figure.value, figure.group)
            lines.append(f"  {figure.group:7} {figure.what:74} {shown:>14}  {figure.source}: {figure.law}")
        lines.append("")
    lines.append(
        f"Measured on {units.machine}; {units.created[:10]}, by {units.command}. Times are processor seconds of one "
        "thread. docs/plan.md says how to measure your own; --units takes them."
    )
    return "\n".join(lines) + "\n"


def markdown_page(requests: Sequence[Request], units: Units) -> str:
    """The page of the documentation, of several sizes side by side."""
    plans = [plan(request, units) for request in requests]
    measured = {"command": units.command, "machine": units.machine, "created": units.created[:10]}
    parts = [_INTRODUCTION.format(**msgspec.structs.asdict(requests[0]), **measured)]
    for group, title in _GROUPS.items():
        rows = [column for column in zip(*plans, strict=True) if column[0].group == group]
        parts.append(_table(title, [f"{request.chunks:,} chunks" for request in requests], rows))
    parts.append(_units_table(units))
    return "\n".join(parts)


def _table(title: str, columns: list[str], rows: list[tuple[Figure, ...]]) -> str:
    lines = [f"## {title}\n", f"| | {' | '.join(columns)} | law |", f"| --- | {'---: | ' * len(columns)}--- |"]
    for row in rows:
        cells = [f"{amount(each.value, each.group)}, {each.source}" for each in row]
        lines.append(f"| {row[0].what} | {' | '.join(cells)} | {row[0].law} |")
    return "\n".join(lines) + "\n"


def _units_table(units: Units) -> str:
    lines = [_UNITS, "| unit | cost | of one | measured from | to | cost at the largest against the smallest |"]
    lines.append("| --- | ---: | --- | ---: | ---: | ---: |")
    for unit in units.units:
        drift = "a line" if unit.per == "checkpoint" else f"{unit.drift:+.0%}"
        lines.append(
            f"| `{unit.name}` | {_cost(unit)} | {unit.per} | {unit.low:,} | {unit.high:,} {_sizes(unit)} | {drift} |"
        )
    return "\n".join(lines) + "\n"


def _cost(unit: Unit) -> str:
    return f"{unit.value:.3g} {'bytes' if unit.name.endswith('_bytes') else 's'}"


def _sizes(unit: Unit) -> str:
    return "dimensions" if unit.per == "checkpoint" else "chunks"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


_INTRODUCTION = """# How large can it be?

What a corpus needs of disk, memory and time, for three sizes, at {dim} dimensions, articles of {article_chunks} chunks
and a context of {context}. Made by `lvm-engine plan --markdown`; every other size is one command away:

```
lvm-engine plan --chunks 20e6 --dim 384
lvm-engine plan --chunks 20e6 --windows-per-s 250000   # of your own training device
```

Every figure says how it is known. **By format**: so many bytes a number, nothing to measure. **Measured**: the size
lies within the range that the unit was measured over, at the width that was measured. **Extrapolated**: by the law
beside it, from the largest size measured; nobody has run it.

The units were measured in one run on one machine ({created}; {machine}), by
`{command}`. Times are processor seconds of one thread: more threads
divide them, at best by their number. Take the laws from here, and the units from your own machine, in a checkout of the
repository:

```
python -m benchmarks.unit_costs --folder scratch --out units.json
lvm-engine plan --units units.json
```

What is not in the tables: memory in which the operating system keeps files, and waiting for a disk that is slower than
what is done with the data. A corpus whose vectors take more than 4 GB as float32 is searched from
the disk, and its index is built in parts.
"""

_UNITS = """## The units

The last column is how far a unit's cost had moved at the largest size measured: near 0 % the law holds, and a figure
that is extrapolated is as good as that.
"""
