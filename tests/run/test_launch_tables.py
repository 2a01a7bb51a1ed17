"""`[launcher.NAME]`: five lines that are taken, and every wrong one refused with file, table, key and what is near."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from recorded import RUNS_TOML

from engine.run.convert import ConfigError
from engine.run.launch import EXTRA_OPTIONS, LauncherConfig
from engine.run.runs_file import RunsFile, load_runs

FIVE = """
[launcher.lab]
kind = "slurm"
partition = "gpu"
gpus = 1
time = "1-12:00:00"
"""


def load(folder: Path, text: str, launcher: str = "local") -> RunsFile:
    path = folder / "runs.toml"
    path.write_text(RUNS_TOML.replace("[run.mamba_s]", f'[run.mamba_s]\nlauncher = "{launcher}"') + text)
    return load_runs(path)


def refusal(folder: Path, text: str, launcher: str = "local") -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, launcher)
    return str(caught.value).replace(f"{folder}{os.sep}", "")


def test_five_lines_name_a_cluster(tmp_path: Path) -> None:
    file = load(tmp_path, FIVE, "lab")
    assert file.named("mamba_s").launcher == "lab"
    assert file.named("amn").launcher == "local"
    assert file.launcher_named("lab") == LauncherConfig(kind="slurm", partition="gpu", gpus=1, time="1-12:00:00")
    assert file.launcher_named("local") is None
    assert file.launcher["lab"].poll_s == 10.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("partitoin = 'gpu'", 'runs.toml, [launcher.lab]: unknown key "partitoin". Did you mean "partition"?'),
        ("kind = 'slrum'", 'runs.toml, [launcher.lab]: "kind" invalid enum value \'slrum\'. Did you mean "slurm"?'),
        ("gpus = -1", 'runs.toml, [launcher.lab]: "gpus" expected `int` >= 0, got -1.'),
        ("cpus = 0", 'runs.toml, [launcher.lab]: "cpus" expected `int` >= 1, got 0.'),
        ("poll_s = 0.1", 'runs.toml, [launcher.lab]: "poll_s" expected `float` >= 1.0, got 0.1.'),
        ("partition = 'a b'", '"partition" expected `str` matching regex'),
        ("partition = 'gpu --wrap=x'", '"partition" expected `str` matching regex'),
        ('partition = "gpu\\n"', '"partition" expected `str` matching regex'),
        ("partition = '--wrap'", '"partition" expected `str` matching regex'),
        ("account = '$(x)'", '"account" expected `str` matching regex'),
        ("memory = '16GB'", '"memory" expected `str` matching regex'),
        ("time = 'tomorrow'", '"time" expected `str` matching regex'),
        ('root = "/srv\\n"', '"root" expected `str` matching regex'),
        ("extra = ['--wrap=rm']", "extra: --wrap may not be given to sbatch here."),
        ("extra = ['--chdir=/']", "extra: --chdir may not be given to sbatch here."),
        ("extra = ['--output=x']", "extra: --output may not be given to sbatch here."),
        ("extra = ['--export=ALL']", "extra: --export may not be given to sbatch here."),
        ("extra = ['--requeue']", "extra: --requeue may not be given to sbatch here."),
        ("extra = ['--constrain=a100']", 'may not be given to sbatch here. Did you mean "--constraint"?'),
        ("extra = ['-o', 'x']", 'extra: "-o" is not of the form "--name=value" in one line, or "--name".'),
        ('extra = ["--comment=a\\nb"]', 'is not of the form "--name=value" in one line'),
        ("extra = ['x']", 'extra: "x" is not of the form'),
        ("pass_env = ['SBATCH_PARTITION']", "pass_env: SBATCH_PARTITION may not be passed on"),
        ("pass_env = ['LD_PRELOAD']", "pass_env: LD_PRELOAD may not be passed on"),
        ("pass_env = ['A=B']", "expected `str` matching regex"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    text = FIVE.replace('kind = "slurm"\n', "") if line.startswith("kind") else FIVE
    text = "\n".join(old for old in text.splitlines() if old.partition(" ")[0] != line.partition(" ")[0])
    told = refusal(tmp_path, f"{text}\n{line}\n")
    assert told.startswith("runs.toml, [launcher.lab]")
    assert said in told


@pytest.mark.parametrize("option", EXTRA_OPTIONS)
def test_what_is_on_the_list_is_taken(tmp_path: Path, option: str) -> None:
    assert load(tmp_path, f"{FIVE}extra = ['{option}=a,b c']\n").launcher["lab"].extra == [f"{option}=a,b c"]


@pytest.mark.parametrize("time", ["90", "1:30:00", "2-00", "1-12:00:00", "30:00"])
def test_times_are_as_slurm_has_them(tmp_path: Path, time: str) -> None:
    assert load(tmp_path, FIVE.replace("1-12:00:00", time)).launcher["lab"].time == time


def test_a_launcher_that_is_none_is_named_with_the_nearest(tmp_path: Path) -> None:
    told = refusal(tmp_path, FIVE, "labb")
    assert told == ('runs.toml: there is no [launcher.labb]. Did you mean "lab"? (named by [run.mamba_s] launcher)')
    told = refusal(tmp_path, FIVE + "[eval.other]\nlauncher = 'cluster'\n")
    assert "there is no [launcher.cluster]" in told
    assert told.endswith("(named by [eval.other] launcher)")


def test_this_machine_has_no_table_of_its_own(tmp_path: Path) -> None:
    assert '[launcher.local]: "local" is this machine' in refusal(tmp_path, FIVE.replace(".lab", ".local"))


def test_a_launcher_is_written_as_a_table_with_a_name_that_can_be_one_of_a_job(tmp_path: Path) -> None:
    assert refusal(tmp_path, '\n[launcher]\nkind = "slurm"\n') == (
        'runs.toml: "launcher" must be written as [launcher.NAME].'
    )
    assert "[launcher.a b]" in refusal(tmp_path, FIVE.replace(".lab", '."a b"'))
    assert "missing required field `kind`" in refusal(tmp_path, "\n[launcher.lab]\ngpus = 1\n")
