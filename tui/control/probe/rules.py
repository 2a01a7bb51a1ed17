"""What a probe's figures mean: gains and their noise, who is hopeless, who leads, what to do. Pure.

The rule, as a person reads it: a try helps if neither the gate's metric nor R@5 got worse than the run itself beyond
the noise, and one of them got better beyond it. Among those R@5 decides, then the gate's metric: retrieval is what the
model is for, and the gate alone can be passed by a model that finds nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import msgspec

from engine.run.evals import Interval
from tui.control.probe.record import Row, Trial, Verdict

SEED_NOISE = 0.02
"""Of val_cosine: what another seed alone changes. At epoch 2 three seeds of a plain model lay between 0.30 and 0.32; of
models that start at the context mean, closer: 0.488 to 0.493, 0.575 to 0.578."""
HOPELESS_SHARE = 0.5
"""Of the lowest of the others after epoch 1. From epoch 1 to 2 settings of one model grew by a factor of 1.41 to 1.74
(the table in runs.toml): who stands below half needs more than that to reach at the gate what the lowest has now."""
HOPELESS_AMONG = 3
"""Others that must have ended an epoch before one is given up."""
Z95 = 1.96
_IN_WORDS: dict[Verdict, str] = {
    "base": "changed nothing",
    "helps": "helped",
    "no difference": "made no difference",
    "worse": "made it worse",
    "unknown": "could not be judged",
}


def is_hopeless(first: float | None, others: Sequence[float]) -> bool:
    """Whether a trial should be stopped after its first epoch: far below every other one's.

    Args:
        first: its val_cosine after epoch 1.
        others: the same of the trials of other tries, that of the run itself among them.
    """
    if first is None or len(others) < HOPELESS_AMONG:
        return False
    lowest = min(others)
    return lowest > 0 and first < HOPELESS_SHARE * lowest


def judge_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows with their gains against the first one, the run itself, their noise, verdict and rank."""
    averaged = [_average(row) for row in rows]
    base = averaged[0]
    spread = max((_spread(row, "gate") for row in averaged), default=0.0)
    judged = [_compare(row, base, max(SEED_NOISE, spread)) for row in averaged]
    order = sorted(
        (row for row in judged if row.verdict in {"helps", "no difference"}),
        key=lambda row: (row.verdict == "helps", row.r5 or 0.0, row.gate or 0.0),
        reverse=True,
    )
    ranks = {id(row): place for place, row in enumerate(order, start=1)}
    return [msgspec.structs.replace(row, rank=ranks.get(id(row), 0)) for row in judged]


def leaders(rows: Sequence[Row], number: int) -> list[Row]:
    """The best of the tries that help, at most `number`."""
    helping = [row for row in rows if row.rank and row.verdict == "helps"]
    return sorted(helping, key=lambda row: row.rank)[:number]


def recommend(rows: Sequence[Row]) -> tuple[int, list[str]]:
    """The fix to try, 0 for none, and why in words; from judged rows."""
    best = leaders(rows, 2)
    base = rows[0]
    if base.gate is None or base.r5 is None:
        return 0, ["the run itself could not be probed, so there is nothing to measure gains against"]
    if not best:
        return 0, [f"no try of the ladder helps beyond the noise{_how_many_worse(rows)}: look for another cause first"]
    first = best[0]
    lines = [f"fix {first.tried.number}, {first.tried.title}: {_gains(first)}"]
    if len(best) > 1:
        second = best[1]
        lines.append(f"then fix {second.tried.number}, {second.tried.title}: {_gains(second)}{_close(first, second)}")
    return first.tried.number, [*lines, *_against_the_order(rows, first)]


def _against_the_order(rows: Sequence[Row], best: Row) -> list[str]:
    """Where the evidence departs from the playbook, which takes the fixes in order."""
    before = [row for row in rows[1:] if 0 < row.tried.number < best.tried.number]
    if not before:
        return ["the playbook's order begins with it as well"]
    counts = Counter(row.verdict for row in before)
    verdicts = ", ".join(f"{count} {_IN_WORDS[verdict]}" for verdict, count in counts.items())
    tries = "try" if len(before) == 1 else "tries"
    return [f"this departs from the playbook's order: of the {len(before)} {tries} that come before it, {verdicts}"]


def _gains(row: Row) -> str:
    seeds = sum(trial.state == "done" for trial in row.trials)
    return (
        f"R@5 {row.r5_gain:+.3f} ± {row.r5_noise:.3f}, gate {row.gate_gain:+.3f} ± {row.gate_noise:.3f} "
        f"({seeds} seed{'s' if seeds > 1 else ''})"
    )


def _close(first: Row, second: Row) -> str:
    """Whether the order of the two leaders is within noise."""
    if first.r5 is None or second.r5 is None:
        return ""
    return "; which of the two is better is within noise" if first.r5 - second.r5 <= second.r5_noise else ""


def _how_many_worse(rows: Sequence[Row]) -> str:
    worse = sum(row.verdict == "worse" for row in rows)
    return f" ({worse} make it worse)" if worse else ""


def _average(row: Row) -> Row:
    done = [trial for trial in row.trials if trial.state == "done"]
    return msgspec.structs.replace(
        row, gate=_mean(done, "gate"), r5=_mean(done, "r5"), contain50=_mean(done, "contain50")
    )


def _compare(row: Row, base: Row, gate_noise: float) -> Row:
    if row is base or not row.tried.patch:
        return msgspec.structs.replace(row, verdict="base")
    if any(trial.state == "hopeless" for trial in row.trials):
        return msgspec.structs.replace(row, verdict="worse")
    gate_gain, r5_gain = _gain(row, base, "gate"), _gain(row, base, "r5")
    r5_noise = math.hypot(Z95 * _error(row), Z95 * _error(base), _spread(row, "r5"))
    return msgspec.structs.replace(
        row,
        gate_gain=gate_gain,
        gate_noise=gate_noise,
        r5_gain=r5_gain,
        r5_noise=r5_noise,
        verdict=_verdict(gate_gain, gate_noise, r5_gain, r5_noise),
    )


def _verdict(gate_gain: float | None, gate_noise: float, r5_gain: float | None, r5_noise: float) -> Verdict:
    if gate_gain is None or r5_gain is None:
        return "unknown"
    if gate_gain < -gate_noise or r5_gain < -r5_noise:
        return "worse"
    return "helps" if gate_gain > gate_noise or r5_gain > r5_noise else "no difference"


def _gain(row: Row, base: Row, key: Literal["gate", "r5"]) -> float | None:
    ours, theirs = getattr(row, key), getattr(base, key)
    return None if ours is None or theirs is None else ours - theirs


def _spread(row: Row, key: Literal["gate", "r5"]) -> float:
    """Half the range over seeds; 0 for a single one."""
    values = [value for trial in row.trials if trial.state == "done" and (value := getattr(trial, key)) is not None]
    return (max(values) - min(values)) / 2 if len(values) > 1 else 0.0


def _error(row: Row) -> float:
    """Standard error of R@5 by the evaluation's interval, which more seeds do not make smaller: the queries stay.

    Two models are asked the same queries, so the error of their difference is smaller than what this leads to: the
    rule errs on the careful side.
    """
    found = [_half_width(trial.r5_interval) for trial in row.trials if trial.state == "done" and trial.r5_interval]
    return fmean(found) / Z95 if found else 0.0


def _half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _mean(trials: Sequence[Trial], key: str) -> float | None:
    values = [value for trial in trials if (value := getattr(trial, key)) is not None]
    return fmean(values) if values else None
