"""Processes: a pid is never an identity, and a corpse is not alive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import wait_until

from engine.run.process import Identity, boot_id, identify, is_alive, send


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def identity_of(process: subprocess.Popen[bytes]) -> Identity:
    found = identify(process.pid)
    assert found is not None
    return found


def test_this_process_is_alive() -> None:
    own = identify(os.getpid())
    assert own is not None
    assert own.boot_id == boot_id() != ""
    assert is_alive(own)


def test_a_process_that_was_killed_is_not_alive_before_and_after_it_is_reaped(
    child: subprocess.Popen[bytes],
) -> None:
    identity = identity_of(child)
    assert send(identity, signal.SIGKILL)
    wait_until(lambda: not is_alive(identity))  # a zombie: nobody has waited for it
    os.kill(child.pid, 0)
    assert identify(child.pid) is None
    assert child.wait() == -signal.SIGKILL
    assert not is_alive(identity)
    assert not send(identity, signal.SIGKILL)


@pytest.mark.parametrize("other", [{"start_ticks": "1"}, {"boot_id": "another boot"}])
def test_a_later_process_with_the_same_pid_is_never_signalled(
    child: subprocess.Popen[bytes], other: dict[str, str]
) -> None:
    earlier = identity_of(child)._replace(**other)
    assert not is_alive(earlier)
    assert not send(earlier, signal.SIGKILL)
    assert is_alive(identity_of(child))
    assert child.poll() is None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_pid_that_nobody_has_is_not_signalled(pid: int) -> None:
    assert not send(Identity(boot_id(), pid, ""), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="names are read from /proc")
@pytest.mark.parametrize("name", ["a) R 1 (b", "x y", "ünïcödé---ünïcödé"])
def test_a_process_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The kernel cuts names after 15 bytes, wherever in a character that falls."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    program = tmp_path / name
    shutil.copy(sleep, program)
    with subprocess.Popen([program, "600"]) as process:
        try:
            wait_until(lambda: name.encode()[:5] in Path(f"/proc/{process.pid}/stat").read_bytes())
            identity = identity_of(process)
            assert is_alive(identity)
        finally:
            process.kill()
        wait_until(lambda: not is_alive(identity))  # its corpse is told apart by the state behind the name
