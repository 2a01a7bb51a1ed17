"""Making a corpus folder of vectors and texts that somebody else embedded.

The folder appears whole or not at all: it is written beside its place and renamed into it, the manifest last.
"""

from __future__ import annotations

import gzip
import os
import shutil
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from engine.data.corpus import Article, Corpus, file_sha256, open_corpus
from engine.data.inputs import (
    ARTICLE_FILES,
    VECTOR_FILES,
    VectorReader,
    find_files,
    open_vectors,
    read_articles_of,
)
from engine.data.manifest import MANIFEST, MAX_SHARDS, Manifest, shard_name
from engine.data.vector_files import unit_rows
from engine.run.convert import ConfigError
from engine.run.files import sync_folder, write_atomically

StoredType = Literal["int8", "float16", "float32"]

_SUFFIX = {"int8": "i8", "float16": "f16", "float32": "f32"}
_UNIT_TOLERANCE = 1e-2
"""Lengths this close to 1 were normalised; float16 rounding moves them by 1e-3."""


class _Part(NamedTuple):
    """What goes into a shard, or into a corpus in one piece."""

    num_articles: int
    num_rows: int


def import_corpus(
    vectors: Path | Sequence[Path],
    articles: Path | Sequence[Path],
    out: Path,
    *,
    embedder: str,
    name: str = "",
    source: str = "",
    licence: str = "",
    extra: Mapping[str, bytes] | None = None,
    shard_rows: int | None = None,
) -> Corpus:
    """Make a corpus folder. Memory is that of a block, and four bytes an article.

    Args:
        vectors: files of (N, D), or folders of them (`engine.data.inputs`); int8, float16, float32, or float64, which
            is stored as float32.
        articles: articles.jsonl or .jsonl.gz, or tables of chunks (`engine.data.tables`), or folders of them; their
            chunks, in order, are the rows of the vectors, however both are cut into files.
        out: the folder to make; it must not exist.
        embedder: id of the encoder.
        name: what to call it; the folder's name by default.
        source: where the texts come from.
        licence: of the texts.
        extra: further files of the folder, by name; the manifest records them too.
        shard_rows: most chunks of a shard, but that an article is never cut; None for one piece without shards.

    Raises:
        ConfigError: the files are damaged or do not belong together, a vector has no direction, or `out` exists.
    """
    refuse_existing(out)
    if not embedder.strip():
        raise ConfigError("--embedder is empty. Name the encoder: vectors of different encoders cannot be compared.")
    inputs = open_vectors(find_files(vectors, VECTOR_FILES, "--vectors"))
    article_files = find_files(articles, ARTICLE_FILES, "--articles")
    counts = array("i", (len(article.chunks) for article in read_articles_of(article_files)))
    num_rows = sum(each.num_rows for each in inputs)
    if sum(counts) != num_rows:
        raise ConfigError(
            f"{_named([each.path for each in inputs])} {num_rows:,} vectors, but {_named(article_files)} "
            f"{sum(counts):,} chunks in {len(counts):,} articles. One vector a chunk is needed, in the same order."
        )
    parts = _parts(counts, shard_rows)
    dtype = _stored_type(inputs[0].dtype)
    workplace = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    workplace.mkdir(parents=True)
    try:
        reader, lines, files, normalised = VectorReader(inputs), read_articles_of(article_files), list[str](), True
        for number, part in enumerate(parts):
            folder = f"{shard_name(number)}/" if shard_rows else ""
            (workplace / folder).mkdir(exist_ok=True)
            files += [f"{folder}vectors_{_SUFFIX[dtype]}.npy", f"{folder}articles.jsonl.gz"]
            normalised &= _write_vectors(reader, workplace / files[-2], dtype, (part.num_rows, inputs[0].dim))
            _write_articles(islice(lines, part.num_articles), workplace / files[-1])
        for extra_name, content in (extra or {}).items():
            write_atomically(workplace / extra_name, content)
        manifest = Manifest(
            name=name or out.name,
            embedder=embedder.strip(),
            norm="l2_once" if normalised or dtype == "int8" else "none",
            dim=inputs[0].dim,
            num_chunks=num_rows,
            num_articles=len(counts),
            dtype=dtype,
            source=source,
            licence=licence,
            files={name: file_sha256(workplace / name) for name in (*files, *(extra or {}))},
        )
        write_atomically(workplace / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        open_corpus(workplace)
        workplace.rename(out)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    sync_folder(out.parent)
    return open_corpus(out)


def refuse_existing(out: Path) -> None:
    """Leave a folder that is there alone.

    Raises:
        ConfigError: it is.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already, and a corpus is never overwritten. Name another folder with --out.")


def _parts(counts: Sequence[int], shard_rows: int | None) -> list[_Part]:
    """How articles of these numbers of chunks are shared out.

    Raises:
        ConfigError: into more shards than a manifest can name.
    """
    if not shard_rows:
        return [_Part(len(counts), sum(counts))]
    parts, num_articles, num_rows = list[_Part](), 0, 0
    for count in counts:
        if num_articles and num_rows + count > shard_rows:
            parts.append(_Part(num_articles, num_rows))
            num_articles, num_rows = 0, 0
        num_articles, num_rows = num_articles + 1, num_rows + count
    parts.append(_Part(num_articles, num_rows))
    if len(parts) > MAX_SHARDS:
        raise ConfigError(
            f"--shard-rows {shard_rows}: makes {len(parts):,} shards, and {MAX_SHARDS:,} are the most. Take "
            f"--shard-rows {sum(counts) // (MAX_SHARDS // 2):,} or more."
        )
    return parts


def _stored_type(given: np.dtype[Any]) -> StoredType:
    if given == np.int8:
        return "int8"
    return "float16" if given == np.float16 else "float32"


def _write_vectors(reader: VectorReader, path: Path, dtype: StoredType, shape: tuple[int, int]) -> bool:
    """Copy the next rows block by block; returns whether they were normalised. int8 keeps directions only."""
    normalised = True
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block, name in reader.take(shape[0]):
            widened = np.array(block, np.float32)
            lengths = np.linalg.norm(widened, axis=1)
            normalised = normalised and bool((np.abs(lengths - 1) < _UNIT_TOLERANCE).all())
            unit_rows(widened, name)
            file.write(np.ascontiguousarray(block, np.dtype(dtype)).data)
    return normalised


def _write_articles(articles: Iterable[Article], target: Path) -> None:
    """One a line, compressed. Without a time stamp: the same articles give the same digest."""
    with target.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        for article in articles:
            packed.write(msgspec.json.encode(article) + b"\n")


def _named(paths: Sequence[Path]) -> str:
    """The files as the subject of a sentence, and its verb."""
    return f"{paths[0]} has" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more have"
