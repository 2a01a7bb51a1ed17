"""Rows 55 and 56: corpora in shards, and indexes in parts, are whole or refused."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fault_runs import Figure, times

from engine.data.corpus import LazyVectors, open_corpus, verify_corpus
from engine.data.importers import import_corpus
from engine.evaluation.retrieval import open_index
from engine.run.convert import ConfigError
from tests.reference.small_corpus import make_corpus

LENGTHS = [40] * 40
BUILDS = """
import sys
from pathlib import Path
from engine.data.corpus import LazyVectors, open_corpus
from engine.evaluation import parted
from engine.evaluation.retrieval import open_index
parted.PART_BYTES = 1000
corpus = open_corpus(Path(sys.argv[1]))
print("ready", flush=True)
open_index(corpus, LazyVectors(corpus), Path(sys.argv[2]), choice="flat", nlist=16)
"""


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A corpus of 1,600 chunks in six shards."""
    files = make_corpus(tmp_path / "whole", LENGTHS).folder
    made = files.with_suffix(".vectors.npy"), files.with_suffix(".articles.jsonl")
    return import_corpus(*made, tmp_path / "cut", embedder="test-encoder", shard_rows=280).folder


@pytest.mark.faults(55)
def test_an_index_whose_build_was_killed_is_never_taken(cut: Path, tmp_path: Path, figure: Figure) -> None:
    rng, kills, whole = random.Random(1), times(40, 6), 0
    corpus = open_corpus(cut)
    for _ in range(kills):
        command = [sys.executable, "-c", BUILDS, str(cut), str(tmp_path / "kept")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.4))
            child.kill()
        was_whole = any(folder.name[0] != "." for folder in (tmp_path / "kept").glob("*"))
        index = open_index(corpus, LazyVectors(corpus), tmp_path / "kept", choice="flat", nlist=16)
        assert index.origin == ("cached" if was_whole else "built")
        found = index.search(corpus.vectors(np.arange(20)), 1, nprobe=16)
        assert found[:, 0].tolist() == list(range(20))
        assert [folder.name[0] for folder in (tmp_path / "kept").iterdir()].count(".") <= was_whole
        whole += was_whole
        shutil.rmtree(tmp_path / "kept")
    figure(f"{kills} builds killed, {kills - whole} of them unfinished: none of those was searched")


@pytest.mark.faults(56)
def test_damage_to_any_file_of_a_shard_is_named(cut: Path, tmp_path: Path, figure: Figure) -> None:
    rng, count = random.Random(2), times(300, 40)
    files = sorted(cut.glob("shard-*/*"))
    for _ in range(count):
        file = rng.choice(files)
        content = file.read_bytes()
        kind = rng.choice(["gone", "short", "long", "flipped", "swapped"])
        if kind == "gone":
            file.unlink()
        elif kind == "short":
            os.truncate(file, rng.randrange(len(content)))
        elif kind == "long":
            file.write_bytes(content + b"x")
        elif kind == "flipped":
            place = rng.randrange(len(content))
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
        else:
            other = rng.choice([each for each in files if each.name == file.name and each != file])
            file.write_bytes(other.read_bytes())
        with pytest.raises(ConfigError, match=rf"{file.parent.name}/|all 6 shards"):
            verify_corpus(open_corpus(cut))
        file.write_bytes(content)
    verify_corpus(open_corpus(cut))
    figure(f"{count}/{count} named: gone, short, long, flipped or swapped")
