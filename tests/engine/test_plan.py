"""What a size needs: the figures follow from the units by their laws, say how they are known, and are the page's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.data.corpus import LazyVectors
from engine.evaluation.retrieval import open_index
from engine.plan.figures import MODELS, Figure, Request, plan
from engine.plan.page import amount
from engine.plan.units import Units, read_units
from engine.run.convert import ConfigError
from engine.verbs.plan import command
from tests.reference.small_corpus import make_corpus, walk

PAGE = Path(__file__).parents[2] / "docs" / "plan.md"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def figures(units: Units | None = None, **request: object) -> dict[str, Figure]:
    asked = msgspec.convert(request, Request)
    return {figure.what: figure for figure in plan(asked, units or read_units())}


def test_the_page_is_what_the_command_makes_of_the_units_that_ship() -> None:
    made = run("--markdown")
    assert made.exit_code == 0
    assert PAGE.read_text() == made.stdout, "make it anew: lvm-engine plan --markdown > docs/plan.md"


def test_a_size_within_what_was_measured_is_measured_and_others_are_extrapolated() -> None:
    units = read_units()
    unit = units.unit("exact_s")
    what = "exact search of 1,000 queries, vectors in memory"
    for chunks in (unit.low, unit.high):
        assert figures(chunks=chunks, dim=units.dim)[what].source == "measured"
    for chunks, dim in ((unit.low - 1, units.dim), (unit.high + 1, units.dim), (unit.high, units.dim // 2)):
        assert figures(chunks=chunks, dim=dim)[what].source == "extrapolated"


def test_figures_follow_their_laws() -> None:
    one, two = figures(chunks=100_000_000), figures(chunks=200_000_000)
    assert one.keys() == two.keys()
    for what, figure in one.items():
        ratio = two[what].value / figure.value
        if what.startswith("a checkpoint") or figure.law in ("a constant", "a block and its scores"):
            assert ratio == 1, what
        elif figure.law.startswith("4 sqrt(chunks)"):
            assert ratio == 1, "both have as many lists as there may be"
        elif figure.law.startswith(("sampled chunks", "4 x dim x sampled")):
            assert ratio == 1, what
        else:
            assert ratio == pytest.approx(2, rel=0.02), what


def test_a_unit_that_costs_twice_doubles_what_is_made_of_it_and_nothing_else() -> None:
    units = read_units()
    for name, words in (
        ("exact_s", "vectors in memory"),
        ("open_s", "opening"),
        ("mamba_s_window_s", "epoch of mamba"),
    ):
        dearer = [
            msgspec.structs.replace(unit, value=2 * unit.value) if unit.name == name else unit for unit in units.units
        ]
        other = figures(msgspec.structs.replace(units, units=dearer), chunks=10**7)
        changed = [
            (was, now)
            for was, now in zip(figures(chunks=10**7).values(), other.values(), strict=True)
            if was.value != now.value
        ]
        assert [words in was.what for was, _ in changed] == [True]
        assert changed[0][1].value == pytest.approx(2 * changed[0][0].value)


@pytest.mark.parametrize("kind", ["flat", "fastscan"])
def test_an_index_takes_the_bytes_that_are_planned(tmp_path: Path, kind: str) -> None:
    lengths, dim = [100] * 60, 64
    corpus = make_corpus(tmp_path / "c", lengths, walk(lengths, dim=dim))
    open_index(corpus, LazyVectors(corpus), tmp_path / "i", choice=kind)  # type: ignore[arg-type]
    actual = sum(file.stat().st_size for file in (tmp_path / "i").rglob("part-*.faiss"))
    planned = next(figure for what, figure in figures(chunks=6000, dim=dim).items() if f"({kind})" in what)
    assert actual == pytest.approx(planned.value, rel=0.1)


def test_a_checkpoint_lies_on_the_line_through_the_widths_measured() -> None:
    units = read_units()
    for model in MODELS:
        unit = units.unit(f"{model}_checkpoint_bytes")  # type: ignore[arg-type]
        for dim, value in ((unit.low, unit.smallest_value), (unit.high, unit.value)):
            found = figures(chunks=10**6, dim=dim)[f"a checkpoint of {model}"]
            assert (found.value, found.source) == (pytest.approx(value), "measured")


def test_ones_own_rate_and_units_are_taken(tmp_path: Path) -> None:
    found = figures(chunks=10**6, windows_per_s=1000.0)["an epoch of amn on 1 device, 1,000 windows/s"]
    assert (found.value, found.source) == (pytest.approx(10**6 * 35 / 40 * 0.8 / 1000), "extrapolated")
    mine = msgspec.structs.replace(read_units(), machine="my own")
    (tmp_path / "units.json").write_bytes(msgspec.json.encode(mine))
    assert "Measured on my own" in run("--units", tmp_path / "units.json", "--chunks", "50e6").stdout


def test_the_verb_takes_sizes_as_people_write_them_and_speaks_json() -> None:
    told = msgspec.json.decode(run("--chunks", "5e4", "--chunks", "50_000_000", "--json").stdout)
    assert [each["request"]["chunks"] for each in told["plans"]] == [50_000, 50_000_000]
    for words in ("many", "0", "-5", "1.5", "nan", "inf", "1e300"):
        result = run("--chunks", words)
        assert result.exit_code == 2
        assert "is not a number of chunks" in result.output
    assert "--article-chunks 4: gives no window" in run("--article-chunks", 4).output
    assert "only one of them" in run("--json", "--markdown").output


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 2}', b"[" * 100_000, b"\xff", b"null"], ids=repr)
def test_what_is_no_file_of_units_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "u.json").write_bytes(content)
    result = run("--units", tmp_path / "u.json")
    assert result.exit_code == 2
    assert "u.json: not a file of unit costs" in result.output
    assert "cannot be read" in run("--units", tmp_path / "none.json").output


def test_a_unit_that_is_missing_or_costs_nothing_is_refused(tmp_path: Path) -> None:
    units = read_units()
    with pytest.raises(ConfigError, match="lack open_s"):
        figures(
            msgspec.structs.replace(units, units=[unit for unit in units.units if unit.name != "open_s"]), chunks=9**6
        )
    raw = msgspec.to_builtins(units)
    raw["units"][0]["value"] = 0
    (tmp_path / "u.json").write_bytes(msgspec.json.encode(raw))
    assert "not a file of unit costs" in run("--units", tmp_path / "u.json").output


@pytest.mark.parametrize(
    ("value", "group", "words"),
    [
        (0.0000004, "time", "0.4 µs"),
        (0.0042, "time", "4.2 ms"),
        (59.96, "time", "60 s"),
        (61, "time", "1.02 min"),
        (86_400 * 400, "time", "1.1 years"),
        (999, "disk", "999 B"),
        (999_600, "disk", "1 MB"),
        (1.536e12, "memory", "1.54 TB"),
        (1_000_000, "counts", "1,000,000"),
    ],
)
def test_amounts_are_read_at_a_glance(value: float, group: str, words: str) -> None:
    assert amount(value, group) == words  # type: ignore[arg-type]
    assert np.isfinite(value)
