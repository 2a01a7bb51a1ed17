"""How often later epochs lie inside the interval that `tui.control.projection` gives for them, and how wide it is.

python benchmarks/projection.py                      the recorded histories, each half by itself
python benchmarks/projection.py RUN_DIR history.json runs of your own, which nothing was learned from
python benchmarks/projection.py --fit                the constants again, learned from the half named "fit"
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tui.control.projection import LEARNED, Carry, Learned, faded, pace, project  # noqa: E402

HISTORIES = TOP / "benchmarks" / "histories.json"
INSIDE = 0.8
TAILS = [step / 100 for step in range(30, 0, -1)]
"""Shares of the carries left out on either side that are tried; as the wobble is added, it takes more than 0.10."""
OUTER = 0.15
"""The same for wobble and for runs that fall, of which there are too few to try."""
SLOWEST = 0.003
"""Paces below this are wobble, and say nothing of what is carried on."""

GROUPS = tuple(LEARNED.carry)
SPLITS = 12

Row = dict[str, Any]


def main() -> None:
    """Measure, or learn, and print."""
    arguments = sys.argv[1:]
    recorded = json.loads(HISTORIES.read_text())["histories"]
    if arguments == ["--fit"]:
        print(fit([row for row in recorded if row["half"] == "fit"]))
    elif arguments == ["--splits"]:
        report_splits(recorded)
    elif arguments:
        report("given", [read_values(Path(name)) for name in arguments])
    else:
        for half in ("fit", "held_out"):
            report(half, [row["val_cosine"] for row in recorded if row["half"] == half])


def report(label: str, histories: list[list[float]]) -> None:
    """Print hit rate and mean width over all pairs of epochs, and by the number of epochs done."""
    by_done = {done: judge(histories, done, LEARNED) for done in GROUPS}
    every = list(itertools.chain(*by_done.values()))
    if not every:
        print(f"{label}: no run of three epochs, so nothing to judge")
        return
    print(f"{label}: {len(histories)} runs, {summary(every)}")
    for done, results in by_done.items():
        if results:
            print(f"  from {done}{' and more' if done == max(GROUPS) else ''} epochs: {summary(results)}")


def report_splits(rows: list[Row]) -> None:
    """Learn from one half of the settings and judge the other, with several halves drawn at random."""
    settings = sorted({row["settings"] for row in rows})
    shares = []
    for seed in range(SPLITS):
        taught = set(random.Random(seed).sample(settings, len(settings) // 2))
        learned = fit([row for row in rows if row["settings"] in taught])
        others = [row["val_cosine"] for row in rows if row["settings"] not in taught]
        shares.append(share_inside([result for done in GROUPS for result in judge(others, done, learned)]))
    print(
        f"{SPLITS} random halves: {sum(shares) / SPLITS:.1%} inside on average, "
        f"from {min(shares):.1%} to {max(shares):.1%}"
    )


def summary(results: list[tuple[bool, float]]) -> str:
    """Share inside and mean width."""
    width = sum(width for _, width in results) / len(results)
    return f"{share_inside(results):.1%} of {len(results)} later epochs inside, mean width {width:.3f}"


def share_inside(results: list[tuple[bool, float]]) -> float:
    """Share of later epochs that lie inside their interval."""
    return sum(inside for inside, _ in results) / len(results)


def judge(histories: list[list[float]], group: int, learned: Learned) -> list[tuple[bool, float]]:
    """Whether a later epoch lies inside its interval, and how wide that is; for every pair of epochs of the group."""
    results = []
    for values, done, epoch in pairs(histories):
        if min(done, max(GROUPS)) == group:
            found = project(list(enumerate(values[:done], start=1)), epoch, learned=learned)
            assert found is not None
            results.append((found.low <= values[epoch - 1] <= found.high, found.high - found.low))
    return results


def pairs(histories: list[list[float]]) -> Iterator[tuple[list[float], int, int]]:
    """Every history with every two of its epochs: those done, from 2 on, and the later one."""
    for values in histories:
        for done, epoch in itertools.combinations(range(2, len(values) + 1), 2):
            yield values, done, epoch


def fit(rows: list[Row]) -> Learned:
    """The constants of `tui.control.projection`."""
    carries, falls, drifts = measure([row["val_cosine"] for row in rows])
    # the lowest outcome of a run that falls carries on the most; where none falls, nothing is learned of it
    falling = quantiles(falls, OUTER)[::-1] if falls else LEARNED.falling
    learned = Learned({}, falling, (-quantile(drifts, OUTER), quantile(drifts, 1 - OUTER)))
    carry = {}
    for group in GROUPS:
        # each setting is judged by what the others taught, as a run of yours will be
        tails = (tail for tail in TAILS if share_inside(judge_left_out(rows, group, tail, learned)) >= INSIDE)
        carry[group] = quantiles(carries[group], next(tails, TAILS[-1]))
    return replace(learned, carry=carry)


def judge_left_out(rows: list[Row], group: int, tail: float, learned: Learned) -> list[tuple[bool, float]]:
    """Judge every setting by carries that were learned from all others."""
    results = []
    for settings in sorted({row["settings"] for row in rows}):
        others = [row["val_cosine"] for row in rows if row["settings"] != settings]
        own = [row["val_cosine"] for row in rows if row["settings"] == settings]
        carry = dict.fromkeys(GROUPS, quantiles(measure(others)[0][group], tail))
        results += judge(own, group, replace(learned, carry=carry))
    return results


def measure(histories: list[list[float]]) -> tuple[dict[int, list[float]], list[float], list[float]]:
    """What was gained later: in paces, less their fading, by epochs done; the same of runs that fall; and as it is, of
    runs without a pace to speak of."""
    carries: dict[int, list[float]] = {done: [] for done in GROUPS}
    falls: list[float] = []
    drifts: list[float] = []
    for values, done, epoch in pairs(histories):
        gained, now = values[epoch - 1] - values[done - 1], pace(values[:done])
        if abs(now) < SLOWEST:
            drifts.append(gained)
        else:  # a run that turns is wobble, or falls by its own pace from the next epoch on
            (carries[min(done, max(GROUPS))] if now > 0 else falls).append(max(0.0, gained / now / faded(epoch - done)))
    return carries, falls, drifts


def quantiles(values: list[float], tail: float) -> Carry:
    """The median, and what leaves this share out on either side."""
    return quantile(values, tail), quantile(values, 0.5), quantile(values, 1 - tail)


def quantile(values: list[float], share: float) -> float:
    """Quantile by linear interpolation."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def read_values(path: Path) -> list[float]:
    """val_cosine of a run folder's or a file's history, up to the first epoch without one."""
    rows = json.loads((path / "history.json" if path.is_dir() else path).read_text())
    values = [row["val_cosine"] for row in (rows["epochs"] if isinstance(rows, dict) else rows)]
    return list(itertools.takewhile(lambda value: value is not None, values))


if __name__ == "__main__":
    main()
