"""Windows: `context` consecutive chunks of an article and the chunk that follows, which is to be predicted.

Two sources: a corpus, from which windows are gathered, and the playbook's npz file of windows written out. Both are
memory-mapped and normalised after gathering, so that a training needs no more memory than its batches.

Legend: W windows, B batch, L context length, D vector width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engine.data.corpus import Corpus, FloatArray, IndexArray, open_corpus
from engine.data.npz import open_npz
from engine.data.vector_files import unit_rows
from engine.run.convert import ConfigError
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig

UNKNOWN = -1
"""The article of a window whose source names none."""
_CONTEXTS = ("context_sequences", "sequences", "contexts")
_TARGETS = ("target_vectors", "targets")
_ARTICLES = ("article_ids", "truth_keys")


class WindowSource(Protocol):
    """Where windows come from. Windows are known by number, 0 to num_windows - 1."""

    dim: int
    context: int
    num_windows: int
    articles: IndexArray
    """(W,) int64: the article of each window; -1 everywhere if unknown."""
    has_articles: bool
    sha256: str
    """Identity of the data; empty where it is not known."""

    def gather(self, windows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Read windows.

        Args:
            windows: (B,) int64 window numbers.

        Returns:
            Contexts (B, L, D) and targets (B, D), float32 unit vectors.

        Raises:
            ConfigError: a vector is zero or not finite; it is named.
        """
        ...


class CorpusWindows:
    """All windows of a corpus, with stride 1 within each article, in reading order."""

    has_articles = True

    def __init__(self, corpus: Corpus, context: int) -> None:
        self.corpus = corpus
        self.sha256 = corpus.sha256
        self.dim = corpus.dim
        self.context = context
        position = np.arange(corpus.num_chunks) - corpus.first_chunk[corpus.article_of_chunk]
        self.target_chunks: IndexArray = np.flatnonzero(position >= context).astype(np.int64)
        """(W,) int64: chunk that window w predicts; its context is the `context` chunks before."""
        self.articles: IndexArray = corpus.article_of_chunk[self.target_chunks].astype(np.int64)
        self.num_windows = len(self.target_chunks)
        if self.num_windows < 2:
            longest = int(np.diff(corpus.first_chunk).max())
            raise ConfigError(
                f"[data] context = {context}: {corpus.folder} gives {self.num_windows} windows, because its longest "
                f"article has {longest} chunks. Use a context of at most {longest - 1}."
            )

    def gather(self, windows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Contexts (B, L, D) and targets (B, D); see `WindowSource.gather`."""
        vectors = self.corpus.stretches(self.target_chunks[windows] - self.context, self.context + 1)  # (B, L + 1, D)
        return vectors[:, :-1], vectors[:, -1]


class ArrayWindows:
    """Windows written out in an npz file, as the playbook's tools make it.

    Keys: `context_sequences`, `sequences` or, as in its evaluation files, `contexts` (W, L, D); `target_vectors` or
    `targets` (W, D); and, where the file names articles, `article_ids` (W,), or `truth_keys`: (W, 2) of article and
    chunk, or (W,) that begin with the article. Other keys are never opened: some of them are pickled.

    Raises:
        ConfigError: a key is missing, shapes do not fit together, or the file is damaged or pickled.
    """

    sha256 = ""  # a file of gigabytes is not read for it

    def __init__(self, path: Path) -> None:
        arrays = open_npz(path, {*_CONTEXTS, *_TARGETS, *_ARTICLES})
        self.path = path
        self._contexts = _pick(path, arrays, _CONTEXTS, dimensions=3)
        self._targets = _pick(path, arrays, _TARGETS, dimensions=2)
        self.num_windows, self.context, self.dim = self._contexts.shape
        if self._targets.shape != (self.num_windows, self.dim):
            raise ConfigError(
                f"{path}: contexts are {self._contexts.shape} but targets are {self._targets.shape}; "
                f"targets must be {(self.num_windows, self.dim)}."
            )
        if min(self._contexts.shape) < 1 or self.num_windows < 2:
            raise ConfigError(f"{path}: {self._contexts.shape} is too little to train on; two windows are the least.")
        self.articles = _read_articles(path, arrays, self.num_windows)
        self.has_articles = bool((self.articles >= 0).all())
        if not self.has_articles:
            self.articles = np.full(self.num_windows, UNKNOWN, np.int64)

    @property
    def stored(self) -> tuple[Any, Any]:
        """Targets (W, D) and contexts (W, L, D) as they lie in the file, before they are normalised."""
        return self._targets, self._contexts

    def gather(self, windows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Contexts (B, L, D) and targets (B, D); see `WindowSource.gather`."""
        contexts = unit_rows(
            self._contexts[windows].astype(np.float32),
            lambda row: f"{self.path}: context of window {int(windows[row // self.context])}",
        )
        targets = unit_rows(
            self._targets[windows].astype(np.float32), lambda row: f"{self.path}: target of window {int(windows[row])}"
        )
        return contexts, targets


def open_windows(data: DataConfig, base: Path) -> WindowSource:
    """The windows that `[data]` asks for.

    Args:
        data: its settings.
        base: folder where relative paths start.

    Raises:
        ConfigError: the data are missing, damaged, or do not fit the settings.
    """
    if not data.train_npz:
        return CorpusWindows(open_corpus(corpus_folder(data, base)), data.context)
    source = ArrayWindows((base / Path(data.train_npz).expanduser()).absolute())
    if source.context != data.context:
        raise ConfigError(
            f"[data] context = {data.context}: the windows of {source.path} have {source.context} context chunks. "
            f"Set context = {source.context}."
        )
    return source


def _pick(path: Path, arrays: dict[str, Any], names: tuple[str, ...], *, dimensions: int) -> Any:
    for name in names:
        if name in arrays:
            array = arrays[name]
            if array.ndim != dimensions or array.dtype.str not in ("|i1", "<f2", "<f4", "<f8"):
                raise ConfigError(
                    f"{path}: {name} is {array.shape} {array.dtype}; it must have {dimensions} dimensions "
                    "in float32, float16, float64 or int8."
                )
            return array
    raise ConfigError(
        f"{path}: has none of the keys {', '.join(names)}. Write the file again with one of them, by numpy.savez."
    )


def _read_articles(path: Path, arrays: dict[str, Any], num_windows: int) -> IndexArray:
    """(W,) int64 article numbers; -1 for windows of unknown article."""
    name = next((name for name in _ARTICLES if name in arrays), None)
    if name is None:
        return np.full(num_windows, UNKNOWN, np.int64)
    keys = np.asarray(arrays[name])
    if keys.dtype.kind == "S":
        keys = np.char.decode(keys, "latin-1")  # never fails, and keeps different keys different
    if name == "truth_keys" and keys.ndim == 2 and keys.shape[1] >= 1:
        keys = keys[:, 0]
    if keys.shape != (num_windows,) or keys.dtype.kind not in "iuU":
        raise ConfigError(
            f"{path}: {name} is {arrays[name].shape} {keys.dtype}; one integer or string a window is needed "
            f"({num_windows:,} windows)."
        )
    if name == "truth_keys" and arrays[name].ndim == 1:
        return _articles_of_chunks(keys)
    return keys.astype(np.int64) if keys.dtype.kind == "i" else _number(keys)


def _articles_of_chunks(keys: Any) -> IndexArray:
    """Articles of chunk keys: what stands before a last `:`, `/`, `#` or `_` and a chunk number, else the whole key.

    Keys that are all different and carry no chunk number say nothing of articles: -1 for all. Taken for articles, they
    would make a split by window pass for one by article.
    """
    heads = [_head(key) for key in keys.tolist()] if keys.dtype.kind == "U" else [None]
    if all(head is not None for head in heads):
        return _number(np.array(heads))
    if len(np.unique(keys)) == len(keys):
        return np.full(len(keys), UNKNOWN, np.int64)
    return _number(keys)


def _number(names: Any) -> IndexArray:
    """(W,) numbers from 0, equal where the names are; unsigned ones may be too large for int64 as they are."""
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _head(key: str) -> str | None:
    for separator in ":/#_":
        head, found, tail = key.rpartition(separator)
        if found and head and tail.isdigit():
            return head
    return None
