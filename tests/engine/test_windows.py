"""Windows of corpora and of npz files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.npz import open_npz
from engine.data.windows import ArrayWindows, CorpusWindows, open_windows
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig
from tests.reference.small_corpus import make_corpus, walk

W, L, D = 6, 3, 4


def arrays(**more: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "context_sequences": generator.normal(size=(W, L, D)).astype(np.float32),
        "target_vectors": generator.normal(size=(W, D)).astype(np.float32),
        **more,
    }


def save(path: Path, content: dict[str, Any], *, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **content)
    return path


def test_the_embedded_corpus_has_the_known_number_of_windows() -> None:
    source = open_windows(DataConfig(), Path())
    assert (source.num_windows, source.context, source.dim, source.has_articles) == (6_645, 5, 768, True)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_windows_are_all_runs_of_consecutive_chunks_within_an_article(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], context: int
) -> None:
    lengths = [*lengths, context + 2]
    corpus = make_corpus(tmp_path_factory.mktemp("c") / "c", lengths)
    vectors, expected, start = corpus.all_vectors(), [], 0
    for article, length in enumerate(lengths):
        expected += [(article, start + target) for target in range(context, length)]
        start += length
    source = CorpusWindows(corpus, context)
    assert list(zip(source.articles.tolist(), source.target_chunks.tolist(), strict=True)) == expected
    contexts, targets = source.gather(np.arange(source.num_windows))
    for window, (_, target) in enumerate(expected):
        np.testing.assert_array_equal(contexts[window], vectors[target - context : target])
        np.testing.assert_array_equal(targets[window], vectors[target])


def test_a_context_longer_than_every_article_is_refused_with_the_longest(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [4, 6, 5])
    assert CorpusWindows(corpus, 4).num_windows == 3
    with pytest.raises(ConfigError, match="at most 5"):
        CorpusWindows(corpus, 6)


@pytest.mark.parametrize("compressed", [False, True])
def test_windows_of_an_npz_are_unit_vectors_of_the_asked_windows(tmp_path: Path, compressed: bool) -> None:
    content = arrays()
    source = ArrayWindows(save(tmp_path / "w.npz", content, compressed=compressed))
    assert (source.num_windows, source.context, source.dim) == (W, L, D)
    contexts, targets = source.gather(np.array([4, 1]))
    for row, window in enumerate([4, 1]):
        raw = content["context_sequences"][window]
        np.testing.assert_allclose(contexts[row], raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-6)
        raw = content["target_vectors"][window]
        np.testing.assert_allclose(targets[row], raw / np.linalg.norm(raw), rtol=1e-6)


def test_what_was_stored_plainly_is_mapped_and_not_loaded(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", arrays())
    assert all(isinstance(array, np.memmap) for array in open_npz(path).values())


def test_the_playbooks_other_keys_are_understood(tmp_path: Path) -> None:
    content = arrays()
    renamed = {"sequences": content["context_sequences"], "targets": content["target_vectors"]}
    source = ArrayWindows(save(tmp_path / "w.npz", renamed))
    assert source.num_windows == W


def test_the_playbooks_evaluation_file_is_a_source_and_its_pickled_keys_stay_closed(tmp_path: Path) -> None:
    content = arrays()
    named = {"contexts": content["context_sequences"], "targets": content["target_vectors"]}
    pickled = np.array([{"anything": 1}], object)
    source = ArrayWindows(save(tmp_path / "e.npz", named | {"last_meta": pickled, "truth_keys": np.ones((W, 2), int)}))
    assert (source.num_windows, source.context, source.dim, source.has_articles) == (W, L, D, True)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"article_ids": np.array([7, 7, 8, 8, 8, 9])}, [7, 7, 8, 8, 8, 9]),
        ({"truth_keys": np.array([[7, 5], [7, 6], [8, 5], [8, 6], [8, 7], [9, 5]])}, [7, 7, 8, 8, 8, 9]),
        ({"article_ids": np.array(["b", "b", "a", "a", "a", "c"])}, [1, 1, 0, 0, 0, 2]),
        ({"truth_keys": np.array(["b:5", "b:6", "a:5", "a:6", "a:7", "c:5"])}, [1, 1, 0, 0, 0, 2]),
        ({"truth_keys": np.array([7, 7, 8, 8, 8, 9])}, [0, 0, 1, 1, 1, 2]),
        ({"truth_keys": np.array([b"b\xff:5", b"b\xff:6", b"a:5", b"a:6", b"a:7", b"c:5"])}, [1, 1, 0, 0, 0, 2]),
        ({"article_ids": np.array(["wiki_2", "wiki_2", "wiki_1", "wiki_1", "wiki_1", "wiki_3"])}, [1, 1, 0, 0, 0, 2]),
        ({"article_ids": np.array([1, 1, 0, 0, 0, 2], np.uint64) + np.uint64(2**63)}, [1, 1, 0, 0, 0, 2]),
        ({"truth_keys": np.array(["b_1_5", "b_1_6", "a_5", "a_6", "a_7", "b_2_5"])}, [1, 1, 0, 0, 0, 2]),
        ({"truth_keys": np.array([["b", "5"], ["b", "6"], ["a", "1"], ["a", "2"], ["a", "3"], ["c", "0"]])}, None),
    ],
)
def test_articles_are_read_from_ids_and_truth_keys(tmp_path: Path, keys: dict[str, Any], expected: Any) -> None:
    source = ArrayWindows(save(tmp_path / "w.npz", arrays(**keys)))
    assert source.has_articles
    assert source.articles.tolist() == (expected or [1, 1, 0, 0, 0, 2])


@pytest.mark.parametrize(
    "keys",
    [{}, {"truth_keys": np.array(list("abcdef"))}, {"truth_keys": np.arange(W)}, {"article_ids": np.full(W, -1)}],
)
def test_articles_that_are_not_named_are_unknown(tmp_path: Path, keys: dict[str, Any]) -> None:
    source = ArrayWindows(save(tmp_path / "w.npz", arrays(**keys)))
    assert not source.has_articles
    assert source.articles.tolist() == [-1] * W


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_vectors": None}, "none of the keys target_vectors, targets"),
        ({"target_vectors": np.zeros((W, D + 1), np.float32)}, "targets must be"),
        ({"context_sequences": np.zeros((W, D), np.float32)}, "3 dimensions"),
        ({"context_sequences": np.zeros((W, L, D), np.complex64)}, "complex64"),
        ({"target_vectors": np.array([[{}]], object)}, "pickled Python objects"),
        ({"article_ids": np.zeros(W - 1, np.int64)}, "one integer or string a window"),
        ({"article_ids": np.array([None] * W, object)}, "pickled Python objects"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    content = {key: value for key, value in arrays(**changes).items() if value is not None}
    with pytest.raises(ConfigError, match=words):
        ArrayWindows(save(tmp_path / "w.npz", content))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.4, 0.97])
def test_a_truncated_npz_is_refused(tmp_path: Path, share: float, compressed: bool) -> None:
    path = save(tmp_path / "w.npz", arrays(), compressed=compressed)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(ConfigError, match=r"w\.npz"):
        ArrayWindows(path)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_never_becomes_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = save(tmp_path_factory.mktemp("n") / "w.npz", arrays(), compressed=position % 2 == 0)
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw)
    try:
        ArrayWindows(path).gather(np.arange(2))
    except ConfigError as error:
        assert "w.npz" in str(error)  # noqa: PT017


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "w.npz", arrays(), compressed=True)
    monkeypatch.setattr("engine.data.npz.MAX_UNPACKED", 100)
    with pytest.raises(ConfigError, match=r"Write it with numpy\.savez"):
        ArrayWindows(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_what_numpy_never_packs_with_is_refused_unread(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w", method) as archive:
        archive.writestr("targets.npy", b"x" * 1000)
    with pytest.raises(ConfigError, match=r"targets.npy is packed .* numpy.savez"):
        open_npz(tmp_path / "w.npz")


def test_a_member_that_would_end_beyond_the_file_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 4)})
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("targets.npy", header.getvalue())
        entry = archive.infolist()[0]
        entry.file_size = entry.compress_size = len(header.getvalue()) + (1 << 24)
    with pytest.raises(ConfigError, match=r"targets.npy .*truncated or damaged|not a whole npz"):
        open_npz(tmp_path / "w.npz")


@pytest.mark.parametrize("descr", ["<U0", "|V0"])
def test_elements_without_bytes_are_refused(tmp_path: Path, descr: str) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("truth_keys.npy", header.getvalue())
    with pytest.raises(ConfigError, match=r"truth_keys.npy .*of no bytes"):
        open_npz(tmp_path / "w.npz")


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", arrays())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("target_vectors.npy", b"")
    with pytest.raises(ConfigError, match="twice"):
        ArrayWindows(path)


@pytest.mark.parametrize("key", ["context_sequences", "target_vectors"])
def test_a_window_without_direction_is_named_when_it_is_read(tmp_path: Path, key: str) -> None:
    content = arrays()
    content[key][2] = np.nan
    source = ArrayWindows(save(tmp_path / "w.npz", content))
    source.gather(np.array([0, 1]))
    with pytest.raises(ConfigError, match=r"of window 2 is not finite"):
        source.gather(np.array([1, 2]))


def test_open_windows_follows_the_settings(tmp_path: Path) -> None:
    make_corpus(tmp_path / "mine", [6, 6])
    assert open_windows(DataConfig(corpus="mine", context=2), tmp_path).num_windows == 8
    save(tmp_path / "w.npz", arrays())
    assert open_windows(DataConfig(train_npz="w.npz", context=L), tmp_path).num_windows == W
    with pytest.raises(ConfigError, match="Set context = 3"):
        open_windows(DataConfig(train_npz="w.npz"), tmp_path)


def test_int8_windows_have_unit_length(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [8], np.round(walk([8]) * 100), dtype="int8")
    contexts, targets = CorpusWindows(corpus, 5).gather(np.arange(3))
    np.testing.assert_allclose(np.linalg.norm(contexts, axis=2), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-6)
