"""The playbook's payload, windows and index: read as they are, refused where they are damaged or do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from engine.data.payload_corpus import KEYS_FILE, import_payload, open_payload, payload_keys
from engine.data.payload_file import read_payload
from engine.data.playbook_files import alignment, find_contexts, find_truths, open_eval_windows
from engine.evaluation.foreign_index import open_given_index
from engine.run.convert import ConfigError
from tests.reference.playbook_files import DIM, Playbook, write_index, write_playbook, write_windows
from tests.reference.small_corpus import make_corpus

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 5
CONTEXT = 3


@pytest.fixture
def files(tmp_path: Path) -> Playbook:
    return write_playbook(tmp_path, LENGTHS, CONTEXT)


def save_pickled(path: Path, content: Any) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


# The payload.


def test_a_payload_becomes_a_corpus_in_reading_order(files: Playbook, tmp_path: Path) -> None:
    corpus = import_payload(files.payload, tmp_path / "corpus", trusted=True)
    np.testing.assert_allclose(corpus.all_vectors(), files.vectors, atol=1e-6)
    assert corpus.text(8) == "article 1 chunk 1"
    assert corpus.titles[1] == "Article 101"
    keys = payload_keys(corpus)
    for chunk in (0, 8, 100):
        text, meta, _vector = files.entries[int(keys.ids[chunk])]
        assert text == corpus.text(chunk)
        assert (keys.articles[chunk], keys.positions[chunk]) == (meta["article_index"], meta["chunk_index"])


def test_a_pickle_is_opened_only_when_it_is_trusted_and_only_once(files: Playbook, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can run code.*--trust-pickle"):
        open_payload(files.payload, trusted=False, kept=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    first = open_payload(files.payload, trusted=True, kept=tmp_path / "kept")
    again = open_payload(files.payload, trusted=False, kept=tmp_path / "kept")
    assert again.sha256 == first.sha256


def test_a_damaged_copy_says_that_it_is_one_and_how_to_make_it_anew(files: Playbook, tmp_path: Path) -> None:
    copy = open_payload(files.payload, trusted=True, kept=tmp_path / "kept")
    copy.parts[0].vectors.write_bytes(copy.parts[0].vectors.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=rf"kept copy of {files.payload}: delete {copy.folder}"):
        open_payload(files.payload, trusted=True, kept=tmp_path / "kept")


def test_nothing_is_unpickled_for_a_folder_that_exists(files: Playbook, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ConfigError, match="never overwritten"):  # and not that it is not trusted
        import_payload(files.payload, tmp_path / "corpus", trusted=False)


class Evil:
    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("/nonexistent/evil"), "x"))


class Code:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code ran')",))


@pytest.mark.parametrize("planted", [Evil(), Code(), np.dtype, complex(1, 2), {1, 2}, object()])
def test_a_payload_that_names_anything_but_plain_data_is_refused(planted: Any, files: Playbook, tmp_path: Path) -> None:
    meta = {"article_index": planted, "chunk_index": 0}
    path = save_pickled(tmp_path / "evil.npy", files.entries | {0: ("text", meta, [1.0] * DIM)})
    with pytest.raises(ConfigError, match=r"evil.npy: cannot be unpickled|neither all whole numbers"):
        import_payload(path, tmp_path / "corpus", trusted=True)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_every_protocol_that_numpy_ever_wrote_gives_the_same_payload(
    protocol: int, files: Playbook, tmp_path: Path
) -> None:
    path = tmp_path / "old.npy"
    holder = np.empty((), object)
    holder[()] = {key: (text, meta, vector.astype(np.float64)) for key, (text, meta, vector) in files.entries.items()}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(holder))
        pickle.dump(holder, file, protocol=protocol)
    corpus = import_payload(path, tmp_path / "corpus", trusted=True)
    np.testing.assert_allclose(corpus.all_vectors(), files.vectors, atol=1e-6)


def test_texts_and_numbers_that_were_array_elements_are_read(files: Playbook, tmp_path: Path) -> None:
    entries = {
        key: (np.str_(text), {name: np.int64(meta[name]) for name in ("article_index", "chunk_index")}, vector.tolist())
        for key, (text, meta, vector) in files.entries.items()
    }
    corpus = import_payload(save_pickled(tmp_path / "p2.npy", entries), tmp_path / "corpus", trusted=True)
    assert corpus.text(8) == "article 1 chunk 1"


def test_ids_and_articles_may_be_texts(files: Playbook, tmp_path: Path) -> None:
    entries = {
        f"id-{key}": (text, {"article": f"a{meta['article_index']}", "chunk": meta["chunk_index"]}, vector)
        for key, (text, meta, vector) in files.entries.items()
    }
    corpus = import_payload(save_pickled(tmp_path / "p2.npy", entries), tmp_path / "corpus", trusted=True)
    write_windows(files, CONTEXT, truth_keys=payload_keys(corpus).ids[files.truths])
    assert find_truths(open_eval_windows(files.eval_npz), payload_keys(corpus)).tolist() == files.truths.tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({0: ("text", {"article_index": 1, "chunk_index": 2})}, r"id 0: is not \(text, positions, vector\)"),
        ({0: ("text", {"page": 1}, np.ones(DIM, np.float32))}, "none of the keys article_index.*but page"),
        ({0: ("text", {"article_index": 1, "chunk_index": 2}, np.ones(3, np.float32))}, "dimensions where the first"),
        ({5: ("text", {"article_index": 1, "chunk_index": 2}, np.full(DIM, np.nan, np.float32))}, "id 5.*not finite"),
        ({5: ("text", {"article_index": 1, "chunk_index": 2}, np.zeros(DIM, np.float32))}, "id 5.*is zero"),
        ({2**70: ("text", {"article_index": 1, "chunk_index": 2}, np.ones(DIM, np.float32))}, "neither all whole"),
        ({"x": ("text", {"article_index": 1, "chunk_index": 2}, np.ones(DIM, np.float32))}, "neither all whole"),
        ({0: ("text", {"article_index": [1], "chunk_index": 2}, np.ones(DIM, np.float32))}, "articles are neither"),
        ({0: ("text", {"article_index": True, "chunk_index": 2}, np.ones(DIM, np.float32))}, "articles are neither"),
        ({0: ("half \ud800", {"article_index": 1, "chunk_index": 2}, np.ones(DIM, np.float32))}, "id 0: is not a text"),
        ({0: ("text", {"article_index": 1, "chunk_index": 2}, [[1.0] * DIM] * DIM)}, "a vector of numbers"),
        ({0: ("text", {"article_index": 1, "chunk_index": 2}, [10**400] * DIM)}, "a vector of numbers"),
    ],
)
def test_a_damaged_entry_is_named_and_nothing_is_left_behind(
    change: Any, says: str, files: Playbook, tmp_path: Path
) -> None:
    path = save_pickled(tmp_path / "broken.npy", files.entries | change)
    with pytest.raises(ConfigError, match=says):
        open_payload(path, trusted=True, kept=tmp_path / "kept")
    assert not [entry for entry in (tmp_path / "kept").glob("*") if entry.is_dir()]


def test_keys_that_are_very_long_texts_are_refused(files: Playbook, tmp_path: Path) -> None:
    entries = {str(key) * (300 if key == 1 else 1): entry for key, entry in files.entries.items()}
    with pytest.raises(ConfigError, match=r"its ids are neither .* at most 256 characters"):
        import_payload(save_pickled(tmp_path / "long.npy", entries), tmp_path / "corpus", trusted=True)


@pytest.mark.parametrize(
    "name", ["f4,f4", "f4,(9000,9000)i8", "(9,)f4", "i4,O", "O", "f4\n", "S9999999999999", "f3", "M8"]
)
def test_a_dtype_that_is_not_plain_is_refused(name: str, files: Playbook, tmp_path: Path) -> None:
    class Trick:
        def __reduce__(self) -> Any:
            return (np.dtype, (name, False, True))

    path = save_pickled(tmp_path / "trick.npy", files.entries | {0: ("text", {"article_index": Trick()}, [1.0] * DIM)})
    with pytest.raises(ConfigError, match=r"trick.npy(: cannot be unpickled|, id 0: its positions)"):
        import_payload(path, tmp_path / "corpus", trusted=True)


def test_files_that_are_no_payload_are_refused(files: Playbook, tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", files.vectors)
    (tmp_path / "cut.npy").write_bytes(files.payload.read_bytes()[:5000])
    (tmp_path / "text.npy").write_text("hello")
    save_pickled(tmp_path / "list.npy", np.array([1, "a"], object))
    for name, says in {
        "numbers": "array of numbers without texts",
        "cut": "may be truncated",
        "text": "not a .npy file",
        "list": "holds no dictionary",
        "missing": "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=says):
            read_payload(tmp_path / f"{name}.npy", trusted=True)


def test_any_corpus_is_a_payload_of_its_chunk_numbers(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", LENGTHS)
    keys = payload_keys(open_payload(corpus.folder, trusted=False, kept=tmp_path))
    assert keys.ids.tolist() == list(range(corpus.num_chunks))
    assert keys.chunk_at[1, 2] == LENGTHS[0] + 2


def test_names_of_another_corpus_are_refused(files: Playbook, tmp_path: Path) -> None:
    corpus = import_payload(files.payload, tmp_path / "corpus", trusted=True)
    one = np.zeros(1, np.int64)
    np.savez(tmp_path / "corpus" / KEYS_FILE, ids=one, articles=one, positions=one, rows=one)
    with pytest.raises(ConfigError, match="does not name"):
        payload_keys(corpus)


# The windows.


def test_truths_are_found_by_place_and_by_id(files: Playbook, tmp_path: Path) -> None:
    keys = payload_keys(import_payload(files.payload, tmp_path / "corpus", trusted=True))
    windows = open_eval_windows(files.eval_npz)
    assert windows.provenance.encoder == "test-encoder"
    assert find_truths(windows, keys).tolist() == files.truths.tolist()
    write_windows(files, CONTEXT, truth_keys=keys.ids[files.truths])
    assert find_truths(open_eval_windows(files.eval_npz), keys).tolist() == files.truths.tolist()
    write_windows(files, CONTEXT, truth_keys=keys.ids[files.truths].astype("S"))
    assert find_truths(open_eval_windows(files.eval_npz), keys).tolist() == files.truths.tolist()
    write_windows(files, CONTEXT, truth_keys=np.full(len(files.truths), 10**6))
    assert set(find_truths(open_eval_windows(files.eval_npz), keys).tolist()) == {-1}


def test_a_truth_key_that_only_resembles_a_number_is_not_found(files: Playbook, tmp_path: Path) -> None:
    keys = payload_keys(import_payload(files.payload, tmp_path / "corpus", trusted=True))
    odd = np.array(["--5", "1" * 5000, "5.0", *["7"] * (len(files.truths) - 3)])
    write_windows(files, CONTEXT, truth_keys=odd)
    assert find_truths(open_eval_windows(files.eval_npz), keys)[:4].tolist() == [-1, -1, -1, keys.chunk_of_id[7]]


def test_own_context_is_found_by_place_else_by_vector_else_not_at_all(files: Playbook, tmp_path: Path) -> None:
    keys = payload_keys(import_payload(files.payload, tmp_path / "corpus", trusted=True))
    contexts, _targets = open_eval_windows(files.eval_npz).gather(np.arange(len(files.truths)))
    expected = files.truths[:, None] + np.arange(-CONTEXT, 0)
    assert find_contexts(contexts, files.truths, keys, files.vectors).tolist() == expected.tolist()
    moved = contexts[:, ::-1]  # at other places than the keys say
    assert find_contexts(moved, files.truths, keys, files.vectors).tolist() == expected[:, ::-1].tolist()
    strange = contexts.copy()
    strange[0, 0] = -strange[0, 0]
    strange[1, 1] = strange[1, 2]
    strange[2, 0] = files.vectors[files.truths[2]]
    found = find_contexts(strange, files.truths, keys, files.vectors)
    assert found[0].tolist() == [-1, *expected[0, 1:]]
    assert sorted(found[1].tolist()) == sorted([expected[1, 0], expected[1, 2], -1])
    assert found[2].tolist() == [-1, *expected[2, 1:]]


def test_alignment_is_the_cosine_of_targets_and_payload(files: Playbook) -> None:
    assert alignment(files.vectors, files.vectors) == pytest.approx((1.0, 1.0))
    mean, p5 = alignment(files.vectors[1:], files.vectors[:-1])
    cosines = [float(a @ b) for a, b in zip(files.vectors[1:], files.vectors, strict=False)]
    assert mean == pytest.approx(np.mean(cosines), abs=1e-5)
    assert p5 == pytest.approx(np.percentile(cosines, 5), abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"contexts": None}, "has no key contexts"),
        ({"targets": None}, "has no key targets"),
        ({"truth_keys": None}, "has no key truth_keys"),
        ({"targets": np.ones((2, DIM), np.float32)}, "do not fit together"),
        ({"truth_keys": np.ones(3, np.int64)}, "do not fit together"),
        ({"provenance": np.array(["{"])}, "provenance is not JSON"),
        (
            {
                "contexts": np.ones((0, CONTEXT, DIM), np.float32),
                "targets": np.ones((0, DIM), np.float32),
                "truth_keys": np.ones((0, 2), np.int64),
            },
            "holds no window",
        ),
    ],
)
def test_windows_that_lack_something_are_refused(changed: Any, says: str, files: Playbook) -> None:
    write_windows(files, CONTEXT, **changed)
    with pytest.raises(ConfigError, match=says) as caught:
        open_eval_windows(files.eval_npz)
    assert "eval.npz" in str(caught.value)


def test_a_truncated_file_of_windows_is_refused(files: Playbook) -> None:
    files.eval_npz.write_bytes(files.eval_npz.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="not a whole npz file"):
        open_eval_windows(files.eval_npz)


def test_a_window_that_is_not_finite_is_named(files: Playbook) -> None:
    contexts = files.vectors[files.truths[:, None] + np.arange(-CONTEXT, 0)]
    contexts[4, 1] = np.nan
    write_windows(files, CONTEXT, contexts=contexts)
    with pytest.raises(ConfigError, match=r"eval.npz: context of window 4 is not finite"):
        open_eval_windows(files.eval_npz).gather(np.arange(10))


def test_targets_are_read_without_their_contexts(files: Playbook) -> None:
    contexts = files.vectors[files.truths[:, None] + np.arange(-CONTEXT, 0)]
    contexts[3, 1, 0] = np.nan
    write_windows(files, CONTEXT, contexts=contexts)
    targets = open_eval_windows(files.eval_npz).targets_of(np.array([3, 1]))
    np.testing.assert_allclose(targets, files.vectors[files.truths[[3, 1]]], atol=1e-6)


def test_provenance_may_be_a_plain_text_or_missing(files: Playbook) -> None:
    write_windows(files, CONTEXT, provenance=np.array(json.dumps({"embedder": "other"})))
    assert open_eval_windows(files.eval_npz).provenance.encoder == "other"
    write_windows(files, CONTEXT, provenance=None)
    assert open_eval_windows(files.eval_npz).provenance.encoder == ""


# The index.


def test_a_given_index_answers_in_chunks_of_the_corpus(files: Playbook, tmp_path: Path) -> None:
    corpus = import_payload(files.payload, tmp_path / "corpus", trusted=True)
    index = open_given_index(files.index, corpus.all_vectors(), payload_keys(corpus), nprobe=4)
    assert (index.kind, index.nlist, index.origin) == ("IndexIVFFlat(4)", 4, "given")
    found = index.search(files.vectors, 3, nprobe=4)
    assert found[:, 0].tolist() == list(range(len(files.vectors)))


def test_an_index_may_be_labelled_by_rows_where_ids_are_others(files: Playbook, tmp_path: Path) -> None:
    entries = {key * 2 + 7: entry for key, entry in files.entries.items()}
    corpus = import_payload(save_pickled(tmp_path / "p2.npy", entries), tmp_path / "corpus", trusted=True)
    index = open_given_index(files.index, corpus.all_vectors(), payload_keys(corpus), nprobe=4)
    assert index.search(files.vectors[:9], 1, nprobe=4)[:, 0].tolist() == list(range(9))


def test_an_index_with_labels_of_its_own_is_refused(files: Playbook, tmp_path: Path) -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    index.add_with_ids(files.vectors, np.arange(len(files.vectors)) + 10**12)
    faiss.write_index(index, str(tmp_path / "own.index"))
    corpus = import_payload(files.payload, tmp_path / "corpus", trusted=True)
    with pytest.raises(ConfigError, match="labels them by neither the payload's ids nor its rows"):
        open_given_index(tmp_path / "own.index", corpus.all_vectors(), payload_keys(corpus), nprobe=4)


def test_an_index_that_is_not_of_the_payload_is_refused(files: Playbook, tmp_path: Path) -> None:
    import faiss

    corpus = import_payload(files.payload, tmp_path / "corpus", trusted=True)
    vectors, keys = corpus.all_vectors(), payload_keys(corpus)
    random = np.random.default_rng(3).normal(size=vectors.shape).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    write_index(tmp_path / "other.index", random)
    write_index(tmp_path / "short.index", vectors[:-1])
    write_index(tmp_path / "narrow.index", np.ascontiguousarray(vectors[:, :8]))
    write_index(tmp_path / "l2.index", vectors, metric=faiss.METRIC_L2)
    (tmp_path / "cut.index").write_bytes(files.index.read_bytes()[:3000])
    for name, says in {
        "other": "index of other vectors",
        "short": "vectors, the payload",
        "narrow": "dimensions",
        "l2": "inner product",
        "cut": "no whole FAISS index",
        "missing": "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=says) as caught:
            open_given_index(tmp_path / f"{name}.index", vectors, keys, nprobe=4)
        assert f"{name}.index" in str(caught.value)
