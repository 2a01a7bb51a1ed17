"""A whole preflight: what it reports, what it keeps, and what it does when it is stopped."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.data.corpus import open_corpus
from engine.preflight import run as preflight_run
from engine.preflight.run import StoppedEarlyError, run_preflight
from engine.preflight.subject import Subject, open_subject
from engine.preflight.verdict import needs_verdict, verdict_event
from engine.run.events import PreflightJudged
from engine.run.preflight import PreflightItem, PreflightReport
from engine.run.settings import DataConfig, Gate
from tests.reference.small_corpus import make_corpus

LENGTHS = [7, 9, 12, 8, 10, 7, 9, 11, 8, 12]
GROUPS = {"leak", "provenance", "vectors", "floors", "direction", "gate"}


def subject(folder: Path, *, bar: float = 0.5) -> Subject:
    if not (folder / "c").exists():
        make_corpus(folder / "c", LENGTHS)
    return open_subject(DataConfig(corpus=str(folder / "c"), context=3, val_share=0.2), [Gate(at_least=bar)], folder)


@pytest.fixture
def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small a corpus is measured faster than what is kept."""
    monkeypatch.setattr(preflight_run, "WORTH_KEEPING_S", 0.0)


def count_measurements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    measured = preflight_run.measure

    def counted(*arguments: object) -> object:
        calls.append(1)
        return measured(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preflight_run, "measure", counted)
    return calls


def test_a_small_honest_corpus_is_not_blocked_and_every_group_is_looked_at(tmp_path: Path) -> None:
    report = run_preflight(subject(tmp_path))
    assert report.blocking == []
    assert {item.group for item in report.items} == GROUPS
    assert len({item.name for item in report.items}) == len(report.items)
    assert set(report.floors) == {"copy_last", "context_mean", "ridge"}
    assert len(report.lag_curve) == 10
    assert not [item for item in report.items if item.level == "must" and item.verdict == "undecidable"]


def test_every_finding_is_in_words(tmp_path: Path) -> None:
    for item in run_preflight(subject(tmp_path)).items:
        assert len(item.detail) > 20, item.name


def test_broken_vectors_end_it_with_that_one_finding(tmp_path: Path) -> None:
    subject(tmp_path)
    corpus = open_corpus(tmp_path / "c")
    stored = np.load(corpus.parts[0].vectors)
    stored[5] = np.nan
    np.save(corpus.parts[0].vectors, stored)
    report = run_preflight(subject(tmp_path))
    assert [item.name for item in report.blocking] == ["vectors_finite", "data_unchanged"]
    assert report.floors == {}


def test_it_ends_when_asked_to(tmp_path: Path) -> None:
    with pytest.raises(StoppedEarlyError):
        run_preflight(subject(tmp_path), stop_requested=lambda: True)


@pytest.mark.usefixtures("keep_all")
def test_what_was_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_measurements(monkeypatch)
    first, second = (run_preflight(subject(tmp_path), cache=tmp_path / "kept") for _ in range(2))
    assert (len(calls), second.items, second.floors) == (1, first.items, first.floors)


@pytest.mark.usefixtures("keep_all")
def test_other_gates_other_splits_and_other_data_are_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_measurements(monkeypatch)
    cache = tmp_path / "kept"
    first = subject(tmp_path / "a")
    make_corpus(tmp_path / "b" / "c", LENGTHS[::-1])
    changed = msgspec.structs.replace(first.data, split_seed=1)
    others = [
        subject(tmp_path / "a", bar=0.6),
        open_subject(changed, [Gate()], tmp_path),
        subject(tmp_path / "b"),
    ]
    for each in (first, *others):
        run_preflight(each, cache=cache)
    assert len(calls) == 4


@pytest.mark.usefixtures("keep_all")
def test_vectors_that_were_changed_in_place_are_measured_anew(tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    assert run_preflight(subject(tmp_path), cache=cache).blocking == []
    corpus = open_corpus(tmp_path / "c")
    stored = np.load(corpus.parts[0].vectors)
    stored[5] = np.nan
    np.save(corpus.parts[0].vectors, stored)
    assert [item.name for item in run_preflight(subject(tmp_path), cache=cache).blocking] == [
        "vectors_finite",
        "data_unchanged",
    ]


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", None], ids=["empty", "other", "bytes", "changed"])
def test_damaged_findings_are_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    cache = tmp_path / "kept"
    first = run_preflight(subject(tmp_path), cache=cache)
    (file,) = cache.glob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"passed"', b'"missed"') if damage is None else damage)
    calls = count_measurements(monkeypatch)
    assert run_preflight(subject(tmp_path), cache=cache).items == first.items
    assert len(calls) == 1


def test_what_takes_no_time_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_run, "WORTH_KEEPING_S", 1e9)
    run_preflight(subject(tmp_path), cache=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.usefixtures("keep_all")
def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run_preflight(subject(tmp_path), cache=tmp_path / "file" / "kept").blocking == []


def item(name: str, level: str, verdict: str) -> PreflightItem:
    table = {"name": name, "group": "leak", "level": level, "verdict": verdict, "value": 1.0, "bar": 0.0, "detail": "x"}
    return msgspec.convert(table, PreflightItem)


def test_an_event_names_what_blocks_and_what_warns() -> None:
    items = [item("a", "must", "undecidable"), item("b", "should", "missed"), item("c", "info", "undecidable")]
    report = PreflightReport(created="", argv=[], data="d", data_sha256="", seconds=0, items=items, override="why")
    event = verdict_event(report)
    assert (event.verdict, event.blocking, event.warnings, event.override) == ("missed", ["a: x"], ["b: x"], "why")


@pytest.mark.parametrize(
    ("verdict", "override", "wanted"), [("passed", "", False), ("missed", "", True), ("missed", "known", False)]
)
def test_a_verdict_is_asked_for_until_it_allows_training(verdict: str, override: str, wanted: bool) -> None:
    known = msgspec.convert(
        {"kind": "preflight_judged", "verdict": verdict, "blocking": [], "override": override}, PreflightJudged
    )
    assert needs_verdict(known) == wanted
    assert needs_verdict(None)
