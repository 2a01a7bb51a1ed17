"""What a chart shows as files: every number in full, the picture with the same lines, nothing ever overwritten."""

from __future__ import annotations

import csv
import io
import re
import struct
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from recorded import AMN_HISTORY, PLAYBOOK_HISTORY, make_spec, make_view, run_events

from engine.run.settings import EvalConfig
from engine.run.state import Status
from tui.control.chart_export import Shown, csv_of, export, svg_of
from tui.control.curves import METRICS
from tui.control.png_chart import NO_FONT, ZOOM, png_of
from tui.control.svg_chart import FONTS, HEIGHT, WIDTH
from tui.ema import Ema

VAL_COSINE = METRICS[0]
LOSS = next(metric for metric in METRICS if metric.name == "loss")
NOW = 1_700_000_000.0


def shown(metric=VAL_COSINE, axis="epoch", **changes) -> Shown:  # type: ignore[no-untyped-def]
    spec, baseline = msgspec.structs.replace(make_spec(), evals={"smoke": EvalConfig(at_epoch=4)}), make_spec("amn", 2)
    runs = [
        make_view(spec, run_events(spec, [value + 1e-15 for value in PLAYBOOK_HISTORY[:2]], steps_of_next=3)),
        make_view(baseline, run_events(baseline, [*AMN_HISTORY[:3], None]), status=Status.FINISHED),
    ]
    return Shown(metric, axis, runs, **changes)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_holds_every_number_in_full_with_its_run_and_place() -> None:
    found = [row for row in rows(csv_of(shown())) if row["what"] == "measured"]
    first = found[0]
    assert (first["run"], first["epoch"], first["step"]) == ("mamba_s-0001", "1.0", "20.0")
    assert float(first["value"]) == PLAYBOOK_HISTORY[0] + 1e-15, "not one digit is lost"
    assert float(first["seconds"]) > 0
    assert [row["run"] for row in found].count("amn-0002") == 4
    assert found[-1]["value"] == "", "a missing number is an empty field"


def test_what_is_projected_is_not_among_the_measured() -> None:
    found = [row for row in rows(csv_of(shown())) if row["what"] == "projected"]
    assert [row["epoch"] for row in found] == ["3.0", "4.0"]
    assert all(float(row["low"]) < float(row["value"]) < float(row["high"]) for row in found)
    runs = shown().runs
    alive = make_view(runs[1].spec, run_events(runs[1].spec, AMN_HISTORY))
    both = rows(csv_of(Shown(VAL_COSINE, "epoch", [runs[0], alive])))
    assert {row["run"] for row in both if row["what"] == "projected"} == {"mamba_s-0001"}, "as on the screen"


def test_only_what_is_visible_is_exported() -> None:
    found = rows(csv_of(shown(within=(2.0, 3.0))))
    assert {row["epoch"] for row in found} == {"2.0", "3.0"}
    by_step = rows(csv_of(shown(LOSS, "step", within=(10.0, 15.0))))
    assert {row["step"] for row in by_step} == {"10.0", "15.0"}


def test_a_smoothed_chart_has_its_means_beside_the_values() -> None:
    found = [row for row in rows(csv_of(shown(LOSS, smoothing=0.6))) if row["run"] == "mamba_s-0001"]
    values = [float(row["value"]) for row in found]
    assert [float(row["smoothed"]) for row in found] == Ema(0.6).of(values)
    assert {row["smoothed"] for row in rows(csv_of(shown(LOSS)))} == {""}


def test_the_picture_has_runs_gate_floors_best_and_what_is_projected() -> None:
    text = svg_of(shown())
    words = [element.text for element in ET.fromstring(text).iter() if element.text]
    for wanted in ("val_cosine by epoch", "mamba_s-0001, best 0.472", "amn-0002, best 0.579", "gate@2", "epoch"):
        assert wanted in words
    fallen = make_view(make_spec(), run_events(make_spec(), (0.4, 0.6, 0.5)))
    assert "best 0.600" in svg_of(Shown(VAL_COSINE, "epoch", [fallen])), "not at the end of the line"
    assert any(word.startswith("projected 0.") for word in words)
    assert any(word.startswith("context_mean") for word in words)


def test_the_picture_follows_the_chart_in_what_it_leaves_out() -> None:
    assert "context_mean" not in svg_of(shown(has_levels=False))
    assert "projected" not in svg_of(shown(within=(1.0, 2.0)))
    assert "projected" not in svg_of(shown(LOSS))
    assert "stroke-opacity" in svg_of(shown(LOSS, smoothing=0.9)), "what was measured stays, faint"
    assert "stroke-opacity" not in svg_of(shown(LOSS))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("log_y", [False, True])
def test_every_metric_can_be_exported(metric, log_y: bool) -> None:  # type: ignore[no-untyped-def]
    ET.fromstring(svg_of(shown(metric, "time", log_y=log_y)))
    assert csv_of(shown(metric, "time")).startswith("run,metric,what,epoch,step,seconds,value")


def test_a_second_export_in_the_same_second_gets_another_name(tmp_path: Path) -> None:
    first, _ = export(shown(), tmp_path, NOW)
    before = [path.read_bytes() for path in first]
    second, _ = export(shown(LOSS), tmp_path, NOW)
    third, _ = export(shown(), tmp_path, NOW)
    assert [path.name for path in first] == [
        "val_cosine-by-epoch-20231114T221320Z.svg",
        "val_cosine-by-epoch-20231114T221320Z.csv",
        "val_cosine-by-epoch-20231114T221320Z.png",
    ]
    assert [path.name for path in third] == [
        "val_cosine-by-epoch-20231114T221320Z-2.svg",
        "val_cosine-by-epoch-20231114T221320Z-2.csv",
        "val_cosine-by-epoch-20231114T221320Z-2.png",
    ]
    assert len({*first, *second, *third}) == 9
    assert [path.read_bytes() for path in first] == before
    assert {path.parent for path in first} == {tmp_path / "exports"}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    treasure = tmp_path / "treasure"
    (tmp_path / "exports" / "val_cosine-by-epoch-20231114T221320Z.csv").symlink_to(treasure)
    export(shown(), tmp_path, NOW)
    assert not treasure.exists()


def test_a_folder_that_cannot_be_written_is_an_error_not_half_an_export(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("a file")
    with pytest.raises(OSError):
        export(shown(), tmp_path, NOW)


def test_the_png_shows_what_the_svg_shows_letters_included() -> None:
    svg = svg_of(shown())
    png, why_not = png_of(svg, FONTS)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert why_not == ""
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (ZOOM * WIDTH, ZOOM * HEIGHT)
    silent, _ = png_of(re.sub(r"<text.*?</text>", "", svg), FONTS)
    assert silent != png, "what is written is drawn"


def test_without_letters_or_library_there_is_no_png_but_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert png_of(svg_of(shown()), "A Font That Nobody Has") == (b"", NO_FONT)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    files, why_not = export(shown(), tmp_path, NOW)
    assert [file.suffix for file in files] == [".svg", ".csv"]
    assert "lvm-tui[png]" in why_not
