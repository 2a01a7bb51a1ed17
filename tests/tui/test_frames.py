"""Every pane at every size, as text: what stands where, in which colour, and that nothing needs colour or Unicode.

A frame is text, so a change of one is read as a diff. `make snapshots` writes them anew after a wanted change.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest
from rich.style import Style
from still_room import hold_still, settled
from textual.strip import Strip

from engine.run.runs_file import RunsFile
from tui.app import RoomApp

FRAMES = Path(__file__).parent / "__frames__"
SIZES = [(80, 24), (120, 35), (200, 60)]
PANES = "12345678"
_WORD = re.compile(r"[^\W\d_]{3,}")


@pytest.fixture(autouse=True)
def a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_still(monkeypatch)


async def frames_of(app: RoomApp, size: tuple[int, int]) -> dict[str, list[Strip]]:
    """What is on the screen with each pane alone, by the pane's key."""
    frames = {}
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("m")
        for pane in PANES:
            await pilot.press(pane)
            await settled(pilot)
            frames[pane] = list(app.screen._compositor.render_strips())
    return frames


def text_of(strips: list[Strip]) -> list[str]:
    return [strip.text.rstrip() for strip in strips]


def colours_of(strips: list[Strip]) -> list[str]:
    """Words that have a look of their own, each with it, in the order of their first place."""
    found: dict[str, None] = {}
    for strip in strips:
        for segment in strip:
            look = _look(segment.style)
            if look and _WORD.search(segment.text):
                found[f"{' '.join(_WORD.findall(segment.text)[:4])}: {look}"] = None
    return list(found)


def _look(style: Style | None) -> str:
    if style is None or style.color is None:
        return ""
    colour = style.color.get_truecolor()
    return f"{colour.hex}{' bold' if style.bold else ''}{' underlined' if style.underline else ''}"


def is_grey(style: Style | None) -> bool:
    colours = [colour.get_truecolor() for colour in (style.color, style.bgcolor) if colour] if style else []
    return all(max(colour) - min(colour) <= 1 for colour in colours)


def hold(name: str, lines: list[str], *, update: bool) -> None:
    """Compare with what is on file, or write it there."""
    path = FRAMES / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    known = path.read_text() if path.exists() else ""
    changes = difflib.unified_diff(known.splitlines(), text.splitlines(), "on file", "now", lineterm="", n=0)
    assert known == text, "\n".join(changes)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.usefixtures("recorded_runs")
async def test_every_pane_in_colour(
    runs_file: RunsFile, size: tuple[int, int], pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    frames = await frames_of(RoomApp(runs_file, runs_file.runs_dir), size)
    lines = []
    for pane, strips in frames.items():
        lines += [f"=== pane {pane}", *text_of(strips), "--- looks", *colours_of(strips)]
    hold(f"{size[0]}x{size[1]}", lines, update=pytestconfig.getoption("update_snapshots"))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.usefixtures("recorded_runs")
async def test_every_pane_without_colour_says_the_same(
    runs_file: RunsFile, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    frames = await frames_of(RoomApp(runs_file, runs_file.runs_dir), size)
    coloured = (FRAMES / f"{size[0]}x{size[1]}.txt").read_text()
    for pane, strips in frames.items():
        assert f"=== pane {pane}\n" + "\n".join(text_of(strips)) + "\n--- looks" in coloured
        assert all(is_grey(segment.style) for strip in strips for segment in strip)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.usefixtures("recorded_runs")
async def test_every_pane_in_ascii(runs_file: RunsFile, size: tuple[int, int], pytestconfig: pytest.Config) -> None:
    frames = await frames_of(RoomApp(runs_file, runs_file.runs_dir, plain=True), size)
    lines = []
    for pane, strips in frames.items():
        lines += [f"=== pane {pane}", *text_of(strips)]
    hold(f"{size[0]}x{size[1]}-ascii", lines, update=pytestconfig.getoption("update_snapshots"))
    foreign = {line for line in lines for character in line if ord(character) > 126}
    assert all("txt.exe" in line or "\ufffd" in line for line in foreign), "only what the log itself says"
