"""The playbook's file of evaluation windows, and how its windows are found in a payload.

Keys: `contexts` (Q, L, D), `targets` (Q, D), `truth_keys`: (Q, 2) of article and chunk, or (Q,) payload ids; and, where
the file says it, `provenance`: JSON of the encoder, normalisation and metric. Other keys are never opened: the
playbook's tools leave pickled ones in the file.

Before anything is evaluated, the targets are held against the payload's vectors of the same keys. Where the two come
from different encoders, or the keys are shifted, retrieval would be near zero whatever the model is worth.

Legend: Q queries, L context length, D vector width, N chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.data.npz import open_npz
from engine.data.payload_corpus import UNKNOWN_EMBEDDER, PayloadKeys
from engine.data.vector_files import unit_rows
from engine.run.convert import ConfigError

MEAN_AT_LEAST = 0.98
"""Mean cosine of targets and the payload's vectors of the same keys; the playbook's bar."""
P5_AT_LEAST = 0.95
"""The same for the fifth percentile."""
SAME_VECTOR = 0.999
"""Cosine from which a context vector is taken for a chunk of the payload: float16 rounding moves it by 1e-6."""
_NAMES = {"contexts": ("contexts", "context_sequences"), "targets": ("targets", "target_vectors")}
_CHUNKS_AT_ONCE = 1 << 16
_SCORES_AT_ONCE = 1 << 24


class Provenance(Struct, frozen=True, kw_only=True):
    """Where the vectors of a file come from; empty where it does not say."""

    embedder_id: str = ""
    embedder: str = ""
    norm: str = ""
    metric: str = ""
    payload_build_id: str = ""

    @property
    def encoder(self) -> str:
        """Id of the encoder, under either of its names."""
        return self.embedder_id or self.embedder


@dataclass(frozen=True, slots=True)
class EvalWindows:
    """The windows of an evaluation file, memory-mapped."""

    path: Path
    contexts: npt.NDArray[Any]
    """(Q, L, D)"""
    targets: npt.NDArray[Any]
    """(Q, D)"""
    truth_keys: npt.NDArray[Any]
    """(Q,) or (Q, 2), whole numbers or text."""
    provenance: Provenance

    def gather(self, windows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Contexts (B, L, D) and targets (B, D) of (B,) windows, float32 unit vectors.

        Raises:
            ConfigError: a vector is zero or not finite; its window is named.
        """
        length = self.contexts.shape[1]
        contexts = unit_rows(
            self.contexts[windows].astype(np.float32),
            lambda row: f"{self.path}: context of window {int(windows[row // length])}",
        )
        return contexts, self.targets_of(windows)

    def targets_of(self, windows: IndexArray) -> FloatArray:
        """Targets (B, D) of (B,) windows alone, without the far larger contexts; otherwise as `gather`."""
        return unit_rows(
            self.targets[windows].astype(np.float32), lambda row: f"{self.path}: target of window {int(windows[row])}"
        )


def open_eval_windows(path: Path) -> EvalWindows:
    """Open an evaluation file; vectors are read when they are gathered.

    Raises:
        ConfigError: it is truncated or pickled, lacks a key, holds no window, or its shapes do not fit together.
    """
    arrays = open_npz(path, {name for names in _NAMES.values() for name in names} | {"truth_keys", "provenance"})
    contexts, targets = (_pick(path, arrays, names) for names in _NAMES.values())
    keys = _pick(path, arrays, ("truth_keys",))
    num, dim = len(contexts), contexts.shape[-1]
    fits = contexts.ndim == 3 and targets.shape == (num, dim) and keys.shape in ((num,), (num, 2))
    if not fits or contexts.dtype.kind not in "fi" or targets.dtype.kind not in "fi" or keys.dtype.kind not in "iuUS":
        raise ConfigError(
            f"{path}: contexts {contexts.shape} {contexts.dtype}, targets {targets.shape} {targets.dtype} and "
            f"truth_keys {keys.shape} {keys.dtype} do not fit together. They are (Q, L, D) and (Q, D) numbers, and "
            "(Q,) payload ids or (Q, 2) of article and chunk; write the file again so."
        )
    if min(contexts.shape) < 1:
        raise ConfigError(f"{path}: holds no window ({contexts.shape}). Write it again from articles that have some.")
    return EvalWindows(path, contexts, targets, keys, read_provenance(path, arrays.get("provenance")))


def check_provenance(windows: EvalWindows, payload: str, embedder: str) -> list[str]:
    """Hold what a file says of its vectors against what the payload says.

    Args:
        windows: the evaluation file.
        payload: what the payload is called, for the message.
        embedder: encoder of the payload.

    Returns:
        What is wrong, in words; empty where nothing is, or nothing is known.
    """
    said = windows.provenance
    wrong = []
    if said.encoder and embedder not in (UNKNOWN_EMBEDDER, said.encoder):
        wrong.append(f"{windows.path} was made with the encoder {said.encoder}, {payload} with {embedder}")
    if said.metric and said.metric.lower() not in ("ip", "inner_product", "cosine"):
        wrong.append(
            f"{windows.path} was made for the metric {said.metric}, but the payload is searched by inner product"
        )
    return wrong


def find_truths(windows: EvalWindows, keys: PayloadKeys) -> IndexArray:
    """(Q,) int64: the payload's chunk of each truth key; -1 where it has none."""
    asked = windows.truth_keys
    if asked.dtype.kind == "S":
        asked = np.char.decode(asked, "utf-8", "replace")
    if asked.ndim == 1:
        as_known = _converter(keys.ids)
        return np.array([keys.chunk_of_id.get(as_known(key), -1) for key in asked.tolist()], np.int64)
    article, position = _converter(keys.articles), _converter(keys.positions)
    return np.array([keys.chunk_at.get((article(a), position(p)), -1) for a, p in asked.tolist()], np.int64)


def alignment(targets: FloatArray, payload: FloatArray) -> tuple[float, float]:
    """Mean and fifth percentile of the cosines of (Q, D) unit targets with the payload's (Q, D) unit vectors."""
    cosines = np.einsum("qd,qd->q", targets, payload, dtype=np.float64)
    return float(cosines.mean()), float(np.percentile(cosines, 5))


def find_contexts(contexts: FloatArray, truths: IndexArray, keys: PayloadKeys, vectors: Vectors) -> IndexArray:
    """The chunks that contexts were made from: where they should stand, and else wherever the same vector is.

    Args:
        contexts: (Q, L, D) float32 unit vectors.
        truths: (Q,) int64 chunks that follow them.
        keys: names of the chunks.
        vectors: (N, D) float32 unit vectors of the payload.

    Returns:
        (Q, L) int64; -1 where the payload does not hold it, and for a repetition or the truth itself.
    """
    length = contexts.shape[1]
    found = _places_before(truths, length, keys)
    cosines = np.einsum("qld,qld->ql", contexts, vectors[np.maximum(found, 0)])
    found = np.where((found >= 0) & (cosines >= SAME_VECTOR), found, -1)
    asked = np.argwhere(found < 0)
    found[*asked.T] = _same_vectors(contexts[*asked.T], vectors)
    found[found == truths[:, None]] = -1
    for place in range(1, length):  # a chunk counts once, however often the context holds it
        repeated = (found[:, :place] == found[:, place, None]).any(axis=1)
        found[repeated, place] = -1
    return found


def _same_vectors(wanted: FloatArray, vectors: Vectors) -> IndexArray:
    """(B,) the first chunk that is most like each of (B, D) unit vectors; -1 where none is the same."""
    best, cosines = np.full(len(wanted), -1, np.int64), np.full(len(wanted), SAME_VECTOR, np.float32)
    for first in range(0, len(vectors) if len(wanted) else 0, _CHUNKS_AT_ONCE):
        block = vectors[first : first + _CHUNKS_AT_ONCE]
        size = max(1, _SCORES_AT_ONCE // len(block))
        for start in range(0, len(wanted), size):
            rows = np.arange(start, min(start + size, len(wanted)))
            scores = wanted[rows] @ block.T  # (B, M)
            nearest = scores.argmax(axis=1)
            found = scores[np.arange(len(rows)), nearest]
            better = (found > cosines[rows]) | ((found >= SAME_VECTOR) & (best[rows] < 0))
            best[rows[better]] = nearest[better] + first
            cosines[rows[better]] = found[better]
    return best


def _places_before(truths: IndexArray, length: int, keys: PayloadKeys) -> IndexArray:
    """(Q, L) chunks at the positions before the truths' in their articles; -1 where the payload has none."""
    places = np.full((len(truths), length), -1, np.int64)
    if keys.positions.dtype.kind not in "iu":
        return places
    for query, truth in enumerate(truths.tolist()):
        article, position = keys.articles[truth].item(), keys.positions[truth].item()
        places[query] = [keys.chunk_at.get((article, position - back), -1) for back in range(length, 0, -1)]
    return places


def _converter(known: npt.NDArray[Any]) -> Callable[[int | str], int | str]:
    """Turns a key into the kind by which the payload knows it; text that is no number stays text, and is not found."""
    return str if known.dtype.kind in "US" else _as_number


def _as_number(key: int | str) -> int | str:
    try:
        return int(key)
    except ValueError:
        return key


def _pick(path: Path, arrays: dict[str, npt.NDArray[Any]], names: tuple[str, ...]) -> npt.NDArray[Any]:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise ConfigError(
        f"{path}: has no key {' or '.join(names)}. An evaluation file holds contexts, targets and truth_keys; write it "
        "again with all three."
    )


def read_provenance(path: Path, said: npt.NDArray[Any] | None) -> Provenance:
    """What a file says of itself: JSON as a text, or as the first of several."""
    if said is None or not said.size:
        return Provenance()
    text = said.reshape(-1)[0]
    try:
        return msgspec.json.decode(text if isinstance(text, bytes) else str(text), type=Provenance)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: its provenance is not JSON that names encoder, norm and metric ({error})."
        ) from None
