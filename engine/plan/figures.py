"""What a corpus of a given size needs: memory, time and disk, from measured unit costs.

Each figure says how it is known: by the format (so many bytes a number), measured (the size lies within what was
measured, at the width that was measured), or extrapolated, and by which law.

Legend: N chunks, D vector width, Q queries, K lists of an index.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from engine.data.corpus import IN_MEMORY
from engine.evaluation.exact import CHUNKS_AT_ONCE, SCORES_AT_ONCE
from engine.evaluation.fastscan import num_codes, resolve_kind
from engine.evaluation.parted import ID_BYTES, PART_BYTES, rows_of_part
from engine.evaluation.retrieval import LEAST_SAMPLE, POINTS_PER_LIST, ROUNDS, choose_nlist
from engine.plan.units import UnitName, Units
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig

Source = Literal["by format", "measured", "extrapolated"]
Quantity = Literal["bytes", "count"]
Group = Literal["disk", "memory", "time", "counts"]
"""In bytes, bytes, seconds and numbers."""

PADDING = 15.5
"""Codes that a list of fast-scan has more than chunks, on average: it is filled up to a multiple of 32."""
Model = Literal["mamba_s", "amn"]
MODELS: tuple[Model, ...] = ("mamba_s", "amn")
ROWS_OF_AN_EVALUATION = 5
"""Predictors that are searched with: the model, three floors, and the ceiling."""


class Request(Struct, frozen=True, kw_only=True):
    """What is planned."""

    chunks: int
    dim: int = 768
    context: int = DataConfig().context
    article_chunks: int = 40
    """Chunks of a usual article; each gives as many windows, less the context."""
    queries: int = 1000
    windows_per_s: float | None = None
    """Of the training device; None for what was measured."""


class Figure(Struct, frozen=True, kw_only=True):
    """One line of a plan."""

    group: Group
    what: str
    value: float
    source: Source
    law: str
    """How it follows from the size."""


def plan(request: Request, units: Units) -> list[Figure]:
    """All figures for one size.

    Raises:
        ConfigError: there are too few chunks for an index, articles are too short, or a unit is missing.
    """
    count, dim = request.chunks, request.dim
    if request.article_chunks <= request.context:
        raise ConfigError(
            f"--article-chunks {request.article_chunks}: gives no window of {request.context} chunks and one to "
            "predict. Name more chunks an article, or a smaller --context."
        )
    kind, nlist = resolve_kind("auto", count), choose_nlist(count)
    sample = min(count, max(POINTS_PER_LIST * nlist, LEAST_SAMPLE))
    windows = count * (request.article_chunks - request.context) // request.article_chunks
    train = round(windows * (1 - DataConfig().val_share - DataConfig().test_share))
    figures = _Figures(request, units)
    figures.by_format("counts", "windows", windows, "chunks x (1 - context / chunks of an article)")
    figures.by_format("counts", "lists of the index", nlist, "4 sqrt(chunks), a power of two, at most 32,768")
    figures.by_format("disk", "vectors, float32", 4 * count * dim, "4 x chunks x dim")
    figures.by_format("disk", "vectors, float16", 2 * count * dim, "2 x chunks x dim")
    figures.linear("disk", "texts, compressed", "text_bytes", count, "linear in chunks; as long as those of wikileads")
    figures.by_format(
        "disk",
        "index of vectors (flat)",
        count * (4 * dim + ID_BYTES) + _parts(request, 4 * dim) * nlist * 4 * dim,
        "chunks x (4 x dim + 8), and the centroids of each part",
    )
    codes = -(-num_codes(dim) // 2)
    figures.by_format(
        "disk",
        "index of codes (fastscan)",
        count * (codes + ID_BYTES) + _parts(request, codes) * nlist * (2 * dim + PADDING * codes),
        "chunks x (dim / 4 + 8), and centroids and filling of each part",
    )
    for model in MODELS:
        figures.checkpoint(model)
    figures.linear("memory", "an opened corpus with its windows and split", "open_bytes", count, "linear in chunks")
    figures.by_format("memory", "learning an index", 4 * sample * dim, "4 x dim x sampled chunks, 39 a list")
    figures.by_format("memory", "a part of an index while it grows, at most", 2 * PART_BYTES, "a constant")
    figures.by_format(
        "memory", "exact search from the disk", 6 * CHUNKS_AT_ONCE * dim + 4 * SCORES_AT_ONCE, "a block and its scores"
    )
    figures.linear("time", "opening a corpus", "open_s", count, "linear in chunks")
    figures.linear(
        "time",
        "holding the float16 vectors against their sha256",
        "digest_s",
        2 * count * dim,
        "linear in bytes",
    )
    figures.index_times(kind, nlist, sample)
    products = request.queries * count * dim
    searched: dict[UnitName, str] = {"exact_s": "vectors in memory", "exact_disk_s": "vectors on the disk"}
    for name, where in searched.items():
        what = f"exact search of {request.queries:,} queries, {where}"
        figures.linear("time", what, name, products, "queries x chunks x dim")
    figures.linear(
        "time",
        f"a first evaluation: {ROWS_OF_AN_EVALUATION} such searches from the disk (model, floors, ceiling)",
        "exact_disk_s",
        ROWS_OF_AN_EVALUATION * products,
        "queries x chunks x dim",
    )
    for model in MODELS:
        figures.epoch(model, train)
    return figures.found


def _parts(request: Request, code_bytes: int) -> int:
    """Files of an index: one where the vectors fit into memory."""
    if 4 * request.chunks * request.dim <= IN_MEMORY:
        return 1
    return -(-request.chunks // rows_of_part(code_bytes))


class _Figures:
    """Collects the figures of one request."""

    def __init__(self, request: Request, units: Units) -> None:
        self._request, self._units = request, units
        self.found: list[Figure] = []

    def by_format(self, group: Group, what: str, value: float, law: str) -> None:
        """A figure that nothing has to be measured for."""
        self.found.append(Figure(group=group, what=what, value=float(value), source="by format", law=law))

    def linear(self, group: Group, what: str, name: UnitName, amount: float, law: str) -> None:
        """So many times a unit."""
        unit = self._units.unit(name)
        self._add(group, what, unit.value * amount, law, self._is_measured(name))

    def checkpoint(self, model: Model) -> None:
        """Weights and moments grow with the width in a straight line, through the two widths measured."""
        name: UnitName = "mamba_s_checkpoint_bytes" if model == "mamba_s" else "amn_checkpoint_bytes"
        unit, dim = self._units.unit(name), self._request.dim
        slope = (unit.value - unit.smallest_value) / (unit.high - unit.low)
        value = unit.smallest_value + slope * (dim - unit.low)
        law = "on a line through the two widths measured, whatever the number of chunks"
        self._add("disk", f"a checkpoint of {model}", value, law, dim in (unit.low, unit.high))

    def index_times(self, kind: str, nlist: int, sample: int) -> None:
        """Learning centroids, and finding the list of every chunk and coding it."""
        count, dim = self._request.chunks, self._request.dim
        learned = ROUNDS * sample * nlist * dim
        self.linear("time", "index: learning centroids", "kmeans_s", learned, "sampled chunks x lists x dim")
        assign, encode = self._units.unit("assign_s"), self._units.unit("encode_s")
        added = count * dim * (assign.value * nlist + (encode.value if kind == "fastscan" else 0))
        law = "chunks x lists x dim, and chunks x dim for the codes"
        self._add("time", "index: adding every chunk", added, law, self._is_measured("assign_s"))

    def epoch(self, model: Model, train: int) -> None:
        """An epoch at the rate measured, or at the one that was named."""
        name: UnitName = "mamba_s_window_s" if model == "mamba_s" else "amn_window_s"
        rate = self._request.windows_per_s or 1 / self._units.unit(name).value
        device = "1 device" if self._request.windows_per_s else "1 thread"
        what = f"an epoch of {model} on {device}, {rate:,.0f} windows/s"
        is_measured = self._is_measured(name) and self._request.windows_per_s is None
        self._add("time", what, train / rate, "training windows / rate", is_measured)

    def _is_measured(self, name: UnitName) -> bool:
        unit = self._units.unit(name)
        return self._request.dim == self._units.dim and unit.low <= self._request.chunks <= unit.high

    def _add(self, group: Group, what: str, value: float, law: str, is_measured: bool) -> None:
        source: Source = "measured" if is_measured else "extrapolated"
        self.found.append(Figure(group=group, what=what, value=value, source=source, law=law))
