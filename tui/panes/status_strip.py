"""The status strip: the one line that is always there. The run, its state, its gate, what bounds it, when it ends."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content
from textual.reactive import reactive

from engine.run.state import Status
from tui.control.projection import project
from tui.control.report import duration
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.keymap import key_of
from tui.panes.empty import no_run
from tui.panes.words import number, say, status_mark, verdict_mark
from tui.text import clean, shorten
from tui.widgets.steady_text import SteadyText

_LABELS_FROM_WIDTH = 110
"""Narrower terminals get the numbers without their names, so that gate, baseline and floor still fit."""

_HEADING_FROM_WIDTH = 200
"""Narrower ones leave out where val_cosine is heading: the decision tree says it."""

_PADDING = 2
"""Cells beside the line."""

_REASON_CHARS = 12
"""A reason of which there is less to be seen is left out."""

_CAUSE_CHARS = 60
"""Of why a job waits or what became of it. The list of runs and the decision tree say all of it."""

_FIX_CHARS = 32
"""Of a fix's title: the state behind it matters more."""


class StatusStrip(SteadyText):
    """What matters now, in one line."""

    DEFAULT_CSS = (
        "StatusStrip { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"
    )

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)
    plain: reactive[bool] = reactive(False)

    def watch_plain(self) -> None:
        """Draw with other characters."""
        self.watch_scene(self.scene)

    def on_resize(self) -> None:
        """Say more, or less."""
        self.watch_scene(self.scene)

    def watch_scene(self, scene: Scene | None) -> None:
        """Draw the moment."""
        if scene is not None:
            self.show(self._line(scene), layout=False)

    def _line(self, scene: Scene) -> Content:
        """The line in the fullest form there is room for; a number that does not fit is left out, for half of one lies.

        Where even the names of the numbers gone is not enough, those that bound val_cosine go first, and so they do for
        the reason of a run that has failed or is lost.
        """
        run, room = scene.selected, self.app.size.width - _PADDING
        is_narrow = self.app.size.width < _LABELS_FROM_WIDTH
        reason = "" if run is None else self._reason(run)
        # why a run has ended badly matters more than what bounds it
        is_bad = bool(reason) and run is not None and run.status in {Status.FAILED, Status.LOST}
        needed = 2 + min(len(reason), _REASON_CHARS) if is_bad else 0
        tries = [(is_narrow, True), (True, True)]
        if run is not None and (is_bad or run.status.is_alive):  # else there is no eta behind them to make room for
            tries.append((True, False))
        for is_narrow, has_bounds in tries:
            gap = " " if is_narrow else "  "
            head = [*self._head(scene, is_narrow=is_narrow)]
            tail = [] if run is None else [*self._numbers(scene, run, is_narrow=is_narrow, has_bounds=has_bounds)]
            line = Content(gap).join([*head, *tail])
            if line.cell_length + needed <= room:
                break
        while tail and line.cell_length > room:
            tail.pop()
            line = Content(gap).join([*head, *tail])
        where = [] if run is None else [*self._launcher(run)]
        left = room - Content(gap).join([line, *where]).cell_length - len(gap)
        parts = [line]
        if reason and left >= min(len(reason), _REASON_CHARS):
            parts.append(say(shorten(reason, left), "$text-warning", plain=self.plain))
        return Content(gap).join([*parts, *where])

    def _head(self, scene: Scene, *, is_narrow: bool) -> Iterator[Content]:
        """What the room has to say of itself, the run, and its state."""
        if scene.readonly or not is_narrow:
            yield say("lvm" + (" READ-ONLY" if scene.readonly else ""), "bold $text-primary", plain=self.plain)
        if scene.problem:
            yield say(f"! {scene.problem}", "bold $text-error", plain=self.plain)
        if scene.unread:
            words = f"!{scene.unread}" if is_narrow else f"! {scene.unread} new"
            yield say(words, "bold $text-accent", plain=self.plain)
        yield from self._autopilot(scene)
        run = scene.selected
        if run is None:
            yield say(no_run(scene), plain=self.plain)
            return
        if scene.undo is not None:
            what = "" if is_narrow else f" {shorten(clean(scene.undo.fix), _FIX_CHARS)}"
            words = f"{key_of('act.undo', scene.keys)} undoes{what} ({scene.undo_left_s:.0f} s)"
            yield say(words, "bold $text-warning", plain=self.plain)
        if scene.undoing is not None:
            what = "" if is_narrow else f" {shorten(clean(scene.undoing.fix), _FIX_CHARS)}"
            yield say(f"undoing{what}", "bold $text-warning", plain=self.plain)
        yield say(run.id, "bold", plain=self.plain)
        yield status_mark(run.status, plain=self.plain)
        if run.catching_up:
            yield say(f"reading its record, {run.progress:.0%}", "$text-warning", plain=self.plain)

    def _launcher(self, run: RunView) -> Iterator[Content]:
        """Where a run waits that has not begun."""
        if self._only_waits(run) and run.life.launch is not None:
            yield say(f"[{run.life.launch.launcher}]", "$foreground-muted", plain=self.plain)

    @staticmethod
    def _only_waits(run: RunView) -> bool:
        return run.latest is None and run.status in {Status.SUBMITTED, Status.PENDING, Status.UNKNOWN}

    def _numbers(self, scene: Scene, run: RunView, *, is_narrow: bool, has_bounds: bool) -> Iterator[Content]:
        """How far it is, what it has reached, its gate, what bounds it, and when it ends."""
        if self._only_waits(run):
            return
        latest = run.latest
        done = f"{latest.epoch if latest else 0}/{run.spec.config.epochs}"
        value = number(latest.val_cosine if latest else None)
        yield say(done if is_narrow else f"ep {done}", plain=self.plain)
        yield say(value if is_narrow else f"val_cos {value}", plain=self.plain)
        yield from self._heading(run)
        yield self._gate(run, is_narrow=is_narrow)
        if has_bounds:
            yield from self._bounds(scene, run)
        if run.status.is_alive:
            yield say(f"eta {duration(run.eta_s(run.spec.config.epochs, scene.now))}", plain=self.plain)

    @staticmethod
    def _reason(run: RunView) -> str:
        if run.is_blocked and not run.status.is_alive:
            return "blocked by the preflight (4, 8)"
        if run.life.launch is None:
            return clean(run.reason)
        # a scheduler is wordy: what comes behind its first sentence is told where there is room
        return shorten(clean(run.reason).partition("; ")[0], _CAUSE_CHARS)

    def _autopilot(self, scene: Scene) -> Iterator[Content]:
        """Whose steps the selected run's family takes, and where the room's own autopilot is if it is not there."""
        piloted = scene.piloted
        if piloted is None or piloted.root != scene.family:
            if scene.holder:
                yield say("AUTO elsewhere", "bold $text-accent", plain=self.plain)
            elif piloted is not None and not piloted.turn.is_over:
                yield say(f"AUTO {piloted.root}", "bold $text-accent", plain=self.plain)
            return
        words, style = ("AUTO over", "$text-warning") if piloted.turn.is_over else ("AUTO", "$text-accent")
        yield say(words, f"bold {style}", plain=self.plain)

    def _heading(self, run: RunView) -> Iterator[Content]:
        """Where val_cosine is heading, where there is room to say it."""
        series = [(row.epoch, row.val_cosine) for row in run.state.epochs if row.val_cosine is not None]
        found = project(series, run.spec.config.epochs)
        if found is not None and run.status.is_alive and self.app.size.width >= _HEADING_FROM_WIDTH:
            yield say(f"→ {found.words()}", "$foreground-muted", plain=self.plain)

    def _gate(self, run: RunView, *, is_narrow: bool) -> Content:
        judged = run.gate_judgement(run.gate)
        is_judged = judged.verdict in {"passed", "missed"} and judged.value is not None
        margin = f" {(judged.value or 0.0) - judged.bar:+.3f}" if is_judged else ""
        return Content.assemble(
            say(f"{'' if is_narrow else 'gate'}@{run.gate.epoch} ", plain=self.plain),
            verdict_mark(judged.verdict, plain=self.plain, word=True),
            margin,
        )

    def _bounds(self, scene: Scene, run: RunView) -> Iterator[Content]:
        other = scene.pair[0] if run is scene.pair[1] else scene.pair[1]
        if other is not None and other.latest is not None:
            label = "AMN" if other is scene.pair[1] else other.spec.name
            yield say(f"{label} {number(other.latest.val_cosine)}", "$foreground-muted", plain=self.plain)
        if run.state.floors:
            yield say(f"floor {max(run.state.floors.values()):.3f}", "$foreground-muted", plain=self.plain)
