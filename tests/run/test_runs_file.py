"""runs.toml: every mistake is one line that names file, table and key, and is never a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import RUNS_TOML

from engine.run.convert import ConfigError
from engine.run.runs_file import (
    MAX_BYTES,
    RunsFile,
    corpus_folder,
    find_runs_file,
    load_runs,
    packaged_runs_file,
)
from engine.run.settings import DataConfig, Gate

ROOM = '[run.mamba_s]\n[run.amn.model]\nkind = "amn"\n'


def load(folder: Path, text: str | bytes) -> RunsFile:
    path = folder / "runs.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_runs(path)


def refusal(folder: Path, text: str | bytes) -> str:
    """What is said of a file that cannot be used; the file's own path is shortened to its name."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def objection(folder: Path, text: str | bytes) -> str | None:
    """What is said of a file, or None where it is taken; any other error is a fault."""
    try:
        load(folder, text)
    except ConfigError as error:
        return str(error)
    return None


def test_the_packaged_file_is_right() -> None:
    file = load_runs(packaged_runs_file())
    assert {"mamba_s", "amn"} <= file.run.keys()
    assert file.gate == [Gate(metric="val_cosine", epoch=2, at_least=0.50)]
    assert (file.check.margin_at_least, file.check.same_article_negatives_at_most) == (0.10, 0)
    smoke = file.eval["smoke"]
    assert (smoke.at_epoch, smoke.limit, smoke.nprobe) == (4, 1000, 64)
    assert (smoke.contain50, smoke.r5, smoke.eff5, smoke.p95_ms) == (0.60, 0.40, 0.68, 1.45)


def test_the_packaged_ladder_begins_with_the_playbooks_five() -> None:
    fixes = load_runs(packaged_runs_file()).fix
    tries = [fix.tries[0] if fix.tries else fix.verify for fix in fixes[:5]]
    assert tries[0] == {"loss.temperature": 0.05}
    assert tries[1] == {"loss.lambda_con": 0.85, "loss.lambda_ar": 0.15}
    assert isinstance(tries[2], dict)
    assert "sampler.batch_size" in tries[2]
    assert tries[3:] == ["projection_head", {"sampler.max_per_article": 2}]


def test_defaults_are_the_playbooks_numbers(tmp_path: Path) -> None:
    file = load(tmp_path, ROOM)
    loss = file.run["mamba_s"].loss
    assert (loss.temperature, loss.lambda_con, loss.lambda_ar) == (0.07, 0.7, 0.3)
    assert file.run["mamba_s"].optimizer.clip_norm == 1.0
    assert file.gate == [Gate()]
    assert file.runs_dir == tmp_path / "runs"


BAD_FILES: list[tuple[str, list[str]]] = [
    ("", ["runs.toml: no [run.NAME] table"]),
    ("x = ?\n", ["runs.toml: not valid TOML", "line 1"]),
    ("[room\n", ["runs.toml: not valid TOML"]),
    (ROOM + "[rooms]\n", ['runs.toml: unknown table "rooms"', 'Did you mean "room"?']),
    (ROOM + "[gate]\nepoch = 2\n", ['"gate" must be written as [[gate]]']),
    (ROOM + "[[room]]\n", ['"room" must be written as [room]']),
    ("run = 3\n", ['"run" must be written as [run.NAME]']),
    ("[run]\nmamba_s = 3\n", ['"run" must be written as [run.NAME]']),
    ("gate = [3]\n" + ROOM, ['"gate" must be written as [[gate]]']),
    (
        ROOM + "[run.mamba_small.sampler]\nmax_per_artcle = 2\n",
        ["runs.toml, [run.mamba_small.sampler]", 'unknown key "max_per_artcle"', 'Did you mean "max_per_article"?'],
    ),
    (ROOM + "[run.b]\nepoch = 3\n", ["[run.b]", 'unknown key "epoch"', 'Did you mean "epochs"?']),
    (ROOM + "[run.b]\nepochs = 0\n", ["[run.b]", '"epochs"', "expected `int` >= 1"]),
    (ROOM + "[run.b.loss]\ntemperature = 0\n", ["[run.b.loss]", '"temperature"', "> 0.0"]),
    (ROOM + "[run.b.loss]\ntemperature = nan\n", ["[run.b.loss]", '"temperature"', "finite"]),
    (ROOM + "[run.b.optimizer]\nlr = inf\n", ["[run.b.optimizer]", '"lr"', "finite"]),
    (ROOM + '[run.b.model]\nkind = "amm"\n', ["[run.b.model]", '"kind"', 'Did you mean "amn"?']),
    (ROOM + "[run.b]\nmodel = 3\n", ["[run.b]", '"model"', "expected `object`"]),
    (ROOM + "[run.b]\nepochs = 2020-01-01\n", ["[run.b]", '"epochs"', "expected `int`"]),
    (ROOM + '[run."a/b"]\n', ["[run.a/b]", "matching regex"]),
    (ROOM + '[eval."../x"]\n', ["[eval.../x]", "matching regex"]),
    (ROOM + "[eval.smoke]\nr5 = 40\n", ["[eval.smoke]", '"r5"', "<= 1.0"]),
    (ROOM + "[[gate]]\n[[gate]]\nat_lest = 1\n", ["[[gate]] 2", 'unknown key "at_lest"', 'Did you mean "at_least"?']),
    (ROOM + '[[gate]]\nmetric = "val_cos"\n', ["[[gate]] 1", 'no metric "val_cos"', 'Did you mean "val_cosine"?']),
    (ROOM + '[[gate]]\nmetric = "__class__"\n', ["[[gate]] 1", 'no metric "__class__"']),
    (
        ROOM + '[[fix]]\ntitle = "Cold"\nreason = "r"\ntries = [{"loss.temprature" = 0.05}]\n',
        ["[[fix]] 1 (Cold)", 'unknown setting "loss.temprature"', 'Did you mean "loss.temperature"?'],
    ),
    (ROOM + '[[fix]]\ntitle = "T"\nreason = "r"\n', ["[[fix]] 1", "needs either tries or verify"]),
    (ROOM + '[[fix]]\ntitle = "T"\nreason = "r"\ntries = [{"seed" = [1]}]\n', ["[[fix]] 1"]),
    (ROOM + '[room]\ncompare = ["mamba_s", "ann"]\n', ["no [run.ann]", 'Did you mean "amn"?', "[room] compare"]),
    (ROOM + '[room]\ncompare = ["amn"]\n', ["[room]", '"compare"', "length >= 2"]),
    (ROOM + '[room]\nruns_dir = "a\\u0000b"\n', ["[room]", '"runs_dir"']),
    (ROOM + '[data]\ncorpus = "embedded:wikilead"\n', ["[data] corpus", 'Did you mean "embedded:wikileads"?']),
    (ROOM + '[data]\ncorpus = "nowhere"\n', ["[data] corpus", "nowhere does not exist", "lvm-engine data import"]),
    (ROOM + '[data]\ncorpus = "~no-such-user/x"\n', ["[data]"]),
    (ROOM + f'[data]\ncorpus = "{"x" * 5000}"\n', ["[data]"]),
    (ROOM + '[data]\ncorpus = "a\\u0000b"\n', ["[data] corpus"]),
    (ROOM + '[data]\ntrain_npz = "no.npz"\n', ["[data] train_npz", "no.npz does not exist"]),
    (ROOM + "[data]\nval_share = 0.5\ntest_share = 0.5\n", ["[data]", "leave nothing to train on"]),
]


@pytest.mark.parametrize(("text", "parts"), BAD_FILES)
def test_a_mistake_is_named_with_file_table_and_key(tmp_path: Path, text: str, parts: list[str]) -> None:
    said = refusal(tmp_path, text)
    assert [part for part in parts if part not in said] == [], said
    assert said.startswith("runs.toml")


def test_a_folder_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty has no manifest\.json"):
        corpus_folder(DataConfig(corpus="empty"), tmp_path)


def test_a_corpus_folder_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    assert corpus_folder(DataConfig(corpus="mine"), tmp_path) == tmp_path / "mine"
    assert corpus_folder(DataConfig(), tmp_path).name == "wikileads"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    assert "not UTF-8 at byte 2" in refusal(tmp_path, b"# \xff")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + ROOM.encode()).run.keys() == {"mamba_s", "amn"}


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    assert "larger than 1,000,000 bytes" in refusal(tmp_path, ROOM + "#" * MAX_BYTES)


def test_a_file_that_is_missing_says_how_to_name_another(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ConfigError, match="--config"):
            load_runs(path)


@pytest.mark.parametrize("text", ["x = " + "[" * 50_000, ".".join("a" * 20_000) + " = 1", "x = " + "{a=" * 30_000])
def test_a_file_that_nests_without_end_is_refused(tmp_path: Path, text: str) -> None:
    assert "not valid TOML" in refusal(tmp_path, text)


def test_the_file_here_comes_before_the_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_runs_file(None) == packaged_runs_file()
    (tmp_path / "runs.toml").write_text(ROOM)
    assert find_runs_file(None) == tmp_path / "runs.toml"
    assert find_runs_file("other.toml") == tmp_path / "other.toml"


@settings(max_examples=150)
@given(st.data())
def test_mangled_text_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = RUNS_TOML.encode()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        noise = st.binary(max_size=6) | st.sampled_from([b'"', b"[", b"]]", b"\n", b"= ", b"nan", b"-inf", b"9" * 30])
        text = text[:at] + data.draw(noise) + text[at + length :]
    folder = tmp_path_factory.getbasetemp()
    said = objection(folder, text)
    assert said is None or said.startswith(str(folder / "runs.toml"))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    return repr(value)


SCALARS = st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "epochs", "a", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    ("[room]", "runs_dir compare theme confirm bell ascii follow undo_s stall_s"),
    ("[data]", "corpus train_npz context val_share split_seed"),
    ("[run.mamba_s]", "title epochs seed device threads model sampler loss optimizer"),
    ("[run.mamba_s.loss]", "temperature lambda_con contrast_space mask_same_article"),
    ("[run.mamba_s.model]", "kind width head_width expand residual"),
    ("[check]", "margin_at_least same_article_negatives_at_most"),
    ("[eval.smoke]", "at_epoch limit contain50 p95_ms"),
    ("[[gate]]", "metric epoch at_least above_floor"),
    ("[[fix]]", "title reason tries verify"),
]
KNOWN = [(table, key) for table, keys in KEYS for key in keys.split()]


@settings(max_examples=200)
@given(st.sampled_from(KNOWN), VALUES)
def test_any_value_of_a_known_key_is_taken_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, str], value: Any
) -> None:
    table, key = place
    folder = tmp_path_factory.getbasetemp()
    others = "" if table.startswith("[run.mamba_s") else "[run.mamba_s]\n"
    said = objection(folder, f"[run.amn]\n{others}{table}\n{key} = {_toml(value)}\n")
    assert said is None or said.startswith(str(folder / "runs.toml"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('eval_npz = "a.npz"', "eval_npz and payload come together"),
        ('corpus = "c"\neval_npz = "a.npz"\npayload = "p"', "name one of them"),
        ('faiss = "i"', "an index of payload"),
        ('corpus = "nowhere"', "[eval.smoke] corpus:"),
    ],
)
def test_what_an_evaluation_searches_is_named_whole_and_is_there(tmp_path: Path, table: str, words: str) -> None:
    path = tmp_path / "runs.toml"
    path.write_text(f"[run.mamba_s]\n[run.amn]\n[eval.smoke]\n{table}\n")
    with pytest.raises(ConfigError) as caught:
        load_runs(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ['[room]\n"{}" = 1', "[data]\ncorpus = '{}'\n[run.mamba_s]\n[run.amn]", '[run."{}"]\nepochs = 0', '"{}" = 1'],
    ids=["key", "value", "name of a table", "table"],
)
def test_a_refusal_can_be_read_however_much_it_would_quote(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs.toml"
    path.write_text(content.format("x" * 100_000))
    with pytest.raises(ConfigError) as refused:
        load_runs(path)
    assert str(refused.value).startswith(f"{path}")
    assert len(str(refused.value)) < 1200 + len(str(path))
