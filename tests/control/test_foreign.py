"""Histories of other programs: every shape they come in gives the same epochs; what is no history is refused."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import PLAYBOOK_HISTORY, make_record

from engine.run.convert import ConfigError
from engine.run.events import EpochRecord
from engine.run.runs_file import RunsFile
from tui.control.foreign import MAX_BYTES, as_run, parse_history, place, read_json

RECORDED = [round(value, 4) for value in PLAYBOOK_HISTORY]
ROWS = [{"epoch": epoch, "val_cosine": value} for epoch, value in enumerate(RECORDED, start=1)]


def val_cosines(data: Any) -> list[tuple[int, float | None]]:
    """Epoch and val_cosine of what is read."""
    return [(record.epoch, record.val_cosine) for record in parse_history(data, "h.json").epochs]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        [{"epoch": row["epoch"] - 1, "val_cos": row["val_cosine"]} for row in ROWS],
        [{"val_cosine_similarity": value} for value in RECORDED],
        [{"Epoch": float(row["epoch"]), "val/Cosine": row["val_cosine"]} for row in ROWS],
        [{"epoch": str(row["epoch"]), "validation cosine": row["val_cosine"]} for row in ROWS],
        {"history": ROWS, "config": {"lr": 1e-3}},
        {"epochs": ROWS},
        {"history": {"epochs": ROWS}},
        {"val_cosine": RECORDED, "loss": [2.0] * 7},
        {"history": {"val_cosine": RECORDED}, "epoch": [0, 1, 2, 3, 4, 5, 6]},
        {"epoch": [0, 1, 2, 3, 4, 5, 6], "val_cos": RECORDED},
        {"log_history": [part for row in ROWS for part in ({"epoch": row["epoch"] - 0.5, "loss": 1.0}, row)]},
        list(reversed(ROWS)),
        {str(row["epoch"]): {"val_cosine": row["val_cosine"]} for row in ROWS},
        [{"epoch": row["epoch"], "val": {"cosine": row["val_cosine"]}} for row in ROWS],
        [{"epoch": row["epoch"], "metrics": {"val_cosine": row["val_cosine"]}} for row in ROWS],
    ],
)
def test_one_training_in_many_shapes_is_one_training(data: Any) -> None:
    assert val_cosines(data) == list(enumerate(RECORDED, start=1))


def test_our_own_history_is_read_whole() -> None:
    records = [make_record(epoch, 0.4 + epoch / 100) for epoch in (1, 2, 3)]
    rows = [{name: getattr(record, name) for name in EpochRecord.__struct_fields__} for record in records]
    assert list(parse_history(rows, "h.json").epochs) == records


def test_other_numbers_have_other_names_too() -> None:
    keras = {"loss": [2.0, 1.5], "val_loss": [2.1, 1.7], "cosine_similarity": [0.2, 0.3], "learning_rate": [1e-3, 9e-4]}
    first, _ = parse_history(keras, "h.json").epochs
    assert (first.train_loss, first.val_loss, first.train_ar_cosine, first.lr) == (2.0, 2.1, 0.2, 1e-3)


def test_our_own_name_comes_before_anothers() -> None:
    assert val_cosines([{"val_cos": 0.1, "val_cosine": 0.4}]) == [(1, 0.4)]
    assert val_cosines([{"val_cosine": 0.4, "val_cos": 0.1}]) == [(1, 0.4)]


def test_rows_of_one_epoch_are_one_and_a_missing_number_hides_nothing() -> None:
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 1, "val_cos": 0.4, "loss": None}]
    (record,) = parse_history(rows, "h.json").epochs
    assert (record.train_loss, record.val_cosine) == (2.0, 0.4)


@given(st.randoms(use_true_random=False), st.dictionaries(st.sampled_from(["note", "gpu", "lr_group"]), st.text()))
def test_order_of_keys_and_numbers_that_are_unknown_change_nothing(rng: random.Random, extra: dict[str, str]) -> None:
    shuffled = []
    for row in ROWS:
        items = list({**row, **extra}.items())
        rng.shuffle(items)
        shuffled.append(dict(items))
    assert parse_history(shuffled, "h.json") == parse_history(ROWS, "h.json")


def test_a_loss_that_stays_nan_is_said_and_one_gap_is_not() -> None:
    losses = [2.0, math.nan, 1.5, math.inf, math.nan]
    history = parse_history([{"epoch": n, "train_loss": loss} for n, loss in enumerate(losses, 1)], "h.json")
    assert history.non_finite is not None
    assert (history.non_finite.what, history.non_finite.epoch) == ("train_loss", 4)
    assert [record.train_loss for record in history.epochs] == [2.0, None, 1.5, None, None]
    assert parse_history([{"loss": 2.0}, {"loss": math.nan}, {"loss": 1.0}], "h.json").non_finite is None


@pytest.mark.parametrize("text", ['[{"val_cosine": "NaN"}]', '[{"val_cosine": NaN}]', '[{"val_cosine": 1e999}]'])
def test_every_way_to_write_what_is_not_finite_is_read(text: str) -> None:
    history = parse_history(json.loads(text), "h.json")
    assert history.non_finite is not None
    assert history.epochs[0].val_cosine is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "no training history"),
        ({}, "no training history"),
        (3, "no training history"),
        ("text", "no training history"),
        ([1, 2, 3], "no training history"),
        ([ROWS[0], None], "no training history"),
        ({"history": []}, "no training history"),
        ({"name": ["a", "b"]}, "no training history"),
        ([{"epoch": 1, "accuracy": 0.9}], "no number that is known"),
        ([{"epoch": 1, "val_cosine": True}], "no number that is known"),
        ([{"epoch": -1, "val_cosine": 0.4}], "row 1: epoch is -1"),
        ([{"epoch": 2**63, "val_cosine": 0.4}], "epoch is 9223372036854775808"),
        ([{"epoch": "two", "val_cosine": 0.4}], "epoch is 'two'"),
        ([{"epoch": math.nan, "val_cosine": 0.4}], "epoch is nan"),
        ([{"epoch": [1], "val_cosine": 0.4}], "epoch is [1]"),
        ([{"epoch": 1, "val_cosine": 51.5}], "a cosine is between -1 and 1"),
        ([{"val_cosine": 0.4, "grad_norm": 10**400}], "digits"),
        ([{"val_cosine": 0.1}] * 100_001, "100,001 rows"),
    ],
)
def test_what_is_no_history_is_refused_with_the_place(data: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^h\.json") as refused:
        parse_history(data, "h.json")
    assert told in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not valid JSON"),
        (b"[{", "not valid JSON"),
        (b'[{"val_cosine": 0.4}', "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x00" * 64, "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
    ids=["empty", "cut", "torn", "utf-16", "nul", "deep", "digits", "large"],
)
def test_a_hostile_file_is_an_error_in_words(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "h.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_json(path)
    assert told in str(refused.value)


def test_what_is_not_a_file_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_json(tmp_path / name)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS).encode())
    assert val_cosines(read_json(tmp_path / "h.json")) == list(enumerate(RECORDED, start=1))


names = st.sampled_from(["epoch", "history", "epochs", "val_cosine", "loss", "val_loss", "step", "grad_norm", "x", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_any_json_is_read_or_refused_and_never_crashes(data: Any) -> None:
    try:
        history = parse_history(data, "h.json")
    except ConfigError:
        return
    epochs = [record.epoch for record in history.epochs]
    assert epochs == sorted(set(epochs))
    assert epochs[0] >= 1


def test_where_a_foreign_run_stands_does_not_ask_for_checks_it_cannot_have(runs_file: RunsFile) -> None:
    def position(*values: float) -> tuple[str, list[str]]:
        rows = [{"val_cosine": value} for value in values]
        run = as_run(Path("h.json"), parse_history(rows, "h.json"), None, runs_file)
        found = place(run, runs_file)
        return found.node, [step.node for step in found.path]

    assert position(0.41)[0] == "never_judged"
    node, path = position(0.4123, 0.4719, 0.4944)
    assert node == "fix"
    assert "clean" not in path
    assert position(0.45, 0.51, 0.52, 0.53)[0] == "smoke_now"
