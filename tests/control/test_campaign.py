"""The report of a campaign: what is in it is what the runs and the journal say, and foreign text stays text."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
from click.testing import CliRunner
from person import Person
from recorded import AMN_HISTORY, MAMBA_HISTORY, make_spec, make_view, run_events

from engine.run.state import Status
from tui.cli import main
from tui.control.campaign import draw_campaign, write_campaign
from tui.control.journal import Decision

PARENT = make_view(make_spec(), run_events(make_spec(), MAMBA_HISTORY), status=Status.STOPPED)
CHILD_SPEC = msgspec.structs.replace(
    make_spec("mamba_s", 2), parent=PARENT.id, patch={"loss.temperature": 0.05}, fix="Temperature"
)
CHILD = make_view(CHILD_SPEC, run_events(CHILD_SPEC, [0.13, 0.35]))


def decision(**changes: object) -> Decision:
    made = Decision(
        who="person",
        action="restart",
        phase="done",
        run=PARENT.id,
        child=CHILD.id,
        fix="Temperature",
        patch={"loss.temperature": 0.05},
        evidence=["val_cosine >= 0.50? no: missed by 0.188"],
    )
    return msgspec.structs.replace(made, **changes)


def test_a_restart_stands_with_its_evidence_and_what_it_brought() -> None:
    intent = decision(phase="intent")
    text = write_campaign([PARENT, CHILD], [intent, msgspec.structs.replace(intent, phase="done")], "Campaign")
    (row,) = [line for line in text.splitlines() if "restart mamba" in line]
    assert text.count("restart mamba") == 1, "intent and outcome are one decision"
    assert "loss.temperature = 0.05" in row.replace("\\", "")
    assert "missed by 0.188" in row
    assert "mamba_s-0002: 0.350 at the gate, +0.038" in row.replace("\\", "")
    assert "  - mamba_s-0002, Temperature: 0.350 at the gate" in text.replace("\\", "")


def test_an_outcome_that_is_not_known_yet_is_not_made_up() -> None:
    young = make_view(CHILD_SPEC, run_events(CHILD_SPEC, [0.13]))
    text = write_campaign([PARENT, young], [decision()], "Campaign").replace("\\", "")
    assert "mamba_s-0002: not judged yet" in text
    undo = decision(id="another", action="undo", patch={})
    text = write_campaign([PARENT, young], [decision(), undo], "Campaign").replace("\\", "")
    assert "mamba_s-0002: undone" in text, "nobody waits for its gate"
    assert "failed: no disk" in write_campaign([PARENT], [decision(phase="failed", detail="no disk")], "Campaign")


def test_foreign_text_stays_text() -> None:
    hostile = "a | b\n# heading <script>alert(1)</script> [x](javascript:1)"
    text = write_campaign([PARENT, CHILD], [decision(detail=hostile, evidence=[])], "Campaign")
    (row,) = [line for line in text.splitlines() if "alert" in line]
    assert "\\<script\\>" in row
    assert "\\[x\\]" in row
    assert "a \\| b" in row
    assert row.replace("\\|", "").count("|") == 6


def test_the_chart_is_svg_with_a_line_a_run_the_gate_and_the_floors() -> None:
    spec = make_spec("amn", 3)
    amn = make_view(spec, run_events(spec, [AMN_HISTORY[0], None, AMN_HISTORY[2]]))
    root = ET.fromstring(draw_campaign([PARENT, amn]))  # our own
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"mamba_s-0001", "amn-0003", "gate val_cosine@2 0.500", "context_mean 0.579"} <= set(texts)
    assert sum(element.tag.endswith("circle") for element in root.iter()) == 2


def test_the_command_writes_both_files_and_names_the_report(room: Person, tmp_path: Path) -> None:
    config = ["--config", room.file.path]
    nothing = CliRunner().invoke(main, ["report", *config, "--out", str(tmp_path / "out")])
    assert nothing.exit_code == 2
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    done = CliRunner().invoke(main, ["report", *config, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert run.id in (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert (tmp_path / "out" / "val_cosine.svg").read_text().startswith("<svg")
