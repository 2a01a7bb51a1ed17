"""Rows 35, 41 and 42: nothing leaves the folder of the runs, no secret enters it, and no stranger's folder is used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from corpora import npy, npz
from fault_runs import Figure, Folder, Open, exit_of, python, state_of, status_of, wait_ended
from processes import wait_until
from recorded import make_spec, missed_mamba

from engine.data.npz import open_npz
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, launch_lock, list_runs
from engine.run.runs_file import load_runs
from engine.run.secrets import shown_argv, without_secrets
from engine.run.state import Status
from tui.cli import main
from tui.control.journal import Decision, Journal
from tui.control.watcher import Watcher

NAMES = (
    "../x",
    "../../x",
    "/etc/x",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".hidden",
    "-rf",
    "~",
    "~root",
    "a\nb",
    "a\x00b",
    "a b",
    "$(touch x)",
    "`touch x`",
    "a;touch x",
    "a|b",
    "*",
    "con\u202e",
    "\u2025/x",
    "a" * 5000,
    "",
    "mamba_s-0001/../../x",
)
"""Names that leave a folder, hide in it, or mean something to a shell."""


def tui(*arguments: str) -> Result:
    """The headless command."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def files_of(folder: Path) -> dict[str, str]:
    """Every file and link below a folder with a digest of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
    return found


@pytest.mark.faults(35)
def test_names_that_leave_the_folder_are_refused_and_write_nothing(
    tmp_path: Path, config: Path, figure: Figure
) -> None:
    runs_dir = tmp_path / "runs"
    missed_mamba(runs_dir)
    before, refused = files_of(tmp_path), 0
    for name in NAMES:
        path = tmp_path / "hostile.toml"
        for table in ("run", "eval"):
            path.write_text(f"[run.mamba_s]\n[run.amn]\n[{table}.{json.dumps(name)}]\n")
            with pytest.raises(ConfigError, match=r"hostile\.toml"):
                load_runs(path)
            refused += 1
        path.unlink()
    arguments = ("--config", str(config), "--runs-dir", str(runs_dir))
    for name in (name for name in NAMES if not name.startswith("-")):
        for verb in (["start", name], ["stop", name], ["eval", "--name", name, "1"], ["resume", name]):
            done = tui(verb[0], *arguments, *verb[1:])
            assert done.exit_code == 2
            refused += 1
    after = files_of(tmp_path)
    assert {name for name in after if name not in before} <= {"runs/.launch.lock"}
    assert all(after[name] == digest for name, digest in before.items())
    figure(f"{refused} of {refused} refused, no file outside or inside changed")


@pytest.mark.faults(35)
def test_what_a_file_claims_of_its_name_leads_nowhere(tmp_path: Path, figure: Figure) -> None:
    runs_dir = tmp_path / "runs"
    run = missed_mamba(runs_dir)
    lying = msgspec.structs.replace(make_spec(), id="../../elsewhere", name="../x")
    run.spec_file.write_bytes(msgspec.json.encode(lying))
    (runs_dir / "linked-0002").symlink_to(tmp_path / "elsewhere")
    (runs_dir / "amn-0003").symlink_to(run.path)
    watcher = Watcher(runs_dir, 60.0)
    watcher.catch_up()
    assert list(watcher.views) == [run.id], "a run goes by its folder's name, and a link is none"
    Journal(runs_dir).record(Decision(who="person", action="restart", phase="done", run="../../x", child="/etc/x"))
    done = tui("status", "--runs-dir", str(runs_dir), "--json")
    assert done.exit_code == 0
    archive = tmp_path / "members.npz"
    member = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", bytes(4))
    archive.write_bytes(npz([("../../x.npy", member), ("/etc/x.npy", member)]))
    before = files_of(tmp_path)
    assert set(open_npz(archive)) == {"../../x", "/etc/x"}, "keys, and nothing is unpacked"
    assert files_of(tmp_path) == before
    figure("lying spec, linked folders, a journal and an archive with `../`: nothing followed")


CANARY = "canary-6f1d0c"
ENGINE = """
import os, sys
print("started", flush=True)
raise RuntimeError("request to https://me:secret-pw@host/x failed with " + os.environ["HF_TOKEN"])
"""


@pytest.mark.faults(41)
def test_a_secret_of_the_environment_is_in_no_record_and_not_on_the_terminal(
    folder: Folder, open_room: Open, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, CANARY)
    folder.prepare("--epochs", "2")
    room = open_room(epochs=2)
    room.wait_drawn("mamba_s-0001")
    room.press("T")
    room.wait_while_drawing(lambda: len(list_runs(folder.path)) == 2, 20, "started")
    run = list_runs(folder.path)[-1]
    wait_until(lambda: state_of(run).started)
    wait_ended(run)
    room.wait_drawn("FINISHED")
    crashed = folder.launch(argv=python(ENGINE))
    ended = exit_of(crashed)
    assert ended.last_line.startswith("RuntimeError: request to https://[hidden]@host/x failed")
    assert CANARY not in ended.last_line
    crashed.log_file.unlink()  # what an engine prints is its own affair
    room.wait_drawn(f"{crashed.id}: FAILED")  # told, though the room had not seen it begin
    told = len(room.output)
    room.press("k")  # from the run that T made to the one that is newer
    room.wait_drawn("FAILED", since=told)
    holding = [path.name for path in folder.path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert holding == []
    assert CANARY.encode() not in room.read(0.3)
    figure("4 variables: in no file but what the engine itself prints, not on the terminal")


TALKS = """
import os, sys, time
token = os.environ["HF_TOKEN"]
print("logging in with " + token, flush=True)
print("in colours with " + token[:8] + "\\x1b[1m" + token[8:], flush=True)
print("GET https://me:secret-pw@host/x", flush=True)
print("the last line", flush=True)
time.sleep(600)
"""


@pytest.mark.faults(41)
def test_a_secret_that_an_engine_prints_is_hidden_where_the_room_shows_its_log(
    folder: Folder, open_room: Open, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    run = folder.launch(argv=python(TALKS))
    room = open_room()
    room.wait_drawn("the last line")
    drawn = room.read(0.5).decode()
    for words in ("in with [hidden]", "in colours with [hidden]", "GET https://[hidden]@host/x"):
        assert words in drawn
    assert CANARY not in drawn
    room.press("/")
    room.wait_drawn("search: Enter, then")
    room.press(f"{CANARY}\r")
    room.wait_drawn("0 found")  # that it is there at all is told to nobody
    room.press("/")
    since = len(room.read(0.5))
    room.press("\x15[hidden]\r")
    room.wait_drawn("2 found", since=since)  # the third is in pieces in the file
    assert "secret-pw" not in room.output.decode()
    assert b"secret-pw" in run.log_file.read_bytes()
    figure("what an engine prints is hidden in the room's log and the command line; its file stays as it is")


@pytest.mark.faults(41)
def test_secrets_of_a_command_line_are_hidden_where_it_is_written_down(figure: Figure) -> None:
    given = ["train", "--api-key", CANARY, f"--hf-token={CANARY}", "--token", "--epochs", "3", f"MY_SECRET={CANARY}"]
    given += [f"https://me:{CANARY}@host/corpus", "tokenizer", "--seed", "7"]
    shown = shown_argv(given, {})
    assert CANARY not in " ".join(shown)
    assert [shown[index] for index in (0, 1, 5, 6, 9, 10, 11)] == [
        *("train", "--api-key", "--epochs", "3", "tokenizer", "--seed", "7")
    ], "nothing else is"
    assert without_secrets(f"a {CANARY} b", {"X_TOKEN": CANARY}) == "a [hidden] b"
    assert without_secrets("a 1 b", {"X_TOKEN": "1"}) == "a 1 b", "too short to be told from a word"
    figure("options, variables and addresses on a command line hidden")


@pytest.fixture
def strangers(folder: Folder) -> Iterator[RunDirectory]:
    """A run folder whose engine would leave a file `ran`; nobody's yet."""
    run = folder.prepare(argv=python("open('ran', 'w')"))
    yield run
    assert not (run.path / "ran").exists(), "a stranger's command was run"


def refused_everywhere(run: RunDirectory, config: Path, words: str) -> None:
    """Wrapper, engine, command line and room each say why."""
    wrapper = [sys.executable, "-P", "-m", "engine.run.wrapper", str(run.path)]
    done = subprocess.run(wrapper, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert words in done.stderr
    with pytest.raises(ConfigError, match="refused"):
        run.read_spec()
    done = tui("resume", "--config", str(config), "--runs-dir", str(run.path.parent), run.id)
    assert done.exit_code == 2
    watcher = Watcher(run.path.parent, 60.0)
    watcher.poll()
    assert words in watcher.unreadable[run.id]


@pytest.mark.faults(42)
@pytest.mark.parametrize("what", ["folder", "spec.json"])
def test_a_run_that_anybody_may_write_is_refused(
    strangers: RunDirectory, config: Path, figure: Figure, what: str
) -> None:
    (strangers.path if what == "folder" else strangers.spec_file).chmod(0o777)
    refused_everywhere(strangers, config, "anybody may write in it (mode 0777)")
    figure(f"{what} of mode 0777")


@pytest.mark.faults(42)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("what", ["folder", "spec.json"])
def test_a_run_of_another_user_is_refused(strangers: RunDirectory, config: Path, figure: Figure, what: str) -> None:
    os.chown(strangers.path if what == "folder" else strangers.spec_file, 65534, 65534)
    refused_everywhere(strangers, config, "it belongs to another user (uid 65534)")
    figure(f"{what} of another user")


@pytest.mark.faults(42)
def test_a_folder_of_runs_that_anybody_may_write_is_not_used(tmp_path: Path, config: Path, figure: Figure) -> None:
    runs_dir = tmp_path / "runs"
    runs_dir.mkdir()
    for mode in (0o777, 0o1777):
        runs_dir.chmod(mode)
        for verb in (["status"], ["start", "mamba_s"], ["journal"]):
            done = tui(verb[0], "--config", str(config), "--runs-dir", str(runs_dir), *verb[1:])
            assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
            assert "anybody may write in it" in done.stderr
        with pytest.raises(ConfigError, match="anybody may write"), launch_lock(runs_dir):
            pass
    assert list(runs_dir.iterdir()) == []
    figure("runs folder of mode 0777 and 1777")


@pytest.mark.faults(42)
def test_links_planted_where_the_next_run_or_its_files_will_be_are_not_followed(
    folder: Folder, tmp_path: Path, figure: Figure
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept.txt").write_text("kept")
    first = folder.prepare("--epochs", "1")
    (folder.path / "mamba_s-0002").symlink_to(victim)
    made = RunDirectory.create(folder.path, "mamba_s", lambda run_id: msgspec.structs.replace(make_spec(), id=run_id))
    assert made.id == "mamba_s-0003"
    assert [path.name for path in victim.iterdir()] == ["kept.txt"]
    first.path.joinpath(f".run.json.{os.getpid()}.tmp").symlink_to(victim / "kept.txt")
    assert folder.start(first).returncode == 0
    wait_ended(first)
    assert status_of(first)[0] is Status.FINISHED
    assert (victim / "kept.txt").read_text() == "kept"
    figure("a planted link is stepped over")
