"""Data of the scenarios: planted corpora and the embedded one, as they are and spoilt in one way each.

Legend: A articles, N chunks, W windows, L context length, D vector width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from engine.data.corpus import Article, Corpus, FloatArray, IndexArray, open_corpus
from engine.data.importers import import_corpus
from engine.data.split import split_windows
from engine.data.synth import PRESETS, write_scenario
from engine.data.windows import CorpusWindows
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig

FULL = {"dim": 768, "num_articles": 200}
"""A preset as it is."""
SMALL = {"dim": 192, "num_articles": 160}
"""A fifth of a preset's numbers: what is planted depends on the weights, and a training then takes a second."""
EMBEDDED = "embedded:wikileads"

Articles = Literal["named", "unnamed", "own number"]
"""What a file of windows says of articles: the truth, nothing, or a number for each window."""


@dataclass(frozen=True, slots=True)
class Made:
    """Data as a run is given them."""

    data: DataConfig
    searched: Corpus
    """What an evaluation searches."""
    queried: IndexArray | None = None
    """(W,) int64 windows of `searched` that an evaluation asks; None for the test windows of its split."""
    payload: Corpus | None = None
    """What the preflight is told is searched; None for nothing but what trains."""


MakeData = Callable[[Path, int], Made]
"""Makes the data in a folder that exists, from a seed."""


def synthetic(preset: str, **changes: Any) -> MakeData:  # Any: weights, shares and counts of a scenario
    """A planted corpus; `changes` replace fields of its preset."""

    def make(folder: Path, seed: int) -> Made:
        return _of_corpus(_write(folder / "corpus", preset, seed, changes))

    return make


def embedded(test_share: float = DataConfig().test_share) -> MakeData:
    """The corpus that ships with the program; the seed draws its split."""

    def make(folder: Path, seed: int) -> Made:
        data = DataConfig(corpus=EMBEDDED, split_seed=seed, test_share=test_share)
        return Made(data, open_corpus(corpus_folder(data, folder)))

    return make


def window_file(preset: str, articles: Articles, **changes: Any) -> MakeData:  # Any: as above
    """Windows of the first two thirds of a planted corpus's articles, written out; the others are asked."""

    def make(folder: Path, seed: int) -> Made:
        corpus = _write(folder / "corpus", preset, seed, changes)
        source = CorpusWindows(corpus, DataConfig().context)
        is_trained = source.articles < len(corpus.titles) * 2 // 3
        trained = np.flatnonzero(is_trained)
        contexts, targets = source.gather(trained)
        arrays: dict[str, Any] = {"context_sequences": contexts, "target_vectors": targets}
        if articles == "named":
            arrays["article_ids"] = source.articles[trained]
        elif articles == "own number":
            arrays["article_ids"] = np.arange(len(trained))
        np.savez(folder / "windows.npz", **arrays)
        return Made(_of_file(folder), corpus, np.flatnonzero(~is_trained))

    return make


def shuffled_targets(preset: str, **changes: Any) -> MakeData:  # Any: as above
    """A file of windows whose targets stand in another order than its contexts and keys."""

    def make(folder: Path, seed: int) -> Made:
        corpus = _write(folder / "corpus", preset, seed, changes)
        source = CorpusWindows(corpus, DataConfig().context)
        contexts, targets = source.gather(np.arange(source.num_windows))
        keys = np.stack([source.articles, source.target_chunks - corpus.first_chunk[source.articles]], axis=1)
        order = np.random.default_rng(seed).permutation(len(targets))
        np.savez(folder / "windows.npz", context_sequences=contexts, target_vectors=targets[order], truth_keys=keys)
        return Made(_of_file(folder), corpus, _test_windows(corpus), payload=corpus)

    return make


def copied_articles(preset: str, share: float, **changes: Any) -> MakeData:  # Any: as above
    """A planted corpus in which a share of the articles occurs twice, with rounding errors, under two titles."""

    def make(folder: Path, seed: int) -> Made:
        corpus = _write(folder / "first", preset, seed, changes)
        vectors = corpus.all_vectors().reshape(len(corpus.titles), -1, corpus.dim)
        copies = vectors[: round(share * len(vectors))]
        noise = np.random.default_rng(seed).normal(scale=1e-4, size=copies.shape).astype(np.float32)
        both = np.concatenate([vectors, copies + noise]).reshape(-1, corpus.dim)
        articles = list(corpus.read_articles())
        copied = [replace(article, title=f"{article.title}, again") for article in articles[: len(copies)]]
        return _of_corpus(_import(folder, both, [*articles, *copied], corpus))

    return make


def other_payload(preset: str, **changes: Any) -> MakeData:  # Any: as above
    """A corpus to train on, and the same articles in another encoder's space to search: rotated at random."""

    def make(folder: Path, seed: int) -> Made:
        corpus = _write(folder / "corpus", preset, seed, changes)
        vectors = _rotated(corpus.all_vectors(), seed)
        other = _import(folder, vectors, corpus.read_articles(), corpus, name="payload")
        return Made(DataConfig(corpus=str(corpus.folder)), other, _test_windows(corpus), other)

    return make


def other_evaluation(preset: str, **changes: Any) -> MakeData:  # Any: as above
    """A corpus to train on, and a file of unseen windows that another encoder made, and says so."""

    def make(folder: Path, seed: int) -> Made:
        made = _of_corpus(_write(folder / "corpus", preset, seed, changes))
        unseen = CorpusWindows(_write(folder / "unseen", preset, seed + 1000, changes), DataConfig().context)
        contexts, targets = unseen.gather(np.arange(unseen.num_windows))
        np.savez(
            folder / "unseen.npz",
            contexts=contexts,
            targets=targets,
            article_ids=unseen.articles,
            embedder=np.array("another-encoder"),
        )
        data = replace(made.data, eval_npz=str(folder / "unseen.npz"))
        return Made(data, made.searched)

    return make


def other_distribution(preset: str, asked: dict[str, float], **changes: Any) -> MakeData:  # Any: as above
    """A corpus to train on, and the same articles told otherwise in the same encoder's space, which are searched.

    Args:
        preset: what is planted.
        asked: fields of the preset that differ in what is searched.
        changes: fields that differ in both.
    """

    def make(folder: Path, seed: int) -> Made:
        made = _of_corpus(_write(folder / "corpus", preset, seed, changes))
        return dataclasses.replace(made, searched=_write(folder / "asked", preset, seed, {**changes, **asked}))

    return make


def raw_lengths(preset: str, **changes: Any) -> MakeData:  # Any: as above
    """A planted corpus whose vectors were never normalised; whoever reads them must."""

    def make(folder: Path, seed: int) -> Made:
        corpus = _write(folder / "first", preset, seed, changes)
        vectors = scaled(corpus.all_vectors(), seed)
        return _of_corpus(_import(folder, vectors, corpus.read_articles(), corpus))

    return make


def scaled(vectors: FloatArray, seed: int) -> FloatArray:
    """(N, D) vectors, each of a length of its own: log-normal, so that the longest tenth is thrice the shortest."""
    lengths = np.random.default_rng(seed).lognormal(sigma=0.45, size=(len(vectors), 1))
    return np.asarray(vectors * lengths, np.float32)


def other_corpus(vectors: FloatArray, seed: int) -> FloatArray:
    """(N, D) unit vectors of another corpus of the same size."""
    drawn = np.random.default_rng(seed).normal(size=vectors.shape)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def shifted(vectors: FloatArray, _seed: int) -> FloatArray:
    """(N, D) vectors, each under a number that is too high by a seventh of N: under one of another article."""
    return np.roll(vectors, len(vectors) // 7, axis=0)


def _rotated(vectors: FloatArray, seed: int) -> FloatArray:
    dim = vectors.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    return np.asarray(vectors @ rotation, np.float32)


def _write(folder: Path, preset: str, seed: int, changes: dict[str, Any]) -> Corpus:  # Any: as above
    return write_scenario(replace(PRESETS[preset], **{**SMALL, **changes}), folder, seed)


def _of_corpus(corpus: Corpus) -> Made:
    return Made(DataConfig(corpus=str(corpus.folder)), corpus)


def _of_file(folder: Path) -> DataConfig:
    return DataConfig(train_npz=str(folder / "windows.npz"))


def _test_windows(corpus: Corpus) -> IndexArray:
    data = DataConfig()
    source = CorpusWindows(corpus, data.context)
    shares = {"val_share": data.val_share, "test_share": data.test_share}
    return split_windows(source, **shares, seed=data.split_seed).test


def _import(
    folder: Path, vectors: npt.NDArray[np.float32], articles: Iterable[Article], like: Corpus, name: str = "corpus"
) -> Corpus:
    """Make a corpus of other vectors, that names the encoder of `like` as its own."""
    np.save(folder / "vectors.npy", vectors)
    (folder / "articles.jsonl").write_bytes(b"".join(msgspec.json.encode(article) + b"\n" for article in articles))
    embedder = like.manifest.embedder
    return import_corpus(folder / "vectors.npy", folder / "articles.jsonl", folder / name, embedder=embedder)
