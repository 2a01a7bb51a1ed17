"""What decisions brought: measured once, by whoever notices first, and the same whoever looks and when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from person import Person
from processes import wait_until
from recorded import MAMBA_HISTORY, STEPS, eval_report, make_spec, make_view, run_events

from engine.run.directory import RunDirectory, is_locked
from engine.run.events import EpochEnded, Event, NonFiniteFound
from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot
from tui.control.journal import Decision, Journal, Outcome, measured
from tui.control.lineage import families, family_lines
from tui.control.outcomes import due, measure, outcomes_of, record_outcomes, restart_outcome
from tui.control.views import RunView

SPEC = make_spec()
CHILD_SPEC = make_spec(number=2, parent=SPEC, patch={"sampler.batch_size": 512}, fix="Larger batch")
RESTART = Decision(who="person", action="restart", phase="done", run=SPEC.id, child=CHILD_SPEC.id, fix="Larger batch")


def parent_of(values: list[float | None] | tuple[float, ...] = MAMBA_HISTORY) -> RunView:
    return make_view(SPEC, run_events(SPEC, values), status=Status.STOPPED)


def child_of(values: list[float | None], *, steps: int = STEPS, status: Status = Status.RUNNING) -> RunView:
    """A child whose epochs have this many optimizer steps."""
    return make_view(CHILD_SPEC, [_with_steps(event, steps) for event in run_events(CHILD_SPEC, values)], status=status)


def _with_steps(event: Event, steps: int) -> Event:
    if not isinstance(event, EpochEnded):
        return event
    record = msgspec.structs.replace(event.record, step=event.record.epoch * steps)
    return msgspec.structs.replace(event, record=record)


def test_a_restart_is_measured_against_the_run_it_was_patched_from_at_the_gate() -> None:
    outcome = restart_outcome(child_of([0.13, 0.35, 0.9]), parent_of())
    assert outcome is not None
    assert (outcome.metric, outcome.epoch, outcome.before, outcome.after) == ("val_cosine", 2, 0.312, 0.35)
    assert outcome.change == pytest.approx(0.038)
    assert outcome.change_at_step == outcome.change, "both took as many steps"
    assert outcome.words == "0.350 at the gate, +0.038"


def test_a_doubled_batch_is_also_compared_at_the_step_that_both_have_reached() -> None:
    outcome = restart_outcome(child_of([0.13, 0.25], steps=STEPS // 2), parent_of())
    assert outcome is not None
    assert outcome.change == pytest.approx(0.25 - 0.312)
    assert outcome.step == STEPS
    assert outcome.change_at_step == pytest.approx(0.25 - 0.121), "the parent's first epoch had as many steps"
    assert outcome.words == "0.250 at the gate, -0.062; +0.129 at the same step, 20"


def test_between_the_ends_of_epochs_the_line_counts_and_before_the_first_nothing_is_known() -> None:
    between = restart_outcome(child_of([0.13, 0.25], steps=15), parent_of())
    assert between is not None
    assert between.change_at_step == pytest.approx(0.25 - (0.121 + 0.312) / 2)
    before = restart_outcome(child_of([0.13, 0.25], steps=5), parent_of())
    assert before is not None
    assert before.change_at_step is None
    assert before.words == "0.250 at the gate, -0.062"


@given(st.integers(2, 6), st.integers(2, 6), st.sampled_from([5, 10, 15, 20, 30]))
def test_it_is_the_same_however_long_either_has_gone_on(child: int, parent: int, steps: int) -> None:
    values = list(MAMBA_HISTORY)
    first = restart_outcome(child_of(values[:2], steps=steps), parent_of(values[:2]))
    assert restart_outcome(child_of(values[:child], steps=steps), parent_of(values[:parent])) == first


@pytest.mark.parametrize("values", [[], [0.13]])
def test_what_is_not_judged_yet_is_not_made_up(values: list[float | None]) -> None:
    for status in Status:
        assert restart_outcome(child_of(values, status=status), parent_of()) is None
    behind = child_of([0.13, 0.35])
    behind.catching_up = True
    assert restart_outcome(behind, parent_of()) is None
    assert restart_outcome(child_of([0.13, 0.35]), parent_of([0.121])) is None


def test_a_child_that_diverged_or_has_no_number_says_so() -> None:
    nowhere = restart_outcome(child_of([0.13, None]), parent_of())
    assert nowhere is not None
    assert (nowhere.after, nowhere.change, nowhere.words) == (None, None, "no number at the gate")
    bad = NonFiniteFound(what="loss", value="nan", epoch=1, step=7)
    events = [*run_events(CHILD_SPEC, []), bad]
    running, ended = (make_view(CHILD_SPEC, events, status=status) for status in (Status.RUNNING, Status.FAILED))
    assert restart_outcome(running, parent_of()) is None, "it may still say more"
    diverged = restart_outcome(ended, parent_of())
    assert diverged is not None
    assert diverged.words == "diverged before the gate"


def test_r5_stands_beside_it_where_both_were_evaluated() -> None:
    child, parent = child_of([0.13, 0.35]), parent_of()
    child.evals = {"smoke-e0002": eval_report("smoke-e0002", r5=0.48)}
    alone = restart_outcome(child, parent)
    assert alone is not None
    assert (alone.r5_after, alone.r5_before) == (None, None)
    parent.evals = {"smoke-e0004": eval_report(r5=0.43)}
    both = restart_outcome(child, parent)
    assert both is not None
    assert both.words.endswith("; R@5 0.430 → 0.480")


def test_a_jobs_report_is_the_newest_decisions_that_asked_for_it(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine.clear()
    for _ in range(2):
        job = room.actions.evaluate(room.view(run))
        wait_until(lambda job=job: not is_locked(job.lock_file))
    assert room.actions.start_job(room.view(run), "rerank")
    wait_until(lambda: room.view(run).reranker is not None and not room.view(run).jobs["rerank"].lock_held)
    records = room.actions.journal.records()
    first, second, rerank = [entry for entry in records if entry.action != "start" and entry.phase == "done"]
    found = outcomes_of(records, room.views())
    assert first.id not in found, "its report is gone: nobody noticed it in time"
    assert found[second.id].words == ("R@5 0.430, Contain@50 0.680; Eff@5 0.632 < 0.680, missed by 0.048")
    assert (found[second.id].metric, found[second.id].after) == ("r5", 0.43)
    assert found[rerank.id].change == pytest.approx(0.069)
    assert "lifts R@5" in found[rerank.id].words


def test_an_evaluation_that_could_not_run_says_so(room: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    script = "import sys; sys.exit('error: no corpus') if 0 else (print('error: no corpus'), sys.exit(2))"
    monkeypatch.setattr(launcher, "engine_argv", lambda *_: [sys.executable, "-c", script])
    job = room.actions.evaluate(room.view(run))
    wait_until(lambda: not is_locked(job.lock_file))
    (outcome,) = outcomes_of(room.actions.journal.records(), room.views()).values()
    assert outcome.words == "could not run: error: no corpus"


def restarted(room: Person) -> tuple[RunDirectory, RunDirectory]:
    """A run that missed, and its child that was judged."""
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "2", "--values", "0.45,0.49"]
    child = room.actions.restart(room.plan(run))
    room.wait_status(child, Status.FINISHED)
    return run, child


def test_many_rooms_write_it_down_once(room: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    restarted(room)
    views, start = room.views(), threading.Barrier(8)
    read = Journal.records
    # long enough between reading and writing for every other room to come in between, if it could
    monkeypatch.setattr(Journal, "records", lambda journal: (read(journal), time.sleep(0.02))[0])
    written: list[Decision] = []

    def notice() -> None:
        start.wait()
        written.extend(record_outcomes(Actions(room.file, room.file.runs_dir, "person"), views))

    threads = [threading.Thread(target=notice) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = [entry for entry in room.actions.journal.records() if entry.phase == "measured"]
    assert len(records) == len(written) == 1
    assert records[0].outcome is not None
    assert records[0].outcome.change == pytest.approx(0.49 - 0.4719)
    assert not due(room.actions.journal.records(), views)


def test_a_process_that_dies_half_way_through_writing_costs_nothing(room: Person) -> None:
    restarted(room)
    views, journal = room.views(), room.actions.journal
    (entry,) = due(journal.records(), views)
    code = (
        "import os, sys, msgspec\n"
        "from pathlib import Path\n"
        "from tui.control.journal import Decision, Journal\n"
        "entry = msgspec.json.decode(sys.argv[2].encode(), type=Decision)\n"
        "real = os.write\n"
        "def torn(fd, data):\n"
        "    real(fd, data[: len(data) // 2])\n"
        "    os.kill(os.getpid(), 9)\n"
        "os.write = torn\n"
        "Journal(Path(sys.argv[1])).record_once([entry])\n"
    )
    arguments = [str(room.file.runs_dir), msgspec.json.encode(entry).decode()]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    assert done.returncode == -9
    assert not journal.path.read_bytes().endswith(b"\n")
    assert len(record_outcomes(room.actions, views)) == 1, "the lock was let go, and half a record is none"
    assert [entry.phase for entry in journal.records()].count("measured") == 1


def test_a_reader_writes_nothing_and_still_says_what_came_of_it(room: Person) -> None:
    _, child = restarted(room)
    before = room.actions.journal.path.read_bytes()
    assert record_outcomes(Actions(room.file, room.file.runs_dir, "person", readonly=True), room.views()) == []
    assert room.actions.journal.path.read_bytes() == before
    lines = list(family_lines(families(room.views(), room.actions.journal.records())))
    assert lines[1] == (1, f"{child.id}, Temperature: 0.490 at the gate, +0.018")


def test_what_is_on_record_stands_whatever_the_runs_say_later() -> None:
    kept = Outcome(words="0.400 at the gate, +0.088", change=0.088)
    records = [RESTART, measured(RESTART, kept)]
    assert outcomes_of(records, [parent_of(), child_of([0.13, 0.35])]) == {RESTART.id: kept}
    assert outcomes_of(records, []) == {RESTART.id: kept}, "the runs are gone"


def test_a_decision_that_starts_no_job_and_no_child_has_no_outcome() -> None:
    views = {view.id: view for view in (parent_of(), child_of([0.13, 0.35]))}
    for action in ("start", "stop", "resume", "kill", "undo", "autopilot"):
        decision = msgspec.structs.replace(RESTART, action=action, id=action)
        assert measure(decision, [decision], views) is None
    for phase in ("intent", "failed"):
        decision = msgspec.structs.replace(RESTART, phase=phase)
        assert measure(decision, [decision], views) is None


def test_a_journal_without_outcomes_reads_on(tmp_path: Path) -> None:
    old = {
        "schema": 1,
        "id": "0123456789ab",
        "t": 1_700_000_000.0,
        "who": "person",
        "action": "restart",
        "phase": "done",
        "run": SPEC.id,
        "child": CHILD_SPEC.id,
        "stopped": True,
        "fix": "Temperature",
        "patch": {"loss.temperature": 0.05},
        "evidence": [],
        "detail": "",
        "owner": "",
    }
    journal = Journal(tmp_path)
    journal.path.write_bytes(msgspec.json.encode(old) + b"\n")
    (entry,) = journal.read()
    assert (entry.phase, entry.child, entry.outcome) == ("done", CHILD_SPEC.id, None)
    (found,) = due(journal.records(), [parent_of(), child_of([0.13, 0.35])])
    assert journal.record_once([found]) == [found]
    assert journal.record_once([found]) == []


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[Decision], list[Decision]]:
    """Restarts and undos in any order and state, and the same with outcomes in between, even where none belong."""
    owners = st.sampled_from(["", f"nowhere/{os.getpid()}/1", None])
    plain: list[Decision] = []
    for number in range(draw(st.integers(0, 4))):
        action = draw(st.sampled_from(["restart", "undo", "evaluate", "autopilot"]))
        owner = draw(owners)
        entry = Decision(who="person", action=action, run="a-0001", child=f"a-{number:04d}", id=f"{number}")
        entry = entry if owner is None else msgspec.structs.replace(entry, owner=owner)
        age = draw(st.sampled_from([0.0, 1000.0, -1000.0]))
        plain.append(msgspec.structs.replace(entry, t=entry.t - age))
        phase = draw(st.sampled_from(["done", "failed", None]))
        if phase is not None:
            plain.append(msgspec.structs.replace(plain[-1], phase=phase))
    mixed: list[Decision] = []
    for entry in plain:
        mixed.append(entry)
        chosen = draw(st.lists(st.sampled_from(mixed), max_size=2))
        mixed += [measured(other, Outcome(words="0.350 at the gate, +0.038", change=0.038)) for other in chosen]
    return plain, mixed


@given(journals())
def test_outcomes_change_no_answer_about_decisions(
    tmp_path_factory: pytest.TempPathFactory, both: tuple[list[Decision], list[Decision]]
) -> None:
    answers = []
    for number, entries in enumerate(both):
        journal = Journal(tmp_path_factory.mktemp(f"journal{number}"))
        journal.path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
        answers.append((journal.read(), journal.undone(), journal.undoable(60.0)))
    assert answers[0] == answers[1]


def test_an_autopilot_counts_the_runs_it_started_whether_or_not_they_were_measured(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "10000", "--epoch-s", "60"]
    limits = msgspec.structs.replace(room.file.autopilot, allow=["restart"], max_runs=1)
    pilot = Autopilot(Actions(room.file, room.file.runs_dir, "autopilot"), run.id, limits, time.time())
    assert pilot.look(room.views(), time.time()).acted
    done = room.actions.journal.read()[-1]
    room.actions.journal.record_once([measured(done, Outcome(words="?"))])
    assert "max_runs = 1" in pilot.look(room.views(), time.time()).words
