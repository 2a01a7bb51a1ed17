"""The spec: patches, ranges, and errors that name the key and the nearest known one."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import make_spec

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.settings import Fix, Gate, PatchValue, RunConfig, RunName
from engine.run.spec import RunSpec, apply_patch, differing_settings, dotted_keys, read_setting


def test_a_patch_replaces_a_dotted_key_and_leaves_the_original_alone() -> None:
    config = RunConfig()
    patched = apply_patch(config, {"loss.temperature": 0.05, "epochs": 3})
    assert (patched.loss.temperature, patched.epochs) == (0.05, 3)
    assert (config.loss.temperature, config.epochs) == (0.07, 20)


def test_a_patched_spec_is_checked_as_if_it_had_been_read() -> None:
    with pytest.raises(ConfigError, match=r'"temperature" expected `float` <= 1\.0'):
        make_spec().patched({"loss.temperature": 7.0})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("loss.temprature", "loss.temperature"),
        ("sampler.batchsize", "sampler.batch_size"),
        ("sampler.max_per_artcle", "sampler.max_per_article"),
        ("epoch", "epochs"),
    ],
)
def test_an_unknown_dotted_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match="unknown setting") as caught:
        apply_patch(RunConfig(), {key: 1})
    assert f'"{key}"' in str(caught.value)
    assert f'Did you mean "{nearest}"?' in str(caught.value)


@pytest.mark.parametrize("key", ["", ".", "loss", "loss.", ".temperature", "loss.temperature.x", "model..width"])
def test_a_key_that_names_no_setting_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="unknown setting"):
        apply_patch(RunConfig(), {key: 1})


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"sampler.batch_size": 1}, ">= 2"),
        ({"sampler.article_dropout": 1.5}, "<= 1.0"),
        ({"optimizer.lr": 0.0}, "> 0.0"),
        ({"optimizer.lr": math.inf}, "finite"),
        ({"optimizer.lr": math.nan}, "finite"),
        ({"seed": 2**60}, "<= 9007199254740992"),
        ({"epochs": 2.5}, "expected `int`, got `float`"),
        ({"loss.temperature": "cold"}, "expected `float`, got `str`"),
        ({"loss.temperature": True}, "expected `float`, got `bool`"),
        ({"model.kind": "mamba"}, 'Did you mean "mamba_s"?'),
        ({"model.head_width": 100}, "head_width 100 must divide width * expand = 512"),
        ({"loss.lambda_con": 0.0, "loss.lambda_ar": 0.0}, "nothing would be trained"),
    ],
)
def test_a_value_out_of_range_is_named(patch: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_patch(RunConfig(), patch)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"nproc": 3}, "batch_size 256 cannot be shared by nproc \\* nodes = 3 ranks; 255 or 258 could"),
        ({"nproc": 2, "nodes": 3}, "= 6 ranks; 252 or 258 could"),
        ({"nproc": 3, "sampler.batch_size": 2}, "= 3 ranks; 3 could"),
        ({"nproc": 0}, '"nproc" expected `int` >= 1, got 0'),
        ({"rank_timeout_s": 0.5}, '"rank_timeout_s"'),
    ],
)
def test_ranks_that_cannot_share_a_batch_are_refused_with_sizes_that_could(
    patch: dict[str, PatchValue], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        apply_patch(RunConfig(), patch)


def test_ranks_share_a_batch_that_they_divide() -> None:
    assert apply_patch(RunConfig(), {"nproc": 2, "nodes": 2}).nodes == 2


def test_differing_settings_are_the_patch_and_nothing_else() -> None:
    config = RunConfig(title="left")
    patch = {"loss.temperature": 0.05, "sampler.batch_size": 512}
    other = msgspec.structs.replace(apply_patch(config, patch), title="right")
    assert differing_settings(config, other) == {"loss.temperature": (0.07, 0.05), "sampler.batch_size": (256, 512)}
    assert differing_settings(config, config) == {}


@given(st.sampled_from(dotted_keys(msgspec.to_builtins(RunConfig()))))
def test_every_setting_can_be_read_and_patched_to_itself(key: str) -> None:
    config = RunConfig()
    assert apply_patch(config, {key: read_setting(config, key)}) == config


def test_a_spec_survives_its_file() -> None:
    spec = make_spec(parent=make_spec(), number=2, patch={"loss.temperature": 0.05}, fix="Temperature")
    assert msgspec.json.decode(msgspec.json.encode(spec), type=RunSpec) == spec
    assert (spec.parent, spec.config.loss.temperature) == ("mamba_s-0001", 0.05)


@pytest.mark.parametrize("name", ["a", "mamba_s", "Mamba.2", "x" * 48])
def test_a_run_name_can_be_part_of_a_file_name(name: str) -> None:
    assert convert_section(name, RunName, where="here") == name


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a-b", "a b", "x" * 49, "a\n", "a\0", "ä", ".."])
def test_a_name_that_would_break_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="here:"):
        convert_section(name, RunName, where="here")


def test_a_gate_on_a_number_that_no_epoch_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'no metric "val_cosin"\. Did you mean "val_cosine"\?'):
        convert_section({"metric": "val_cosin"}, Gate, where="runs.toml, [[gate]] 1")
    assert convert_section({"metric": "margin"}, Gate, where="here").name == "margin@2"


def test_a_fix_must_try_something_or_verify_something() -> None:
    table = {"title": "T", "reason": "R"}
    for wrong in ({}, {"tries": [{"epochs": 1}], "verify": "projection_head"}, {"tries": [{}]}):
        with pytest.raises(ConfigError, match="fix 'T'"):
            convert_section(table | wrong, Fix, where="here")
    assert convert_section(table | {"tries": [{"epochs": 1}]}, Fix, where="here").tries == [{"epochs": 1}]


def test_a_suggestion_lists_what_is_known_where_nothing_is_near() -> None:
    assert suggestion("zzz", ["b", "a"]) == " Known: a, b."
    assert suggestion("zzz", []) == " Known: none."
