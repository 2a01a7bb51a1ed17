"""What a fuzzer tries: each target takes bytes as a stranger might write them, and raises where a promise is broken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from corpora import BAD_JSONS, BAD_TOMLS, ESCAPES, MARKUP, WHOLE_TOML, crc_line
from recorded import MAMBA_HISTORY, make_spec, run_events

from engine.run.convert import ConfigError
from engine.run.event_file import EventReader, read_events
from engine.run.events import (
    decode_event,
    encode_event,
)
from engine.run.runs_file import load_runs
from engine.run.state import fold
from tui.text import clean, ui_text

LONGEST = {"events": 1024, "text": 1024, "settings": 8192}
"""Bytes of an input, by target."""
UNPRINTABLE = {"Cc", "Cf", "Cs"}
"""Categories of characters that a terminal acts on, or that hide."""


def fuzz_events(data: bytes, scratch: Path) -> None:
    """Any file of events folds into a state, and is the same one read in pieces.

    A line that looks like an object is given its checksum: few would come to the decoder otherwise.
    """
    path = scratch / "events.jsonl"
    lines = data.split(b"\n")
    path.write_bytes(b"".join(crc_line(line) if line[:1] == b"{" else line + b"\n" for line in lines))
    whole = read_events(path)
    reader, pieces = EventReader(path), []
    while True:
        events, _ = reader.read(max_bytes=97)
        pieces += events
        if not reader.behind:
            break
    assert pieces == whole, "what is read depends on how much is read at a time"
    for event in whole:
        assert decode_event(encode_event(event)) == event
    epochs = [record.epoch for record in fold(whole).epochs]
    assert epochs == sorted(set(epochs)), "an epoch twice, or out of order"


def fuzz_text(data: bytes, scratch: Path) -> None:
    """Any text comes out as one line without a character that a terminal acts on, and cleaning it again is nothing."""
    del scratch
    for foreign in (data, data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        shown = clean(foreign)
        assert clean(shown) == shown
        acted_on = [letter for letter in shown if unicodedata.category(letter) in UNPRINTABLE]
        assert not acted_on, f"{acted_on!r} came through"
        assert ui_text(foreign).plain == shown, "parsed as markup"
        assert all(clean(line) == line for line in ui_text(foreign, multiline=True).plain.split("\n"))


def fuzz_settings(data: bytes, scratch: Path) -> None:
    """Any runs.toml is read, the same way twice, or refused in a few words that name it."""
    path = scratch / "fuzzed.toml"
    path.write_bytes(data)
    try:
        file = load_runs(path)
    except ConfigError as error:
        words = str(error)
    else:
        assert load_runs(path) == file
        return
    assert path.name in words
    assert len(words) < 2000


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "events": fuzz_events,
    "text": fuzz_text,
    "settings": fuzz_settings,
}


def seeds(target: str) -> list[bytes]:
    """Inputs to begin with."""
    return [seed for seed in _seeds(target) if len(seed) <= LONGEST[target]]


def _seeds(target: str) -> list[bytes]:
    match target:
        case "events":
            lines = [encode_event(event) for event in run_events(make_spec(), MAMBA_HISTORY)]
            bodies = [re.sub(rb',"crc":"[0-9a-f]{8}"}\n$', b"}", line) for line in lines]
            return [*bodies, b"\n".join(bodies[:8]), *BAD_JSONS.values()]
        case "text":
            return [text.encode("utf-8", "surrogatepass") for text in (*ESCAPES, *MARKUP)]
        case _:
            shipped = (Path(__file__).resolve().parent.parent.parent / "runs.toml").read_bytes()
            return [WHOLE_TOML, shipped, *BAD_TOMLS.values()]
