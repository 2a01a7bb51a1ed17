"""The run directory: one folder for one launch, files that are whole or not there, a lock that tells life."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from processes import wait_until
from recorded import eval_report, make_spec, missed_mamba, passed_amn

from engine.run.convert import ConfigError
from engine.run.directory import (
    Exit,
    RunDirectory,
    find_run,
    is_locked,
    launch_lock,
    list_runs,
    take_lock,
    write_atomically,
)
from engine.run.spec import RunSpec

CREATE = """
import sys
from pathlib import Path
import msgspec
from engine.run.directory import RunDirectory
from engine.run.spec import RunSpec
sys.stdin.readline()
spec = msgspec.json.decode(sys.argv[2], type=RunSpec)
made = RunDirectory.create(Path(sys.argv[1]), "mamba_s", lambda run_id: msgspec.structs.replace(spec, id=run_id))
print(made.id)
"""

HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"


def spec_for(run_id: str) -> RunSpec:
    return msgspec.structs.replace(make_spec(), id=run_id)


def test_a_run_is_frozen_into_a_folder_of_this_user_alone(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs", "mamba_s", spec_for)
    assert run.id == "mamba_s-0001"
    assert run.read_spec() == spec_for("mamba_s-0001")
    assert [(tmp_path / "runs").stat().st_mode & 0o777, run.path.stat().st_mode & 0o777] == [0o700, 0o700]
    assert run.spec_file.stat().st_mode & 0o777 == 0o600


def test_numbers_count_over_all_runs_and_are_not_used_again(tmp_path: Path) -> None:
    ids = [RunDirectory.create(tmp_path, name, spec_for).id for name in ("mamba_s", "amn", "mamba_s")]
    assert ids == ["mamba_s-0001", "amn-0002", "mamba_s-0003"]
    (tmp_path / "mamba_s-0003").rename(tmp_path / "amn-0041")
    (tmp_path / "notes.txt").touch()
    assert RunDirectory.create(tmp_path, "amn", spec_for).id == "amn-0042"


def test_24_launchers_at_one_instant_get_24_folders(tmp_path: Path) -> None:
    spec = msgspec.json.encode(make_spec()).decode()
    launchers = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, str(tmp_path), spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(24)
    ]
    for launcher in launchers:  # each waits for its line once its imports are done
        assert launcher.stdin is not None
        launcher.stdin.write(b"\n")
        launcher.stdin.flush()
    made = [launcher.communicate()[0].decode().strip() for launcher in launchers]
    assert sorted(made) == [f"mamba_s-{number:04d}" for number in range(1, 25)]
    assert len(list_runs(tmp_path)) == 24


def test_a_run_is_found_by_id_and_by_number(tmp_path: Path) -> None:
    missed_mamba(tmp_path)
    passed_amn(tmp_path)
    assert find_run(tmp_path, "amn-0002").id == find_run(tmp_path, "2").id == find_run(tmp_path, "0002").id
    with pytest.raises(ConfigError, match=r'there is no run "amn-0003"\. Newest: mamba_s-0001, amn-0002'):
        find_run(tmp_path, "amn-0003")
    with pytest.raises(ConfigError, match="none yet; start one"):
        find_run(tmp_path / "nowhere", "1")


def test_links_files_and_folders_without_a_spec_are_no_runs(tmp_path: Path) -> None:
    run = missed_mamba(tmp_path)
    (tmp_path / "linked-0002").symlink_to(run.path)
    (tmp_path / "file-0003").touch()
    (tmp_path / "empty-0004").mkdir()
    assert [found.id for found in list_runs(tmp_path)] == ["mamba_s-0001"]


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"[" * 100_000, b"\xff", b" " * 4096, b'{"id": "\xff"}'])
def test_a_damaged_spec_is_named(tmp_path: Path, content: bytes) -> None:
    run = missed_mamba(tmp_path)
    run.spec_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mamba_s-0001/spec\.json: cannot be read"):
        run.read_spec()


def test_what_is_damaged_is_left_out(tmp_path: Path) -> None:
    run = passed_amn(tmp_path)
    (run.evals / "full-e0004.json").write_bytes(b'{"gates": 5}')
    (run.evals / "torn.json").write_bytes(b'{"name": ')
    assert run.read_evals() == {"smoke-e0004": eval_report(r5=0.48)}
    assert len(run.read_history()) == 4
    run.history_file.write_bytes(b"[{}]")
    assert run.read_history() == []


def test_a_reserved_exit_is_no_exit(tmp_path: Path) -> None:
    run = missed_mamba(tmp_path)
    assert run.read_life().exit == Exit(code=0, kind="exited", wall_s=360.0)
    run.exit_file.write_bytes(b" " * 4096)
    assert run.read_life().exit is None


def test_a_run_of_another_boot_was_lost_by_a_reboot(tmp_path: Path) -> None:
    run = missed_mamba(tmp_path)
    assert not run.read_life().rebooted  # it has ended
    run.exit_file.unlink()
    assert run.read_life().rebooted


def test_the_lock_tells_whether_a_real_process_lives(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(lock)
        assert is_locked(lock), "a probe does not take the lock away"
        assert take_lock(lock) is None
        holder.kill()
    wait_until(lambda: not is_locked(lock))
    fd = take_lock(lock)
    assert fd is not None
    assert is_locked(lock)
    os.close(fd)
    assert not is_locked(lock)


def test_the_launch_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    with launch_lock(tmp_path / "runs"):
        assert is_locked(tmp_path / "runs" / ".launch.lock")
    assert not is_locked(tmp_path / "runs" / ".launch.lock")


@pytest.mark.parametrize("failing", ["fsync", "open", "rename"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "history.json"
    write_atomically(path, b"old")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(*{"rename": (Path, "replace")}.get(failing, (os, failing)), fail)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.json"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_launch_that_fails_leaves_no_folder_behind(tmp_path: Path) -> None:
    def fail(_run_id: str) -> RunSpec:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        RunDirectory.create(tmp_path, "amn", fail)
    assert list(tmp_path.iterdir()) == []
    assert RunDirectory.create(tmp_path, "amn", spec_for).id == "amn-0001"
