"""Reading npz files without loading or unpickling them.

Arrays that `numpy.savez` stored are memory-mapped where they lie in the archive; ones that `numpy.savez_compressed`
packed have to be unpacked into memory, up to a limit that is held against their headers first.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from engine.run.convert import ConfigError

MAX_UNPACKED = 8 << 30
"""Bytes a compressed member may unpack to. 60,000 windows of 5 x 768 in float32 are 0.9 GB."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature, then lengths of the name and of the extra field, at the end of a zip member's 30-byte local header."""


def open_npz(path: Path, keys: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz file by key, read-only.

    Args:
        path: the file.
        keys: those to open where they are there, so that others may hold what is never opened here; None for all.

    Raises:
        ConfigError: it is missing, no npz, damaged, holds pickled objects, or would unpack beyond the limit.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if _is_wanted(entry.filename, keys)]
            names = [entry.filename for entry in members]
            if len(set(names)) != len(names):
                raise ConfigError(f"{path}: a key occurs twice; write the file again with numpy.savez.")
            return {entry.filename.removesuffix(".npy"): _open_member(path, archive, entry) for entry in members}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error) as error:
        raise ConfigError(
            f"{path}: not a whole npz file ({error}). Copy it again, or write it with numpy.savez."
        ) from None


def check_whole(path: Path) -> None:
    """Hold every member against its checksum, which an array that is mapped where it lies never is; some 1 GB/s.

    Raises:
        ConfigError: naming the first member that is not what was written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error) as error:
        damaged = str(error)
    if damaged is not None:
        raise ConfigError(
            f"{path}: {damaged} is not what its checksum says: the file was damaged after it was written. Copy it "
            "again, or write it with numpy.savez."
        )


def _is_wanted(name: str, keys: Collection[str] | None) -> bool:
    return name.endswith(".npy") and (keys is None or name.removesuffix(".npy") in keys)


def _open_member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ConfigError(
            f"{path}: {entry.filename} is packed in a way that numpy never packs. Write it again with numpy.savez."
        )
    with archive.open(entry) as member:
        shape, fortran, dtype = _read_header(path, entry, member)
        offset = member.tell()
        num_bytes = dtype.itemsize * int(np.prod(shape, dtype=object))
        if offset + num_bytes != entry.file_size:
            raise ConfigError(
                f"{path}: {entry.filename} says {shape} {dtype}, which is not what its {entry.file_size:,} bytes hold. "
                "It is truncated or damaged; write the file again with numpy.savez."
            )
        order: Any = "F" if fortran else "C"
        if entry.compress_type == zipfile.ZIP_STORED and num_bytes:
            return _map(path, entry, offset, dtype, shape, order)
        if num_bytes > MAX_UNPACKED:
            raise ConfigError(
                f"{path}: {entry.filename} unpacks to {num_bytes / 1e9:.1f} GB. Write it with numpy.savez, without "
                "compression: it is then mapped instead of loaded."
            )
        return np.frombuffer(member.read(), dtype).reshape(shape, order=order)


def _map(
    path: Path, entry: zipfile.ZipInfo, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any
) -> npt.NDArray[Any]:
    """A stored member as it lies in the archive; `offset` is that of its array within the member."""
    try:
        return np.memmap(path, dtype, "r", _data_offset(path, entry) + offset, shape, order)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {entry.filename} would end beyond the file ({error}). It is truncated or damaged; write the file "
            "again with numpy.savez."
        ) from None


def _read_header(path: Path, entry: zipfile.ZipInfo, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
    except (ValueError, TypeError, SyntaxError) as error:
        raise ConfigError(f"{path}: {entry.filename} is not a plain .npy array ({error}).") from None
    if dtype.hasobject:
        raise ConfigError(
            f"{path}: {entry.filename} holds pickled Python objects, which run code when they are opened; they are "
            "never opened here. Save strings as fixed-width text: array.astype(str)."
        )
    if not dtype.itemsize:
        raise ConfigError(f"{path}: {entry.filename} holds elements of no bytes ({dtype.str}). Write it again.")
    if any(length < 0 for length in shape):
        raise ConfigError(f"{path}: {entry.filename} has a negative shape {shape}.")
    return shape, fortran, dtype


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: after its local header, whose variable parts the directory does not give."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ConfigError(f"{path}: {entry.filename} has no local header; the file is damaged.")
    return int(entry.header_offset) + _LOCAL_HEADER.size + int(name_length) + int(extra_length)
