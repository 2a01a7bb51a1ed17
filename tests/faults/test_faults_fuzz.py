"""Row 46: the targets of `make fuzz` hold for what is known to be bad and for some of anything, and can fail."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fuzz_targets
import pytest
from fault_runs import Figure, times
from fuzz_targets import LONGEST, TARGETS, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.content import Content

FEW = 500
"""Inputs with which the fuzzer itself is tried."""


def try_seeds(target: str, scratch: Path) -> None:
    for seed in seeds(target):
        TARGETS[target](seed, scratch)


@pytest.mark.faults(46)
@pytest.mark.parametrize("target", TARGETS)
def test_no_known_input_breaks_a_promise(tmp_path: Path, target: str) -> None:
    try_seeds(target, tmp_path)


@pytest.mark.faults(46)
@pytest.mark.parametrize("target", TARGETS)
@given(st.data())
@settings(
    max_examples=times(3000, 100),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=times(0, 1) == 1,
)
def test_none_of_any_inputs_breaks_a_promise(
    tmp_path_factory: pytest.TempPathFactory, target: str, data: st.DataObject
) -> None:
    pieces = data.draw(st.lists(st.one_of(st.sampled_from(seeds(target)), st.binary(max_size=40)), max_size=4))
    TARGETS[target](b"\n".join(pieces)[: LONGEST[target]], tmp_path_factory.getbasetemp())


@pytest.mark.faults(46)
@pytest.mark.parametrize(
    ("target", "planted"),
    [
        ("events", {"read_events": lambda _path: []}),
        ("events", {"decode_event": lambda _line: None}),
        ("text", {"clean": lambda text: text if isinstance(text, str) else text.decode("latin-1")}),
        ("text", {"ui_text": lambda _text, **_options: Content("parsed")}),
        ("settings", {"load_runs": lambda _path: object()}),
    ],
)
def test_a_promise_that_is_broken_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, planted: dict[str, object]
) -> None:
    for name, broken in planted.items():
        monkeypatch.setattr(fuzz_targets, name, broken)
    with pytest.raises(AssertionError):
        try_seeds(target, tmp_path)


@pytest.mark.faults(46)
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed, `make fuzz` does that")
def test_the_fuzzer_tries_every_target(figure: Figure) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(FEW)], capture_output=True, text=True, check=True
    )
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(TARGETS)
    assert done.stdout.count(f"{FEW:,} inputs") == len(TARGETS)
    figure(f"fuzzed: {done.stdout.count('no promise broken')} of {len(TARGETS)} targets with {FEW} inputs each")
