"""A corpus in shards: the same corpus as in one piece, for whoever reads it; and what is wrong with one is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import vector_files
from engine.data.corpus import Corpus, LazyVectors, open_corpus, verify_corpus
from engine.data.importers import import_corpus
from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.run.convert import ConfigError
from engine.verbs.data import command
from tests.reference.peak_memory import peak_kilobytes
from tests.reference.small_corpus import make_corpus, rewrite_manifest, walk, write_articles
from tests.reference.small_training import make_run, rows_without_time, train_run, weights_digest

LENGTHS = [6, 9, 3, 7, 12, 5]


def in_shards(whole: Corpus, folder: Path, rows: int) -> Corpus:
    """The same corpus, cut."""
    made_of = whole.folder.with_suffix(".vectors.npy"), whole.folder.with_suffix(".articles.jsonl")
    return import_corpus(*made_of, folder, embedder="test-encoder", shard_rows=rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return in_shards(make_corpus(tmp_path / "whole", LENGTHS), tmp_path / "cut", 15).folder


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) >= 2),
    st.integers(1, 20),
    st.sampled_from(["float32", "float16"]),
    st.data(),
)
@settings(max_examples=25, deadline=None)
def test_a_corpus_in_shards_reads_as_the_same_corpus_in_one_piece(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], rows: int, dtype: str, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("c")
    whole = make_corpus(place / "whole", lengths, dtype=dtype)
    cut = in_shards(whole, place / "cut", rows)
    verify_corpus(cut)
    number = whole.num_chunks
    chunks = np.array(data.draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=12)), np.int64)
    length = data.draw(st.integers(1, number))
    first = np.array(data.draw(st.lists(st.integers(0, number - length), min_size=1, max_size=6)), np.int64)
    for read in (
        lambda corpus: corpus.all_vectors(),
        lambda corpus: corpus.vectors(chunks),
        lambda corpus: corpus.vectors(np.stack([chunks, chunks[::-1]])),
        lambda corpus: corpus.stretches(first, length),
        lambda corpus: LazyVectors(corpus)[chunks],
        lambda corpus: LazyVectors(corpus)[1:number],
        lambda corpus: corpus.article_of_chunk,
        lambda corpus: corpus.first_chunk,
        lambda corpus: corpus.topic_of_article,
    ):
        assert np.array_equal(read(whole), read(cut))
    assert (whole.titles, whole.topics) == (cut.titles, cut.topics)
    assert list(whole.read_articles()) == list(cut.read_articles())
    assert whole.texts(chunks.tolist()) == cut.texts(chunks.tolist())
    assert whole.texts(chunks.tolist()) == {chunk: cut.text(chunk) for chunk in chunks.tolist()}


def test_windows_and_split_are_the_same_in_shards(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "whole", LENGTHS * 5)
    cut = in_shards(whole, tmp_path / "cut", 40)
    sources = [CorpusWindows(corpus, 3) for corpus in (whole, cut)]
    left, right = (split_windows(source, val_share=0.2, test_share=0.2, seed=1) for source in sources)
    for name in ("train", "val", "test"):
        assert np.array_equal(getattr(left, name), getattr(right, name))
    shuffled = np.random.default_rng(0).permutation(sources[0].num_windows)
    for one, other in zip(sources[0].gather(shuffled), sources[1].gather(shuffled), strict=True):
        assert np.array_equal(one, other)


def test_a_training_on_shards_is_the_training_on_one_file_bit_for_bit(tmp_path: Path) -> None:
    lengths = [7, 9, 12, 8, 10, 7, 9, 11, 8, 12]
    runs = []
    for name, rows in (("whole", None), ("cut", 20)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "v.npy", walk(lengths))
        articles = write_articles(tmp_path / name / "a.jsonl", lengths)
        corpus = tmp_path / name / "corpus"
        made = import_corpus(tmp_path / name / "v.npy", articles, corpus, embedder="test-encoder", shard_rows=rows)
        assert len(made.parts) == (1 if rows is None else 5)
        runs.append(make_run(tmp_path / name / "small-0001"))
        assert train_run(runs[-1]) == "finished"
    assert weights_digest(runs[0]) == weights_digest(runs[1])
    assert rows_without_time(runs[0]) == rows_without_time(runs[1])


def test_articles_stay_whole_and_shards_within_their_size(folder: Path) -> None:
    corpus = open_corpus(folder)
    assert corpus.stored.counts == [15, 10, 12, 5]
    assert set(corpus.stored.first_row.tolist()) <= set(corpus.first_chunk.tolist())
    assert [part.vectors.parent.name for part in corpus.parts] == [f"shard-000{number}" for number in range(4)]


def test_an_article_longer_than_a_shard_has_one_to_itself(tmp_path: Path) -> None:
    cut = in_shards(make_corpus(tmp_path / "whole", [2, 9, 2]), tmp_path / "cut", 4)
    assert cut.stored.counts == [2, 9, 2]


def test_shards_are_opened_when_they_are_read_and_few_stay_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "MOST_OPEN", 2)
    corpus = open_corpus(folder)

    def held() -> set[str]:
        links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        names = [os.readlink(link) for link in links if link.is_symlink()]
        return {Path(name).parent.name for name in names if name.startswith(str(folder))}

    assert held() == set()
    corpus.stretches(np.array([16]), 3)
    assert held() == {"shard-0001"}
    corpus.all_vectors()
    assert held() == {"shard-0002", "shard-0003"}


def test_many_files_make_the_corpus_that_one_makes_however_they_are_cut(tmp_path: Path) -> None:
    whole = make_corpus(tmp_path / "whole", LENGTHS)
    vectors, articles = tmp_path / "v", tmp_path / "a"
    vectors.mkdir()
    articles.mkdir()
    for number, rows in enumerate(np.array_split(walk(LENGTHS), 12)):
        np.save(vectors / f"part-{number}.npy", rows)  # part-10 stands before part-2 in a plain order of names
    lines = (tmp_path / "whole.articles.jsonl").read_text().splitlines(keepends=True)
    (articles / "x1.jsonl").write_text("".join(lines[:2]))
    (articles / "x2.jsonl").write_text("".join(lines[2:]))
    made = import_corpus(vectors, articles, tmp_path / "made", embedder="test-encoder", name="whole")
    assert made.sha256 == whole.sha256
    named = [sorted(vectors.glob("part-?.npy")), vectors / "part-10.npy", vectors / "part-11.npy"]
    listed = import_corpus([*named[0], *named[1:]], articles, tmp_path / "b", embedder="test-encoder", name="whole")
    assert listed.sha256 == whole.sha256


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (walk([3], dim=17), r"b\.npy: holds vectors of 17 float32, and .*a\.npy of 16 float32"),
        (walk([3]).astype(np.float16), r"b\.npy: holds vectors of 16 float16.*convert that file"),
        (walk([2]), r"a\.npy and 1 more have 44 vectors, but .* 45 chunks"),
        (np.concatenate([walk([2]), np.zeros((1, 16), np.float32)]), r"b\.npy: row 2 is zero"),
    ],
)
def test_files_that_do_not_belong_together_are_refused_and_nothing_is_left(
    tmp_path: Path, odd: Any, words: str
) -> None:
    np.save(tmp_path / "a.npy", walk(LENGTHS))
    np.save(tmp_path / "b.npy", odd)
    articles = write_articles(tmp_path / "a.jsonl", [*LENGTHS, 3])
    with pytest.raises(ConfigError, match=words):
        import_corpus([tmp_path / "a.npy", tmp_path / "b.npy"], articles, tmp_path / "out", embedder="e", shard_rows=10)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "b.npy", "a.jsonl"}


def test_a_folder_without_vectors_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"--vectors: .*empty holds no file of \.npy"):
        import_corpus(tmp_path / "empty", tmp_path / "a.jsonl", tmp_path / "out", embedder="e")


def test_the_verbs_write_describe_and_verify_shards(tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        result = CliRunner().invoke(command, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    made = run("synth", "--preset", "passes", "--out", tmp_path / "cut", "--shard-rows", 3000)
    assert "in 3 shards" in made
    run("synth", "--preset", "passes", "--out", tmp_path / "whole")
    assert np.array_equal(open_corpus(tmp_path / "cut").all_vectors(), open_corpus(tmp_path / "whole").all_vectors())
    assert json.loads(run("describe", tmp_path / "cut", "--json"))["parts"] == 3
    assert "6 files have their recorded sha256" in run("verify", tmp_path / "cut")
    whole = make_corpus(tmp_path / "small", LENGTHS)
    files = whole.folder.with_suffix(".vectors.npy"), whole.folder.with_suffix(".articles.jsonl")
    out = tmp_path / "imported"
    told = run(
        "import", "--vectors", files[0], "--articles", files[1], "--embedder", "e", "--out", out, "--shard-rows", 15
    )
    assert "42 chunks of 6 articles" in told
    assert "in 4 shards" in told


IMPORT = """
import sys
from pathlib import Path
from engine.data.importers import import_corpus
import_corpus(*map(Path, sys.argv[1:4]), embedder="e", shard_rows=20_000)
"""


def test_importing_takes_the_memory_of_a_block_however_large_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for number in (40_000, 80_000):
        vectors = np.ones((number, 256), np.float32)
        np.save(tmp_path / f"{number}.npy", vectors)
        articles = write_articles(tmp_path / f"{number}.jsonl", [40] * (number // 40))
        peaks.append(peak_kilobytes(IMPORT, tmp_path / f"{number}.npy", articles, tmp_path / f"out-{number}"))
    one_more = 40_000 * 256 * 4 / 1024
    assert peaks[1] - peaks[0] < 0.25 * one_more, peaks


def files_of(folder: Path) -> dict[str, str]:
    names: dict[str, str] = json.loads((folder / "manifest.json").read_text())["files"]
    return names


def test_a_missing_shard_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "shard-0002")
    with pytest.raises(ConfigError, match=r"shard-0002/vectors_f32\.npy"):
        open_corpus(folder)


def test_a_truncated_shard_is_named(folder: Path) -> None:
    path = folder / "shard-0001" / "vectors_f32.npy"
    os.truncate(path, path.stat().st_size - 4)
    with pytest.raises(ConfigError, match=r"shard-0001/vectors_f32\.npy: cannot be mapped"):
        open_corpus(folder)


def test_a_shard_cut_short_or_taken_away_in_use_is_named_and_kills_nobody(folder: Path) -> None:
    corpus, path = open_corpus(folder), folder / "shard-0001" / "vectors_f32.npy"
    os.truncate(path, path.stat().st_size - 4)
    for read in (lambda: corpus.stretches(np.array([22]), 3), lambda: corpus.vectors(np.array([24, 0]))):
        with pytest.raises(ConfigError, match=r"shard-0001/vectors_f32\.npy.*cut short while it was in use"):
            read()
    (folder / "shard-0003" / "vectors_f32.npy").unlink()
    with pytest.raises(ConfigError, match=r"shard-0003/vectors_f32\.npy: cannot be opened"):
        corpus.stretches(np.array([38]), 3)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (walk([10], dim=17), r"shard-0001/vectors_f32\.npy: holds vectors of 17 float32, and .*shard-0000"),
        (walk([10]).astype(np.float16), r"shard-0001/vectors_f32\.npy: holds vectors of 16 float16"),
        (walk([9]), r"all 4 shards: holds \(41, 16\) float32, but manifest\.json says \(42, 16\)"),
        (np.asfortranarray(walk([10])), r"shard-0001/vectors_f32\.npy: is stored column by column"),
    ],
)
def test_a_shard_of_another_shape_is_named(folder: Path, stored: Any, words: str) -> None:
    np.save(folder / "shard-0001" / "vectors_f32.npy", stored)
    with pytest.raises(ConfigError, match=words):
        open_corpus(folder)


def test_shards_that_changed_places_are_found(folder: Path) -> None:
    names = [folder / f"shard-000{number}" / "vectors_f32.npy" for number in (1, 2)]
    swapped = [path.read_bytes() for path in names][::-1]
    for path, content in zip(names, swapped, strict=True):
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"shard-0001/articles\.jsonl\.gz: holds articles with 10 chunks"):
        open_corpus(folder)


def test_a_changed_byte_of_a_shard_is_found_by_verify(folder: Path) -> None:
    path = folder / "shard-0002" / "vectors_f32.npy"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"shard-0002/vectors_f32\.npy: sha256 is"):
        verify_corpus(open_corpus(folder))


def test_a_recorded_digest_that_was_changed_gives_another_identity_and_fails(folder: Path) -> None:
    before, names = open_corpus(folder).sha256, files_of(folder)
    rewrite_manifest(folder, files=names | {"shard-0000/vectors_f32.npy": "0" * 64})
    changed = open_corpus(folder)
    assert changed.sha256 != before
    with pytest.raises(ConfigError, match="sha256"):
        verify_corpus(changed)


@pytest.mark.parametrize(
    "name",
    [
        "../vectors_f32.npy",
        "/etc/passwd",
        "shard-0000/../vectors_f32.npy",
        "shard-0000/x/vectors_f32.npy",
        "shard-0/vectors_f32.npy",
        "SHARD-0000/vectors_f32.npy",
        "shard-0000//vectors_f32.npy",
        "shard-0000/.hidden",
        "shard-٠٠٠٠/vectors_f32.npy",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    rewrite_manifest(folder, files=files_of(folder) | {name: "0" * 64})
    with pytest.raises(ConfigError, match=r"manifest\.json: not a corpus manifest"):
        open_corpus(folder)


@pytest.mark.parametrize(
    ("without", "extra", "words"),
    [
        (r"shard-0001/", {}, "names 3 shards, but not shard-0001"),
        (r"shard-0001/vectors", {}, "exactly one .*vectors.* in shard-0001, and names 0"),
        ("none", {"shard-0000/vectors_f16.npy": "0" * 64}, "in shard-0000, and names 2"),
        ("none", {"vectors_f32.npy": "0" * 64}, "files beside the shards"),
    ],
)
def test_a_manifest_that_leaves_out_or_adds_is_refused(
    folder: Path, without: str, extra: dict[str, str], words: str
) -> None:
    kept = {name: digest for name, digest in files_of(folder).items() if not name.startswith(without)}
    rewrite_manifest(folder, files=kept | extra)
    with pytest.raises(ConfigError, match=words):
        open_corpus(folder)


def test_more_shards_than_a_manifest_can_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    lengths = [1] * 4100
    np.save(tmp_path / "v.npy", walk(lengths, dim=2))
    articles = write_articles(tmp_path / "a.jsonl", lengths)
    with pytest.raises(ConfigError, match=r"--shard-rows 1: makes 4,100 shards, and 4,096 .* Take --shard-rows 2 "):
        import_corpus(tmp_path / "v.npy", articles, tmp_path / "out", embedder="e", shard_rows=1)
    assert not (tmp_path / "out").exists()


def test_the_manifest_of_a_corpus_in_one_piece_is_what_it_was(tmp_path: Path) -> None:
    """Its identity is in every checkpoint that was trained on it."""
    whole = make_corpus(tmp_path / "whole", LENGTHS)
    keys = set(msgspec.json.decode((whole.folder / "manifest.json").read_bytes()))
    assert keys == {
        "schema", "name", "embedder", "norm", "metric", "dim", "num_chunks", "num_articles", "dtype", "source",
        "licence", "files",
    }  # fmt: skip
    assert set(whole.manifest.files) == {"vectors_f32.npy", "articles.jsonl.gz"}
