"""What a person writes on a run: a note, whose `#words` are its tags, and that it is put away.

Two files of the run's folder that no engine reads or writes: `note.txt`, one line of UTF-8, and `archived`, which is
empty. Each says one thing, so that two rooms that write at once never undo each other's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from engine.run.convert import ConfigError
from engine.run.files import read_regular, write_atomically

if TYPE_CHECKING:
    from engine.run.directory import RunDirectory
    from tui.control.views import RunView

MAX_NOTE = 400
"""Characters of a note. What needs more belongs into a document."""
_MAX_BYTES = 1 << 16
"""A longer file is no note of ours."""
_TAG = re.compile(r"(?<!\S)#(\w[\w.+-]*)")


def read_note(path: Path) -> str:
    """What a note says, in one line of at most `MAX_NOTE` characters.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return _one_line(read_regular(path, _MAX_BYTES).decode("utf-8", "replace"))[:MAX_NOTE]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a note: {error.strerror or error}") from None


def write_note(run: RunDirectory, text: str) -> str:
    """Replace a run's note; an empty text takes it away.

    Args:
        run: what it is written on.
        text: cleaned by whoever took it in; white space does not count.

    Returns:
        The note as it is kept.

    Raises:
        ConfigError: it is too long.
        OSError: it cannot be written; the old one stays.
    """
    note = _one_line(text)
    if len(note) > MAX_NOTE:
        raise ConfigError(f"a note has at most {MAX_NOTE} characters, this one {len(note)}: shorten it.")
    if note:
        write_atomically(run.note_file, note.encode() + b"\n")
    else:
        run.note_file.unlink(missing_ok=True)
    return note


def tags_of(note: str) -> tuple[str, ...]:
    """The words of a note that begin with #, without it, in lower case; each once."""
    return tuple(dict.fromkeys(tag.casefold() for tag in _TAG.findall(note)))


def archive(run: RunView, *, away: bool = True) -> None:
    """Put a run away, or take it out again. Nothing of it is deleted.

    Raises:
        ConfigError: it is alive, so that somebody should see it.
        OSError: the mark cannot be written.
    """
    mark = run.directory.archived_file
    if not away:
        mark.unlink(missing_ok=True)
    elif run.status.is_alive:
        raise ConfigError(f"{run.id} is {str(run.status).lower()}: it can be archived once it has ended.")
    else:
        write_atomically(mark, b"")


def _one_line(text: str) -> str:
    return " ".join(text.split())
