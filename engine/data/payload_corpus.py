"""A payload as a corpus: chunks in reading order, and the keys by which other files know them.

A pickled payload is made into a corpus folder once, kept under the digest of its file. Beside the vectors and texts it
holds `payload_keys.npz`: for each chunk the payload's id, and the article and position that the payload gave it. Any
other corpus is a payload, too: its ids are chunk numbers, its positions count the chunks of an article from 0.

Legend: N chunks, D vector width.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.data.corpus import Article, Corpus, file_sha256, open_corpus
from engine.data.importers import import_corpus, refuse_existing
from engine.data.manifest import MANIFEST
from engine.data.npz import open_npz
from engine.data.payload_file import read_payload, vector_of
from engine.data.vector_files import SHORTEST
from engine.run.convert import ConfigError

KEYS_FILE = "payload_keys.npz"
UNKNOWN_EMBEDDER = "unknown"
"""A payload does not say which encoder made its vectors."""
_ARTICLE = ("article_index", "article_id", "article")
_POSITION = ("chunk_index", "chunk_id", "chunk")
_TITLE = ("article_title", "title")
_LONGEST_NAME = 256
"""Characters of a key that is a text. All keys take the room of the longest."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_NO_DIRECTION = "is zero or not finite, so it has no direction. Embed that chunk again, or leave it out."

Keys = npt.NDArray[Any]


@dataclass(frozen=True)
class PayloadKeys:
    """How a payload names its chunks, in the order of the corpus."""

    ids: Keys
    """(N,) int64 or text."""
    articles: Keys
    """(N,) int64 or text."""
    positions: Keys
    """(N,) int64 or text: the chunk's number within its article, as the payload counts."""
    rows: Keys
    """(N,) int64: which entry of the payload's file it was."""

    @cached_property
    def chunk_of_id(self) -> dict[int | str, int]:
        """Chunk by payload id."""
        return {key: chunk for chunk, key in enumerate(self.ids.tolist())}

    @cached_property
    def chunk_at(self) -> dict[tuple[int | str, int | str], int]:
        """Chunk by article and position; of entries that share a place, the last."""
        places = zip(self.articles.tolist(), self.positions.tolist(), strict=True)
        return {place: chunk for chunk, place in enumerate(places)}


def open_payload(path: Path, *, trusted: bool, kept: Path) -> Corpus:
    """The corpus of a payload: a corpus folder as it is, a pickled file as the folder that was or is now made of it.

    Args:
        path: corpus folder, or .npy file.
        trusted: whether a file that was not converted yet may be unpickled.
        kept: folder that keeps converted payloads.

    Raises:
        ConfigError: the file is damaged, not a payload, or not trusted; the folder is no corpus.
    """
    if path.is_dir():
        return open_corpus(path)
    try:
        out = kept / f"payload-{file_sha256(path)[:16]}"
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). --payload is a corpus folder, or the .npy file of a payload."
        ) from None
    if (out / MANIFEST).is_file():
        try:
            return open_corpus(out)
        except ConfigError as error:
            raise ConfigError(f"{error} It is the kept copy of {path}: delete {out}, and it is made anew.") from None
    return import_payload(path, out, trusted=trusted)


def import_payload(path: Path, out: Path, *, trusted: bool, embedder: str = UNKNOWN_EMBEDDER) -> Corpus:
    """Make a corpus folder of a pickled payload.

    Args:
        path: the .npy file.
        out: the folder to make; it must not exist.
        trusted: whether the file may be unpickled at all.
        embedder: id of the encoder.

    Raises:
        ConfigError: it is damaged, not a payload, not trusted, or a vector has no direction; `out` is not made.
    """
    refuse_existing(out)  # before minutes of reading
    columns = _Columns.of(path, read_payload(path, trusted=trusted))
    order = columns.reading_order()
    keys = PayloadKeys(
        ids=np.array(columns.ids)[order],
        articles=np.array(columns.articles)[order],
        positions=np.array(columns.positions)[order],
        rows=order,
    )
    workplace = out.with_name(f".{out.name}.{os.getpid()}.parts")
    workplace.mkdir(mode=0o700, parents=True)
    try:
        _write_vectors(workplace / "vectors.npy", path, columns, order)
        with (workplace / "articles.jsonl").open("wb") as file:
            for article in columns.read_articles(order):
                file.write(msgspec.json.encode(article) + b"\n")
        return import_corpus(
            workplace / "vectors.npy",
            workplace / "articles.jsonl",
            out,
            embedder=embedder,
            name=path.stem,
            source=path.name,
            extra={KEYS_FILE: _packed(keys)},
        )
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def payload_keys(corpus: Corpus) -> PayloadKeys:
    """The names of a corpus's chunks.

    Raises:
        ConfigError: the file of names is damaged, or of another corpus.
    """
    chunks = np.arange(corpus.num_chunks)
    path = corpus.folder / KEYS_FILE
    if KEYS_FILE not in corpus.manifest.files:
        articles = corpus.article_of_chunk.astype(np.int64)
        return PayloadKeys(ids=chunks, articles=articles, positions=chunks - corpus.first_chunk[articles], rows=chunks)
    arrays = open_npz(path, ("ids", "articles", "positions", "rows"))
    if len(arrays) != 4 or any(array.shape != chunks.shape for array in arrays.values()):
        raise ConfigError(
            f"{path}: does not name {corpus.num_chunks:,} chunks. Delete {corpus.folder} to make it anew."
        )
    return PayloadKeys(**arrays)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The entries of a payload, one list a field, in the order of the file."""

    ids: list[Any]
    articles: list[Any]
    positions: list[Any]
    titles: list[str]
    texts: list[str]
    vectors: list[npt.NDArray[Any]]

    @classmethod
    def of(cls, path: Path, entries: dict[Any, Any]) -> _Columns:
        """Check and take apart the dictionary of a file."""
        columns = cls([], [], [], [], [], [])
        for key, entry in entries.items():
            where = f"{path}, id {key!r:.80}"
            if not isinstance(entry, tuple | list) or len(entry) != 3:
                raise ConfigError(f"{where}: is not (text, positions, vector).")
            text, meta, wrapped = entry
            vector = vector_of(wrapped)
            if not _is_text(text) or not isinstance(meta, dict) or vector is None:
                raise ConfigError(f"{where}: is not a text, a dictionary of positions and a vector of numbers.")
            if columns.vectors and len(vector) != len(columns.vectors[0]):
                first = len(columns.vectors[0])
                raise ConfigError(f"{where}: has {len(vector)} dimensions where the first entry has {first}.")
            columns.ids.append(key)
            columns.articles.append(_named(where, meta, _ARTICLE))
            columns.positions.append(_named(where, meta, _POSITION))
            columns.titles.append(next((meta[name] for name in _TITLE if _is_text(meta.get(name))), ""))
            columns.texts.append(text)
            columns.vectors.append(vector)
        for name, keys in (("ids", columns.ids), ("articles", columns.articles), ("chunks", columns.positions)):
            if not (all(map(_is_number, keys)) or all(map(_is_name, keys))):
                raise ConfigError(
                    f"{path}: its {name} are neither all whole numbers nor all texts of at most {_LONGEST_NAME} "
                    "characters. Save the payload again with keys of one kind."
                )
        return columns

    def reading_order(self) -> npt.NDArray[np.int64]:
        """(N,) rows by article, then by position, then as they stand in the file."""
        return np.lexsort((np.array(self.positions), np.array(self.articles))).astype(np.int64)

    def read_articles(self, order: npt.NDArray[np.int64]) -> list[Article]:
        """The articles, chunks in reading order."""
        articles = []
        for name, rows in groupby(order.tolist(), key=self.articles.__getitem__):
            chunks = list(rows)
            articles.append(Article(self.titles[chunks[0]] or f"Article {name}", [self.texts[row] for row in chunks]))
        return articles


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written: half a surrogate pair cannot."""
    return isinstance(value, str) and (value.isascii() or not _HALF_PAIR.search(value))


def _is_name(value: Any) -> bool:
    return _is_text(value) and len(value) <= _LONGEST_NAME and not value.endswith("\0")  # numpy drops those at the end


def _is_number(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _named(where: str, meta: dict[Any, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in meta:
            return meta[name]
    known = ", ".join(map(str, meta)) or "nothing"
    raise ConfigError(
        f"{where}: its positions have none of the keys {', '.join(names)}, but {known:.200}. Add one of them."
    )


def _write_vectors(target: Path, origin: Path, columns: _Columns, order: npt.NDArray[np.int64]) -> None:
    shape = (len(order), len(columns.vectors[0]))
    written = np.lib.format.open_memmap(target, "w+", np.dtype(np.float32), shape)
    for chunk, row in enumerate(order.tolist()):
        vector = columns.vectors[row].astype(np.float32)
        if not SHORTEST < float(vector @ vector) ** 0.5 < np.inf:
            raise ConfigError(f"{origin}, id {columns.ids[row]!r}: its vector {_NO_DIRECTION}")
        written[chunk] = vector
    written.flush()


def _packed(keys: PayloadKeys) -> bytes:
    file = io.BytesIO()
    np.savez(file, ids=keys.ids, articles=keys.articles, positions=keys.positions, rows=keys.rows)
    return file.getvalue()
