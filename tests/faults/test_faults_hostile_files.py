"""Row 43: indexes, checkpoints and heads of strangers are opened in a child with limits before they are opened here."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from checkpoints import save_value
from corpora import mutations
from fault_runs import Figure, times
from safetensors.numpy import save_file

from engine.data.payload_corpus import PayloadKeys
from engine.evaluation.foreign_index import open_given_index
from engine.evaluation.retrieval import ChunkIndex
from engine.quarantine import why_unopenable
from engine.run.convert import ConfigError
from engine.training.checkpoint import MODEL_FILE, TRAINING_FILE, try_first

DIM, CHUNKS = 16, 400


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((CHUNKS, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def index_of(vectors: np.ndarray, factory: str = "IVF8,Flat") -> Any:
    index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def opened(path: Path, vectors: np.ndarray) -> ChunkIndex:
    rows = np.arange(len(vectors))
    keys = PayloadKeys(ids=rows, articles=rows // 8, positions=rows % 8, rows=rows)
    return open_given_index(path, vectors, keys, nprobe=8)


@pytest.mark.faults(43)
def test_the_right_index_is_opened(tmp_path: Path, vectors: np.ndarray, figure: Figure) -> None:
    for factory in ("IVF8,Flat", "Flat", "HNSW8"):
        faiss.write_index(index_of(vectors, factory), str(tmp_path / "right.faiss"))
        assert opened(tmp_path / "right.faiss", vectors).origin == "given"
    figure("IVF, flat and HNSW of the payload are opened")


@pytest.mark.faults(43)
def test_an_index_with_any_damage_is_used_or_refused_by_name_but_never_crashes(
    tmp_path: Path, vectors: np.ndarray, figure: Figure
) -> None:
    faiss.write_index(index_of(vectors), str(tmp_path / "whole.faiss"))
    whole = (tmp_path / "whole.faiss").read_bytes()
    path, messages, count = tmp_path / "foreign.faiss", [], 0
    for data in mutations(whole, times(900, 40)):
        count += 1
        path.write_bytes(data)
        try:
            opened(path, vectors)  # a flipped bit in a vector is not noticed, and does no harm
        except ConfigError as error:
            messages.append(str(error))
    assert messages
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)
    crashed = sum("crashes the library" in message for message in messages)
    figure(
        f"{count} mutated indexes: {len(messages)} refused by name ({crashed} would have crashed the program), "
        f"{count - len(messages)} usable"
    )


def untrained() -> Any:
    return faiss.index_factory(DIM, "IVF8,Flat", faiss.METRIC_INNER_PRODUCT)


@pytest.mark.faults(43)
def test_an_index_of_something_else_is_refused_by_name(tmp_path: Path, vectors: np.ndarray, figure: Figure) -> None:
    path = tmp_path / "foreign.faiss"
    narrow = faiss.IndexFlatIP(DIM // 2)
    narrow.add(np.ascontiguousarray(vectors[:, : DIM // 2]))
    by_distance = faiss.IndexFlatL2(DIM)
    by_distance.add(vectors)
    few = faiss.IndexFlatIP(DIM)
    few.add(vectors[:-1])
    others = faiss.IndexFlatIP(DIM)
    others.add(np.ascontiguousarray(vectors[:, ::-1]))
    for index in (narrow, by_distance, few, others, untrained()):
        faiss.write_index(index, str(path))
        with pytest.raises(ConfigError, match=r"foreign\.faiss: "):
            opened(path, vectors)
    figure("5 of 5 indexes of another width, metric, size, of other vectors, untrained")


@pytest.mark.faults(43)
def test_a_file_that_asks_for_all_memory_or_all_time_is_let_go(
    tmp_path: Path, vectors: np.ndarray, figure: Figure
) -> None:
    path = tmp_path / "foreign.faiss"
    faiss.write_index(index_of(vectors, "Flat"), str(path))
    data = bytearray(path.read_bytes())
    size = data.index(struct.pack("<Q", CHUNKS * DIM))
    data[size : size + 8] = struct.pack("<Q", 1 << 38)  # 1 TB of floats
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"foreign\.faiss: is no whole FAISS index"):
        opened(path, vectors)
    assert why_unopenable("faiss", path, timeout_s=0.05).startswith("it was not open after")
    figure("1 TB header refused, a slow one let go")


def safetensors(header: dict[str, Any], data: bytes = b"") -> bytes:
    """A file whose header says whatever it is told."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(end: int, numbers: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [numbers], "data_offsets": [0, end]}


HOSTILE_HEADERS = {
    "empty": b"",
    "text": b"not a checkpoint",
    "zeros": bytes(200),
    "endless header": struct.pack("<Q", 1 << 62) + b"{}",
    "header beyond the file": struct.pack("<Q", 1 << 20) + b"{}",
    "not JSON": struct.pack("<Q", 4) + b"{{{{",
    "deep JSON": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "offsets beyond": safetensors({"model.a": tensor(1 << 42, 1 << 40)}),
    "overlapping": safetensors({"a": tensor(8, 2), "b": tensor(8, 2)}, bytes(8)),
}


@pytest.mark.faults(43)
def test_hostile_weights_are_refused_by_name(tmp_path: Path, figure: Figure) -> None:
    path = tmp_path / "foreign.safetensors"
    for content in HOSTILE_HEADERS.values():
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"foreign\.safetensors: cannot be read as safetensors"):
            try_first(path)
    save_file({"head.weight": np.zeros((2, 2), np.float32)}, path)
    try_first(path)
    figure(f"{len(HOSTILE_HEADERS)} of {len(HOSTILE_HEADERS)} hostile safetensors")


@pytest.mark.faults(43)
def test_a_checkpoint_is_tried_before_it_is_loaded_and_a_hostile_training_state_refused(
    tmp_path: Path, figure: Figure
) -> None:
    folder = tmp_path / "best"
    save_value(folder, 1.0)
    try_first(folder, MODEL_FILE, TRAINING_FILE)
    save_value(folder, 1.0, training=HugeTensor())
    with pytest.raises(ConfigError, match=f"{TRAINING_FILE}: cannot be read as a training state"):
        try_first(folder, MODEL_FILE, TRAINING_FILE)
    try_first(tmp_path / "nowhere")  # its loader says that there is none
    figure("a training state that asks for 4 TB refused")


class HugeTensor:
    """Four terabytes of zeros when it is unpickled, from a few bytes: all its parts are plain data."""

    def __reduce__(self) -> Any:
        return (bytearray, (1 << 42,))
