"""Reading and replacing the files of a run so that nothing in their place can harm: no waiting, no endless reading.

A FIFO, a device or a folder where a file should be is an OSError like any other; so is a file that is too large.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from engine.run.process import identify

_TEMPORARY = re.compile(r"\..+\.([0-9]+)\.tmp")
"""What `write_atomically` calls its temporary files; the number is the writer's process id."""


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file. Never waits for a writer.

    Raises:
        OSError: it is missing, closed to this user, or not a regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def read_regular(path: Path, limit: int) -> bytes:
    """All of a regular file.

    Raises:
        OSError: as `open_regular`, or it holds more than `limit` bytes.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return data


def why_unsafe(path: Path) -> str:
    """Why somebody else may have put a command into a folder or file, and how to mend it; empty if nobody can have.

    A run's spec.json holds the command that is executed, so whoever can write it acts as this user.

    Raises:
        OSError: it is not there, or closed to this user.
    """
    info = path.stat()
    if info.st_uid != os.geteuid():
        return f"it belongs to another user (uid {info.st_uid}). Copy it to a folder of your own to use it"
    if info.st_mode & stat.S_IWOTH:
        return (
            f"anybody may write in it (mode {info.st_mode & 0o7777:04o}). If you trust what it holds: chmod o-w {path}"
        )
    return ""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file whole: temporary file, fsync, rename, fsync of the folder. On failure the old one stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def clear_temporaries(folder: Path) -> None:
    """Remove, here and below, the temporary files whose writers are dead; whoever has their process id keeps one."""
    for file in folder.rglob(".*.tmp"):
        match = _TEMPORARY.fullmatch(file.name)
        if match and identify(int(match[1])) is None:
            file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def user_cache(name: str) -> Path:
    """The user's folder of this program for what can be made again, and deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvm-tui" / name
