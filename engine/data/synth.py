"""Planted scenarios: corpora made of numbers alone, whose outcome is known before anything is trained on them.

Chunk i of article j is

    x_ji = normalise(m g + p t_j + q B z_ji + s e_ji)

with g one unit vector for the whole corpus, t_j the article's topic, B an orthonormal basis of a small subspace, z_ji a
unit walk within it, z' = normalise(rho R z + sqrt(1 - rho^2) xi) with one rotation R for all articles, and e_ji noise
of unit length. A context tells g and t_j by its mean, and z by its last chunks; the noise nobody can predict. So the
weights m, p, q, s decide what a predictor can reach at best, and what is left over for ranking.

Legend: A articles, C chunks an article, N = A * C chunks, D vector width, K walk dimensions, P topic groups.
"""

from __future__ import annotations

import io
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from engine.data.corpus import Corpus, FloatArray
from engine.data.importers import import_corpus
from engine.data.windows import CorpusWindows
from engine.run.convert import ConfigError, suggestion
from engine.run.files import write_atomically

PROVENANCE = "synthetic"
"""Every generated corpus's embedder begins with it; preset and seed follow, because two of them share no directions."""

_Weight = Annotated[float, Meta(ge=0.0)]
_Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Scenario(Struct, frozen=True, kw_only=True):
    """What is planted. Weights are relative: every chunk is normalised."""

    name: str
    common: _Weight = 0.0
    """m: of the direction that all chunks share."""
    topic: _Weight
    """p: of the article's own direction. Its context gives it away, so it lifts cosines; it cannot tell the article's
    chunks apart, so it does not lift the rank of the right one."""
    walk: _Weight
    """q: of the state that moves from chunk to chunk."""
    noise: _Weight
    """s: of what cannot be predicted."""
    walk_dim: Annotated[int, Meta(ge=2)] = 12
    """K: dimensions of the walk."""
    persistence: _Share = 0.95
    """rho: how far a state decides the next one; 1 for wholly, 0 for not at all."""
    cycle: Annotated[int, Meta(ge=0)] = 0
    """If not 0, an article repeats this many states of its own, drawn anew for each article, instead of walking."""
    topic_groups: Annotated[int, Meta(ge=0)] = 0
    """P: topics are drawn around this many centres, which the articles take in turn; 0 gives each article its own."""
    topic_spread: _Weight = 0.0
    """Distance of an article's topic from its group's centre, before it is normalised."""
    num_articles: Annotated[int, Meta(ge=1)] = 200
    """A."""
    num_chunks: Annotated[int, Meta(ge=2)] = 40
    """C: of each article."""
    dim: Annotated[int, Meta(ge=2)] = 768
    """D; at least `walk_dim`."""

    def __post_init__(self) -> None:
        if self.walk_dim > self.dim:
            raise ValueError(f"walk_dim {self.walk_dim} is more than dim {self.dim}: B could not be orthonormal")
        if self.common + self.topic + self.walk + self.noise <= 0:
            raise ValueError("common, topic, walk and noise are all 0: the chunks would have no direction")

    @property
    def ceiling(self) -> float:
        """The mean cosine of the best predictor that never saw the article: it knows g, t_j, R, B and the last state.

        Of a cycle that is longer than its context it cannot know the next state, which is in no chunk it has read.
        """
        return self._reached(0.0 if self.cycle else self.persistence)

    @property
    def memorised_ceiling(self) -> float:
        """The same for one that has learned an article's cycle by heart; of a walk there is nothing to learn so."""
        return self._reached(1.0) if self.cycle else self.ceiling

    def _reached(self, known_of_walk: float) -> float:
        """Cosine of a prediction m g + p t + q known B z with its target; all directions taken as orthogonal."""
        fixed = self.common**2 + self.topic**2
        return math.sqrt((fixed + (self.walk * known_of_walk) ** 2) / (fixed + self.walk**2 + self.noise**2))


PASSES = Scenario(name="passes", topic=0.45, walk=0.55, noise=0.62, persistence=0.98)
"""Healthy: a plain model passes the gate of 0.50 at epoch 2, and retrieval finds nearly every truth."""

MISS = Scenario(name="miss", topic=0.35, walk=0.45, noise=0.80, persistence=0.95)
"""Misses the gate narrowly though its ceiling, .56, lies above: the case that triage is for. Retrieval is fine."""

HOPELESS = Scenario(name="hopeless", topic=0.30, walk=0.30, noise=0.90, persistence=0.90)
"""Its ceiling, .41, lies below the gate: no model and no fix can pass, and the triage should say so."""

COS_ONLY = Scenario(name="cos_only", topic=0.75, walk=0.04, noise=0.62, persistence=0.95)
"""The topic is nearly all there is: cosine passes, the truth is among the top 50 with its whole article, and the rank
within the article is luck."""

EFF_MISS = Scenario(
    name="eff_miss", topic=0.60, walk=0.14, noise=0.60, persistence=0.95, topic_groups=10, topic_spread=0.2
)
"""Articles of a topic are nearly alike but for their walk: in few steps (two epochs in batches of 256) a model learns
enough for Contain@50 and R@5, not for Eff@5."""

COLLAPSE = Scenario(name="collapse", common=0.60, topic=0.0, walk=0.0, noise=0.80, topic_groups=1)
"""One shared direction and noise: predicting it for every context passes the gate and finds nothing."""

LEAK = Scenario(
    name="leak",
    topic=0.42,
    walk=0.75,
    noise=0.45,
    walk_dim=48,
    cycle=6,
    num_articles=50,
    num_chunks=160,
)
"""Each article repeats 6 states of its own. Split by window, every validation window has its copies in training, and
learning them by heart passes the gate; of an article never seen, a context of 5 lacks the state that follows."""

PRESETS = {scenario.name: scenario for scenario in (PASSES, MISS, HOPELESS, COS_ONLY, EFF_MISS, COLLAPSE, LEAK)}


@dataclass(frozen=True, slots=True)
class Planted:
    """A scenario's vectors, and what could be known of each before it was drawn."""

    vectors: FloatArray
    """(A, C, D) float32 unit vectors."""
    predictable: FloatArray
    """(A, C, D) float32 unit vectors: the best prediction of each chunk from the states before it. Of an article's
    first chunk, and of a cycle's next state, that is common direction and topic; zero where there is neither."""


def find_preset(name: str) -> Scenario:
    """The preset of that name.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    if name not in PRESETS:
        raise ConfigError(f'--preset: there is no "{name}".{suggestion(name, PRESETS)}')
    return PRESETS[name]


def plant(scenario: Scenario, seed: int = 0) -> Planted:
    """Draw a scenario's vectors; equal scenarios and seeds give equal vectors."""
    generator = np.random.default_rng(seed)
    # What all articles share is drawn first: how many articles follow does not change the space they live in.
    common = _directions(generator, scenario.dim)
    centres = _directions(generator, scenario.topic_groups, scenario.dim)
    basis = _orthonormal(generator, scenario.dim, scenario.walk_dim)
    rotation = _orthonormal(generator, scenario.walk_dim, scenario.walk_dim)
    topics = _directions(generator, scenario.num_articles, scenario.dim)
    if scenario.topic_groups:
        topics = _unit64(centres[_groups(scenario)] + scenario.topic_spread * topics)
    states, foreseen = _draw_states(generator, scenario, rotation)
    noise = _directions(generator, scenario.num_articles, scenario.num_chunks, scenario.dim)
    fixed = (scenario.common * common + scenario.topic * topics)[:, None]
    return Planted(
        vectors=_unit(fixed + scenario.walk * states @ basis.T + scenario.noise * noise),
        predictable=_unit(fixed + scenario.walk * foreseen @ basis.T),
    )


def write_scenario(scenario: Scenario, out: Path, seed: int = 0, shard_rows: int | None = None) -> Corpus:
    """Make a corpus folder of a scenario; equal scenarios and seeds give files of equal sha256.

    Args:
        scenario: what to plant.
        out: the folder to make; it must not exist.
        seed: 0 or more.
        shard_rows: see `import_corpus`.

    Raises:
        ConfigError: `out` exists.
    """
    vectors = plant(scenario, seed).vectors
    with tempfile.TemporaryDirectory() as folder:
        vectors_file, articles_file = Path(folder, "vectors.npy"), Path(folder, "articles.jsonl")
        # Half the bytes of float32, and a cosine moves by at most 2.4e-7.
        np.save(vectors_file, vectors.reshape(-1, scenario.dim).astype(np.float16))
        articles_file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in _describe_articles(scenario)))
        return import_corpus(
            vectors_file,
            articles_file,
            out,
            embedder=f"{PROVENANCE}/{scenario.name}/seed-{seed}",
            name=scenario.name,
            source=f"Generated by lvm-engine data synth --preset {scenario.name} --seed {seed}; no text was embedded.",
            licence="CC0-1.0",
            shard_rows=shard_rows,
        )


def write_windows(corpus: Corpus, out: Path, context: int) -> int:
    """Write a corpus's windows out as the playbook's file has them: overlapping, and without a word on articles.

    Such a file can only be split by window, which is how the `leak` scenario came about.

    Args:
        corpus: whose windows.
        out: the .npz file to make, with `context_sequences` (W, L, D) and `target_vectors` (W, D) in float16; it must
            not exist.
        context: L.

    Returns:
        W, how many windows were written.

    Raises:
        ConfigError: `out` exists, or articles are too short for the context.
    """
    if out.exists():
        raise ConfigError(f"--npz: {out} exists, and is never overwritten. Name another file.")
    windows = CorpusWindows(corpus, context)
    contexts, targets = windows.gather(np.arange(windows.num_windows))
    out.parent.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    np.savez(written, context_sequences=contexts.astype(np.float16), target_vectors=targets.astype(np.float16))
    write_atomically(out, written.getvalue())
    return windows.num_windows


def _draw_states(
    generator: np.random.Generator, scenario: Scenario, rotation: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The states z, and of each what its predecessor tells: (A, C, K) each; `rotation` is R, (K, K)."""
    shape = (scenario.num_articles, scenario.num_chunks, scenario.walk_dim)
    foreseen = np.zeros(shape)
    if scenario.cycle:
        cycles = _directions(generator, scenario.num_articles, scenario.cycle, scenario.walk_dim)
        return cycles[:, np.arange(scenario.num_chunks) % scenario.cycle], foreseen
    surprise = math.sqrt(1 - scenario.persistence**2)
    states = _directions(generator, *shape)
    for chunk in range(1, scenario.num_chunks):  # what was drawn as a state of its own becomes the step's surprise
        foreseen[:, chunk] = scenario.persistence * states[:, chunk - 1] @ rotation.T
        states[:, chunk] = _unit64(foreseen[:, chunk] + surprise * states[:, chunk])
    return states, foreseen


def _describe_articles(scenario: Scenario) -> list[dict[str, Any]]:  # Any: of strings and lists of strings
    """Lines of articles.jsonl, with texts that tell what is known of a chunk."""
    groups = _groups(scenario)
    lines = []
    for article in range(scenario.num_articles):
        title = f"Made-up article {article:03}"
        chunks = [f"{title}, chunk {chunk:03}{_state_name(scenario, chunk)}." for chunk in range(scenario.num_chunks)]
        lines.append({"title": title, "topic": f"topic {groups[article]:03}", "chunks": chunks})
    return lines


def _state_name(scenario: Scenario, chunk: int) -> str:
    return f", state {chunk % scenario.cycle + 1} of {scenario.cycle}" if scenario.cycle else ""


def _groups(scenario: Scenario) -> npt.NDArray[np.int64]:
    """(A,) topic group of each article."""
    return np.arange(scenario.num_articles) % (scenario.topic_groups or scenario.num_articles)


def _orthonormal(generator: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """(rows, columns) with orthonormal columns; rows >= columns."""
    return np.asarray(np.linalg.qr(generator.normal(size=(rows, columns)))[0])


def _directions(generator: np.random.Generator, *shape: int) -> npt.NDArray[np.float64]:
    """Unit vectors, uniform over all directions; the last axis is theirs."""
    return _unit64(generator.normal(size=shape))


def _unit64(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each divided by its length; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def _unit(vectors: npt.NDArray[np.float64]) -> FloatArray:
    return _unit64(vectors).astype(np.float32)
