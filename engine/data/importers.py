"""Making a corpus folder of vectors and texts that somebody else embedded.

The folder appears whole or not at all: it is written beside its place and renamed into it, the manifest last.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.data.corpus import (
    MANIFEST,
    Corpus,
    Manifest,
    check_vectors,
    file_sha256,
    map_vectors,
    open_corpus,
    unit_rows,
)
from engine.data.npz import open_npz
from engine.data.tables import PARQUET, read_any_articles, read_vector_column
from engine.run.convert import ConfigError
from engine.run.files import sync_folder, write_atomically

StoredType = Literal["int8", "float16", "float32"]

_SUFFIX = {"int8": "i8", "float16": "f16", "float32": "f32"}
_UNIT_TOLERANCE = 1e-2
"""Lengths this close to 1 were normalised; float16 rounding moves them by 1e-3."""
_ROWS_AT_ONCE = 8192


def import_corpus(
    vectors_file: Path,
    articles_file: Path,
    out: Path,
    *,
    embedder: str,
    name: str = "",
    source: str = "",
    licence: str = "",
    extra: Mapping[str, bytes] | None = None,
) -> Corpus:
    """Make a corpus folder.

    Args:
        vectors_file: .npy of (N, D), or .npz whose key `vectors` (or only key) is that; int8, float16, float32, or
            float64, which is stored as float32; .parquet with a column of them.
        articles_file: articles.jsonl or .jsonl.gz, or a table of chunks (`engine.data.tables`); its chunks, in order,
            are the rows of the vectors.
        out: the folder to make; it must not exist.
        embedder: id of the encoder.
        name: what to call it; the folder's name by default.
        source: where the texts come from.
        licence: of the texts.
        extra: further files of the folder, by name; the manifest records them too.

    Raises:
        ConfigError: the files are damaged or do not belong together, a vector has no direction, or `out` exists.
    """
    refuse_existing(out)
    if not embedder.strip():
        raise ConfigError("--embedder is empty. Name the encoder: vectors of different encoders cannot be compared.")
    vectors = _read_vectors(vectors_file)
    counts = [len(article.chunks) for article in read_any_articles(articles_file)]
    if sum(counts) != len(vectors):
        raise ConfigError(
            f"{vectors_file} has {len(vectors):,} vectors, but {articles_file} has {sum(counts):,} chunks in "
            f"{len(counts):,} articles. One vector a chunk is needed, in the same order."
        )
    dtype = _stored_type(vectors)
    workplace = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    workplace.mkdir(parents=True)
    try:
        names = (f"vectors_{_SUFFIX[dtype]}.npy", "articles.jsonl.gz", *(extra or {}))
        norm = _write_vectors(vectors, workplace / names[0], dtype, vectors_file)
        _write_articles(articles_file, workplace / names[1])
        for extra_name, content in (extra or {}).items():
            write_atomically(workplace / extra_name, content)
        manifest = Manifest(
            name=name or out.name,
            embedder=embedder.strip(),
            norm=norm,
            dim=vectors.shape[1],
            num_chunks=len(vectors),
            num_articles=len(counts),
            dtype=dtype,
            source=source,
            licence=licence,
            files={name: file_sha256(workplace / name) for name in names},
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


def _read_vectors(path: Path) -> npt.NDArray[Any]:
    """(N, D), memory-mapped where the file allows it."""
    if path.suffix == PARQUET:
        found = read_vector_column(path)
        check_vectors(found, str(path))
        return found
    if path.suffix != ".npz":
        return map_vectors(path)
    arrays = open_npz(path)
    key = "vectors" if "vectors" in arrays else next(iter(arrays), "")
    if not key or (key != "vectors" and len(arrays) > 1):
        raise ConfigError(f'{path}: has no key "vectors" but {", ".join(sorted(arrays)) or "nothing"}. Rename the key.')
    check_vectors(arrays[key], f"{path}, {key}")
    return arrays[key]


def _stored_type(vectors: npt.NDArray[Any]) -> StoredType:
    if vectors.dtype == np.int8:
        return "int8"
    return "float16" if vectors.dtype == np.float16 else "float32"


def _write_vectors(
    vectors: npt.NDArray[Any], path: Path, dtype: StoredType, origin: Path
) -> Literal["l2_once", "none"]:
    """Copy the vectors block by block; returns whether they were normalised. int8 keeps directions only."""
    written = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), vectors.shape)
    normalised = True
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, len(vectors)))
        block = np.array(vectors[rows], np.float32)
        lengths = np.linalg.norm(block, axis=1)
        normalised = normalised and bool((np.abs(lengths - 1) < _UNIT_TOLERANCE).all())
        unit_rows(block, lambda row, start=start: f"{origin}: row {start + row}")
        written[rows] = vectors[rows]
    written.flush()
    return "l2_once" if normalised or dtype == "int8" else "none"


def _write_articles(source: Path, target: Path) -> None:
    """Keep the lines, compressed. Without a time stamp: the same articles give the same digest."""
    with target.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        for article in read_any_articles(source):
            packed.write(msgspec.json.encode(article) + b"\n")
