"""Rows 17 to 22 and 44, 45: what is on disk survives kills, full disks and damage, and is never taken for another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import load_value, save_value
from click.testing import CliRunner
from fault_runs import Figure, Folder, Open, exit_of, state_of, status_of, times
from processes import wait_until

from engine.cli import main
from engine.data.corpus import open_corpus
from engine.data.npz import check_whole, open_npz
from engine.data.payload_file import read_payload
from engine.data.split import split_windows
from engine.data.windows import open_windows
from engine.evaluation.inputs import corpus_inputs
from engine.evaluation.retrieval import open_index
from engine.preflight import run as preflight_run
from engine.preflight.run import run_preflight
from engine.preflight.subject import open_subject
from engine.run.convert import ConfigError
from engine.run.directory import list_runs
from engine.run.event_file import EventWriter, read_events
from engine.run.events import (
    WarningRaised,
)
from engine.run.files import clear_temporaries
from engine.run.settings import CheckpointConfig, EvalConfig, RunConfig
from engine.run.state import Status
from engine.training import disk
from engine.training.checkpoint import MODEL_FILE, TRAINING_FILE, clear_leftovers, load_training
from tests.reference.small_corpus import make_corpus
from tests.reference.small_training import make_run, train_run

Mount = Callable[[str], Path]
SAVES_AND_DIES = """
import os, random, signal, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent.parent)]
import torch
torch.set_num_threads(1)
from checkpoints import load_value, save_value
folder, rng, highest = Path(sys.argv[2]) / "best", random.Random(int(sys.argv[4])), 1
size = save_value(folder, 1.0, width=int(sys.argv[5]))
for kill in range(int(sys.argv[3])):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        value = highest
        while True:
            value += 1
            os.write(tell, b"%d " % value)
            save_value(folder, float(value), width=int(sys.argv[5]))
            os.write(tell, b"%d! " % value)
    os.close(tell)
    time.sleep(rng.uniform(0.02, 0.5))
    os.kill(child, signal.SIGKILL)
    os.wait()
    said = os.read(told, 1 << 16).decode().split()
    os.close(told)
    whole = max([int(word[:-1]) for word in said if word.endswith("!")], default=highest)
    begun = max([int(word) for word in said if not word.endswith("!")], default=highest)
    loaded = load_value(folder)
    assert whole <= loaded <= max(whole, begun), (whole, loaded, begun)
    highest = int(loaded)
print(size)
"""


@pytest.mark.faults(17)
def test_a_checkpoint_that_was_whole_is_never_lost_to_a_kill_while_the_next_is_saved(
    tmp_path: Path, figure: Figure
) -> None:
    count = times(100, 12)
    here = Path(__file__).parent
    command = [sys.executable, "-c", SAVES_AND_DIES, str(here), str(tmp_path), str(count), "1", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=times(1800, 200))
    assert done.returncode == 0, done.stderr
    figure(f"{count}/{count} kills at {int(done.stdout) / 1e6:.0f} MB; never one older than the last that was whole")


def fill(place: Path, leave: int = 0) -> Path:
    """Use a disk up but for some bytes; returns the file that does."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)) == 1 << 16:
                pass
            while file.write(bytes(1 << 10)) == 1 << 10:
                pass
        except OSError:
            pass
        if leave:
            file.truncate(max(0, file.tell() - leave))
    return filler


@pytest.mark.faults(18)
def test_an_engine_that_runs_into_a_full_disk_failed_for_that_and_the_room_lives(
    folder: Folder, mount: Mount, open_room: Open, figure: Figure
) -> None:
    place = mount("size=2m")
    folder.path = place / "runs"
    run = folder.launch("--epochs", "10000", "--epoch-s", "0.02")
    wait_until(lambda: state_of(run).epochs)
    filler = fill(place)
    ended = exit_of(run)
    assert (ended.kind, ended.code) == ("disk_full", 1)
    assert status_of(run)[0] is Status.FAILED
    assert status_of(run)[1].startswith("disk full")
    assert not [path.name for path in run.path.iterdir() if path.name.endswith(".tmp")]
    rows, known = run.read_history(), state_of(run).epochs
    assert 0 <= len(known) - len(rows) <= 1, "the history before is whole"
    room = open_room()
    room.wait_drawn("FAILED")
    room.press("T")  # which cannot be journaled
    room.wait_drawn("No space left")
    assert len(list_runs(folder.path)) == 1
    filler.unlink()
    room.press("T")
    room.wait_while_drawing(lambda: len(list_runs(folder.path)) == 2, 20, "with room on the disk it starts")
    room.press("q")
    room.wait_while_drawing(room.has_ended, 5, "the room answers")
    figure("disk full by name, history whole, the room refuses to start what it cannot journal")


@pytest.mark.faults(18)
@pytest.mark.parametrize("leave", [0, 4096, 300_000])
def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(mount: Mount, figure: Figure, leave: int) -> None:
    place = mount("size=3m")
    checkpoint = place / "checkpoints" / "best"
    size = save_value(checkpoint, 1.0, width=100)
    assert size > 300_000, "else it would fit"
    fill(place, leave)
    with pytest.raises(OSError, match=r"No space|cannot be written"):
        save_value(checkpoint, 2.0, width=100)
    assert load_value(checkpoint) == 1.0
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best"]
    figure(f"checkpoint whole with {leave // 1000} kB left")


@pytest.mark.faults(19)
def test_without_an_inode_left_the_old_checkpoint_stays(mount: Mount, figure: Figure) -> None:
    place = mount("size=20m,nr_inodes=40")
    checkpoint = place / "best"
    save_value(checkpoint, 1.0)
    for number in range(100):
        try:
            (place / f"file{number}").touch()
        except OSError:
            break
    with pytest.raises(OSError, match="No space left"):
        save_value(checkpoint, 2.0)
    assert load_value(checkpoint) == 1.0
    figure("no inodes: checkpoint whole")


@pytest.mark.faults(19)
def test_a_disk_that_becomes_read_only_ends_the_engine_and_not_the_room(
    folder: Folder, mount: Mount, open_room: Open, figure: Figure
) -> None:
    place = mount("size=4m")
    folder.path = place / "runs"
    run = folder.prepare("--epochs", "10000")
    save_value(run.checkpoints / "best", 1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    try:
        assert folder.start(run).returncode != 0
        assert load_value(run.checkpoints / "best") == 1.0
        room = open_room()
        room.wait_drawn(run.id)
        room.press("T")
        room.wait_drawn("Read-only file system")
        room.press("q")
        room.wait_while_drawing(room.has_ended, 5, "the room answers")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    figure("read-only: told, checkpoint whole, room alive")


@pytest.mark.faults(20)
def test_at_the_edge_of_a_full_disk_only_the_record_that_did_not_fit_is_lost(mount: Mount, figure: Figure) -> None:
    place = mount("size=64k")
    writer, lost = EventWriter(place / "events.jsonl"), 0
    for number in range(10_000):
        try:
            writer.write(WarningRaised(message=f"{number:05d}" * 20))
        except OSError:
            lost = number
            break
    assert lost, "the disk never filled"
    subprocess.run(["mount", "-o", "remount,size=128k", str(place)], check=True)
    after = writer.write(WarningRaised(message="after"))
    writer.close()
    events = read_events(place / "events.jsonl")
    assert [event.message for event in events] == [*(f"{number:05d}" * 20 for number in range(lost)), "after"]
    assert after.seq == lost + 2, "the number of the lost one is not used again"
    figure(f"{lost} records before, 1 lost, the next whole")


@pytest.mark.faults(21)
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, figure: Figure) -> None:
    folder = tmp_path / "best"
    count = times(200, 20)
    rng = np.random.default_rng(1)
    for _ in range(count):
        save_value(folder, 1.0)
        file = folder / (MODEL_FILE if rng.random() < 0.5 else TRAINING_FILE)
        data = bytearray(file.read_bytes())
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=f"{file.name}: damaged"):
            load_training(folder, *model_parts())
    corpus = make_corpus(tmp_path / "corpus", [9] * 30)
    vectors = corpus.all_vectors()
    open_index(corpus, vectors, tmp_path / "kept")
    index = next((tmp_path / "kept").glob("*/*.faiss"))
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)
    again = open_index(corpus, vectors, tmp_path / "kept")
    assert again.origin == "built"
    assert "damaged" in again.reason
    figure(f"{count}/{count} flips in checkpoints refused by name; a damaged index is built anew")


def model_parts() -> tuple[torch.nn.Module, torch.nn.Module | None]:
    from checkpoints import parts

    return parts(0.0)


def flip(file: Path, bit: int) -> None:
    """Flip a bit as a disk does: neither size nor time of change tell."""
    info, data = file.stat(), bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.faults(21)
def test_a_flipped_bit_of_the_data_stops_preflight_training_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr(preflight_run, "WORTH_KEEPING_S", 0.0)  # what was found of the whole data is kept
    run = make_run(tmp_path / "mamba_s-0001", epochs=1)
    data, count, rng = run.read_spec().data, times(300, 30), np.random.default_rng(1)
    vectors_file = open_corpus(tmp_path / "corpus").parts[0].vectors

    def blocking() -> str:
        """What keeps it from being trained; empty where nothing does."""
        try:
            report = run_preflight(open_subject(data, [], tmp_path), cache=tmp_path / "kept")
        except ConfigError as error:  # the header was hit
            return str(error)
        return "; ".join(item.detail for item in report.blocking)

    assert blocking() == ""
    for bit in rng.integers(8 * vectors_file.stat().st_size, size=count).tolist():
        flip(vectors_file, bit)
        assert str(vectors_file) in blocking()
        flip(vectors_file, bit)
    assert blocking() == "", "as it was"
    flip(vectors_file, 8 * vectors_file.stat().st_size - 5)
    done = CliRunner().invoke(main, ["train", "--run-dir", str(run.path)])
    assert done.exit_code == 2
    assert "preflight: data_unchanged: " in done.stderr
    assert not (run.path / "checkpoints").exists()
    source = open_windows(data, tmp_path)
    split = split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    with pytest.raises(ConfigError, match=rf"{vectors_file.name}: sha256 is"):
        corpus_inputs(source, split, EvalConfig(), tmp_path / "kept")
    windows = tmp_path / "windows.npz"
    np.savez(windows, contexts=rng.normal(size=(40, 3, 8)).astype(np.float32))
    check_whole(windows)
    for bit in rng.integers(8 * 1000, 8 * 3000, size=count).tolist():  # within the array, which is mapped where it lies
        flip(windows, bit)
        with pytest.raises(ConfigError, match=r"windows\.npz: contexts\.npy is not what its checksum says"):
            check_whole(windows)
        flip(windows, bit)
    figure(f"{count}/{count} flips in a corpus and in windows stop preflight, training and evaluation, file named")


@pytest.mark.faults(21)
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_best(tmp_path: Path, figure: Figure) -> None:
    run = make_run(tmp_path / "mamba_s-0001", epochs=4)
    train_run(run, stop_at=5)
    weights = run.checkpoints / "last" / TRAINING_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    assert train_run(run, resume=True) == "finished"
    warned = [event.message for event in read_events(run.events_file) if isinstance(event, WarningRaised)]
    assert any("resumed from best" in message and TRAINING_FILE in message for message in warned)
    figure("`last` damaged: resumed from `best`, and said so")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return (Path.touch, (self.marker,))


@pytest.mark.faults(22)
@pytest.mark.parametrize("forced", ["", "1"], ids=["plain", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
def test_a_malicious_pickle_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure, forced: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    marker = tmp_path / "marker"
    folder = tmp_path / "best"
    save_value(folder, 1.0, training=Trap(marker))  # as a stranger would, with digests that fit
    with pytest.raises(ConfigError, match=TRAINING_FILE):
        load_training(folder, *model_parts())
    np.savez(tmp_path / "trap.npz", contexts=np.array([Trap(marker)], object))
    with pytest.raises(ConfigError, match=r"trap\.npz"):
        open_npz(tmp_path / "trap.npz")
    np.save(tmp_path / "trap.npy", np.array(Trap(marker), object), allow_pickle=True)
    for trusted in (False, True):
        with pytest.raises(ConfigError, match=r"trap\.npy"):
            read_payload(tmp_path / "trap.npy", trusted=trusted)
    assert not marker.exists()
    figure(f"{request_name(forced)}: .pt, .npz, .npy never run, trusted or not")


def request_name(forced: str) -> str:
    return "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" if forced else "plain environment"


@pytest.mark.faults(44)
def test_a_training_whose_checkpoints_do_not_fit_is_refused_before_its_first_step(mount: Mount, figure: Figure) -> None:
    place = mount("size=8m")
    run = make_run(place / "mamba_s-0001", epochs=2)
    done = CliRunner().invoke(main, ["train", "--run-dir", str(run.path), "--override-preflight", "small"])
    assert done.exit_code == 2
    assert "MB are free and" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not state_of(run).last_step
    figure("refused, with what is free, what is needed and for what")


@pytest.mark.faults(44)
def test_room_is_asked_for_what_is_kept_and_not_there_yet(tmp_path: Path, figure: Figure) -> None:
    config = RunConfig(epochs=10, checkpoint=CheckpointConfig(every_epochs=4))
    assert disk.checkpoints_to_come(tmp_path, config) == 1 + 2 + 2
    for label in ("last", "best", "epoch_0004"):
        (tmp_path / label).mkdir()
    assert disk.checkpoints_to_come(tmp_path, config) == 2
    (tmp_path / "epoch_0008").mkdir()
    assert disk.checkpoints_to_come(tmp_path, config) == 2, "never fewer"
    disk.refuse_small_disk(tmp_path, config, 1000)
    with pytest.raises(ConfigError, match="MB are free"):
        disk.refuse_small_disk(tmp_path, config, 1 << 60)
    figure("twice a checkpoint and 64 MB at least; more where more are kept")


@pytest.mark.faults(45)
def test_what_killed_writers_have_left_is_gone_at_the_next_start(folder: Folder, figure: Figure) -> None:
    run = folder.prepare("--epochs", "1")
    code = (
        "import os, sys, signal; from pathlib import Path; from engine.run import files\n"
        "os.replace = Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomically(Path(sys.argv[1]), b'x')"
    )
    run.evals.mkdir()
    for target in (run.history_file, run.evals / "smoke.json"):
        subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    left = sorted(run.path.rglob(".*.tmp"))
    assert len(left) == 2
    living = run.path / f".history.json.{os.getpid()}.tmp"
    living.touch()
    folder.start(run)
    assert exit_of(run).code == 0
    assert sorted(run.path.rglob(".*.tmp")) == [living]
    clear_temporaries(folder.path / "nowhere")
    save_value(run.checkpoints / "best", 1.0)
    for name in (".best.new", ".best.old", ".last.new"):
        (run.checkpoints / name).mkdir()
    clear_leftovers(run.checkpoints)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [".last.new", "best"], "nothing else holds `last`"
    figure("2 of 2 gone, a living writer's kept; beside a whole checkpoint nothing is left")
