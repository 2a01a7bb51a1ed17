"""The room's vocabulary: how a state, a verdict and a number look. Each is a word and a shape as well as a colour."""

from __future__ import annotations

from textual.content import Content

from engine.run.events import Verdict
from engine.run.state import Status
from tui.text import clean, in_ascii

_STATUS_LOOK: dict[Status, tuple[str, str, str]] = {
    # shape, its ASCII stand-in, theme style
    Status.QUEUED: ("○", "o", "$foreground-muted"),
    Status.SUBMITTED: ("○", "o", "$text-accent"),
    Status.PENDING: ("◌", "o", "$text-accent"),
    Status.STARTING: ("◔", "o", "$text-accent"),
    Status.RUNNING: ("▶", ">", "$text-accent"),
    Status.STOPPING: ("◕", "~", "$text-warning"),
    Status.STALLED: ("◫", "!", "$text-warning"),
    Status.FINISHED: ("■", "#", "$text-success"),
    Status.FAILED: ("✖", "x", "$text-error"),
    Status.STOPPED: ("□", "=", "$foreground-muted"),
    Status.LOST: ("?", "?", "$text-error"),
    Status.UNKNOWN: ("?", "?", "$text-warning"),
}
_VERDICT_LOOK: dict[Verdict, tuple[str, str, str]] = {
    "passed": ("✔", "+", "$text-success"),
    "missed": ("✖", "x", "$text-error"),
    "pending": ("·", ".", "$foreground-muted"),
    "undecidable": ("?", "?", "$text-warning"),
}


def say(text: str, style: str = "", *, plain: bool = False) -> Content:
    """Foreign or own text, cleaned, never parsed as markup, and in ASCII where the terminal knows nothing else."""
    cleaned = in_ascii(clean(text)) if plain else clean(text)
    return Content.styled(cleaned, style) if style else Content(cleaned)


def status_mark(status: Status, *, plain: bool = False, word: bool = True) -> Content:
    """`▶ RUNNING`."""
    shape, fallback, style = _STATUS_LOOK[status]
    mark = fallback if plain else shape
    return Content.styled(f"{mark} {status}" if word else mark, style)


def verdict_mark(verdict: str, *, plain: bool = False, word: bool = False) -> Content:
    """`✔`, `✖`, `·` or `?`, with the word if wanted."""
    known: Verdict = verdict if verdict in _VERDICT_LOOK else "undecidable"
    shape, fallback, style = _VERDICT_LOOK[known]
    mark = fallback if plain else shape
    return Content.styled(f"{mark} {known.upper()}" if word else mark, style)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    if value is None:
        return "-"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, or a dash."""
    return "-" if value is None else f"{value:+.{digits}f}"


def lines(*rows: Content) -> Content:
    """Rows below each other."""
    return Content("\n").join(rows)
