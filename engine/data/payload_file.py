"""The playbook's payload: a dictionary of texts, positions and vectors that was pickled into a .npy file.

Its form is `{id: (text, {"article_index": ..., "chunk_index": ...}, vector)}`, as `numpy.save` writes a dictionary. A
pickle can run any code when it is opened, so one is opened only on request, and even then by a reader that knows
nothing but numbers, texts, containers and plain arrays. It is made into a corpus folder once; after that nothing is
unpickled.
"""

from __future__ import annotations

import pickle  # only through _PlainReader, which calls nothing that a pickle names
import re
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from engine.run.convert import ConfigError

_PLAIN = re.compile(r"[fiubUS]\d{1,9}")
"""Names of numpy dtypes that may occur: numbers, flags and texts, and no structures of them."""
_OBJECTS = "O8"
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
)


class _PickledType:
    """A numpy dtype while it is read: named by REDUCE, given its byte order by BUILD."""

    def __init__(self, name: Any, *_flags: Any) -> None:
        if not isinstance(name, str) or not (name == _OBJECTS or _PLAIN.fullmatch(name)):
            raise pickle.UnpicklingError(f"a dtype {name!r:.80} is not plain")
        self.holds_objects = name == _OBJECTS
        self._name = name
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1] if state[1] in ("<", ">", "=") else "|"

    def resolve(self) -> np.dtype[Any]:
        """The dtype itself."""
        return np.dtype(self._order + self._name)


class _PickledArray:
    """A numpy array while it is read. Numpy's own unpickling is not trusted with the state."""

    array: npt.NDArray[Any] | None = None
    items: list[Any] | None = None
    """Of an array of objects."""

    def __init__(self, *_prototype: Any) -> None:
        """What the pickle says here is only a placeholder; the state follows."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, content = state
        if dtype.holds_objects:
            self.items = list(content)
        else:
            flat = np.frombuffer(_as_bytes(content), dtype.resolve())
            self.array = flat.reshape(shape, order="F" if fortran else "C")


def _scalar(dtype: _PickledType, content: Any) -> Any:
    """A number or text that was an element of an array."""
    return np.frombuffer(_as_bytes(content), dtype.resolve())[0].item()


def _as_bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else str(content).encode("latin-1")


def _encode(text: str, _codec: str = "latin1") -> bytes:
    """How older pickles spell bytes."""
    return text.encode("latin-1")


class _ArrayClass:
    """Stands where a pickle names `numpy.ndarray`; never called."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _PickledArray for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


class _PlainReader(pickle.Unpickler):
    """Reads pickles of dictionaries, lists, tuples, texts, numbers and plain arrays, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither a number, a text nor an array")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside the file."""
        raise pickle.UnpicklingError(f"it refers to something outside the file ({pid!r})")


def is_pickled(path: Path) -> bool:
    """Whether a .npy file holds pickled objects. Only its header is read.

    Raises:
        ConfigError: it is missing, or no .npy file.
    """
    try:
        with path.open("rb") as file:
            return _read_dtype(file).hasobject
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, TypeError, SyntaxError, EOFError) as error:
        raise ConfigError(
            f"{path}: not a .npy file ({error}). A payload is a corpus folder, or a dictionary saved with numpy.save."
        ) from None


def read_payload(path: Path, *, trusted: bool) -> dict[Any, Any]:
    """The dictionary of a payload file, arrays still wrapped: `vector_of` opens them.

    Args:
        path: the .npy file.
        trusted: whether the person has agreed to open a pickle.

    Raises:
        ConfigError: not trusted, no pickle, damaged, not a dictionary, or it names something that is not plain data.
    """
    if not is_pickled(path):
        raise ConfigError(
            f"{path}: holds an array of numbers without texts or positions. Make a corpus of it and its articles with "
            "`lvm-engine data import --vectors`, and give that folder as --payload."
        )
    if not trusted:
        raise ConfigError(
            f"{path}: holds pickled Python objects, and a pickle can run code when it is opened. If you trust whoever "
            "made it, say --trust-pickle: it is then read once, nothing but texts, numbers and arrays is accepted, and "
            "a safe copy is kept for later."
        )
    with path.open("rb") as file:
        _read_dtype(file)
        try:
            content = _PlainReader(file).load()
        except _DAMAGED as error:
            raise ConfigError(
                f"{path}: cannot be unpickled as a payload: {str(error) or type(error).__name__}. It may be truncated; "
                "copy it again, or save a plain dictionary {id: (text, positions, vector)} with numpy.save."
            ) from None
    items = content.items if isinstance(content, _PickledArray) else None
    if items is None or len(items) != 1 or not isinstance(items[0], dict) or not items[0]:
        raise ConfigError(
            f"{path}: holds no dictionary. A payload is {{id: (text, positions, vector)}}, saved with numpy.save."
        )
    return items[0]


def vector_of(value: Any) -> npt.NDArray[Any] | None:
    """(D,) the vector of an entry; None if it is none."""
    if isinstance(value, list):
        if not all(isinstance(number, int | float) for number in value):  # lists within lists can grow without end
            return None
        try:
            array = np.array(value, np.float32)
        except OverflowError:
            return None
    elif isinstance(value, _PickledArray) and value.array is not None and value.array.dtype.kind in "fiu":
        array = value.array
    else:
        return None
    return array if array.ndim == 1 and array.size else None


def _read_dtype(file: IO[bytes]) -> np.dtype[Any]:
    """The dtype in a .npy header; the file stands behind it."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    dtype: np.dtype[Any] = read(file)[2]
    return dtype
