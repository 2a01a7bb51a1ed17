"""What a probe's figures mean: gains, noise, who is hopeless, who leads, what is recommended."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import FIXES, make_spec

from engine.run.evals import Interval
from engine.run.settings import Fix, Patch
from tui.control.probe.plan import tries_of
from tui.control.probe.record import ProbeReport, Row, Trial, Try
from tui.control.probe.report import closing_lines, progress_line, table_lines
from tui.control.probe.rules import SEED_NOISE, is_hopeless, judge_rows, leaders, recommend

# measured on the embedded corpus: Mamba-S of 4 layers at the gate's epoch, 682 queries
MEASURED: list[tuple[int, Patch, float, float]] = [
    (0, {}, 0.336, 0.019),
    (1, {"loss.temperature": 0.05}, 0.327, 0.022),
    (1, {"loss.temperature": 0.10}, 0.343, 0.021),
    (2, {"loss.lambda_con": 0.85, "loss.lambda_ar": 0.15}, 0.238, 0.038),
    (3, {"sampler.batch_size": 128}, 0.307, 0.022),
    (3, {"queue.size": 65_536}, 0.264, 0.016),
    (5, {"sampler.max_per_article": 2}, 0.336, 0.019),
    (6, {"loss.contrast_space": "target"}, 0.385, 0.150),
    (7, {"model.residual": "context_mean"}, 0.561, 0.406),
    (8, {"loss.lambda_con": 0.3, "loss.lambda_ar": 0.7}, 0.421, 0.022),
]


def trial(gate: float | None, r5: float | None, *, seed: int = 0, half_width: float = 0.015) -> Trial:
    interval = None if r5 is None else Interval(low=r5 - half_width, high=r5 + half_width)
    return Trial(seed=seed, run="x", state="done", epoch=2, gate=gate, r5=r5, r5_interval=interval, seconds=20.0)


def row(number: int, gate: float | None, r5: float | None, patch: Patch | None = None, *more: Trial) -> Row:
    """A row of one trial; the one without a number is the run itself."""
    patch = ({"loss.temperature": number / 100} if number else {}) if patch is None else patch
    tried = Try(number=number, title=f"fix {number}" if number else "as it is", patch=patch)
    return Row(tried=tried, trials=[trial(gate, r5), *more])


def by_number(rows: list[Row]) -> dict[int, Row]:
    return {row.tried.number: row for row in rows}


def test_what_helps_on_the_embedded_corpus_is_found() -> None:
    rows = judge_rows([row(number, gate, r5, patch) for number, patch, gate, r5 in MEASURED])
    assert [best.tried.number for best in leaders(rows, 2)] == [7, 6]
    fix, words = recommend(rows)
    assert fix == 7
    assert words[0].startswith("fix 7, fix 7: R@5 +0.387 ± 0.021, gate +0.225 ± 0.020 (1 seed)")
    assert words[1].startswith("then fix 6")
    told = "of the 7 tries that come before it, 3 made no difference, 3 made it worse, 1 helped"
    assert words[2] == f"this departs from the playbook's order: {told}"
    verdicts = {(row.tried.number, row.verdict) for row in rows}
    assert {(1, "no difference"), (2, "worse"), (3, "worse"), (5, "no difference")} <= verdicts


def test_a_gain_within_the_noise_is_none() -> None:
    rows = judge_rows([row(0, 0.40, 0.30), row(1, 0.40 + SEED_NOISE * 0.9, 0.31), row(2, 0.40, 0.30)])
    assert [judged.verdict for judged in rows] == ["base", "no difference", "no difference"]
    fix, words = recommend(rows)
    assert fix == 0
    assert words == ["no try of the ladder helps beyond the noise: look for another cause first"]


def test_a_better_gate_that_costs_retrieval_does_not_help() -> None:
    rows = by_number(judge_rows([row(0, 0.40, 0.30), row(1, 0.60, 0.20), row(2, 0.30, 0.60), row(3, 0.45, 0.30)]))
    assert rows[1].verdict == "worse"
    assert rows[2].verdict == "worse", "and the other way round"
    assert rows[3].verdict == "helps"
    assert rows[3].rank == 1


def test_retrieval_decides_among_those_that_help() -> None:
    rows = by_number(judge_rows([row(0, 0.40, 0.30), row(1, 0.60, 0.40), row(2, 0.50, 0.45)]))
    assert (rows[2].rank, rows[1].rank) == (1, 2)


def test_seeds_that_differ_widen_the_noise() -> None:
    one = judge_rows([row(0, 0.40, 0.30), row(1, 0.50, 0.40)])
    two = judge_rows([row(0, 0.40, 0.30), row(1, 0.50, 0.40, None, trial(0.40, 0.30, seed=1))])
    assert two[1].gate == pytest.approx(0.45)
    assert two[1].gate_noise == pytest.approx(0.05)
    assert two[1].r5_noise > one[1].r5_noise
    assert one[1].verdict == "helps"
    assert two[1].verdict == "no difference"


def test_leaders_that_are_as_good_are_called_so() -> None:
    _, words = recommend(judge_rows([row(0, 0.40, 0.30), row(1, 0.50, 0.40), row(2, 0.50, 0.41)]))
    assert "within noise" in words[1]
    _, words = recommend(judge_rows([row(0, 0.40, 0.30), row(1, 0.50, 0.40), row(2, 0.50, 0.60)]))
    assert "within noise" not in words[1]
    assert words[-1].startswith("this departs")
    _, words = recommend(judge_rows([row(0, 0.40, 0.30), row(1, 0.50, 0.60), row(2, 0.40, 0.30)]))
    assert words[-1] == "the playbook's order begins with it as well"


def test_without_the_run_itself_nothing_is_recommended() -> None:
    broken = msgspec.structs.replace(row(0, None, None), trials=[Trial(seed=0, state="failed", detail="out of memory")])
    fix, words = recommend(judge_rows([broken, row(1, 0.6, 0.5)]))
    assert fix == 0
    assert "the run itself could not be probed" in words[0]


def test_hopeless_is_far_below_every_other_one() -> None:
    assert is_hopeless(0.09, [0.21, 0.20, 0.30])
    assert not is_hopeless(0.11, [0.21, 0.20, 0.30])
    assert not is_hopeless(0.09, [0.21, 0.20]), "too few to compare with"
    assert not is_hopeless(0.09, [0.21, 0.10, 0.30]), "another one is as low"
    assert not is_hopeless(None, [0.21, 0.20, 0.30])
    assert not is_hopeless(-0.2, [0.21, -0.1, 0.30]), "half of a negative number says nothing"


def test_tries_that_change_nothing_are_left_out() -> None:
    spec = make_spec()
    tries = tries_of(spec, FIXES)
    assert [tried.number for tried in tries] == [0, 1, 1, 2, 3, 5], "fix 4 verifies"
    sharp = msgspec.structs.replace(spec, config=spec.patched({"loss.temperature": 0.05}))
    assert [tried.number for tried in tries_of(sharp, FIXES)] == [0, 1, 2, 3, 5]
    odd = Fix(title="x", reason="x", tries=[{"no.such": 1}])
    assert [tried.number for tried in tries_of(spec, [odd])] == [0]


def test_the_table_tells_figures_progress_and_ends() -> None:
    rows = judge_rows(
        [
            row(0, 0.336, 0.019),
            row(6, 0.385, 0.150),
            Row(
                tried=Try(number=1, title="t", patch={"loss.temperature": 0.05}),
                trials=[Trial(seed=0, state="waiting")],
            ),
            Row(tried=Try(number=2, title="t", patch={"a": 1}), trials=[Trial(seed=0, state="training", epoch=1)]),
            Row(
                tried=Try(number=3, title="t", patch={"b": 1}),
                trials=[Trial(seed=0, state="failed", detail="exit 2: no")],
            ),
        ]
    )
    report = ProbeReport(
        run="mamba_s-0001",
        metric="val_cosine",
        epoch=2,
        bar=0.5,
        rows=rows,
        fix=6,
        seconds=61.2,
        floors={"context_mean": 0.57},
    )
    lines = list(table_lines(report))
    assert lines[1].split()[1:3] == ["0.336", "-"], "the run itself comes first"
    assert "+0.131" in lines[2]
    assert [line.split()[8] for line in lines[3:]] == ["waiting", "training", "failed"]
    assert lines[-1].endswith("(exit 2: no)")
    assert progress_line(report) == "probe: 3 of 5 trials after 61 s; now 2 a = 1"
    closing = list(closing_lines(report))
    assert closing[0] == "val_cosine at epoch 2, bar 0.500; floors: context_mean 0.570"
    assert closing[-1] == "lvm-tui triage mamba_s-0001 --fix 6 restarts with it"


figures = st.one_of(st.none(), st.floats(0, 1))


@given(st.lists(st.tuples(figures, figures), min_size=1, max_size=8))
def test_any_figures_are_judged_and_ranked_without_gaps(pairs: list[tuple[float | None, float | None]]) -> None:
    rows = judge_rows([row(number, gate, r5) for number, (gate, r5) in enumerate(pairs)])
    ranks = sorted(judged.rank for judged in rows if judged.rank)
    assert ranks == list(range(1, len(ranks) + 1))
    assert all(not judged.rank for judged in rows if judged.verdict not in {"helps", "no difference"})
    fix, words = recommend(rows)
    assert words
    assert (fix == 0) == (not leaders(rows, 1) or None in pairs[0])
