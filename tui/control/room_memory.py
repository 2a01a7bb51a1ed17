"""What a room remembers of a person: how it was left, per runs folder, and whether its first hints were read.

In the XDG state folder, which may be deleted at any time. A file is replaced whole, so that of two rooms that leave at
once one is remembered and neither is damaged; what cannot be read is as good as not there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.run.files import read_regular, write_atomically
from tui.control.views import RunView

VERSION = 1
"""Of the format; another one is not understood."""
_MAX_BYTES = 10_000


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a room was left."""

    version: int = VERSION
    runs_dir: str = ""
    """The folder it is about: for people, and against two folders that would share a file."""
    pane: Annotated[int, Meta(ge=1)] = 2
    """Number of the pane that had the focus."""
    is_alone: bool = False
    """Whether that pane was maximised."""
    metric: str = ""
    """Name of what the chart showed."""
    axis: str = "epoch"
    smoothing: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    run: str = ""
    """Id of the run that was chosen; empty where the room chose by itself."""
    follows: bool = False
    """Whether the newest run was kept selected."""


def found_again(run_id: str, views: Sequence[RunView]) -> str:
    """The run to select in a room that is opened again; empty where the room shall choose by itself.

    That is the run which was chosen when it was left, as long as it is listed; a run that began later and is alive
    takes its place, unless it is alive as well: whoever opens the room then wants to see what goes on.

    Args:
        run_id: of the run that was chosen.
        views: every run, oldest first.
    """
    place, run = next(((at, view) for at, view in enumerate(views) if view.id == run_id), (0, None))
    if run is None or run.is_put_away:
        return ""
    is_overtaken = any(view.status.is_alive for view in views[place + 1 :])
    return run_id if run.status.is_alive or not is_overtaken else ""


def state_folder() -> Path:
    """`lvm-tui` in the XDG state folder."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lvm-tui"


class RoomMemory:
    """The memory of one runs folder's room."""

    def __init__(self, folder: Path, runs_dir: Path) -> None:
        """Nothing is read or made yet.

        Args:
            folder: where a person's state is.
            runs_dir: the folder that the room is over.
        """
        self._runs_dir = str(runs_dir.resolve())
        self._folder = folder
        self._hints_file = folder / "hints-read"
        self.file = folder / "rooms" / f"{hashlib.sha256(self._runs_dir.encode()).hexdigest()[:16]}.json"

    def recall(self) -> tuple[Layout | None, str]:
        """How the room was left, and why that is not known although there is a file; None and nothing the first time.

        Never raises: how a room looked is no reason not to open it.
        """
        if not self.file.exists():
            return None, ""
        try:
            layout = msgspec.json.decode(read_regular(self.file, _MAX_BYTES), type=Layout)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return None, f"how this room was left is not known: {self.file}: {error}"
        if layout.version != VERSION:
            return None, f"how this room was left is not known: {self.file} is of version {layout.version}"
        return (layout, "") if layout.runs_dir == self._runs_dir else (None, "")

    def keep(self, layout: Layout) -> None:
        """Write down how the room is left.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.file, msgspec.json.encode(msgspec.structs.replace(layout, runs_dir=self._runs_dir)))

    @property
    def has_read_hints(self) -> bool:
        """Whether the first hints were put away once."""
        return self._hints_file.exists()

    def note_hints_read(self) -> None:
        """Never show them again.

        Raises:
            OSError: that cannot be written down.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._hints_file.touch(mode=0o600)
