"""`lvm-tui watch`: says what happens to the runs as it happens, where no room is open, and lets an autopilot act."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click

from engine.run.convert import ConfigError
from tui.control.alerts import Alert, Seen, alerts_since, look
from tui.control.autopilot import Autopilot
from tui.control.views import Watcher
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


def follow_alerts(watcher: Watcher, goes_on: Callable[[], bool]) -> Iterator[Alert | None]:
    """What happens from now on, one alert after another; None after each look, which is when to rest.

    Args:
        watcher: of the runs; what it finds at first is not news.
        goes_on: asked before every look.
    """
    seen: dict[str, Seen] = {}
    while goes_on():
        watcher.poll()
        for view in watcher.views.values():
            if not view.catching_up:
                yield from alerts_since(seen.get(view.id), view)
                seen[view.id] = look(view)
        yield None


def watch(
    watcher: Watcher, notify: Sequence[str], *, until_idle: bool = False, autopilot: Autopilot | None = None
) -> None:
    """Print alerts until interrupted.

    Args:
        watcher: of the runs.
        notify: see `Notifier`.
        until_idle: end when no run is alive any more.
        autopilot: acts after every look, and ends the watch when it will act no more; None only watches.

    Raises:
        ConfigError: `until_idle`, and nothing is alive.
    """
    watcher.catch_up()
    if until_idle and not _any_alive(watcher):
        raise ConfigError(f"{watcher.runs_dir}: no run is alive, so there is nothing to wait for.")
    notifier = Notifier(notify, lambda text: click.echo(f"warning: {clean(text)}", err=True))
    said = ""
    for alert in follow_alerts(watcher, lambda: True):
        if alert is not None:
            _say(f"{alert.severity.upper():11} {alert.run}: {alert.title}: {alert.text}")
            _ring(f"{alert.run}: {alert.title}")
            notifier.tell(alert)
            continue
        notifier.tidy()
        if autopilot is not None:
            turn = autopilot.look(list(watcher.views.values()), time.time())
            if turn.words != said:
                said = turn.words
                _say(f"{'ACTED' if turn.acted else 'OVER' if turn.is_over else 'WAITS':11} {said}")
            if turn.is_over:
                return
        elif until_idle and not _any_alive(watcher):
            return
        time.sleep(POLL_S)


def _say(text: str) -> None:
    click.echo(clean(f"{time.strftime('%H:%M:%S')} {text}"))


def _any_alive(watcher: Watcher) -> bool:
    return any(view.status.is_alive for view in watcher.views.values())


def _ring(text: str) -> None:
    """The terminal's bell, and its own notice (OSC 9) where it knows one."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\a\x1b]9;{clean(text)}\x1b\\")
        sys.stderr.flush()
