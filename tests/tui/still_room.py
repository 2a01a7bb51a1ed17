"""A room that looks the same on every machine and at every time, for pictures and frames of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from recorded import BEGAN, LOG_LINES
from textual.pilot import Pilot

from tui.control.usage import MachineUsage, UsageMeter
from tui.panes.log import LogPane


def hold_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figures of the machine, and the same age of its runs."""
    usage = MachineUsage(2, 12.0, 4 << 30, 24 << 30, 80 << 30)
    monkeypatch.setattr(UsageMeter, "read", lambda *_: usage)
    monkeypatch.setattr("tui.app.time", SimpleNamespace(time=lambda: BEGAN + 7200))


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the log has been read: it comes a moment after the rest."""
    await pilot.pause()
    log = pilot.app.screen.query_one(LogPane).log_view
    for _ in range(200):
        if log.line_count == len(LOG_LINES):
            break
        await pilot.pause(0.05)
    await pilot.pause()
