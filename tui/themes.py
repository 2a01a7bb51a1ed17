"""The room's own themes: dark, light, high contrast. Every one tells its series and states apart without hue.

The hues are those of Okabe and Ito (Color Universal Design, 2008): sky blue, orange, vermillion and bluish green stay
four colours under every common colour blindness. Here their lightness is set apart too, and tuned to each background.
The tests compute both, and the contrast of every text with what is behind it (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

from typing import Final

from textual.app import App
from textual.theme import Theme

from engine.run.convert import suggestion


def _theme(
    name: str,
    *,
    ground: tuple[str, str, str],
    ink: tuple[str, str, str],
    states: tuple[str, str, str, str],
    dark: bool,
) -> Theme:
    """A theme of ours.

    Args:
        name: what `[room] theme` calls it.
        ground: background of the room, of what lies on it, and of its first and last line.
        ink: text, text that matters less, text of what cannot be done now.
        states: the model and the focus; the baseline and warnings; errors; success and the gate's line.
        dark: whether text is lighter than its background.
    """
    (background, surface, panel), (foreground, muted, disabled), (primary, warning, error, success) = (
        ground,
        ink,
        states,
    )
    return Theme(
        name=name,
        primary=primary,
        secondary=primary,
        accent=primary,
        warning=warning,
        error=error,
        success=success,
        foreground=foreground,
        background=background,
        surface=surface,
        panel=panel,
        dark=dark,
        variables={
            "foreground-muted": muted,
            "foreground-disabled": disabled,
            "text": foreground,
            "text-muted": muted,
            "text-disabled": disabled,
            **{f"text-{state}": color for state, color in zip(_STATES, (primary, primary, *states[1:]), strict=True)},
            # a cursor, a chosen option and a focused button are a block of colour with the background's ink on it
            "block-cursor-background": primary,
            "block-cursor-foreground": background,
            "block-cursor-blurred-background": panel,
            "block-cursor-blurred-foreground": foreground,
            "button-color-foreground": background,
            "input-selection-background": primary,
            "input-selection-foreground": background,
            "footer-key-foreground": primary,
        },
    )


_STATES: Final = ("primary", "accent", "warning", "error", "success")

THEMES: Final = (
    _theme(
        "lvm-dark",
        ground=("#121212", "#1e1e1e", "#242a30"),
        ink=("#e4e4e4", "#b4b4b4", "#929292"),
        states=("#5cc9ff", "#ffc827", "#fd8b57", "#48a08a"),
        dark=True,
    ),
    _theme(
        "lvm-light",
        ground=("#ffffff", "#f5f5f5", "#eef0f2"),
        ink=("#161616", "#404040", "#5c5c5c"),
        states=("#00387a", "#856700", "#7d1400", "#006b58"),
        dark=False,
    ),
    _theme(
        "lvm-contrast",
        ground=("#000000", "#000000", "#101010"),
        ink=("#ffffff", "#e0e0e0", "#b8b8b8"),
        states=("#5ebaff", "#ffc300", "#ff744a", "#00fea1"),
        dark=True,
    ),
)
"""In the order in which they are offered; the first is the default."""


def offer_themes(app: App[None]) -> None:
    """Have the application know them, beside the toolkit's own."""
    for theme in THEMES:
        app.register_theme(theme)


def use_theme(app: App[None], name: str, where: str) -> str:
    """Take up a theme.

    Args:
        app: the room.
        name: what it is called.
        where: who asked for it, for the words on a name that is none.

    Returns:
        What is wrong; empty if nothing is.
    """
    if name not in app.available_themes:
        return f'{where}: no theme "{name}".{suggestion(name, app.available_themes)}'
    app.theme = name
    return ""
