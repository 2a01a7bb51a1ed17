"""A corpus: chunk vectors in reading order, memory-mapped, with the articles they come from.

A corpus is a folder of `manifest.json`, `vectors_*.npy` (one row a chunk) and `articles.jsonl` or `articles.jsonl.gz`
(one article a line, chunks in reading order), or of shards that hold such files (`engine.data.manifest`). Row i of the
vectors is chunk i, counted through the articles in file order and through the shards. Every chunk is stored once;
windows are gathered from it.

Legend: N chunks, A articles, D vector width.
"""

from __future__ import annotations

import gzip
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from engine.data.manifest import MANIFEST, CorpusPart, Manifest, corpus_parts, read_manifest
from engine.data.vector_files import VectorFiles, unit_rows
from engine.run.convert import ConfigError

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

MAX_LINE = 16 << 20
"""Bytes of an article's line. Also what a compressed file may unpack to before it is looked at."""
IN_MEMORY = 4 << 30
"""Bytes that a corpus's vectors may take to be searched from memory; larger ones are read block by block."""
_ROWS_AT_ONCE = 8192
_TEXTS_KEPT = 2
"""Parts whose texts stay in memory."""

_ARTICLE = 'articles: {"title": ..., "topic": ..., "chunks": [...]}'


class Article(Struct, frozen=True):
    """A line of articles.jsonl."""

    title: str
    chunks: list[str]
    """Texts in reading order."""
    topic: str = ""


class _UnreadArticle(Struct, frozen=True):
    """An article whose texts are left as they stand in the file."""

    title: str
    chunks: list[msgspec.Raw]
    topic: str = ""


class _Outline:
    """Articles without their texts: what opening a corpus needs."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.topics: dict[str, int] = {}
        """Numbers in the order of their first occurrence."""
        self.topic_of_article = array("i")
        self.lengths = array("i")

    def add(self, path: Path) -> int:
        """Read the articles of a file; returns their chunks."""
        first = len(self.lengths)
        for line in read_lines(path, _UnreadArticle):
            self.titles.append(line.title)
            self.topic_of_article.append(self.topics.setdefault(line.topic, len(self.topics)))
            self.lengths.append(len(line.chunks))
        return sum(self.lengths[first:])


class Corpus:
    """Chunk vectors and what is known of them. Made by `open_corpus`."""

    def __init__(
        self, folder: Path, manifest: Manifest, parts: list[CorpusPart], stored: VectorFiles, outline: _Outline
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.parts = parts
        """Its shards; the whole corpus where it is in one piece."""
        self.num_chunks = manifest.num_chunks
        self.dim = manifest.dim
        self.titles = outline.titles
        self.topics = sorted(outline.topics)
        """Names of the topics; `topic_of_article` indexes them."""
        sorted_of = np.argsort(np.argsort(np.array(list(outline.topics), object)))
        self.topic_of_article = sorted_of[np.array(outline.topic_of_article, np.int32)].astype(np.int32)
        """(A,) int32."""
        lengths = np.array(outline.lengths, np.int64)
        self.article_of_chunk = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        """(N,) int32."""
        self.first_chunk = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        """(A + 1,) int64: article a holds chunks first_chunk[a] to first_chunk[a + 1] - 1."""
        self.stored = stored
        """(N, D) rows as they lie in the files, before they are normalised."""
        self._texts_of = lru_cache(_TEXTS_KEPT)(lambda part: list(_texts(parts[part].articles)))

    @cached_property
    def sha256(self) -> str:
        """The corpus's identity: of its files' recorded digests, encoder and shape; no data is read for it."""
        return hashlib.sha256(msgspec.json.encode(self.manifest, order="sorted")).hexdigest()

    def vectors(self, chunks: IndexArray) -> FloatArray:
        """Unit vectors of chunks.

        Args:
            chunks: chunk numbers in [0, N), int64, of any shape.

        Returns:
            (*chunks.shape, D) float32, each of length 1.

        Raises:
            ConfigError: a vector is zero or not finite; its chunk is named.
        """
        gathered = self.stored.rows(chunks).astype(np.float32, copy=False)
        return unit_rows(gathered, lambda row: self._name(int(chunks.reshape(-1)[row])))

    def stretches(self, first: IndexArray, length: int) -> FloatArray:
        """Unit vectors of runs of consecutive chunks.

        Args:
            first: (B,) int64, the first chunk of each run.
            length: chunks in each.

        Returns:
            (B, length, D) float32, each vector of length 1.

        Raises:
            ConfigError: a vector is zero or not finite, or a file has become shorter.
        """
        runs = self.stored.runs(first, length).astype(np.float32, copy=False)
        return unit_rows(runs, lambda row: self._name(int(first[row // length]) + row % length))

    def all_vectors(self) -> FloatArray:
        """(N, D) float32 unit vectors of the whole corpus, in chunk order; 4 * N * D bytes of memory."""
        vectors = np.empty((self.num_chunks, self.dim), np.float32)
        for start in range(0, self.num_chunks, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, self.num_chunks))
            vectors[rows] = self.vectors(rows)
        return vectors

    def searchable(self) -> Vectors:
        """(N, D) float32 unit vectors to search: from memory where they take IN_MEMORY bytes or less."""
        return self.all_vectors() if 4 * self.num_chunks * self.dim <= IN_MEMORY else LazyVectors(self)

    def text(self, chunk: int) -> str:
        """The text of a chunk. The first call reads all texts of its part; those of the last two parts are kept."""
        part = int(np.searchsorted(self.stored.first_row, chunk, side="right")) - 1
        return self._texts_of(part)[chunk - int(self.stored.first_row[part])]

    def texts(self, chunks: Sequence[int]) -> dict[int, str]:
        """Texts by chunk, of any chunks: each part that holds one is read once, and nothing else of it is kept."""
        wanted, found = sorted(set(chunks)), dict[int, str]()
        numbers = np.searchsorted(wanted, self.stored.first_row)
        for part, first in enumerate(self.stored.first_row[:-1].tolist()):
            here = iter(wanted[numbers[part] : numbers[part + 1]])
            texts, place = _texts(self.parts[part].articles) if numbers[part] < numbers[part + 1] else iter(()), first
            for chunk in here:
                found[chunk] = next(islice(texts, chunk - place, None))
                place = chunk + 1
        return found

    def read_articles(self) -> Iterator[Article]:
        """All articles, in order."""
        for part in self.parts:
            yield from read_articles(part.articles)

    def _name(self, chunk: int) -> str:
        return f"{self.stored.file_of(chunk)}: chunk {chunk}"


class LazyVectors:
    """Unit vectors of a corpus that are read when they are asked for, in the way an array of them is."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.shape = (corpus.num_chunks, corpus.dim)
        self.size = corpus.num_chunks * corpus.dim
        """Numbers in all of them."""

    def __len__(self) -> int:
        """N."""
        return self.shape[0]

    def __getitem__(self, chunks: slice | IndexArray) -> FloatArray:
        """(..., D) float32 of a range of chunks, or of chunk numbers of any shape."""
        if isinstance(chunks, slice):
            chunks = np.arange(*chunks.indices(len(self)), dtype=np.int64)
        return self._corpus.vectors(chunks)


Vectors = FloatArray | LazyVectors
"""(N, D) float32 unit vectors, in memory or on the disk."""


def open_corpus(folder: Path) -> Corpus:
    """Open a corpus folder, holding shapes, sizes and types against its manifest.

    Digests are not computed here: `check_digests` does that.

    Raises:
        ConfigError: the manifest or a file is missing, damaged, truncated, or not what the manifest says.
    """
    manifest = read_manifest(folder)
    parts = corpus_parts(folder, manifest)
    stored = VectorFiles([part.vectors for part in parts])
    expected = (manifest.num_chunks, manifest.dim), np.dtype(manifest.dtype)
    if ((len(stored), stored.dim), stored.dtype) != expected:
        where = parts[0].vectors if len(parts) == 1 else f"{folder}, all {len(parts)} shards"
        raise ConfigError(
            f"{where}: holds {(len(stored), stored.dim)} {stored.dtype}, but {MANIFEST} says {expected[0]} "
            f"{expected[1]}. Import the corpus again with `lvm-engine data import`."
        )
    outline = _Outline()
    for part, count in zip(parts, stored.counts, strict=True):
        found = outline.add(part.articles)
        if len(parts) > 1 and found != count:
            raise ConfigError(
                f"{part.articles}: holds articles with {found:,} chunks, but {part.vectors.name} beside it {count:,} "
                "vectors: it was cut short or belongs to other vectors. Restore the shard, or import the corpus again."
            )
    num_articles, num_chunks = len(outline.lengths), sum(outline.lengths)
    if (num_articles, num_chunks) != (manifest.num_articles, manifest.num_chunks):
        raise ConfigError(
            f"{parts[-1].articles}: holds {num_articles:,} articles with {num_chunks:,} chunks, but {MANIFEST} says "
            f"{manifest.num_articles:,} with {manifest.num_chunks:,}: it was cut short or belongs to other vectors."
        )
    return Corpus(folder, manifest, parts, stored, outline)


def verify_corpus(corpus: Corpus) -> None:
    """Read every byte: digests against the manifest, and every vector for being finite and not zero.

    Raises:
        ConfigError: naming the first file or chunk that is not what it should be.
    """
    check_digests(corpus)
    for start in range(0, corpus.num_chunks, _ROWS_AT_ONCE):
        corpus.vectors(np.arange(start, min(start + _ROWS_AT_ONCE, corpus.num_chunks)))


def check_digests(corpus: Corpus) -> None:
    """Hold every file against the digest that its manifest has of it; some 1.4 GB/s.

    Raises:
        ConfigError: naming the first file that is another one now.
    """
    for name, recorded in corpus.manifest.files.items():
        try:
            actual = file_sha256(corpus.folder / name)
        except OSError as error:
            raise ConfigError(
                f"{corpus.folder / name}: cannot be read ({error.strerror}), and {MANIFEST} names it."
            ) from None
        if actual != recorded:
            raise ConfigError(
                f"{corpus.folder / name}: sha256 is {actual[:12]}..., but {MANIFEST} says {recorded[:12]}...: the file "
                "was changed after the import. Restore it, or import the corpus again."
            )


def read_articles(path: Path) -> Iterator[Article]:
    """The articles of a .jsonl or .jsonl.gz file, one a line.

    Raises:
        ConfigError: naming the line that is no article, or an archive that is damaged.
    """
    yield from read_lines(path, Article)


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path, kind: Any, form: str = _ARTICLE) -> Iterator[Any]:
    """The lines of a .jsonl or .jsonl.gz file, each of a kind.

    Args:
        path: the file.
        kind: the struct that a line holds.
        form: what a line looks like, for who wrote another.

    Raises:
        ConfigError: naming the line that is none, or an archive that is damaged.
    """
    decoder = msgspec.json.Decoder(kind)
    number = 0
    try:
        with _open_text(path) as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise ConfigError(f"{path}, line {number}: longer than {MAX_LINE:,} bytes; lines are {form}.")
                yield decoder.decode(line)
    except (OSError, EOFError) as error:  # gzip reports a damaged archive as either
        raise ConfigError(f"{path}: cannot be read after line {number}: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}, line {number}: cannot be taken ({error}). Lines are {form}.") from None


def _open_text(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _texts(path: Path) -> Iterator[str]:
    return (text for article in read_articles(path) for text in article.chunks)
