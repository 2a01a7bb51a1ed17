"""Tables of chunks, as people keep them beside an encoder: one row a chunk, in Parquet or as lines of JSON.

A row has `title` and `text`, and may have `topic`; rows of an article stand together, in reading order. A Parquet file
may hold the vectors too, as a column of lists. Parquet needs pyarrow (the extra `parquet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from engine.data.corpus import Article, FloatArray, read_articles, read_lines
from engine.run.convert import ConfigError, suggestion

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PARQUET = ".parquet"
VECTOR_COLUMNS = ("vector", "vectors", "embedding", "embeddings")
_ROWS_AT_ONCE = 8192
_FORM = 'chunks: {"title": ..., "text": ..., "topic": ...}'


class ChunkRow(Struct, frozen=True):
    """A line of a table of chunks."""

    title: str
    text: str
    topic: str = ""


def read_any_articles(path: Path) -> Iterator[Article]:
    """The articles of a file: one a line, or made of a table of their chunks.

    Raises:
        ConfigError: it is neither, a row is damaged, or an article's rows do not stand together.
    """
    if path.suffix == PARQUET:
        yield from _grouped(_parquet_rows(path), path)
    elif _has_chunk_rows(path):
        yield from _grouped(read_lines(path, ChunkRow, _FORM), path)
    else:
        yield from read_articles(path)


def num_table_rows(path: Path) -> int:
    """Rows of a Parquet file, by its own account."""
    return int(_open_parquet(path).metadata.num_rows)


def read_vector_column(path: Path) -> Iterator[FloatArray]:
    """The vectors in a Parquet file, in blocks (B, D) float32; at least one.

    Raises:
        ConfigError: there is no column of them, or their lengths differ.
    """
    file = _open_parquet(path)
    names = file.schema_arrow.names
    column = next((name for name in VECTOR_COLUMNS if name in names), None)
    if column is None:
        raise ConfigError(f"{path}: has no column {', '.join(VECTOR_COLUMNS)}, but {', '.join(names)}. Rename one.")
    dim = None
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
        try:
            block = np.array(batch.column(0).to_pylist(), np.float32)
        except (ValueError, TypeError):
            block = np.empty(0, np.float32)
        if block.ndim != 2 or dim not in (None, block.shape[1]):
            raise ConfigError(f"{path}, column {column}: its rows are no lists of numbers of one length.")
        dim = block.shape[1]
        yield block
    if dim is None:
        raise ConfigError(f"{path}: has no rows.")


def _grouped(rows: Iterable[ChunkRow], path: Path) -> Iterator[Article]:
    done: set[str] = set()
    title, topic, chunks = "", "", list[str]()
    for number, row in enumerate(rows, start=1):
        if chunks and row.title != title:
            yield Article(title, chunks, topic)
            done.add(title)
            chunks = []
        if row.title in done:
            raise ConfigError(
                f'{path}: row {number} is of "{row.title[:80]}", whose rows ended before. Sort rows and vectors alike, '
                "by article and by place in it."
            )
        if not chunks:
            title, topic = row.title, row.topic
        chunks.append(row.text)
    if chunks:
        yield Article(title, chunks, topic)


def _parquet_rows(path: Path) -> Iterator[ChunkRow]:
    file = _open_parquet(path)
    names = file.schema_arrow.names
    for needed in ("title", "text"):
        if needed not in names:
            raise ConfigError(f'{path}: has no column "{needed}".{suggestion(needed, names)}')
    columns = ["title", "text", *(["topic"] if "topic" in names else [])]
    row = 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
        for values in batch.to_pylist():
            row += 1
            try:
                yield msgspec.convert({key: value for key, value in values.items() if value is not None}, ChunkRow)
            except msgspec.ValidationError as error:
                raise ConfigError(f"{path}: row {row}: {error}. Give every chunk a title and a text.") from None


def _open_parquet(path: Path) -> ParquetFile:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(
            f"{path}: reading Parquet takes pyarrow. Install it with `pip install 'lvm-tui[parquet]'`."
        ) from None
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: cannot be read as Parquet: {error}") from None


def _has_chunk_rows(path: Path) -> bool:
    """Whether the first line is a chunk, not an article."""
    try:
        first: dict[str, Any] = next(read_lines(path, dict), {})
    except ConfigError:
        return False  # whoever reads it as articles says what is wrong
    return "text" in first and "chunks" not in first
