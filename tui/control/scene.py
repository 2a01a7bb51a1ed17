"""The scene: all that the panes show, put together once a tick from what is on disk. Panes read it, decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from engine.run.convert import ConfigError
from tui.control.actions import Actions
from tui.control.diagnosis.diagnose import Diagnosis, diagnose
from tui.control.diagnosis.facts import gather
from tui.control.jobs import JOBS
from tui.control.journal import Decision
from tui.control.ladder import family
from tui.control.mending import MendPlan, check_mend
from tui.control.pilot_seat import Piloted, check_seat, holder
from tui.control.plans import RestartPlan
from tui.control.playbook import Playbook, Position
from tui.control.probe.plan import ProbeIntent
from tui.control.usage import MachineUsage
from tui.control.views import RunView
from tui.control.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the room."""

    now: float
    tick: int
    """Grows when anything but the time has changed."""
    turn: int = 0
    """Grows when anything but the time and the logged steps has: what judgements and checks hang on."""
    views: tuple[RunView, ...] = ()
    selected: RunView | None = None
    pair: tuple[RunView | None, RunView | None] = (None, None)
    """The two runs that stand side by side: a model and its baseline."""
    pair_names: tuple[str, str] = ("mamba_s", "amn")
    playbook: Playbook | None = None
    """The tree that the room walks; None for the packaged one."""
    position: Position | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    """What ails the selected run, the likeliest cause first; none for a healthy one."""
    diagnosed: int = 0
    """The version of the selected run that `diagnoses` were made of."""
    plan: RestartPlan | None = None
    """What the restart key would do; None if it does not apply."""
    mend: MendPlan | None = None
    """What the mend key would do; None if it does not apply."""
    probe: ProbeIntent | None = None
    """What the probe's key would do; None if it does not apply."""
    override: RestartPlan | None = None
    """The restart that a written reason would let happen; None where it is a start that the preflight blocks."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why an action does not apply now; an action that is not listed does."""
    undone: frozenset[str] = frozenset()
    """Runs whose restart was taken back."""
    undo: Decision | None = None
    undo_left_s: float = 0.0
    undoing: Decision | None = None
    """The undo that is under way: it waits for a run to end, which takes seconds."""
    problem: str = ""
    """What is wrong with runs.toml or a run folder, until it is mended."""
    readonly: bool = False
    unread: int = 0
    """News that nobody has looked at in the list yet."""
    usage: MachineUsage | None = None
    """What the runs cost this machine, looked at less often than the runs."""
    piloted: Piloted | None = None
    """What the room's own autopilot is at, or ended on, whichever family it is of."""
    family: str = ""
    """Root of the selected run's family."""
    holder: str = ""
    """Whose autopilot acts for that family, this room's or another's; empty for nobody's."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The keys that a person has given to bindings, by their ids; the others have the usual ones."""
    follows_log: bool = True
    """Whether a log is followed from the start."""

    @property
    def is_flying(self) -> bool:
        """Whether the room's autopilot acts for the selected run's family."""
        return self.piloted is not None and self.piloted.root == self.family and not self.piloted.turn.is_over


def build_scene(
    actions: Actions,
    watcher: Watcher,
    selected_id: str,
    *,
    now: float,
    tick: int,
    turn: int = 0,
    problem: str = "",
    usage: MachineUsage | None = None,
    piloted: Piloted | None = None,
    unread: int = 0,
    keys: Mapping[str, str] | None = None,
    follows_log: bool = True,
) -> Scene:
    """Put a moment together. Pure but for the journal's few lines."""
    views = tuple(watcher.views.values())
    listed = [view for view in views if not view.is_put_away] or views
    selected = watcher.views.get(selected_id) or default_selection(listed, actions.file.room.compare[0])
    reasons: dict[str, str] = {}

    def attempt(action: str, check: Callable[[], object]) -> object:
        try:
            return check()
        except ConfigError as error:
            reasons[action] = str(error)
            return None

    model_name, baseline_name = actions.file.room.compare
    attempt("start", lambda: actions.check_start(model_name, views))
    attempt("start_baseline", lambda: actions.check_start(baseline_name, views))
    undo = attempt("undo", actions.check_undo)
    undoing = None if undo else actions.journal.undoing()
    if undoing is not None:
        reasons["undo"] = f"it is being undone: {undoing.child} ends with a checkpoint first"
    plan = position = mend = probe = override = root = None
    if selected is None:
        reasons |= dict.fromkeys(
            ("restart", "mend", "probe", "override", "stop", "resume", "kill", "autopilot", *JOBS),
            "no run is selected",
        )
    else:
        run = selected
        position = actions.position(run, views)
        plan = attempt("restart", lambda: actions.plan_restart(run, views))
        mend = attempt("mend", lambda: check_mend(actions, run, views))
        probe = attempt("probe", lambda: actions.plan_probe(run))
        override = attempt("override", lambda: actions.check_override(run, views))
        for job in JOBS:
            attempt(job, partial(actions.check_job, run, job))
        attempt("stop", lambda: actions.check_stop(run))
        attempt("resume", lambda: actions.check_resume(run))
        attempt("kill", lambda: actions.check_kill(run))
        root = family(run, views)[0].directory
        attempt("autopilot", lambda: check_seat(actions, root, piloted))
    unreadable = next((f"{run_id}: {reason}" for run_id, reason in watcher.unreadable.items()), "")
    return Scene(
        now=now,
        tick=tick,
        turn=turn,
        unread=unread,
        views=views,
        selected=selected,
        pair=choose_pair(listed, selected, actions.file.room.compare),
        pair_names=(model_name, baseline_name),
        playbook=actions.playbook,
        position=position,
        diagnoses=tuple(diagnose(gather(selected))) if selected else (),
        diagnosed=selected.version if selected else 0,
        plan=plan if isinstance(plan, RestartPlan) else None,
        mend=mend if isinstance(mend, MendPlan) else None,
        probe=probe if isinstance(probe, ProbeIntent) else None,
        override=override if isinstance(override, RestartPlan) else None,
        reasons=reasons,
        undone=actions.journal.undone(),
        undo=undo if isinstance(undo, Decision) else None,
        undoing=undoing,
        undo_left_s=max(0.0, undo.t + actions.file.room.undo_s - now) if isinstance(undo, Decision) else 0.0,
        problem=problem or unreadable,
        readonly=actions.readonly,
        usage=usage,
        piloted=piloted,
        family=root.id if root else "",
        holder=holder(root) if root else "",
        keys=keys or {},
        follows_log=follows_log,
    )


def stepped(scene: Scene, *, now: float, tick: int, usage: MachineUsage | None, unread: int) -> Scene:
    """The moment after `scene` in which steps were logged, and nothing else has happened: no judgement is another."""
    moment = replace(scene, now=now, tick=tick, usage=usage, unread=unread)
    run = scene.selected
    if run is None or run.version == scene.diagnosed:  # the steps are another's
        return moment
    return replace(moment, diagnoses=tuple(diagnose(gather(run))), diagnosed=run.version)


def default_selection(views: Sequence[RunView], name: str) -> RunView | None:
    """The newest living run of the model's table, else the newest of it, else the newest of all."""
    named = [view for view in views if view.spec.name == name]
    living = [view for view in named if view.status.is_alive]
    for candidates in (living, named, views):
        if candidates:
            return candidates[-1]
    return None


def choose_pair(
    views: Sequence[RunView], selected: RunView | None, names: Sequence[str]
) -> tuple[RunView | None, RunView | None]:
    """The selected run and the newest of the other table that lives or has numbers to compare, else its newest."""
    model_name, baseline_name = names
    model = selected if selected and selected.spec.name != baseline_name else newest_of(views, model_name)
    is_baseline = selected is not None and selected.spec.name == baseline_name
    return model, selected if is_baseline else newest_of(views, baseline_name)


def newest_of(views: Sequence[RunView], name: str) -> RunView | None:
    """The newest run of a table that lives or has ended an epoch, else its newest."""
    named = [view for view in reversed(views) if view.spec.name == name]
    telling = (view for view in named if view.status.is_alive or view.latest is not None)
    return next(telling, named[0] if named else None)
