"""Judging a scenario suite: what each planted run is diagnosed as, held against what was planted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, take_lock
from engine.run.runs_file import RoomConfig
from engine.scenarios.record import RUNS, PlantedRun, read_suite
from tui.control.diagnosis.catalogue import load_catalogue
from tui.control.diagnosis.diagnose import Diagnosis, diagnose
from tui.control.diagnosis.facts import gather
from tui.control.views import RunView
from tui.control.watcher import Watcher

SCHEMA = 1
SPLITS = ("tune", "held_out")
HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Judged:
    """A planted run and its diagnosis."""

    planted: PlantedRun
    found: tuple[Diagnosis, ...]

    @property
    def named(self) -> list[str]:
        """Alarms, in the order they are named in; notes are none."""
        return [diagnosis.signature for diagnosis in self.found if not diagnosis.is_note]

    @property
    def is_right(self) -> bool:
        """Whether the cause is named first, or nothing in a healthy run but the note that it must have."""
        is_noted = not self.planted.notes or any(
            diagnosis.is_note and diagnosis.signature == self.planted.notes for diagnosis in self.found
        )
        return is_noted and self.named[:1] == ([self.planted.expects] if self.planted.expects else [])


@dataclass(frozen=True, slots=True)
class Score:
    """How many of a split are right."""

    split: str
    failures: int
    named_first: int
    healthy: int
    without_alarm: int


def judge_suite(folder: Path) -> list[Judged]:
    """Diagnose every run of a suite.

    Args:
        folder: made by `lvm-engine scenarios`.

    Raises:
        ConfigError: it holds no suite, a run of it cannot be read, or it expects a signature that there is not.
    """
    suite = read_suite(folder)
    known = load_catalogue()
    for planted in suite.runs:
        for name in filter(None, (planted.expects, planted.notes)):
            if name not in known:
                raise ConfigError(f'{folder}: {planted.name} expects "{name}", which is no signature.')
    with _held([RunDirectory(folder / RUNS / planted.run) for planted in suite.runs if planted.is_held]):
        watcher = Watcher(folder / RUNS, RoomConfig().stall_s)
        watcher.catch_up()
        return [Judged(planted, tuple(diagnose(gather(_view(watcher, planted))))) for planted in suite.runs]


def score(judged: list[Judged]) -> list[Score]:
    """The result by split."""
    return [
        Score(
            split=split,
            failures=sum(1 for one in mine if one.planted.expects),
            named_first=sum(1 for one in mine if one.planted.expects and one.is_right),
            healthy=sum(1 for one in mine if not one.planted.expects),
            without_alarm=sum(1 for one in mine if not one.planted.expects and one.is_right),
        )
        for split in SPLITS
        if (mine := [one for one in judged if one.planted.split == split])
    ]


def suite_record(judged: list[Judged]) -> dict[str, Any]:  # Any: plain data for JSON
    """What `lvm-tui scenarios --json` prints."""
    return {
        "schema": SCHEMA,
        "runs": [
            {
                "name": one.planted.name,
                "run": one.planted.run,
                "split": one.planted.split,
                "planted": one.planted.planted,
                "expects": one.planted.expects,
                "named": one.named,
                "evidence": [list(diagnosis.evidence) for diagnosis in one.found if not diagnosis.is_note],
                "right": one.is_right,
                "seconds": one.planted.seconds,
            }
            for one in judged
        ],
        "scores": [
            {
                "split": part.split,
                "failures": part.failures,
                "named_first": part.named_first,
                "healthy": part.healthy,
                "without_alarm": part.without_alarm,
            }
            for part in score(judged)
        ],
    }


def suite_lines(judged: list[Judged]) -> list[str]:
    """The table for a terminal, wrong ones with their evidence."""
    lines = [f"{'':5}  {'run':28}  {'split':8}  {'expected':18}  named"]
    for one in judged:
        mark = "right" if one.is_right else "WRONG"
        named = ", ".join(one.named) or HEALTHY
        expects = one.planted.expects or HEALTHY
        lines.append(f"{mark}  {one.planted.run:28}  {one.planted.split:8}  {expects:18}  {named}")
        if not one.is_right and one.found:
            lines += [f"         {words}" for words in one.found[0].evidence]
    return [*lines, "", *score_lines(judged)]


def score_lines(judged: list[Judged]) -> list[str]:
    """The result in words, a line for each split."""
    return [
        f"{part.split}: cause named first in {part.named_first} of {part.failures} failures, no alarm in "
        f"{part.without_alarm} of {part.healthy} healthy runs"
        for part in score(judged)
    ]


def suite_markdown(judged: list[Judged]) -> str:
    """The table as Markdown."""
    rows = [
        "| case | planted | split | expected | named first | also named | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in judged:
        first, also = (one.named[:1] or [HEALTHY])[0], ", ".join(one.named[1:])
        planted = one.planted
        case = planted.name if not planted.seed else f"{planted.name}, seed {planted.seed}"
        split = planted.split.replace("_", " ")
        mark = "right" if one.is_right else "**wrong**"
        rows.append(
            f"| {case} | {planted.planted} | {split} | {planted.expects or HEALTHY} | {first} | {also} | {mark} |"
        )
    return "\n".join([*rows, "", *(f"- {line}." for line in score_lines(judged))]) + "\n"


def _view(watcher: Watcher, planted: PlantedRun) -> RunView:
    if planted.run not in watcher.views:
        why = watcher.unreadable.get(planted.run, "there is no such folder")
        raise ConfigError(f"{watcher.runs_dir / planted.run}: cannot be judged: {why}. Make the suite anew.")
    return watcher.views[planted.run]


@contextmanager
def _held(runs: list[RunDirectory]) -> Iterator[None]:
    """Hold the locks of runs whose process should seem to be there."""
    locks: list[int] = []
    try:
        for run in runs:
            lock = take_lock(run.lock_file) if run.path.is_dir() else None
            if lock is not None:
                locks.append(lock)
        yield
    finally:
        for lock in locks:
            os.close(lock)
