"""What is said of repairs: lines for a terminal, a Markdown table, plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tui.control.repairs import Outcome, Repair
from tui.control.report import number
from tui.control.scenarios import SPLITS


def repair_lines(repairs: Sequence[Repair]) -> list[str]:
    """For a terminal, those that failed with what was done to them."""
    lines = []
    for one in repairs:
        lines.append(f"{'repaired' if one.is_repaired else 'NOT':8}  {one.run:28}  {one.split:8}  {_did(one)}")
        if not one.is_repaired:
            lines += [f"          {one.why_not}", *(f"          {step}" for step in one.steps)]
    return ["", *lines, "", *score_lines(repairs)] if repairs else []


def score_lines(repairs: Sequence[Repair]) -> list[str]:
    """How many of a split were repaired, a line each."""
    mine = [(split, [one for one in repairs if one.split == split]) for split in SPLITS]
    return [
        f"{split}: {sum(one.is_repaired for one in ones)} of {len(ones)} repairable failures repaired by the autopilot"
        for split, ones in mine
        if ones
    ]


def repair_record(repairs: Sequence[Repair]) -> list[Any]:  # Any: plain data for JSON
    """What `lvm-tui scenarios --json` prints of them."""
    return [{**msgspec.to_builtins(one), "repaired": one.is_repaired} for one in repairs]


def repair_markdown(repairs: Sequence[Repair]) -> str:
    """As a table: what was done, and gate and R@5 before, after, and without the fault."""
    if not repairs:
        return ""
    rows = [
        "",
        "| case | cause | done | gate: before, after, twin | R@5: before, after, twin | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in repairs:
        case = one.name if not one.seed else f"{one.name}, seed {one.seed}"
        stages = (one.before, one.after, one.twin)
        mark = "repaired" if one.is_repaired else f"**{one.why_not}**"
        rows.append(
            f"| {case} | {one.expects} | {_did(one)} | {_three(stages, 'gate')} | {_three(stages, 'r5')} | {mark} |"
        )
    return "\n".join([*rows, "", *(f"- {line}." for line in score_lines(repairs))]) + "\n"


def _did(one: Repair) -> str:
    """The steps without the runs' names and the reasons."""
    return "; ".join(step.partition(": ")[2].partition(" (")[0] for step in one.steps) or "nothing"


def _three(stages: Sequence[Outcome], key: str) -> str:
    return ", ".join(number(getattr(stage, key)) for stage in stages)
