"""An index built in passes: what it finds, what it needs, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.data import corpus as corpus_module
from engine.data.corpus import Corpus, LazyVectors
from engine.data.importers import import_corpus
from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation import parted
from engine.evaluation.baselines import Payload, Queries, measure
from engine.evaluation.exact import search_flat
from engine.evaluation.inputs import corpus_inputs
from engine.evaluation.retrieval import open_index, shared_share
from engine.run.convert import ConfigError
from engine.run.settings import EvalConfig
from tests.reference.peak_memory import peak_kilobytes
from tests.reference.small_corpus import make_corpus, walk, write_articles

LENGTHS = [40] * 40
KINDS = ("flat", "fastscan")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """1,600 chunks in six shards."""
    place = tmp_path_factory.mktemp("c")
    whole = make_corpus(place / "whole", LENGTHS)
    files = whole.folder.with_suffix(".vectors.npy"), whole.folder.with_suffix(".articles.jsonl")
    return import_corpus(*files, place / "cut", embedder="test-encoder", shard_rows=280)


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parted, "PART_BYTES", 6000)
    monkeypatch.setattr(parted, "_CHUNKS_AT_ONCE", 37)


@pytest.mark.parametrize("kind", KINDS)
def test_many_parts_find_what_one_part_finds(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    queries = walk([60], seed=7)
    queries[5] = np.nan
    found = []
    for name, num_bytes in (("one", 1 << 20), ("many", 6000)):
        monkeypatch.setattr(parted, "PART_BYTES", num_bytes)
        index = open_index(corpus, LazyVectors(corpus), tmp_path / name, choice=kind)  # type: ignore[arg-type]
        (home,) = (tmp_path / name).iterdir()
        assert (len(list(home.glob("part-*.faiss"))) > 2) == (name == "many")
        found.append(index.search(queries, 10, nprobe=8))
    assert np.array_equal(found[0], found[1])


def test_every_list_visited_is_exact_search(corpus: Corpus, tmp_path: Path, many_parts: None) -> None:
    queries = walk([60], seed=7)
    index = open_index(corpus, LazyVectors(corpus), tmp_path, choice="flat")
    assert np.array_equal(index.search(queries, 10, nprobe=10**6), search_flat(corpus.all_vectors(), queries, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_as_much_as_an_index_built_in_memory(
    corpus: Corpus, tmp_path: Path, many_parts: None, kind: str
) -> None:
    queries = walk([200], seed=7)
    exact = search_flat(corpus.all_vectors(), queries, 10)
    shares = []
    for vectors, folder in ((LazyVectors(corpus), tmp_path), (corpus.all_vectors(), None)):
        index = open_index(corpus, vectors, folder, choice=kind)  # type: ignore[arg-type]
        share = shared_share(index.search(queries, 10, nprobe=8), exact)
        assert share is not None
        shares.append(share)
    assert shares[1] > 0.5
    assert shares[0] > shares[1] - 0.05


def test_an_evaluation_from_the_disk_has_the_figures_of_one_in_memory(
    corpus: Corpus, tmp_path: Path, many_parts: None
) -> None:
    source = CorpusWindows(corpus, 3)
    queries = Queries.gather(source, np.arange(0, source.num_windows, 9))
    predicted = queries.contexts.mean(axis=1)
    rows = []
    for vectors in (LazyVectors(corpus), corpus.all_vectors()):
        index = open_index(corpus, vectors, tmp_path, choice="fastscan")
        rows.append(measure(predicted, queries, Payload(vectors, index, 16), top=20))
    assert rows[0].row == rows[1].row, "the second takes the parts that the first has kept"
    assert np.array_equal(rows[0].exact.top, rows[1].exact.top)


def test_parts_are_kept_and_a_damaged_or_missing_one_is_built_anew(
    corpus: Corpus, tmp_path: Path, many_parts: None
) -> None:
    def opened() -> tuple[str, str]:
        index = open_index(corpus, LazyVectors(corpus), tmp_path)
        return index.origin, index.reason

    assert opened() == ("built", "none was kept")
    assert opened() == ("cached", "")
    (home,) = tmp_path.iterdir()
    part = home / "part-0002.faiss"
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(raw)
    origin, reason = opened()
    assert origin == "built"
    assert "part-0002.faiss was damaged" in reason
    part.unlink()
    assert opened() == ("built", "none was kept")
    assert opened() == ("cached", "")
    manifest = home / "manifest.json"
    kept = msgspec.json.decode(manifest.read_bytes())
    kept["parts_sha256"] = {"../elsewhere.faiss": "0" * 64}
    manifest.write_bytes(msgspec.json.encode(kept))
    origin, reason = opened()
    assert origin == "built"
    assert "'../elsewhere.faiss', which is no part of an index" in reason


def test_an_index_in_one_file_leaves_no_parts_beside_it(corpus: Corpus, tmp_path: Path, many_parts: None) -> None:
    open_index(corpus, LazyVectors(corpus), tmp_path)
    (home,) = tmp_path.iterdir()
    (home / "manifest.json").unlink()
    open_index(corpus, corpus.all_vectors(), tmp_path)
    assert sorted(path.name for path in home.iterdir()) == ["index.faiss", "manifest.json"]


def test_without_a_folder_or_with_a_file_in_its_place_it_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--index-dir"):
        open_index(corpus, LazyVectors(corpus), None)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"could not be built there .*--index-dir"):
        open_index(corpus, LazyVectors(corpus), tmp_path / "file")


BUILD = """
import sys
from pathlib import Path
from engine.data.corpus import LazyVectors, open_corpus
from engine.evaluation import parted
from engine.evaluation.inputs import corpus_inputs
from engine.evaluation.retrieval import open_index
parted.PART_BYTES, parted._CHUNKS_AT_ONCE = int(sys.argv[3]), 4096
corpus = open_corpus(Path(sys.argv[1]))
open_index(corpus, LazyVectors(corpus), Path(sys.argv[2]), choice=sys.argv[4], nlist=16)
"""


@pytest.mark.parametrize("wait_for", ["part-0000.faiss", "part-0040.faiss"])
def test_a_build_that_was_killed_leaves_nothing_that_is_trusted(corpus: Corpus, tmp_path: Path, wait_for: str) -> None:
    command = [sys.executable, "-c", BUILD, str(corpus.folder), str(tmp_path / "i"), "1000", "flat"]
    with subprocess.Popen(command) as child:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "i").glob(f".*.building/{wait_for}")):
            assert child.poll() is None, "it was too fast to be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL)
    (left,) = (tmp_path / "i").iterdir()
    assert left.name.endswith(".building")
    index = open_index(corpus, LazyVectors(corpus), tmp_path / "i", choice="flat", nlist=16)
    assert (index.origin, index.reason) == ("built", "none was kept")
    (home,) = (tmp_path / "i").iterdir()
    assert sorted(path.name for path in home.iterdir()) == ["manifest.json", "part-0000.faiss"]


def test_an_evaluation_from_the_disk_says_so(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CorpusWindows(corpus, 3)
    split = split_windows(source, val_share=0.1, test_share=0.1, seed=0)
    assert corpus_inputs(source, split, EvalConfig(), tmp_path).notes == []
    monkeypatch.setattr(corpus_module, "IN_MEMORY", 1000)
    inputs = corpus_inputs(source, split, EvalConfig(), tmp_path)
    assert isinstance(inputs.vectors, LazyVectors)
    assert "searched from the disk" in inputs.notes[0]
    assert inputs.open_index("auto", None).origin == "built"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_building_takes_the_memory_of_a_part_however_large_the_corpus(tmp_path: Path, kind: str) -> None:
    peaks, dim = [], 256
    for number in (70_000, 140_000):
        vectors = np.random.default_rng(0).standard_normal((number, dim), np.float32)
        np.save(tmp_path / "v.npy", vectors)
        articles = write_articles(tmp_path / "a.jsonl", [700] * (number // 700))
        made = import_corpus(tmp_path / "v.npy", articles, tmp_path / f"c{number}", embedder="e", shard_rows=35_000)
        peaks.append(peak_kilobytes(BUILD, made.folder, tmp_path / f"i{number}", 4 << 20, kind))
    one_more = 70_000 * dim * 4 / 1024
    assert peaks[1] - peaks[0] < 0.4 * one_more, peaks
