"""From a key to an act: what an action of the playbook will do to the selected run, in words and as a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.run.launch import LOCAL
from tui.control import mending
from tui.control.actions import Actions
from tui.control.jobs import JOBS, JobAction, evaluation_settings
from tui.control.mending import MendPlan
from tui.control.pilot_seat import limits_in_words
from tui.control.plans import RestartPlan
from tui.control.probe.plan import ProbeIntent
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.keymap import key_of
from tui.messages import ActionDone
from tui.piloting import RoomPilot


@dataclass(frozen=True, slots=True)
class Act:
    """Something that will change the world once it is called."""

    plan: list[str]
    """What it will do, for the person who is asked."""
    carry_out: Callable[[], ActionDone]
    """Does it; blocks while processes start, so not for the event loop."""
    needs_reason: bool = False
    """Prepare it again with the person's written reason before carrying it out."""
    asks: bool = False
    """Ask first, whatever runs.toml says."""
    meanwhile: str = ""
    """What to say as soon as it is confirmed, of an act whose end is long in coming; empty for one that is quick."""


def prepare(action: str, scene: Scene, actions: Actions, reason: str = "", *, pilot: RoomPilot | None = None) -> Act:
    """The act behind an action that applies now (its name is not among the scene's reasons).

    Args:
        action: its name.
        scene: the moment it is asked for.
        actions: what carries it out.
        reason: a person's written reason, for an act that needs one.
        pilot: the room's autopilot, for the act that begins or ends it.
    """
    model, baseline = actions.file.room.compare
    run = scene.selected
    if action in {"start", "start_baseline"}:
        # a baseline that is started beside a model must not take the screen away from it
        return _start(model if action == "start" else baseline, actions, is_shown=action == "start" or run is None)
    if action == "undo" and scene.undo is not None:
        undo = scene.undo

        def take_back() -> ActionDone:
            parent, goes_on = actions.undo(undo)
            outcome = "goes on where it was" if goes_on else "had ended before and stays as it is"
            return ActionDone(f"{undo.child} is stopped; {parent.id} {outcome}", parent.id)

        resumes = f" and resumes {undo.run}" if undo.stopped else ""
        return Act([f"stops {undo.child}{resumes}"], take_back)
    if action == "restart" and scene.plan is not None:
        return _restart(scene.plan, actions, _undo_words(scene, actions))
    if action == "mend" and scene.mend is not None and run is not None:
        return _mend(scene.mend, run, actions, _undo_words(scene, actions))
    if action == "probe" and scene.probe is not None:
        return _probe(scene.probe, actions)
    assert run is not None, f"{action} needs a run"
    if action == "autopilot" and pilot is not None:
        key = key_of("act.autopilot", scene.keys)
        return _end_autopilot(pilot, key) if scene.is_flying else _begin_autopilot(run, actions, pilot, key)
    if action == "override":
        return _override(run, scene.override, actions, reason, _undo_words(scene, actions))
    job = next((job for job in JOBS if job == action), None)
    if job is not None:
        return _start_job(run, job, actions, beside=[view.id for view in scene.views if view.status.is_alive])
    if action == "resume":
        return _resume(run, actions)
    return _end(run, action, actions)


def foretell(scene: Scene, actions: Actions) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What the costly actions would do now, in words, and why those would not that do not apply; by action."""
    costly = ("restart", "mend", "probe")
    why_not = {action: scene.reasons[action] for action in costly if action in scene.reasons}
    return {act: prepare(act, scene, actions).plan for act in costly if act not in why_not}, why_not


def _start(name: str, actions: Actions, *, is_shown: bool, override: str = "") -> Act:
    def start() -> ActionDone:
        run = actions.start(name, only_one=True, override=override)
        return ActionDone(f"{run.id} {_begun(actions.file.named(name).launcher)}", run.id if is_shown else "")

    return Act([f"starts [run.{name}]", *actions.how_started(actions.file.named(name))], start)


def _begun(launcher: str) -> str:
    return "has started" if launcher == LOCAL else f"is handed to {launcher}"


def _undo_words(scene: Scene, actions: Actions) -> str:
    return f"{key_of('act.undo', scene.keys)} undoes it within {actions.file.room.undo_s:.0f} s"


def _restart(plan: RestartPlan, actions: Actions, undo: str) -> Act:
    def restart() -> ActionDone:
        child = actions.restart(plan)
        return ActionDone(f"{child.id} {_begun(plan.config.launcher)}; {undo}", child.id)

    return Act([*plan.lines(), *actions.how_started(plan.config)], restart)


def _mend(plan: MendPlan, run: RunView, actions: Actions, undo: str) -> Act:
    def mend() -> ActionDone:
        child = mending.carry_out(plan, run, actions)
        if not child:
            return ActionDone(f"{plan.does.replace('_', ' ')} of {run.id}: the remedy of {plan.diagnosis.signature}")
        return ActionDone(f"{child} has started, mended: {plan.change}; {undo}", child)

    how = actions.how_started(plan.restart.config) if plan.restart is not None else []
    return Act([*plan.lines(), *how], mend)


def _probe(intent: ProbeIntent, actions: Actions) -> Act:
    def probe() -> ActionDone:
        actions.probe(intent)
        return ActionDone(f"the ladder of {intent.run.id} is being probed; 4 shows what is found")

    return Act([*intent.lines(), *actions.how_started(intent.run.spec.config)], probe)


def _override(run: RunView, plan: RestartPlan | None, actions: Actions, reason: str, undo: str) -> Act:
    """A restart whose knobs are locked, or a start that the preflight blocks; the reason stays with the run."""
    if plan is not None:
        act = _restart(replace(plan, override=reason), actions, undo)
        why = "the playbook locks this: your reason goes into the journal"
    else:
        act = _start(run.spec.name, actions, is_shown=True, override=reason)
        why = "whatever the preflight finds: your reason goes into the journal and stays with the run"
    return replace(act, plan=[*act.plan, why], needs_reason=True)


def _start_job(run: RunView, job: JobAction, actions: Actions, *, beside: list[str]) -> Act:
    # latency is a clock's: measured while something trains, it speaks of the machine
    is_timed = beside and job.startswith("evaluate")
    note = f"; its P95 is measured while {', '.join(beside)} runs" if is_timed else ""

    def start() -> ActionDone:
        folder = actions.start_job(run, job)
        return ActionDone(f"{folder.path.name.removesuffix('.job')} of {run.id} has started{note}")

    what = "looks at the data of" if job == "preflight" else f"{job.replace('_', ' ')}: the best checkpoint of"
    settings = evaluation_settings(run, "full" if job in {"evaluate_full", "evaluate_fitted"} else "smoke")
    return Act([f"{what} {run.id}{note}", *actions.how_started(settings)], start)


def _resume(run: RunView, actions: Actions) -> Act:
    def resume() -> ActionDone:
        actions.resume(run.directory)
        return ActionDone(f"{run.id} goes on from its checkpoint")

    return Act([f"resumes {run.id} from its newest checkpoint"], resume)


def _end(run: RunView, action: str, actions: Actions) -> Act:
    is_kill = action == "kill"
    is_waiting = run.life.is_submitted

    def end() -> ActionDone:
        (actions.kill if is_kill else actions.stop)(run.directory)
        asked = f"is asked to {'end now' if is_kill else 'finish its step and save'}"
        return ActionDone(f"{run.id} {'is called off' if is_waiting else asked}")

    where = f"; {run.life.launch.launcher} is asked" if run.life.launch is not None else ""
    meanwhile = f"{run.id} is being {'called off' if is_waiting else 'ended'}{where}" if is_kill and where else ""
    if is_waiting:
        plan = [f"calls {run.id} off", "its job has not begun: it is taken from the scheduler"]
        return Act(plan, end, asks=is_kill, meanwhile=meanwhile)
    how = (
        "asks it to end, and kills it if it has not after 10 s; it saves a checkpoint if it still can"
        if is_kill
        else "it finishes its step and saves a checkpoint first"
    )
    return Act([f"{'kills' if is_kill else 'stops'} {run.id}", how], end, asks=is_kill, meanwhile=meanwhile)


def _begin_autopilot(run: RunView, actions: Actions, pilot: RoomPilot, key: str) -> Act:
    def begin() -> ActionDone:
        root = pilot.begin(actions, run.id)
        return ActionDone(f"the autopilot acts for {root} and what comes of it; {key} ends it")

    plan = [
        f"takes the playbook's next step by itself, each once, for {run.id} and what comes of it",
        *limits_in_words(actions.file.autopilot),
        f"a restart, undo, stop, kill or resume of yours there ends it, and so does {key}",
        f"leaving the room ends it as well: for the night there is lvm-tui watch --auto {run.id}",
    ]
    return Act(plan, begin, asks=True)


def _end_autopilot(pilot: RoomPilot, key: str) -> Act:
    def end() -> ActionDone:
        pilot.end(f"a person ended it with {key}")
        return ActionDone("the autopilot takes no further step; what it has started goes on")

    return Act(["ends the autopilot; what it has started goes on"], end)
