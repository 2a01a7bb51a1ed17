"""The decision tree: where the run stands, the evidence for every branch taken, what comes next, which key does it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from tui.control.diagnosis.report import remedy_words
from tui.control.ladder import Rung
from tui.control.playbook import Position, describe_rung, load_playbook
from tui.control.probe.plan import JOB as PROBE_JOB
from tui.control.probe.report import COMPACT_HEADING, compact_rows, progress_line
from tui.control.scene import Scene
from tui.keymap import ACTION_KEYS, key_of
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.panes.playbook_tree import PlaybookTree
from tui.panes.words import lines, signed
from tui.widgets.steady_text import SteadyText

_BRANCH_STYLE = {"yes": "$text-success", "no": "$text-error"}
_PROBE_STYLE = {"helps": "$text-success", "worse": "$text-error", "unknown": "$foreground-muted"}


class DecisionTreePane(Pane):
    """Where the selected run stands in the playbook."""

    NUMBER = 4
    NAME = "Decision tree"

    # where it stands and what to do come first; walking the tree scrolls the tree alone
    DEFAULT_CSS = """
    DecisionTreePane VerticalScroll { height: auto; max-height: 80%; }
    DecisionTreePane PlaybookTree { height: 1fr; min-height: 2; }
    """

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield SteadyText(id="position")
        yield PlaybookTree(load_playbook())

    def watch_plain(self, plain: bool) -> None:
        super().watch_plain(plain)
        self.query_one(PlaybookTree).use_ascii(plain)

    def depends_on(self, scene: Scene) -> Hashable:
        return super().depends_on(scene), scene.piloted, scene.holder

    def show(self, scene: Scene) -> None:
        tree = self.query_one(PlaybookTree)
        tree.show_playbook(scene.playbook or load_playbook())
        tree.mark(scene.position)
        self.query_one("#position", SteadyText).show(lines(*self._rows(scene)))

    def _rows(self, scene: Scene) -> Iterator[Content]:
        position = scene.position
        if position is None or scene.selected is None:
            yield self.say(f"{no_run(scene)} Its place in the playbook shows here.", "$foreground-muted")
            return
        # what to do comes first: in a low pane the reasons for it scroll, not the keys
        yield self.say(f"▸ {position.title}", "bold $text-accent")
        alarms = [found for found in scene.diagnoses if not found.is_note]
        if alarms:
            names = ", ".join(f"{found.signature} {found.confidence:.2f}" for found in alarms)
            yield self.say(f"diagnosis: {names}", "bold $text-warning")
            yield from self._mend_rows(scene)
        run = scene.selected
        if run is not None and run.reason and run.life.launch is not None:  # the status strip has room for the cause
            yield self.say(run.reason, "$text-warning")
        yield from self._autopilot_rows(scene)
        yield from self._plan_rows(scene)
        yield from self._probe_rows(scene)
        yield from self._key_rows(scene, position)
        yield self.say(position.say)
        yield from self._diagnosis_rows(scene, position)
        yield self.say("because, the last answer first:", "$foreground-muted")
        for step in reversed(position.path):
            yield Content.assemble(
                self.say(f"{step.question} ", "$foreground-muted"),
                self.say(step.branch, _BRANCH_STYLE.get(step.branch, "$text-warning")),
                self.say(f"  {step.evidence}"),
            )
        yield from self._ladder_rows(position.rungs)

    def _autopilot_rows(self, scene: Scene) -> Iterator[Content]:
        """What the autopilot of this family is at; the room's own stays on record here after its end."""
        piloted = scene.piloted
        if piloted is not None and piloted.root == scene.family:
            style = "bold $text-warning" if piloted.turn.is_over else "bold $text-accent"
            yield self.say(f"autopilot {piloted.words}", style)
            if piloted.last_act and piloted.last_act != piloted.turn.words:
                yield self.say(f"  its last step: {piloted.last_act}", "$foreground-muted")
        elif scene.holder:
            yield self.say(f"autopilot elsewhere: {scene.holder}", "bold $text-accent")

    def _diagnosis_rows(self, scene: Scene, position: Position) -> Iterator[Content]:
        for number, found in enumerate(scene.diagnoses):
            heading = "note" if found.is_note else found.signature
            style = "$foreground-muted" if found.is_note else "bold $text-warning" if not number else "$text-warning"
            yield self.say(f"{heading}: {found.cause}", style)
            yield self.say("  " + "; ".join(found.evidence))
            yield self.say(f"  {remedy_words(found, position.rungs)}", "$foreground-muted")

    def _key_rows(self, scene: Scene, position: Position) -> Iterator[Content]:
        for action in () if scene.readonly else position.actions:
            if action == "start_baseline" and _is_bounded(scene):
                continue
            if action == "restart" and scene.plan is not None:  # the plan names its key
                continue
            if action == "stop" and scene.selected is not None and not scene.selected.status.is_alive:
                continue
            key, label = key_of(f"act.{action}", scene.keys), ACTION_KEYS[action][1]
            if action == "override" and scene.override is not None:
                label = f"{describe_rung(scene.override.rung)}; locked, so with a written reason"
            reason = scene.reasons.get(action, "")
            row = f"  {key}  {label}" + (f"  ({reason})" if reason else "")
            yield self.say(row, "$foreground-disabled" if reason else "bold")

    def _plan_rows(self, scene: Scene) -> Iterator[Content]:
        if scene.plan is not None:
            restart = key_of("act.restart", scene.keys)
            for key, old, new in scene.plan.change:
                yield self.say(f"  {restart}  {key}: {old} → {new}  (on {scene.plan.base.id})", "bold")
            yield self.say(f"  {scene.plan.rung.fix.reason}", "$foreground-muted")

    def _mend_rows(self, scene: Scene) -> Iterator[Content]:
        """The key that applies the remedy, and what it would come to."""
        if scene.mend is None or scene.readonly:
            return
        key = key_of("act.mend", scene.keys)
        plan = scene.mend
        what = [f"{name}: {old} → {new}" for name, old, new in plan.restart.change] if plan.restart else []
        for row in what or [plan.does.replace("_", " ")]:
            yield self.say(f"  {key}  {row}  (remedy of {plan.diagnosis.signature})", "bold")

    def _probe_rows(self, scene: Scene) -> Iterator[Content]:
        """What a probe has found; where there is none and a restart is due, the key that starts one."""
        report = scene.selected.probe if scene.selected is not None else None
        job = scene.selected.jobs.get(PROBE_JOB) if scene.selected is not None else None
        if scene.plan is not None and scene.probe is not None and (report is None or report.state != "done"):
            yield self.say(f"  {key_of('act.probe', scene.keys)}  {ACTION_KEYS['probe'][1]}", "bold")
        if report is None:
            return
        if job is not None and job.is_busy:
            yield self.say(progress_line(report), "$text-accent")
        elif report.state != "done":
            yield self.say(
                f"the probe ended before its time; {key_of('act.probe', scene.keys)} goes on with it", "$text-warning"
            )
        for number, line in enumerate(report.recommendation):
            yield self.say(f"{'' if number else 'probe: '}{line}", "" if number else "bold $text-success")
        yield self.say(COMPACT_HEADING, "$foreground-muted")
        for line, row in compact_rows(report):
            yield self.say(line, _PROBE_STYLE.get(row.verdict, ""))

    def _ladder_rows(self, rungs: tuple[Rung, ...]) -> Iterator[Content]:
        if not any(rung.standing == "tried" for rung in rungs):
            return
        yield self.say("ladder so far (gate's metric, child minus parent):", "$foreground-muted")
        for rung in rungs:
            if rung.standing == "tried":
                patch = ", ".join(f"{key}={value}" for key, value in rung.patch.items())
                effect = signed(rung.effect) if rung.effect is not None else "not judged yet"
                yield self.say(f"  {rung.number} {patch}  {effect}  {rung.child}")
            elif rung.standing in {"verified", "failed check"}:
                yield self.say(f"  {rung.number} {rung.fix.title}: {rung.standing}, {rung.detail}")


def _is_bounded(scene: Scene) -> bool:
    """Whether a baseline runs or has been judged already."""
    baseline = scene.pair[1]
    return baseline is not None and (baseline.status.is_alive or bool(baseline.state.gates))
