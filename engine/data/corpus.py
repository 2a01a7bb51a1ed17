"""A corpus: chunk vectors in reading order, memory-mapped, with the articles they come from.

A corpus is a folder of `manifest.json`, `vectors_*.npy` (one row a chunk) and `articles.jsonl` or `articles.jsonl.gz`
(one article a line, chunks in reading order). Row i of the vectors is chunk i, counted through the articles in file
order. Every chunk is stored once; windows are gathered from it.

Legend: N chunks, A articles, D vector width.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from engine.run.convert import ConfigError

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 20
"""A manifest is a page; a larger file is something else."""
MAX_LINE = 16 << 20
"""Bytes of an article's line. Also what a compressed file may unpack to before it is looked at."""
SHORTEST = 1e-6
"""A vector shorter than this has no direction."""
_ROWS_AT_ONCE = 8192

_FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a corpus comes from and what its files must be; `manifest.json`."""

    schema: Literal[1] = 1
    name: str
    embedder: str
    """The encoder's id. Vectors of different encoders cannot be compared, whatever their width."""
    norm: Literal["l2_once", "none"]
    """`l2_once`: normalised when they were made. `none`: raw; they are normalised when they are read."""
    metric: Literal["ip"] = "ip"
    """Inner product; of unit vectors, so the cosine."""
    dim: Annotated[int, Meta(ge=1, le=65_536)]
    num_chunks: Annotated[int, Meta(ge=2)]
    num_articles: Annotated[int, Meta(ge=1)]
    dtype: Literal["int8", "float16", "float32"]
    """How the vectors are stored. int8 rows keep the direction only: the vector is `row / |row|`."""
    source: str = ""
    licence: str = ""
    files: dict[_FileName, Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]]
    """sha256 by file name."""


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


class _ArticleShape(NamedTuple):
    """An article without its texts, which a `Raw` would keep in memory: what opening a corpus needs."""

    title: str
    topic: str
    num_chunks: int


class Corpus:
    """Chunk vectors and what is known of them. Made by `open_corpus`."""

    def __init__(
        self, folder: Path, manifest: Manifest, stored: np.memmap[Any, Any], shapes: list[_ArticleShape]
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.num_chunks = manifest.num_chunks
        self.dim = manifest.dim
        self.titles = [shape.title for shape in shapes]
        self.topics = sorted({shape.topic for shape in shapes})
        """Names of the topics; `topic_of_article` indexes them."""
        numbers = {topic: number for number, topic in enumerate(self.topics)}
        self.topic_of_article = np.array([numbers[shape.topic] for shape in shapes], np.int32)
        """(A,) int32."""
        lengths = np.array([shape.num_chunks for shape in shapes], np.int64)
        self.article_of_chunk = np.repeat(np.arange(len(shapes), dtype=np.int32), lengths)
        """(N,) int32."""
        self.first_chunk = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        """(A + 1,) int64: article a holds chunks first_chunk[a] to first_chunk[a + 1] - 1."""
        self._stored = stored
        self._start: int = stored.offset
        """Bytes of the file before its first vector."""

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
        gathered = self._stored[chunks].astype(np.float32)
        return unit_rows(gathered, lambda row: f"{self.vectors_file}: chunk {int(chunks.reshape(-1)[row])}")

    def stretches(self, first: IndexArray, length: int) -> FloatArray:
        """Unit vectors of runs of consecutive chunks.

        Read with a call a run, not through the memory map: that is as fast, keeps the file's pages out of this
        process's memory, and finds a file that was cut short instead of being killed by it.

        Args:
            first: (B,) int64, the first chunk of each run.
            length: chunks in each.

        Returns:
            (B, length, D) float32, each vector of length 1.

        Raises:
            ConfigError: a vector is zero or not finite, or the file has become shorter.
        """
        runs = np.empty((len(first), length, self.dim), self._stored.dtype)
        row_bytes = self.dim * runs.itemsize
        for run, chunk in zip(runs, first.tolist(), strict=True):
            if os.preadv(self._descriptor, [run.data], self._start + chunk * row_bytes) != length * row_bytes:
                raise ConfigError(
                    f"{self.vectors_file}: ends before chunk {chunk + length}: it was cut short while it was in use. "
                    "Import the corpus again."
                )

        def name(row: int) -> str:
            return f"{self.vectors_file}: chunk {int(first[row // length]) + row % length}"

        return unit_rows(runs.astype(np.float32), name)

    def all_vectors(self) -> FloatArray:
        """(N, D) float32 unit vectors of the whole corpus, in chunk order; 4 * N * D bytes of memory."""
        vectors = np.empty((self.num_chunks, self.dim), np.float32)
        for start in range(0, self.num_chunks, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, self.num_chunks))
            vectors[rows] = self.vectors(rows)
        return vectors

    def text(self, chunk: int) -> str:
        """The text of a chunk; the first call reads them all."""
        return self._texts[chunk]

    @property
    def vectors_file(self) -> Path:
        """The file of vectors."""
        return self.folder / _find_file(self.folder, self.manifest, r"vectors_\w+\.npy")

    @property
    def articles_file(self) -> Path:
        """The file of articles."""
        return self.folder / _find_file(self.folder, self.manifest, r"articles\.jsonl(\.gz)?")

    @cached_property
    def _descriptor(self) -> int:
        """The file of vectors, open for as long as this corpus is there."""
        descriptor = os.open(self.vectors_file, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    @cached_property
    def _texts(self) -> list[str]:
        return [text for article in read_articles(self.articles_file) for text in article.chunks]


def open_corpus(folder: Path) -> Corpus:
    """Open a corpus folder, holding shapes, sizes and types against its manifest.

    Digests are not computed here: `check_digests` does that.

    Raises:
        ConfigError: the manifest or a file is missing, damaged, truncated, or not what the manifest says.
    """
    manifest = read_manifest(folder)
    vectors_file = folder / _find_file(folder, manifest, r"vectors_\w+\.npy")
    stored = map_vectors(vectors_file)
    expected = ((manifest.num_chunks, manifest.dim), np.dtype(manifest.dtype))
    if (stored.shape, stored.dtype) != expected:
        raise ConfigError(
            f"{vectors_file}: holds {stored.shape} {stored.dtype}, but {MANIFEST} says {expected[0]} {expected[1]}. "
            "Import the corpus again with `lvm-engine data import`."
        )
    if not stored.flags.c_contiguous:
        raise ConfigError(
            f"{vectors_file}: is stored column by column, so that no vector can be read by itself. Save it with "
            "numpy.save(path, numpy.ascontiguousarray(vectors)), or import the corpus again."
        )
    articles_file = folder / _find_file(folder, manifest, r"articles\.jsonl(\.gz)?")
    lines = read_lines(articles_file, _UnreadArticle)
    shapes = [_ArticleShape(line.title, line.topic, len(line.chunks)) for line in lines]
    found = sum(shape.num_chunks for shape in shapes)
    if (len(shapes), found) != (manifest.num_articles, manifest.num_chunks):
        raise ConfigError(
            f"{articles_file}: holds {len(shapes):,} articles with {found:,} chunks, but {MANIFEST} says "
            f"{manifest.num_articles:,} with {manifest.num_chunks:,}: it was cut short or belongs to other vectors."
        )
    return Corpus(folder, manifest, stored, shapes)


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


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a corpus folder.

    Raises:
        ConfigError: it is missing, or not a manifest.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST + 1)
        if len(raw) > MAX_MANIFEST:
            raise ConfigError(f"{path}: larger than {MAX_MANIFEST:,} bytes; this is not a manifest.")
        return msgspec.json.decode(raw, type=Manifest)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). A corpus folder is made by `lvm-engine data import`."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a corpus manifest: {error}.") from None


def map_vectors(path: Path) -> np.memmap[Any, Any]:
    """Memory-map a .npy file of two dimensions. Its header is held against the file's size before anything is read.

    Raises:
        ConfigError: it is missing, truncated, pickled, not 2-d, or not int8, float16, float32 or float64.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError, MemoryError) as error:
        raise ConfigError(
            f"{path}: cannot be mapped as a plain .npy array ({error}). It may be truncated or hold pickled objects; "
            "save it with numpy.save(path, array) from an array of numbers."
        ) from None
    if not isinstance(stored, np.memmap):
        raise ConfigError(f"{path}: is an archive, not a .npy array. Name it .npz, or save one array with numpy.save.")
    check_vectors(stored, str(path))
    return stored


def check_vectors(stored: npt.NDArray[Any], where: str) -> None:
    """Refuse what cannot be chunk vectors by its shape or dtype.

    Raises:
        ConfigError: naming `where`.
    """
    if stored.ndim != 2 or stored.dtype.str not in ("|i1", "<f2", "<f4", "<f8"):
        raise ConfigError(
            f"{where}: holds {stored.shape} {stored.dtype.str}; vectors are (chunks, dim) in int8, float16, float32 or "
            "float64, little-endian."
        )


def read_articles(path: Path) -> Iterator[Article]:
    """The articles of a .jsonl or .jsonl.gz file, one a line.

    Raises:
        ConfigError: naming the line that is no article, or an archive that is damaged.
    """
    yield from read_lines(path, Article)


def unit_rows(vectors: FloatArray, name_of: Any) -> FloatArray:
    """Normalise vectors in place.

    Args:
        vectors: (..., D) float32.
        name_of: called with the number of the first row (of all rows, flattened) that has no direction; names it.

    Raises:
        ConfigError: a row is zero or not finite.
    """
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))
    healthy = np.isfinite(lengths) & (lengths > SHORTEST)
    if not healthy.all():
        row = int(np.flatnonzero(~healthy.reshape(-1))[0])
        what = "is zero" if np.isfinite(lengths.reshape(-1)[row]) else "is not finite"
        raise ConfigError(f"{name_of(row)} {what}, so it has no direction. Embed that chunk again, or leave it out.")
    vectors /= lengths[..., None]
    return vectors


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_file(folder: Path, manifest: Manifest, pattern: str) -> str:
    """The one file of the manifest whose name fits."""
    names = [name for name in manifest.files if re.fullmatch(pattern, name)]
    if len(names) != 1:
        raise ConfigError(f"{folder / MANIFEST}: files must name exactly one {pattern!r}, and names {len(names)}.")
    return names[0]


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
