"""`lvm-tui watch`: says what happens to the runs as it happens, where no room is open, and lets an autopilot act."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click

from engine.run.convert import ConfigError
from tui.control.journal import Journal
from tui.control.news import News
from tui.control.noticed import Alert
from tui.control.outcomes import record_outcomes
from tui.control.pilot_seat import PilotSeat
from tui.control.plans import Plans
from tui.control.watcher import Watcher
from tui.text import clean

POLL_S = 1.0
NOTIFY_S = 60.0
"""A command of the person's that takes longer is killed: it must not pile up."""


class Notifier:
    """Runs the person's command at every alert, without waiting for it.

    Args:
        argv: the command and its arguments; empty for none.
        complain: is told once if it cannot be started.
    """

    def __init__(self, argv: Sequence[str], complain: Callable[[str], None]) -> None:
        self._argv = list(argv)
        self._complain = complain
        self._running: list[tuple[float, subprocess.Popen[bytes]]] = []

    def tell(self, alert: Alert) -> None:
        """Start the command."""
        if not self._argv:
            return
        about = {"RUN": alert.run, "TITLE": alert.title, "TEXT": alert.text, "SEVERITY": alert.severity}
        # from the logs of a foreign program, some of it: no control character reaches the command
        environment = os.environ | {f"LVM_{key}": clean(value) for key, value in about.items()}
        try:
            process = subprocess.Popen(self._argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            self._complain(f"[room] notify: {self._argv[0]}: {error.strerror}. It is not tried again.")
            self._argv = []
            return
        self._running.append((time.monotonic() + NOTIFY_S, process))

    def tidy(self) -> None:
        """Reap what has ended, kill what takes too long."""
        for deadline, process in self._running:
            if time.monotonic() > deadline:
                process.kill()
        self._running = [entry for entry in self._running if entry[1].poll() is None]

    def finish(self) -> None:
        """Wait for what is still telling, as long as it may take."""
        while self._running:
            time.sleep(0.02)
            self.tidy()


def follow_alerts(watcher: Watcher, journal: Journal, goes_on: Callable[[], bool]) -> Iterator[Alert | None]:
    """What happens from now on, one alert after another; None after each look, which is when to rest.

    Args:
        watcher: of the runs; what it finds at first is not news.
        journal: of the decisions, likewise.
        goes_on: asked before every look.
    """
    news = News(watcher, journal)
    while goes_on():
        news.poll()
        yield from news.alerts()
        yield None


def watch(plans: Plans, *, until_idle: bool = False, seat: PilotSeat | None = None) -> None:
    """Print alerts until interrupted, and write down what decisions brought.

    Args:
        plans: of the folder; a reader's journal is left alone.
        until_idle: end when no run is alive any more.
        seat: of an autopilot, which looks after every look, and ends the watch when it will act no more; None only
            watches. It is left when the watch ends.

    Raises:
        ConfigError: `until_idle`, and nothing is alive.
    """
    try:
        watcher = Watcher(plans.runs_dir, plans.file.room.stall_s)
        watcher.catch_up()
        if until_idle and not _any_alive(watcher):
            raise ConfigError(f"{watcher.runs_dir}: no run is alive, so there is nothing to wait for.")
        notifier = Notifier(plans.file.room.notify, _warn)
        _watch(plans, watcher, notifier, until_idle, seat)
        notifier.finish()
    finally:
        if seat is not None:
            seat.leave("the watch was ended")


def _watch(plans: Plans, watcher: Watcher, notifier: Notifier, until_idle: bool, seat: PilotSeat | None) -> None:
    said, problem, is_over = "", "", False
    for alert in follow_alerts(watcher, plans.journal, lambda: True):
        if alert is not None:
            _say(f"{alert.severity.upper():11} {alert.run}: {alert.title}: {alert.text}")
            _ring(f"{alert.run}: {alert.title}")
            notifier.tell(alert)
            continue
        if is_over:  # and its end was told
            return
        notifier.tidy()
        problem = _note_outcomes(plans, watcher, problem)
        if seat is not None:
            turn = seat.look(watcher)
            is_over = turn.is_over
            if is_over:
                seat.leave(turn.words)
            elif turn.words != said and not turn.acted:  # what it did comes as an alert
                said = turn.words
                _say(f"{'WAITS':11} {said}")
        elif until_idle and not _any_alive(watcher):
            return
        time.sleep(0.0 if is_over else POLL_S)


def _note_outcomes(plans: Plans, watcher: Watcher, told: str) -> str:
    """Write down what is known by now; what stands in the way is told once, and returned."""
    try:
        record_outcomes(plans, list(watcher.views.values()))
    except OSError as error:
        problem = f"what was measured cannot be written down: {error}"
        if problem != told:
            _warn(problem)
        return problem
    return ""


def _warn(text: str) -> None:
    click.echo(f"warning: {clean(text)}", err=True)


def _say(text: str) -> None:
    click.echo(clean(f"{time.strftime('%H:%M:%S')} {text}"))


def _any_alive(watcher: Watcher) -> bool:
    return any(view.status.is_alive for view in watcher.views.values())


def _ring(text: str) -> None:
    """The terminal's bell, and its own notice (OSC 9) where it knows one."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\a\x1b]9;{clean(text)}\x1b\\")
        sys.stderr.flush()
