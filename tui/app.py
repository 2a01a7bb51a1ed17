"""The application: polls the folder, puts the scene together, hands it down, and sends keys to the actions.

It decides nothing: judgement is in `tui.control`, looks are in the panes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.reactive import reactive
from textual.screen import Screen

from engine.run.convert import ConfigError
from engine.run.runs_file import RunsFile, load_runs
from tui.acts import Act, foretell, prepare
from tui.announcing import NOTICE_CHARS, Announcer
from tui.control.actions import Actions
from tui.control.news import News
from tui.control.preferences import Personal, Source, load_personal, personal_file
from tui.control.room_memory import RoomMemory, state_folder
from tui.control.scene import Scene, build_scene, stepped
from tui.control.shelf import Shelf
from tui.control.usage import MachineUsage, UsageMeter
from tui.control.watcher import Watcher
from tui.keymap import ACTION_KEYS, ROOM_BINDINGS
from tui.looking import Looking
from tui.messages import ActionDone, ActionFailed
from tui.outside import collect_as_usual, collect_seldom, end_with_terminal, file_mark, on_signals
from tui.panes.chart import ChartPane
from tui.panes.runs import RunsPane
from tui.piloting import OutcomeKeeper, RoomPilot
from tui.remembering import Remembering
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.plan import PlanScreen
from tui.screens.room import RoomScreen
from tui.tastes import Settled, Tastes
from tui.text import clean, shorten

POLL_S = 0.5
"""Two looks a second: what a person can follow, at a fraction of a percent of a core."""
CATCH_UP_S = 0.03
"""Between two goes at records that take long to read, so that keys are heard meanwhile."""
STILL_S = 5.0
"""Where no run is alive, ages and the machine's figures are all that moves: they need not move twice a second."""
USAGE_S = 2.0
"""CPU shares over less than this are noise."""


class RoomApp(Settled, Remembering, Looking):
    """The control room over one runs folder."""

    CSS_PATH = "app.tcss"
    TITLE = "lvm-tui"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = list(ROOM_BINDINGS)

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)

    def __init__(
        self,
        file: RunsFile,
        runs_dir: Path,
        *,
        readonly: bool = False,
        plain: bool = False,
        personal: Personal | None = None,
        memory: RoomMemory | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        super().__init__()
        self.file = file
        self.tastes = Tastes(personal or Personal(), {"ascii": True} if plain else {}, readonly=readonly)
        self.runs_dir = runs_dir
        self.readonly = readonly
        self.watcher = Watcher(runs_dir, file.room.stall_s, shelf)
        self.actions = Actions(file, runs_dir, "person", readonly=readonly)
        self.pilot = RoomPilot()
        self.memory = memory
        self.selected_id = ""
        self._tick = 0
        self._is_catching_up = False
        self._problem = ""
        self._news, self._keeper = News(self.watcher, self.actions.journal), OutcomeKeeper()
        self.announcer = Announcer(self, self._news)
        self._meter = UsageMeter(runs_dir)
        self._usage: MachineUsage | None = None
        self._watched = file
        self._file_mark = file_mark(file)
        self._room = RoomScreen()

    def get_default_screen(self) -> Screen[None]:
        """The room itself."""
        return self._room

    def on_mount(self) -> None:
        """Look once, then keep looking."""
        self.take_up_settings()
        self.call_after_refresh(self.recall)
        self.read_usage()
        self.poll()
        self.set_interval(POLL_S, self.poll)
        self.set_interval(USAGE_S, self.read_usage)
        on_signals(lambda code: self.exit(return_code=code))

    def on_unmount(self) -> None:
        """The autopilot of a room ends with it."""
        self.pilot.end()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self) -> None:
        """Take in what changed on disk and show it."""
        self._reload_file()
        if self._news.poll() or not self._tick:
            self._tick += 1
        self._keeper.look(self.actions, list(self.watcher.views.values()), self._turn)
        self.announcer.announce()
        followed = self._room.followed(self.pilot.followed(self.selected_id), self.watcher.views)
        self._tick, self.selected_id = self._tick + (followed != self.selected_id), followed
        self.show_scene()
        if not self._is_catching_up and self._has_more:
            self._is_catching_up = True
            self.set_timer(CATCH_UP_S, self.catch_up)
        elif not self._is_catching_up:
            collect_as_usual()

    def catch_up(self) -> None:
        """Read on. What is found is shown with the next look, which comes soon, or at once where it was the last."""
        self._tick += self._news.poll()
        if self._has_more:
            self.set_timer(CATCH_UP_S, self.catch_up)
        else:
            self._is_catching_up = False
            self.poll()

    @property
    def _has_more(self) -> bool:
        """Whether records on disk have not been read to their ends."""
        return any(view.catching_up for view in self.watcher.views.values())

    def show_scene(self) -> None:
        """Hand the moment down to the panes. Only the clock moves where nothing else has."""
        now, scene, piloted = time.time(), self.scene, self.pilot.state
        is_timed = scene is not None and (scene.undo or scene.undoing or scene.holder)
        if scene is not None and scene.tick == self._tick and scene.piloted is piloted and not is_timed:
            is_still = scene.unread == self.announcer.unread and not any(view.status.is_alive for view in scene.views)
            if is_still and 0 <= now - scene.now < STILL_S:
                return
            self.scene = replace(scene, now=now, usage=self._usage, unread=self.announcer.unread)
        elif scene is not None and scene.turn == self._turn and scene.piloted is piloted and not is_timed:
            self.scene = stepped(scene, now=now, tick=self._tick, usage=self._usage, unread=self.announcer.unread)
        else:
            self.scene = build_scene(
                self.actions,
                self.watcher,
                self.selected_id,
                now=now,
                tick=self._tick,
                turn=self._turn,
                problem=self._problem or self._keeper.problem,
                usage=self._usage,
                piloted=piloted,
                unread=self.announcer.unread,
                keys=self.tastes.keys,
                follows_log=self.tastes.values.follow,
            )
        self._room.scene = self.scene
        self.watcher.in_sight = self._room.in_sight

    @property
    def _turn(self) -> int:
        """Grows as `_tick` does, but not with logged steps: what ticks for another reason than news is none."""
        return self._tick - self._news.ticks + self._news.turns

    def read_usage(self) -> None:
        """Ask what the runs cost."""
        self._usage = self._meter.read(list(self.watcher.views.values()))

    def _reload_file(self) -> None:
        """Take up an edited runs.toml or playbook; keep the old ones, and say why, if one is broken."""
        mark = file_mark(self._watched)
        if mark == self._file_mark:
            return
        self._file_mark = mark
        self._tick += 1
        try:
            file = self._watched = load_runs(Path(self.file.path))
            self._file_mark = mark[:2] + file_mark(file)[2:]  # it may name another playbook, which is read below
            actions = Actions(file, self.runs_dir, "person", readonly=self.readonly)
        except ConfigError as error:
            self._problem = f"{error} The settings read before stay in force."
            self.notify(clean(self._problem), title="runs.toml", severity="error", markup=False, timeout=15)
            return
        self._problem = ""
        self.file, self.actions = file, actions
        self.take_up_settings()

    def take_up_settings(self) -> None:
        """Take up what `[room]` and the person's file say; a theme that is none is named, not passed over."""
        self.watcher.stall_s = self.file.room.stall_s
        self._problem = self.tastes.take_up(self, self._room, self.file)
        self._tick += 1

    # ── keys that look ───────────────────────────────────────────────────────────────────────────────────────────────

    def action_leave(self) -> None:
        """Close the room. Nothing is stopped: engines live in sessions of their own."""
        self.exit()

    def action_help(self) -> None:
        """Every key that works here."""
        pane = self._room.pane(self._room.current)
        bound = self.screen.active_bindings.values()
        of_pane = [key.binding for key in bound if key.node in (self.focused, pane) and key.binding.tooltip]
        self.clear_notifications()
        keys, plain = self.tastes.keys, self.plain
        self.push_screen(HelpScreen(f"{pane.NUMBER} {pane.NAME}", of_pane, keys=keys, plain=plain))

    def action_alerts(self) -> None:
        """What has happened, newest first."""
        self.announcer.open_list()

    def action_plan(self) -> None:
        """What the keys that start something costly would do, before they do it."""
        if self.scene is not None:
            self.clear_notifications()
            plans, why_not = foretell(self.scene, self.actions)
            self.push_screen(PlanScreen(plans, why_not, keys=self.tastes.keys, plain=self.plain))

    def action_select(self, step: int) -> None:
        """Select the next or previous run, as the list has them: newest first."""
        if self.scene and self.scene.selected:
            self.choose(self._room.neighbour(step))

    def choose(self, run_id: str) -> None:
        """Select a run."""
        self.selected_id = run_id
        self._tick += 1
        self.show_scene()

    def on_runs_pane_chosen(self, event: RunsPane.Chosen) -> None:
        """A run was chosen in the list; Enter opens it on the chart."""
        self.choose(event.run_id)
        if event.opened:
            self._room.go_to(ChartPane.NUMBER)

    # ── keys that change the world ───────────────────────────────────────────────────────────────────────────────────

    def action_act(self, action: str) -> None:
        """Take an action of the playbook, or say why it does not apply."""
        scene = self.scene
        if scene is None:
            return
        if action in scene.reasons:
            self.notify(clean(scene.reasons[action]), title=ACTION_KEYS[action][1], severity="warning", markup=False)
            return
        act = prepare(action, scene, self.actions, pilot=self.pilot)
        if not (self.tastes.values.confirm or act.asks or act.needs_reason):
            self.carry_out(act)
            return

        def answered(reason: str | None) -> None:
            if reason is not None:
                self.carry_out(prepare(action, scene, self.actions, reason, pilot=self.pilot))

        self.clear_notifications()  # where there is little room they would lie on the answers
        self.push_screen(ConfirmScreen(ACTION_KEYS[action][1], act, action, plain=self.plain), answered)

    @work(thread=True, group="actions", exit_on_error=False)
    def carry_out(self, act: Act) -> None:
        """Act off the event loop; say what came of it."""
        try:
            self.post_message(act.carry_out())
        except (ConfigError, OSError) as error:
            self.post_message(ActionFailed(str(error)))

    def on_action_done(self, event: ActionDone) -> None:
        """Show it, and look at the run it made."""
        self.notify(clean(event.text), markup=False)
        if event.run_id:
            self.selected_id = event.run_id
        self._tick += 1  # the journal has changed, which no run folder shows
        self.poll()

    def on_action_failed(self, event: ActionFailed) -> None:
        """Say why."""
        self.notify(shorten(clean(event.text), 2 * NOTICE_CHARS), severity="error", markup=False, timeout=10)
        self.poll()


def open_room(file: RunsFile, runs_dir: Path, *, readonly: bool, plain: bool, plain_by: Source) -> int:
    """Run the room until it is left; returns the process's exit code.

    Raises:
        ConfigError: the person's own file cannot be used.
    """
    memory = None if readonly else RoomMemory(state_folder(), runs_dir)  # which writes nothing
    personal, shelf = load_personal(personal_file()), Shelf(runs_dir, readonly=readonly)
    app = RoomApp(file, runs_dir, readonly=readonly, plain=plain, personal=personal, memory=memory, shelf=shelf)
    app.tastes.given_by = plain_by
    end_with_terminal()
    collect_seldom()
    try:
        app.run()
    finally:  # its thread would keep the process alive
        app.pilot.end()
    return app.return_code or 0
