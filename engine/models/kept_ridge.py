"""The fitted ridge, kept between programs: the preflight fits it, and an evaluation of the same split needs it again.

Fitting takes 1.5 CPU seconds on the embedded corpus, reading what was kept a hundredth of that.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from engine.data.corpus import IndexArray
from engine.data.identity import source_digest
from engine.data.windows import WindowSource
from engine.models.floors import RIDGE_L2, Ridge, fit_ridge
from engine.run.files import user_cache, write_atomically

_SCHEMA = 1
"""Raised when the ridge is fitted otherwise, so that older ones are fitted anew."""


def ridge_cache() -> Path:
    """Where fitted ridges are kept; they can be deleted at any time."""
    return user_cache("ridge")


def kept_ridge(source: WindowSource, train: IndexArray, folder: Path | None) -> Ridge:
    """`fit_ridge`, kept in a folder by all that it depends on; what is damaged is fitted anew.

    Args:
        source: where the windows are.
        train: (W,) int64 training windows.
        folder: where to keep it; None to fit every time.
    """
    if folder is None:
        return fit_ridge(source, train)
    parts = (_SCHEMA, source_digest(source), source.context, source.dim, RIDGE_L2)
    key = hashlib.sha256(repr(parts).encode() + train.tobytes()).hexdigest()
    file = folder / f"{key[:16]}.safetensors"
    kept = _read(file, key)
    if kept is not None:
        return kept
    ridge = fit_ridge(source, train)
    from safetensors.numpy import save

    described = {"key": key, "sha256": _digest(ridge)}
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time and nothing else
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, save({"weights": np.ascontiguousarray(ridge.weights)}, metadata=described))
    return ridge


def _read(file: Path, key: str) -> Ridge | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            described, ridge = opened.metadata() or {}, Ridge(opened.get_tensor("weights"))
    except (OSError, SafetensorError):
        return None
    return ridge if described == {"key": key, "sha256": _digest(ridge)} else None


def _digest(ridge: Ridge) -> str:
    return hashlib.sha256(ridge.weights.tobytes()).hexdigest()
