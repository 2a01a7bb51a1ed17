"""Files of what was fitted after a training: tensors and one JSON text of metadata, as safetensors; never pickled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from engine.quarantine import why_unopenable
from engine.run.convert import ConfigError
from engine.run.files import open_regular, write_atomically

_KEY = "lvm"
"""Of the metadata; safetensors keeps texts by name."""

Arrays = dict[str, npt.NDArray[Any]]


class FittedMeta(Struct, frozen=True, kw_only=True):
    """What every fitted thing says of where it comes from."""

    schema: Literal[1] = 1
    checkpoint_sha256: str
    """Of the weights whose predictions it was fitted to."""
    corpus_sha256: str
    """Of the corpus they were searched in."""
    dim: int
    """Width D of the vectors."""
    num_fit_articles: int
    """Articles it was fitted on."""


Meta = TypeVar("Meta", bound=FittedMeta)


def write_fitted(path: Path, arrays: Arrays, meta: FittedMeta) -> None:
    """Replace a file by these arrays and their metadata."""
    from safetensors.numpy import save

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, save(contiguous, metadata={_KEY: msgspec.json.encode(meta).decode()}))


def read_fitted(
    path: Path, kind: type[Meta], *, verb: str, checkpoint_sha256: str = "", corpus_sha256: str = ""
) -> tuple[Arrays, Meta]:
    """Read such a file.

    Args:
        path: the file.
        kind: of its metadata.
        verb: of `lvm-engine` that writes such files.
        checkpoint_sha256: of the weights it is to be used with; empty to use it with any.
        corpus_sha256: of the corpus it is to be used with; empty to use it with any.

    Raises:
        ConfigError: it is missing, damaged, of another kind, or was fitted to another checkpoint or corpus.
    """
    from safetensors import SafetensorError, safe_open

    again = f"Fit again with `lvm-engine {verb}`."
    try:
        os.close(open_regular(path))  # safetensors says less of a missing file
        reason = why_unopenable("safetensors", path)
        if reason:
            raise ValueError(reason)
        with safe_open(path, framework="np") as opened:
            meta = msgspec.json.decode((opened.metadata() or {}).get(_KEY, ""), type=kind)
            arrays: Arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 # no mapping
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (SafetensorError, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not a file of `lvm-engine {verb}`: {error}. {again}") from None
    for what, wanted, fitted in (
        ("checkpoint", checkpoint_sha256, meta.checkpoint_sha256),
        ("corpus", corpus_sha256, meta.corpus_sha256),
    ):
        if wanted and wanted != fitted:
            raise ConfigError(
                f"{path}: was fitted to another {what} (sha256 {fitted[:12]}, this one is {wanted[:12]}); what it "
                f"corrects there would be wrong here. {again}"
            )
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise ConfigError(f"{path}: holds numbers that are not finite. {again}")
    return arrays, meta
