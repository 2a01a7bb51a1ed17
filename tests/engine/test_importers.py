"""Importing corpora, and the `data` verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.data.corpus import open_corpus, verify_corpus
from engine.data.importers import import_corpus
from engine.run.convert import ConfigError
from engine.verbs.data import command
from tests.reference.playbook_files import write_playbook
from tests.reference.small_corpus import make_corpus, walk, write_articles

LENGTHS = [7, 8, 9, 6]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def files(
    tmp_path: Path, vectors: Any = None, *, name: str = "v.npy", keys: dict[str, Any] | None = None
) -> tuple[Path, Path]:
    stored = walk(LENGTHS) if vectors is None else vectors
    path = tmp_path / name
    np.save(path, stored) if path.suffix == ".npy" else np.savez(path, **(keys or {"vectors": stored}))
    return path, write_articles(tmp_path / "a.jsonl.gz", LENGTHS)


@pytest.mark.parametrize(
    ("given", "stored", "norm"),
    [
        (walk(LENGTHS), "float32", "l2_once"),
        (walk(LENGTHS).astype(np.float64), "float32", "l2_once"),
        (walk(LENGTHS).astype(np.float16), "float16", "l2_once"),
        ((walk(LENGTHS) * 100).astype(np.int8), "int8", "l2_once"),
        (walk(LENGTHS) * 3, "float32", "none"),
    ],
)
def test_an_imported_corpus_verifies_and_says_what_it_is(tmp_path: Path, given: Any, stored: str, norm: str) -> None:
    vectors, articles = files(tmp_path, given)
    made = import_corpus(vectors, articles, tmp_path / "out", embedder=" my-encoder ", licence="CC0")
    verify_corpus(made)
    facts = made.manifest
    assert (facts.dtype, facts.norm, facts.embedder, facts.licence, facts.name) == (
        stored,
        norm,
        "my-encoder",
        "CC0",
        "out",
    )
    np.testing.assert_allclose(made.all_vectors(), walk(LENGTHS), atol=0.03)
    assert made.text(7) == "article 1 chunk 0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl.gz", "out", "v.npy"]


@pytest.mark.parametrize("keys", [{}, {"emb": walk(LENGTHS)}, {"vectors": walk(LENGTHS), "more": np.zeros(3)}])
def test_vectors_are_taken_from_an_npz(tmp_path: Path, keys: dict[str, Any]) -> None:
    vectors, articles = files(tmp_path, name="v.npz", keys=keys)
    made = import_corpus(vectors, articles, tmp_path / "out", embedder="e")
    np.testing.assert_allclose(made.all_vectors(), walk(LENGTHS), atol=1e-6)


def test_the_same_files_give_the_same_corpus(tmp_path: Path) -> None:
    vectors, articles = files(tmp_path)
    made = [import_corpus(vectors, articles, tmp_path / out, embedder="e", name="n").sha256 for out in "xy"]
    assert made[0] == made[1]


def spoilt(row: int, value: float) -> Any:
    vectors = walk(LENGTHS)
    vectors[row] = value
    return vectors


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (walk(LENGTHS)[:-1], "29 vectors, but .* 30 chunks"),
        (spoilt(11, np.nan), "row 11 is not finite"),
        (spoilt(29, 0), "row 29 is zero"),
        (walk(LENGTHS)[:, 0], r"holds \(30,\)"),
        (walk(LENGTHS).astype(np.int32), "<i4"),
        (np.array([[{}]], object), "pickled"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing_behind(tmp_path: Path, given: Any, words: str) -> None:
    vectors, articles = files(tmp_path, given)
    with pytest.raises(ConfigError, match=words):
        import_corpus(vectors, articles, tmp_path / "out", embedder="e")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl.gz", "v.npy"]


def test_an_npz_of_several_arrays_must_say_which_holds_the_vectors(tmp_path: Path) -> None:
    vectors, articles = files(tmp_path, name="v.npz", keys={"a": walk(LENGTHS), "b": np.zeros(3)})
    with pytest.raises(ConfigError, match='no key "vectors" but a, b'):
        import_corpus(vectors, articles, tmp_path / "out", embedder="e")


def test_a_corpus_is_never_overwritten(tmp_path: Path) -> None:
    vectors, articles = files(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="never overwritten"):
        import_corpus(vectors, articles, tmp_path / "out", embedder="e")


def test_the_verb_imports_describes_and_verifies(tmp_path: Path) -> None:
    vectors, articles = files(tmp_path)
    out = tmp_path / "out"
    made = run("import", "--vectors", vectors, "--articles", articles, "--embedder", "e", "--out", out)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "30 chunks of 4 articles, 16 dimensions" in made.stdout
    described = run("describe", out, "--context", 2, "--json")
    facts = msgspec.json.decode(described.stdout)
    assert facts["windows"] == 30 - 2 * 4
    assert facts["windows"] == facts["train_windows"] + facts["val_windows"] + facts["test_windows"]
    assert run("verify", out).exit_code == 0


def test_verify_fails_with_exit_code_one_and_names_the_file(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "c", LENGTHS).folder
    raw = bytearray((folder / "vectors_f32.npy").read_bytes())
    raw[-1] ^= 0x40
    (folder / "vectors_f32.npy").write_bytes(raw)
    result = run("verify", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "vectors_f32.npy" in result.stderr


def test_a_corpus_that_is_not_there_is_exit_code_two_and_the_nearest_is_named() -> None:
    result = run("describe", "embedded:wikilead")
    assert result.exit_code == 2
    assert 'Did you mean "embedded:wikileads"' in result.stderr


def test_describe_shows_the_embedded_corpus_by_default() -> None:
    result = run("describe")
    assert result.exit_code == 0
    assert "all-mpnet-base-v2-768" in result.stdout
    assert "6,645" in result.stdout


def test_a_payload_is_imported_only_by_someone_who_trusts_it(tmp_path: Path) -> None:
    files = write_playbook(tmp_path, [8, 9, 8], 5)
    out = tmp_path / "corpus"
    given = ("import", "--payload", files.payload, "--embedder", "test-encoder", "--out", out)
    refused = run(*given)
    assert refused.exit_code == 2
    assert "--trust-pickle" in refused.output
    assert not out.exists()
    assert run(*given, "--trust-pickle").exit_code == 0
    assert open_corpus(out).num_chunks == 25
    assert "Leave the other options out" in run(*given, "--trust-pickle", "--name", "x").output
    assert "--vectors and --articles, or" in run("import", "--embedder", "e", "--out", out).output
