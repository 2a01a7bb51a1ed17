"""Opening, reading and verifying corpora."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.corpus import open_corpus, read_articles, verify_corpus
from engine.data.importers import import_corpus
from engine.run.convert import ConfigError
from engine.run.runs_file import CORPORA
from tests.reference.small_corpus import make_corpus, rewrite_manifest, walk

LENGTHS = [6, 9, 3, 7]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "small", LENGTHS).folder


def vectors_file(folder: Path) -> Path:
    return folder / "vectors_f32.npy"


def test_the_embedded_corpus_is_what_its_manifest_says() -> None:
    corpus = open_corpus(CORPORA / "wikileads")
    assert (corpus.num_chunks, corpus.dim, len(corpus.titles), len(corpus.topics)) == (21_805, 768, 3_032, 12)
    verify_corpus(corpus)
    lengths = np.linalg.norm(corpus.vectors(np.arange(100)), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert corpus.text(0).startswith("20th-century classical music is Western art music")


def test_vectors_keep_the_shape_of_the_chunks_asked_for(folder: Path) -> None:
    corpus = open_corpus(folder)
    expected = walk(LENGTHS)
    chunks = np.array([[0, 24], [7, 3], [7, 7]])
    assert corpus.vectors(chunks).shape == (3, 2, 16)
    np.testing.assert_allclose(corpus.vectors(chunks), expected[chunks], atol=1e-6)
    np.testing.assert_allclose(corpus.all_vectors(), expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("int8", 0.02), ("float16", 1e-3), ("float32", 1e-6)])
def test_vectors_are_unit_length_however_they_are_stored(tmp_path: Path, dtype: str, tolerance: float) -> None:
    vectors = walk(LENGTHS)
    stored = np.round(vectors * 120) if dtype == "int8" else vectors
    corpus = make_corpus(tmp_path / "c", LENGTHS, stored, dtype=dtype)
    read = corpus.all_vectors()
    assert read.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-6)
    assert 1 - np.einsum("nd,nd->n", read, vectors).min() < tolerance


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) >= 2))
@settings(max_examples=20, deadline=None)
def test_chunks_texts_and_articles_belong_together(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    corpus = make_corpus(tmp_path_factory.mktemp("c") / "c", lengths)
    for chunk, article in enumerate(corpus.article_of_chunk.tolist()):
        position = chunk - int(corpus.first_chunk[article])
        assert corpus.text(chunk) == f"article {article} chunk {position}"
        assert corpus.titles[article] == f"Article {article}"
        assert corpus.topics[corpus.topic_of_article[article]] == "AB"[article % 2]


def test_opening_a_corpus_keeps_none_of_its_texts(tmp_path: Path) -> None:
    lengths = [1] * 300
    articles = tmp_path / "long.jsonl"
    articles.write_text("".join(json.dumps({"title": "t", "chunks": ["x" * 10_000]}) + "\n" for _ in lengths))
    vectors = tmp_path / "long.npy"
    np.save(vectors, walk(lengths))
    import_corpus(vectors, articles, tmp_path / "long", embedder="test-encoder")
    tracemalloc.start()
    try:
        open_corpus(tmp_path / "long")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # the texts are 3 MB


def test_two_corpora_have_two_identities(tmp_path: Path) -> None:
    same = [make_corpus(tmp_path / name / "c", LENGTHS).sha256 for name in "ab"]
    other = make_corpus(tmp_path / "d" / "c", LENGTHS, walk(LENGTHS, seed=1)).sha256
    assert same[0] == same[1] != other


def test_a_changed_byte_is_found_by_verify(folder: Path) -> None:
    raw = bytearray(vectors_file(folder).read_bytes())
    raw[-3] ^= 1
    vectors_file(folder).write_bytes(raw)
    with pytest.raises(ConfigError, match=r"vectors_f32\.npy: sha256 is"):
        verify_corpus(open_corpus(folder))


@pytest.mark.parametrize("cut", [1, 100, 1700])
def test_truncated_vectors_are_refused(folder: Path, cut: int) -> None:
    vectors_file(folder).write_bytes(vectors_file(folder).read_bytes()[:-cut])
    with pytest.raises(ConfigError, match=r"vectors_f32\.npy: cannot be mapped"):
        open_corpus(folder)


def header_of(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


class Marker:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array",
        header_of("(1000000000, 1000)"),
        header_of("(-1, 16)") + bytes(64),
        header_of("(2, 16)", "'<c8'") + bytes(256),
        header_of("(25, 16)", "'>f4'") + bytes(1600),
        header_of("(400,)") + bytes(1600),
        header_of("(100, 4)") + bytes(1600),
        header_of("(25, 16)", "'<f2'") + bytes(800),
    ],
    ids=["empty", "text", "4 TB", "negative", "complex", "big-endian", "1-d", "other shape", "other dtype"],
)
def test_vectors_that_are_no_vectors_of_this_corpus_are_refused(folder: Path, content: bytes) -> None:
    vectors_file(folder).write_bytes(content)
    with pytest.raises(ConfigError, match=r"vectors_f32\.npy"):
        open_corpus(folder)


def test_pickled_vectors_are_refused_and_never_opened(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for content in (pickle.dumps(Marker(marker)), object_array(Marker(marker))):
        vectors_file(folder).write_bytes(content)
        with pytest.raises(ConfigError, match="pickled"):
            open_corpus(folder)
    assert not marker.exists()


def object_array(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[value]], object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(("value", "words"), [(np.nan, "is not finite"), (np.inf, "is not finite"), (0, "is zero")])
def test_a_vector_without_direction_is_named_when_it_is_read(folder: Path, value: float, words: str) -> None:
    vectors = walk(LENGTHS)
    vectors[8] = value
    np.save(vectors_file(folder), vectors)
    corpus = open_corpus(folder)
    corpus.vectors(np.arange(8))
    with pytest.raises(ConfigError, match=rf"vectors_f32\.npy: chunk 8 {words}"):
        corpus.vectors(np.array([[3, 4], [8, 1]]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 17}, "holds"),
        ({"num_articles": 5}, "holds 4 articles"),
        ({"embeder": "x"}, "embeder"),
        ({"schema": 2}, "schema"),
        ({"files": {"../vectors_f32.npy": "0" * 64}}, "files"),
        ({"files": {}}, "exactly one"),
        ({"num_chunks": True}, "num_chunks"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    rewrite_manifest(folder, **changes)
    with pytest.raises(ConfigError, match=words):
        open_corpus(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b" " * (2 << 20)])
def test_a_damaged_manifest_is_named(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        open_corpus(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    vectors_file(folder).unlink()
    with pytest.raises(ConfigError, match=r"vectors_f32\.npy"):
        open_corpus(folder)


def test_a_truncated_archive_of_articles_is_named(folder: Path) -> None:
    articles = folder / "articles.jsonl.gz"
    articles.write_bytes(articles.read_bytes()[:-12])
    with pytest.raises(ConfigError, match=r"articles\.jsonl\.gz"):
        open_corpus(folder)


@pytest.mark.parametrize("line", ["[]", "{}", '{"title": 1, "chunks": []}', '{"title": "x", "chunks": "y"}', "\x00"])
def test_a_line_that_is_no_article_is_named_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "articles.jsonl"
    path.write_text(json.dumps({"title": "fine", "chunks": ["a"]}) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match="line 2"):
        list(read_articles(path))


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "articles.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * (17 << 20)))
    with pytest.raises(ConfigError, match="longer than"):
        list(read_articles(path))


def test_stretches_are_the_same_vectors_read_another_way(folder: Path) -> None:
    corpus = open_corpus(folder)
    first = np.array([0, corpus.num_chunks - 3, 2], np.int64)
    assert np.array_equal(corpus.stretches(first, 3), corpus.vectors(first[:, None] + np.arange(3)))


def test_a_file_that_is_cut_short_while_in_use_is_named_and_kills_nobody(folder: Path) -> None:
    corpus = open_corpus(folder)
    os.truncate(corpus.parts[0].vectors, corpus.parts[0].vectors.stat().st_size - 1)
    with pytest.raises(ConfigError, match="cut short while it was in use"):
        corpus.stretches(np.array([corpus.num_chunks - 3]), 3)


def test_vectors_stored_column_by_column_are_refused(folder: Path) -> None:
    path = open_corpus(folder).parts[0].vectors
    np.save(path, np.asfortranarray(np.load(path)))
    with pytest.raises(ConfigError, match="column by column"):
        open_corpus(folder)
