"""The rows of one .npy file, or of several that follow one another, as one matrix that is read where it lies.

Rows are read with calls, not through a memory map: that is as fast, keeps the files' pages out of this process's
memory, and finds a file that was cut short instead of being killed by it.

Legend: N rows of all files, F files, B runs, D vector width.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.run.convert import ConfigError

StoredRows = npt.NDArray[Any]
"""(..., D) in the type of the file."""

SHORTEST = 1e-6
"""A vector shorter than this has no direction."""
MOST_OPEN = 512
"""Files kept open at once; a process may usually have 1,024. The one that was not asked for longest is closed."""


class VectorFiles:
    """(N, D) stored rows. A file is opened when a row of it is first asked for.

    Args:
        paths: of .npy files of two dimensions with one width and type.

    Raises:
        ConfigError: a file is missing, truncated, stored column by column, or of another width or type than the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        headers = [map_vectors(path) for path in paths]  # let go at once: 1,000 files would not fit into one process
        self.paths = list(paths)
        self.dtype, self.dim = headers[0].dtype, int(headers[0].shape[1])
        for path, header in zip(paths, headers, strict=True):
            if not header.flags.c_contiguous:
                raise ConfigError(
                    f"{path}: is stored column by column, so that no vector can be read by itself. Save it with "
                    "numpy.save(path, numpy.ascontiguousarray(vectors)), or import the corpus again."
                )
            if (header.dtype, header.shape[1]) != (self.dtype, self.dim):
                raise ConfigError(
                    f"{path}: holds vectors of {header.shape[1]} {header.dtype}, and {paths[0]} of {self.dim} "
                    f"{self.dtype}. One corpus has one width and one type: embed or convert that file like the others."
                )
        self.counts = [len(header) for header in headers]
        self.first_row = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts, dtype=np.int64)])
        """(F + 1,) int64: file f holds rows first_row[f] to first_row[f + 1] - 1."""
        places = [
            (path, header.offset, header.shape, header.dtype) for path, header in zip(paths, headers, strict=True)
        ]
        self._opened = lru_cache(MOST_OPEN)(lambda file: _OpenFile(*places[file]))

    def __len__(self) -> int:
        """N."""
        return int(self.first_row[-1])

    def file_of(self, row: int) -> Path:
        """Where a row is stored."""
        return self.paths[int(np.searchsorted(self.first_row, row, side="right")) - 1]

    def rows(self, rows: npt.NDArray[np.int64]) -> StoredRows:
        """Rows of numbers of any shape: (*rows.shape, D)."""
        flat = rows.reshape(-1)
        if len(flat) and flat[-1] - flat[0] == len(flat) - 1 and (np.diff(flat) == 1).all():
            return self.range(int(flat[0]), int(flat[-1]) + 1).reshape(*rows.shape, self.dim)
        return self.runs(flat, 1).reshape(*rows.shape, self.dim)

    def range(self, start: int, stop: int) -> StoredRows:
        """(stop - start, D) consecutive rows, 0 <= start <= stop <= N, whatever files they lie in."""
        rows = np.empty((stop - start, self.dim), self.dtype)
        row = start
        while row < stop:
            file = int(np.searchsorted(self.first_row, row, side="right")) - 1
            upto = min(stop, int(self.first_row[file + 1]))
            self._opened(file).read(rows[row - start : upto - start], row - int(self.first_row[file]))
            row = upto
        return rows

    def runs(self, first: npt.NDArray[np.int64], length: int) -> StoredRows:
        """(B, length, D) of (B,) first rows. Each file is visited once, however the runs are mixed."""
        runs = np.empty((len(first), length, self.dim), self.dtype)
        file_of = np.searchsorted(self.first_row, first, side="right") - 1
        crosses = first + length > self.first_row[np.minimum(file_of + 1, len(self.paths))]
        order = np.flatnonzero(~crosses)
        order = order[np.argsort(file_of[order], kind="stable")]
        places = first[order] - self.first_row[file_of[order]]
        current = -1
        for run, file, place in zip(order.tolist(), file_of[order].tolist(), places.tolist(), strict=True):
            if file != current:
                current, read = file, self._opened(file).read
            read(runs[run], place)
        for run in np.flatnonzero(crosses).tolist():
            runs[run] = self.range(int(first[run]), int(first[run]) + length)
        return runs


class _OpenFile:
    """An open file of rows; closed when nobody holds it any more, so that a reader in another thread keeps its own."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._path, self._offset, self._shape, self._dtype = path, offset, shape, dtype
        self._row_bytes = shape[1] * dtype.itemsize
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened ({error.strerror}). Restore it, or import again.") from None
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, into: StoredRows, row: int) -> None:
        """Fill (R, D) contiguous rows, from a row of this file on."""
        place = self._offset + row * self._row_bytes
        done = os.preadv(self._descriptor, [into.data], place)
        while done < into.nbytes:  # the kernel reads at most 2 GB at once
            more = os.preadv(self._descriptor, [into.reshape(-1).view(np.uint8)[done:].data], place + done)
            if not more:
                raise ConfigError(
                    f"{self._path}: ends before its row {row + len(into)}: it was cut short while it was in use. "
                    "Import the corpus again."
                )
            done += more


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


def unit_rows(vectors: npt.NDArray[np.float32], name_of: Callable[[int], str]) -> npt.NDArray[np.float32]:
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
