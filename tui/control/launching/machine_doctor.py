"""Whether this machine is fit for the room and for training: terminal, disk, permissions, and what a logout ends."""

from __future__ import annotations

import fcntl
import getpass
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.run.files import why_unsafe
from engine.run.node_report import versions
from tui.control.launching.protocol import Finding, Verdict

LEAST_COLUMNS, LEAST_ROWS = 80, 24
LITTLE_DISK, NO_DISK = 5 << 30, 256 << 20
"""Bytes. A run of the packaged size keeps 90 MB of checkpoints, an index of a large corpus a few GB."""
COERCED = {"C.UTF-8", "C.utf8", "UTF-8"}
"""What Python sets LC_CTYPE to in the C locale."""
LOGIND = ("etc/systemd/logind.conf", "etc/systemd/logind.conf.d", "usr/lib/systemd/logind.conf.d")


def examine_machine(runs_dir: Path) -> list[Finding]:
    """Everything that can be told of this machine without starting anything on it."""
    size = shutil.get_terminal_size((0, 0)) if sys.stdout.isatty() or sys.stderr.isatty() else os.terminal_size((0, 0))
    return [
        *look_at_terminal(os.environ, size),
        look_at_versions(versions()),
        *look_at_folder(runs_dir),
        look_at_disk(runs_dir),
        look_at_logout(),
    ]


def look_at_terminal(environment: Mapping[str, str], size: os.terminal_size) -> list[Finding]:
    """TERM, colours, size (0 x 0: no terminal) and locale."""
    name = environment.get("TERM", "")
    if name in {"", "dumb"}:
        known = Finding(
            "warning", "terminal", f"TERM is {name or 'not set'}", "the room needs one: TERM=xterm-256color"
        )
    else:
        known = Finding("ok", "terminal", name)
    has_colours = environment.get("COLORTERM") in {"truecolor", "24bit"} or re.search(r"256color|direct|kitty", name)
    if "NO_COLOR" in environment:
        colours = Finding("ok", "colours", "none, as NO_COLOR asks")
    elif has_colours:
        colours = Finding("ok", "colours", environment.get("COLORTERM") or "256")
    else:
        colours = Finding(
            "warning", "colours", "16 or fewer, by TERM and COLORTERM", "TERM=xterm-256color, if it is one"
        )
    if not (size.columns and size.lines):
        shown = Finding("ok", "size", "no terminal here; the commands need none")
    elif size.columns < LEAST_COLUMNS or size.lines < LEAST_ROWS:
        shown = Finding(
            "warning", "size", f"{size.columns}x{size.lines}", f"enlarge it to {LEAST_COLUMNS}x{LEAST_ROWS}"
        )
    else:
        shown = Finding("ok", "size", f"{size.columns}x{size.lines}")
    locale = locale_of(environment)
    if locale and "utf" not in locale.lower():
        said = Finding("warning", "locale", f"{locale} has no Unicode: the room draws in ASCII", "LANG=C.UTF-8")
    else:
        said = Finding("ok", "locale", locale or "not set")
    return [known, colours, shown, said]


def locale_of(environment: Mapping[str, str]) -> str:
    """The locale that a person's shell has set for characters; empty where none is.

    Python puts LC_CTYPE=C.UTF-8 into its own environment where it starts in the C locale (PEP 538), which says nothing
    of the terminal: beside a LANG, such a value does not count. Who means it beside LANG=C says it in LC_ALL.
    """
    of_characters = environment.get("LC_CTYPE", "")
    if of_characters in COERCED:
        of_characters = ""
    return environment.get("LC_ALL") or of_characters or environment.get("LANG", "")


def look_at_versions(found: Mapping[str, str]) -> Finding:
    """Python, and the packages an engine computes with."""
    missing = [name for name, known in found.items() if not known]
    if missing:
        mend = "install lvm-tui with its dependencies: pip install lvm-tui"
        return Finding("failed", "packages", f"not installed: {', '.join(missing)}", mend)
    return Finding("ok", "packages", ", ".join(f"{name} {known}" for name, known in found.items()))


def look_at_folder(runs_dir: Path) -> list[Finding]:
    """Whether runs can be made there, are this user's alone, and can be locked."""
    existing = next(path for path in (runs_dir, *runs_dir.parents) if path.exists())
    if existing == runs_dir and (reason := why_unsafe(runs_dir)):
        return [Finding("failed", "runs folder", f"{runs_dir}: {reason}", f"chmod 700 {runs_dir}, or one of your own")]
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        mend = "name another in [room] runs_dir, on a file system with locks"
        return [Finding("failed", "runs folder", f"{existing}: {error.strerror}", mend)]
    is_new = "" if existing == runs_dir else "; it will be made"
    return [Finding("ok", "runs folder", f"{runs_dir} can be written and locked{is_new}")]


def look_at_disk(runs_dir: Path) -> Finding:
    """What is left for checkpoints."""
    existing = next(path for path in (runs_dir, *runs_dir.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    told = f"{free / (1 << 30):.1f} GiB left at {existing}"
    verdict: Verdict = "failed" if free < NO_DISK else "warning" if free < LITTLE_DISK else "ok"
    return Finding(verdict, "disk", told, "" if verdict == "ok" else "make room, or name another [room] runs_dir")


def look_at_logout(root: Path = Path("/"), user: str = "") -> Finding:
    """Whether a logout ends what is left running: systemd's KillUserProcesses, unless the user lingers.

    Args:
        root: where etc, usr and var are.
        user: who; empty for this one.
    """
    files = [file for name in LOGIND for file in _files(root / name)]
    kills = False
    for file in files:
        for line in file.read_text(errors="replace").splitlines():
            setting = re.fullmatch(r"\s*KillUserProcesses\s*=\s*(\w+)\s*", line)
            kills = setting[1].lower() in {"yes", "true", "on", "1"} if setting else kills
    user = user or getpass.getuser()
    if kills and not (root / "var/lib/systemd/linger" / user).exists():
        why = "logind has KillUserProcesses=yes: training ends with your session"
        return Finding("warning", "logout", why, f"loginctl enable-linger {user}")
    return Finding("ok", "logout", "what runs here goes on after it")


def _files(path: Path) -> Iterable[Path]:
    try:
        return sorted(path.glob("*.conf")) if path.is_dir() else [path] if path.is_file() else []
    except OSError:
        return []
