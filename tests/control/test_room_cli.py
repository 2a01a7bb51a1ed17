"""`lvm-tui` without the room: stdout is data, a mistake is one line and exit code 2."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from person import LONG, Person
from processes import end, wait_until
from recorded import missed_mamba, passed_amn

from engine.run.directory import RunDirectory, is_locked, list_runs
from engine.run.process import is_alive, send
from engine.run.runs_file import RunsFile
from engine.run.state import Status
from tui.cli import clean_lines, main
from tui.control import launcher

Invoke = Callable[..., Result]


@pytest.fixture
def lvm(runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs `lvm-tui --config <the test's file> ARGUMENTS`."""
    monkeypatch.chdir(Path(runs_file.path).parent)

    def invoke(*arguments: str, before: Sequence[str] = ()) -> Result:
        return CliRunner().invoke(main, ["--config", runs_file.path, *before, *arguments])

    return invoke


def is_one_line(result: Result) -> bool:
    """Whether a command ended as a user's mistake does."""
    return (
        result.exit_code == 2
        and result.stdout == ""
        and result.stderr.startswith("error: ")
        and result.stderr.count("\n") == 1
        and isinstance(result.exception, SystemExit)
    )


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Every file with its size and time."""
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_status_as_json_is_one_object(lvm: Invoke, recorded_runs: Path) -> None:
    result = lvm("status", "--json")
    assert result.exit_code == 0
    record = msgspec.json.decode(result.stdout)
    assert (record["schema"], [run["id"] for run in record["runs"]]) == (1, ["mamba_s-0001", "amn-0002"])
    model, baseline = record["runs"]
    assert (model["state"], model["val_cosine"], model["gates"][0]["verdict"]) == ("FINISHED", 0.413, "missed")
    assert (baseline["model"], baseline["gates"][0]["verdict"]) == ("amn", "passed")


def test_status_as_text_names_every_run(lvm: Invoke, recorded_runs: Path) -> None:
    result = lvm("status")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["RUN", "mamba_s-0001", "amn-0002"]


def test_status_without_runs_says_how_to_start_one(lvm: Invoke) -> None:
    assert lvm("status").stdout == "no runs yet: lvm-tui start NAME\n"
    assert msgspec.json.decode(lvm("status", "--json").stdout) == {"schema": 1, "runs": []}


def test_a_damaged_run_is_a_warning_and_no_data(lvm: Invoke, recorded_runs: Path) -> None:
    (recorded_runs / "broken-0003").mkdir()
    (recorded_runs / "broken-0003" / "spec.json").write_text("{")
    result = lvm("status", "--json")
    assert result.exit_code == 0
    assert len(msgspec.json.decode(result.stdout)["runs"]) == 2
    assert result.stderr.startswith("warning: broken-0003: ")
    assert is_one_line(lvm("triage", "3", "--dry-run"))


def test_runs_dir_may_be_named_before_or_after_the_command(lvm: Invoke, tmp_path: Path) -> None:
    missed_mamba(tmp_path / "elsewhere")
    for arguments, before in (
        (["status", "--runs-dir", "elsewhere"], []),
        (["status"], ["--runs-dir", "elsewhere"]),
    ):
        assert "mamba_s-0001" in lvm(*arguments, before=before).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start", "mamba"], 'Did you mean "mamba_s"?'),
        (["stop", "77"], 'there is no run "77"'),
        (["stop", "1"], "mamba_s-0001 is not running"),
        (["stop", "--kill", "1"], "mamba_s-0001 is not running"),
        (["triage", "2"], "knobs are locked"),
        (["triage", "1", "--fix", "9"], "there is no fix 9"),
        (["triage", "nowhere"], 'there is no run "nowhere"'),
        (["eval", "1", "--name", "smok"], 'Did you mean "smoke"?'),
        (["status", "--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["start", "\x1b]0;owned\x07"], "there is no [run.]"),
    ],
)
def test_a_mistake_is_one_line(lvm: Invoke, recorded_runs: Path, arguments: list[str], said: str) -> None:
    result = lvm(*arguments)
    assert is_one_line(result), result.output
    assert said in result.stderr
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.output


def test_a_mistake_in_the_file_is_one_line(lvm: Invoke, runs_file: RunsFile) -> None:
    Path(runs_file.path).write_text('[run.mamba_s]\nepoch = 3\n[run."a\\nb"]\n')
    result = lvm("status")
    assert is_one_line(result)
    assert 'unknown key "epoch". Did you mean "epochs"?' in result.stderr


def test_a_dry_run_says_what_would_happen_and_changes_nothing(lvm: Invoke, recorded_runs: Path) -> None:
    before = listing(recorded_runs.parent)
    result = lvm("triage", "1", "--dry-run")
    assert result.exit_code == 0
    assert "Fix 1, Temperature: loss.temperature = 0.05" in result.stdout
    assert "loss.temperature: 0.07 → 0.05" in result.stdout
    assert "starts a child of mamba_s-0001" in result.stdout
    assert listing(recorded_runs.parent) == before


def test_looking_changes_nothing(lvm: Invoke, recorded_runs: Path) -> None:
    before = listing(recorded_runs.parent)
    for arguments in (["status"], ["status", "--json"], ["journal"], ["journal", "--json"]):
        assert lvm(*arguments).exit_code == 0
    assert listing(recorded_runs.parent) == before


@pytest.mark.parametrize("arguments", [["start", "mamba_s"], ["triage", "1"], ["stop", "1"], ["eval", "2"]])
def test_readonly_refuses_to_act_by_option_and_by_file(
    lvm: Invoke, recorded_runs: Path, runs_file: RunsFile, arguments: list[str]
) -> None:
    before = listing(recorded_runs)
    assert "read-only" in lvm(*arguments, before=["--readonly"]).stderr
    path = Path(runs_file.path)
    path.write_text(path.read_text().replace("[room]", "[room]\nreadonly = true"))
    result = lvm(*arguments)
    assert is_one_line(result)
    assert "read-only" in result.stderr
    assert listing(recorded_runs) == before


def test_start_prints_the_id_and_nothing_else(lvm: Invoke, room: Person) -> None:
    room.engine[:] = ["--epochs", "2"]
    result = lvm("start", "mamba_s")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "mamba_s-0001\n", "")
    (run,) = list_runs(room.file.runs_dir)
    room.wait_status(run, Status.FINISHED)


def test_stop_can_wait_for_the_end(lvm: Invoke, room: Person) -> None:
    run = room.start(*LONG)
    result = lvm("stop", run.id, "--wait")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "mamba_s-0001 ended\n")
    assert not is_locked(run.lock_file)
    assert room.view(run).status is Status.STOPPED


def test_triage_prints_the_childs_id_and_tells_the_plan_beside_it(lvm: Invoke, room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    result = lvm("triage", "1")
    assert (result.exit_code, result.stdout) == (0, "mamba_s-0002\n")
    assert "loss.temperature: 0.07 → 0.05" in result.stderr
    told = msgspec.json.decode(lvm("journal", "--json").stdout)
    assert told["schema"] == 1
    last = [entry for entry in told["decisions"] if entry["phase"] == "done"][-1]
    assert (last["who"], last["action"], last["phase"], last["child"]) == ("cli", "restart", "done", "mamba_s-0002")
    assert "mamba_s-0001 → mamba_s-0002 Temperature" in lvm("journal").stdout


def test_the_journal_says_what_a_restart_brought_and_who_came_of_whom(lvm: Invoke, room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "2", "--values", "0.45,0.49"]
    lvm("triage", "1")
    room.wait_status(RunDirectory(room.file.runs_dir / "mamba_s-0002"), Status.FINISHED)
    before = room.actions.journal.path.read_bytes()
    assert "0.490 at the gate, +0.018" in lvm("--readonly", "journal").stdout
    assert room.actions.journal.path.read_bytes() == before, "a reader writes nothing"
    told = msgspec.json.decode(lvm("journal", "--json").stdout)
    (measured,) = [entry for entry in told["decisions"] if entry["phase"] == "measured"]
    assert measured["outcome"]["change"] == pytest.approx(0.0181)
    assert measured["id"] == told["decisions"][-2]["id"]
    (child,) = told["families"][0]["children"]
    assert (child["run"], child["who"], child["outcome"]) == ("mamba_s-0002", "cli", measured["outcome"])
    lines = lvm("journal").stdout.splitlines()
    assert lines[-3:] == [
        "who came of whom:",
        "- mamba_s-0001: 0.472 at the gate",
        "  - mamba_s-0002, Temperature: 0.490 at the gate, +0.018",
    ]
    assert len([line for line in lines if " measured " in line]) == 1


def test_eval_prints_the_engines_line_and_ends_with_its_code(lvm: Invoke, room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    result = lvm("eval", "1")
    assert result.exit_code == 1, "Eff@5 misses its gate"
    assert result.stdout.startswith("[EVAL] Contain@20=0.620 Contain@50=0.680")
    assert lvm("eval", "1", "--name", "full", "--detach").stdout == "full-e0002\n"
    end(RunDirectory(run.evals / "full-e0002.job"))


def test_an_evaluation_whose_wrapper_is_killed_is_not_waited_for(
    lvm: Invoke, room: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    start = launcher.start

    def start_and_kill(folder: Path) -> None:
        start(folder)
        job = RunDirectory(folder)
        processes = job.read_life().processes
        assert processes is not None
        send(processes.wrapper, signal.SIGKILL)
        wait_until(lambda: not is_alive(processes.wrapper))
        end(job)

    monkeypatch.setattr(launcher, "start", start_and_kill)
    room.engine[:] = ["--sleep"]
    result = lvm("eval", "1")
    assert result.exit_code == 2
    assert "exit unknown" in result.stderr


def test_a_log_is_made_safe_for_the_terminal(tmp_path: Path) -> None:
    log = passed_amn(tmp_path / "other").log_file
    said = clean_lines(log)
    assert "\x1b" not in said
    assert "red" in said
    assert said.count("\n") == log.read_bytes().count(b"\n")
    assert "progress 90%" in said
    assert "progress 10%" not in said
    log.write_bytes(b"")
    assert clean_lines(log) == ""


def test_a_secret_that_an_evaluation_printed_is_hidden_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary42")
    log = tmp_path / "output.log"
    log.write_bytes(b"GET https://me:pw@host/x with hf_cana\x1b[0mry42\n")
    assert clean_lines(log) == "GET https://[hidden]@host/x with [hidden]\n"
    assert b"me:pw" in log.read_bytes(), "the file stays as it is"


def test_help_names_every_command(lvm: Invoke) -> None:
    result = lvm("--help")
    assert result.exit_code == 0
    commands = ("status", "start", "stop", "triage", "eval", "journal")
    assert [command for command in commands if command not in result.stdout] == []


def test_resume_goes_on_with_a_stopped_run(lvm: Invoke, runs_file: RunsFile, fake_engine: list[str]) -> None:
    person = Person(runs_file, fake_engine)
    run = person.start(*LONG)
    person.wait_epoch(run, 1)
    assert is_one_line(lvm("resume", run.id)), "it is running"
    assert lvm("stop", "--wait", run.id).exit_code == 0
    result = lvm("resume", run.id)
    assert (result.exit_code, result.stdout) == (0, "")
    person.wait_status(run, Status.RUNNING)


def test_a_file_is_no_runs_folder(lvm: Invoke, runs_file: RunsFile) -> None:
    result = lvm("status", "--runs-dir", runs_file.path)
    assert is_one_line(result)
    assert "not a folder" in result.stderr
