"""What is imported: vectors and articles in one file or in many, read block by block.

Several files count as one that holds their rows one after another. A folder stands for the files in it, in the order of
their names with numbers taken as numbers: `part-2` comes before `part-10`.

Legend: N rows, B rows of a block, D vector width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.data.corpus import Article
from engine.data.npz import open_npz
from engine.data.tables import PARQUET, num_table_rows, read_any_articles, read_vector_column
from engine.data.vector_files import VectorFiles, check_vectors
from engine.run.convert import ConfigError

VECTOR_FILES = (".npy", ".npz", PARQUET)
ARTICLE_FILES = (".jsonl", ".jsonl.gz", PARQUET)
_ROWS_AT_ONCE = 8192

Block = npt.NDArray[Any]
"""(B, D)"""


class VectorInput(NamedTuple):
    """A file of vectors."""

    path: Path
    num_rows: int
    dim: int
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[Block]]
    """Reads it from its beginning."""


class VectorReader:
    """The rows of several files, taken in portions of any size. Holds one block in memory."""

    def __init__(self, inputs: Sequence[VectorInput]) -> None:
        self._blocks = ((each.path, block) for each in inputs for block in _numbered(each.blocks()))
        self._path, self._first, self._rest = inputs[0].path, 0, np.empty((0, inputs[0].dim), inputs[0].dtype)

    def take(self, num_rows: int) -> Iterator[tuple[Block, Callable[[int], str]]]:
        """The next rows in blocks, each with what names a row of it."""
        while num_rows:
            if not len(self._rest):
                self._path, (self._first, self._rest) = next(self._blocks)
            block, self._rest = self._rest[:num_rows], self._rest[num_rows:]
            path, first = self._path, self._first
            self._first += len(block)
            num_rows -= len(block)
            yield block, lambda row, path=path, first=first: f"{path}: row {first + row}"  # type: ignore[misc]


def find_files(given: Path | Sequence[Path], suffixes: Sequence[str], option: str) -> list[Path]:
    """The files that are meant: those that were named, and those within folders that were.

    Raises:
        ConfigError: a folder holds none of these kinds.
    """
    found: list[Path] = []
    for path in [given] if isinstance(given, Path) else given:
        inside = [path]
        if path.is_dir():
            inside = sorted((file for file in path.iterdir() if file.name.endswith(tuple(suffixes))), key=_by_number)
        if not inside:
            raise ConfigError(f"{option}: {path} holds no file of {', '.join(suffixes)}. Name the files, or another.")
        found += inside
    return found


def open_vectors(paths: Sequence[Path]) -> list[VectorInput]:
    """Look at files of vectors: .npy of (N, D), .npz whose key `vectors` (or only key) is that, .parquet with a column.

    Raises:
        ConfigError: one is missing, damaged, no vectors, or of another width or type than the first.
    """
    inputs = [_open(path) for path in paths]
    for each in inputs:
        if (each.dim, each.dtype) != (inputs[0].dim, inputs[0].dtype):
            raise ConfigError(
                f"{each.path}: holds vectors of {each.dim} {each.dtype}, and {inputs[0].path} of {inputs[0].dim} "
                f"{inputs[0].dtype}. One corpus has one width and one type: embed or convert that file like the others."
            )
    return inputs


def read_articles_of(paths: Sequence[Path]) -> Iterator[Article]:
    """The articles of all files, in order."""
    for path in paths:
        yield from read_any_articles(path)


def _open(path: Path) -> VectorInput:
    if path.suffix == PARQUET:
        first = next(read_vector_column(path))
        return VectorInput(path, num_table_rows(path), first.shape[1], first.dtype, lambda: read_vector_column(path))
    if path.suffix != ".npz":
        stored = VectorFiles([path])
        return VectorInput(path, len(stored), stored.dim, stored.dtype, lambda: _ranges(len(stored), stored.range))
    arrays = open_npz(path)
    key = "vectors" if "vectors" in arrays else next(iter(arrays), "")
    if not key or (key != "vectors" and len(arrays) > 1):
        raise ConfigError(f'{path}: has no key "vectors" but {", ".join(sorted(arrays)) or "nothing"}. Rename the key.')
    array = arrays[key]
    check_vectors(array, f"{path}, {key}")
    return VectorInput(
        path, len(array), array.shape[1], array.dtype, lambda: _ranges(len(array), lambda a, b: np.array(array[a:b]))
    )


def _ranges(num_rows: int, read: Callable[[int, int], Block]) -> Iterator[Block]:
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        yield read(start, min(start + _ROWS_AT_ONCE, num_rows))


def _numbered(blocks: Iterator[Block]) -> Iterator[tuple[int, Block]]:
    """Each block with the number of its first row in the file."""
    first = 0
    for block in blocks:
        yield first, block
        first += len(block)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Orders names with their numbers taken as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
