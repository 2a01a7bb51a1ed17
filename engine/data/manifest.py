"""A corpus folder's manifest: where the corpus comes from, and what each of its files must be.

A corpus lies in its folder, or in shards: folders within it, `shard-0000` and on, each with vectors and articles of its
own. The one manifest names the files of all of them, and an article never crosses from one shard into the next.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from engine.run.convert import ConfigError

MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 20
"""A manifest is a page; a larger file is something else."""
MAX_SHARDS = 4096
"""Their names and digests are 900 kB of a manifest."""
_VECTORS = re.compile(r"vectors_\w+\.npy")
_ARTICLES = re.compile(r"articles\.jsonl(\.gz)?")

_FileName = Annotated[str, Meta(pattern=r"^(shard-[0-9]{4}/)?[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Of a file in the folder or in one of its shards, and nowhere else."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a corpus comes from and what its files must be; `manifest.json`."""

    schema: Literal[1] = 1
    name: str
    embedder: str
    """The encoder's id. Vectors of different encoders cannot be compared, whatever their width."""
    norm: Literal["l2_once", "none"]
    """`l2_once`: normalised when they were made. `none`: raw; they are normalised when they are read."""
    metric: Literal["ip"] = "ip"
    """Inner product; of unit vectors, so the cosine."""
    dim: Annotated[int, Meta(ge=1, le=65_536)]
    num_chunks: Annotated[int, Meta(ge=2)]
    num_articles: Annotated[int, Meta(ge=1)]
    dtype: Literal["int8", "float16", "float32"]
    """How the vectors are stored. int8 rows keep the direction only: the vector is `row / |row|`."""
    source: str = ""
    licence: str = ""
    files: dict[_FileName, Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]]
    """sha256 by file name."""


class CorpusPart(NamedTuple):
    """The files of a corpus that is in one piece, or of a shard."""

    vectors: Path
    articles: Path


def shard_name(number: int) -> str:
    """The folder of a shard, counted from 0."""
    return f"shard-{number:04}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a corpus folder.

    Raises:
        ConfigError: it is missing, or not a manifest.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST + 1)
        if len(raw) > MAX_MANIFEST:
            raise ConfigError(f"{path}: larger than {MAX_MANIFEST:,} bytes; this is not a manifest.")
        return msgspec.json.decode(raw, type=Manifest)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). A corpus folder is made by `lvm-engine data import`."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a corpus manifest: {error}.") from None


def corpus_parts(folder: Path, manifest: Manifest) -> list[CorpusPart]:
    """The shards of a corpus in their order; of a corpus without shards the one part that it is.

    Raises:
        ConfigError: the manifest leaves a shard out, names files beside the shards, or not one of each kind a part.
    """
    found: dict[str, list[str]] = {}
    for name in manifest.files:
        shard, _, file = name.rpartition("/")
        if shard or _VECTORS.fullmatch(file) or _ARTICLES.fullmatch(file):
            found.setdefault(shard, []).append(file)
    names = [""] if len(found) <= 1 and not any(found) else [shard_name(number) for number in range(len(found))]
    for name in names:
        if name and name not in found:
            raise ConfigError(
                f"{folder / MANIFEST}: names {len(found)} shards, but not {name}, or files beside the shards. Restore "
                "the manifest, or import the corpus again."
            )
    return [
        CorpusPart(*(_find_file(folder, name, found.get(name, []), kind) for kind in (_VECTORS, _ARTICLES)))
        for name in names
    ]


def _find_file(folder: Path, shard: str, names: list[str], pattern: re.Pattern[str]) -> Path:
    """The one file of a part whose name fits."""
    fitting = [name for name in names if pattern.fullmatch(name)]
    if len(fitting) != 1:
        where = f" in {shard}" if shard else ""
        raise ConfigError(
            f"{folder / MANIFEST}: files must name exactly one {pattern.pattern!r}{where}, and names {len(fitting)}."
        )
    return folder / shard / fitting[0]
