"""What happens inside the terminal, each a dataclass of one line."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from tui.control.listing import Listing


@dataclass
class ActionDone(Message):
    """An action went through."""

    text: str
    run_id: str = ""
    """The run to look at now; empty to stay."""


@dataclass
class ActionFailed(Message):
    """An action was refused or failed; `text` says what, why and how to mend it."""

    text: str


@dataclass
class Relisted(Message):
    """A person looks at the runs in another way."""

    listing: Listing
