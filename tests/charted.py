"""A run right at its gate beside a baseline that has ended, in a room whose chart is asked what it shows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from recorded import MAMBA_HISTORY, make_spec, passed_amn, run_events, stamp, write_run
from textual.pilot import Pilot

from engine.run.directory import RunDirectory
from engine.run.events import EpochEnded, Event, StepLogged, encode_event
from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig
from tui.app import RoomApp
from tui.panes.chart import ChartPane
from tui.widgets.small_chart import SmallChart

SMALL, ROOMY = (80, 24), (160, 45)
SPEC = msgspec.structs.replace(make_spec(), evals={"smoke": EvalConfig(at_epoch=4)})


def open_app(file: RunsFile, *, readonly: bool = False, plain: bool = False) -> RoomApp:
    return RoomApp(file, file.runs_dir, readonly=readonly, plain=plain)


def chart_pane(app: RoomApp) -> ChartPane:
    return app.screen.query_one(ChartPane)


def legend(app: RoomApp) -> str:
    chart = chart_pane(app).chart
    return " ".join(chart.render_line(y).text for y in range(2))


def drawn_from_now_on(app: RoomApp) -> Callable[[], set[str]]:
    """Tells which of the small charts in sight, by their metrics, were drawn again since this was called."""
    charts = {chart.plot.title.strip("> "): chart for chart in app.screen.query(SmallChart) if chart.visible}
    before = {name: chart.plot for name, chart in charts.items()}
    return lambda: {name for name, chart in charts.items() if chart.plot is not before[name]}


def notices(app: RoomApp) -> list[str]:
    return [notification.message for notification in app._notifications]


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within 10 s: {what}")


def write_gated(runs_file: RunsFile) -> RunDirectory:
    """A run two epochs and four steps old, and the baseline."""
    run = write_run(runs_file.runs_dir, SPEC, run_events(SPEC, MAMBA_HISTORY[:2], steps_of_next=4))
    passed_amn(runs_file.runs_dir)
    return run


def append(run: RunDirectory, *later: Event) -> None:
    """What an engine would write next."""
    first = len(run.events_file.read_bytes().splitlines()) + 1
    with run.events_file.open("ab") as file:
        file.writelines(encode_event(event) for event in stamp(later, first=first))


def next_epoch(epoch: int, value: float) -> Event:
    return next(
        event
        for event in run_events(SPEC, [*MAMBA_HISTORY[: epoch - 1], value])
        if isinstance(event, EpochEnded) and event.record.epoch == epoch
    )


def next_step(step: int) -> Event:
    last = next(event for event in run_events(SPEC, [0.1]) if isinstance(event, StepLogged))
    return msgspec.structs.replace(last, epoch=3, step=step, loss=9.75)
