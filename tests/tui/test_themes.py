"""Themes: whoever looks can read every word, tell the runs apart, and choose another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from colours import VISIONS, contrast, nearest_pair
from recorded import make_spec, run_events, write_run
from textual.color import Color
from textual.screen import ModalScreen
from textual.theme import BUILTIN_THEMES, Theme

from engine.run.runs_file import RunsFile, load_runs
from tui.app import RoomApp
from tui.panes.status_strip import StatusStrip
from tui.themes import THEMES

READABLE = 4.5
"""WCAG 2.2, success criterion 1.4.3, level AA, for text of a terminal's size."""
VISIBLE = 3.0
"""Success criterion 1.4.11, for graphics that have to be understood: here the points and lines of a chart."""
TOLD_APART = 15.0
"""CIE76: about six just noticeable differences, for thin lines on a dark ground."""
GRAPHICS = range(0x2800, 0x2900)
"""Braille, which the lines of a chart consist of."""
FRAMES = range(0x2500, 0x25A0)
"""Box drawing and blocks: borders, axes, scrollbars and shades. They group, and nothing is read off them."""

by_name = pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)


def hard_to_read(app: RoomApp) -> list[str]:
    """Every piece of text that has too little contrast with what is behind it; under a dialog nothing is to be read."""
    found = []
    strips = app.screen._compositor.render_strips()
    if isinstance(app.screen, ModalScreen):
        dialog = app.screen.children[0].region
        strips = [strip.crop(dialog.x, dialog.right) for strip in strips[dialog.y : dialog.bottom]]
    for strip in strips:
        for text, style, _ in strip:
            if style is None or not text.strip() or style.color is None or style.bgcolor is None:
                continue
            ink, ground = (Color.from_rich_color(color).hex for color in (style.color, style.bgcolor))
            ink, ground = (ground, ink) if style.reverse else (ink, ground)
            codes = [ord(character) for character in text if not character.isspace()]
            if all(code in FRAMES for code in codes):
                continue
            bar = VISIBLE if all(code in GRAPHICS or code in FRAMES for code in codes) else READABLE
            if contrast(ink, ground) < bar:
                found.append(f"{text.strip()[:40]!r} {ink} on {ground}: {contrast(ink, ground):.2f} < {bar}")
    return sorted(set(found))


def states(theme: Theme) -> dict[str, str]:
    """What tells series and states apart: model, baseline, any other run, what is wrong, what passed."""
    colors = {
        "model": theme.primary,
        "baseline": theme.warning,
        "other": theme.foreground,
        "wrong": theme.error,
        "passed": theme.success,
    }
    return {name: color for name, color in colors.items() if color is not None}


SCREENS = {
    "the room": (),
    "small charts": ("g",),
    "help": ("question_mark",),
    "a plan": ("C",),
    "palette": ("colon",),
    "settings": ("comma",),
    "alerts": ("exclamation_mark",),
    "what the costly keys would do": ("i",),
}
"""What is looked at, and the keys that lead there."""


@by_name
@pytest.mark.usefixtures("recorded_runs")
async def test_every_word_on_the_screen_is_readable(runs_file: RunsFile, theme: Theme) -> None:
    spec = make_spec(number=3)
    write_run(runs_file.runs_dir, spec, run_events(spec, [0.2, 0.3], steps_of_next=4))
    path = Path(runs_file.path)
    path.write_text(path.read_text().replace("[room]", "[room]\nconfirm = true"))
    app = RoomApp(load_runs(path), runs_file.runs_dir)
    async with app.run_test(size=(200, 60)) as pilot:
        app.theme = theme.name
        for name, keys in SCREENS.items():
            await pilot.press(*keys)
            await pilot.pause()
            assert (name in ("the room", "small charts")) is not isinstance(app.screen, ModalScreen)
            assert hard_to_read(app) == [], name
            if keys:
                await pilot.press("escape")


@pytest.mark.usefixtures("recorded_runs")
async def test_a_theme_that_nobody_can_read_is_caught(runs_file: RunsFile) -> None:
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        app.register_theme(Theme("fog", "#888888", foreground="#777777", background="#666666", panel="#6f6f6f"))
        app.theme = "fog"
        await pilot.pause()
        assert len(hard_to_read(app)) > 20


@by_name
@pytest.mark.parametrize("vision", VISIONS)
def test_series_and_states_stay_apart_whatever_colours_one_sees(theme: Theme, vision: str) -> None:
    distance, one, other = nearest_pair(states(theme), vision)
    assert distance >= TOLD_APART, f"{theme.name}, {vision}: {one} and {other} are {distance:.1f} apart"


def test_a_red_and_a_green_of_equal_lightness_are_caught() -> None:
    red_and_green = {"wrong": "#c8503c", "passed": "#6e8c28"}
    assert nearest_pair(red_and_green, "full colour")[0] > 50
    assert nearest_pair(red_and_green, "deuteranopia")[0] < TOLD_APART


@by_name
def test_a_state_is_readable_on_whatever_it_may_lie(theme: Theme) -> None:
    for ground in (theme.background, theme.surface, theme.panel):
        assert ground is not None
        inks = [*states(theme).values(), theme.variables["foreground-muted"], theme.variables["foreground-disabled"]]
        assert min(contrast(ink, ground) for ink in inks) >= READABLE


async def test_the_rooms_own_theme_is_the_default_and_others_are_known(runs_file: RunsFile) -> None:
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test():
        assert app.theme == THEMES[0].name
        assert {theme.name for theme in THEMES} | set(BUILTIN_THEMES) <= set(app.available_themes)


async def test_runs_toml_chooses_a_theme_and_an_edit_changes_it(runs_file: RunsFile) -> None:
    path = Path(runs_file.path)
    text = path.read_text()
    path.write_text(text.replace("[room]", '[room]\ntheme = "lvm-light"'))
    app = RoomApp(load_runs(path), runs_file.runs_dir)
    async with app.run_test(size=(200, 60)) as pilot:
        assert app.theme == "lvm-light"
        path.write_text(text.replace("[room]", '[room]\ntheme = "lvm-contrast" # brighter'))
        app.poll()
        await pilot.pause()
        assert app.theme == "lvm-contrast"
        path.write_text(text.replace("[room]", '[room]\ntheme = "lvm-kontrast"'))
        app.poll()
        await pilot.pause()
        assert app.theme == "lvm-contrast", "the theme before stays"
        strip = str(app.screen.query_one(StatusStrip).render())
        assert 'no theme "lvm-kontrast". Did you mean "lvm-contrast"?' in strip
