"""`lvm-engine data`: describe, verify, import and generate corpora."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig

if TYPE_CHECKING:
    from engine.data.corpus import Corpus

DEFAULTS = DataConfig()
_shard_rows = click.option(
    "--shard-rows", type=click.IntRange(1), help="Write shards of at most this many chunks; an article is never cut."
)
_corpus = click.argument("corpus", default=DEFAULTS.corpus)


@click.group("data")
def command() -> None:
    """Describe, verify, import and generate corpora. CORPUS is a folder or embedded:NAME."""


@command.command()
@_corpus
@click.option("--context", type=click.IntRange(1), default=DEFAULTS.context, show_default=True, help="Chunks a window.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@user_errors
def describe(corpus: str, context: int, as_json: bool) -> None:
    """Say what a corpus holds and how it would be split."""
    from engine.data.split import split_windows
    from engine.data.windows import CorpusWindows

    opened = _open(corpus)
    windows = CorpusWindows(opened, context)
    split = split_windows(
        windows, val_share=DEFAULTS.val_share, test_share=DEFAULTS.test_share, seed=DEFAULTS.split_seed
    )
    facts: dict[str, object] = {
        "folder": str(opened.folder),
        **{
            key: value
            for key, value in msgspec.to_builtins(opened.manifest).items()
            if key not in ("schema", "files") and value != ""
        },
        "sha256": opened.sha256,
        "parts": len(opened.parts),
        "topics": opened.topics,
        "context": context,
        "windows": windows.num_windows,
        "train_windows": len(split.train),
        "val_windows": len(split.val),
        "test_windows": len(split.test),
    }
    if as_json:
        click.echo(msgspec.json.encode(facts))
        return
    for key, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{key.replace('_', ' '):14} {shown}")


@command.command()
@_corpus
@user_errors
def verify(corpus: str) -> int:
    """Hold every byte of a corpus against its manifest; exit code 1 if something is not as recorded."""
    from engine.data.corpus import open_corpus, verify_corpus

    folder = _folder(corpus)
    try:
        opened = open_corpus(folder)
        verify_corpus(opened)
    except ConfigError as error:
        click.echo(f"failed: {error}", err=True)
        return 1
    click.echo(
        f"{folder}: {len(opened.manifest.files)} files have their recorded sha256; all {opened.num_chunks:,} vectors "
        f"of {opened.dim} dimensions are finite and not zero."
    )
    return 0


@command.command("import")
@click.option(
    "--vectors",
    type=click.Path(path_type=Path),
    multiple=True,
    help=".npy, .npz or .parquet of chunk vectors, or a folder of such files. Can be repeated.",
)
@click.option(
    "--articles",
    type=click.Path(path_type=Path),
    multiple=True,
    help=".jsonl, .jsonl.gz or .parquet of their texts, or a folder of such files. Can be repeated.",
)
@click.option("--payload", type=click.Path(path_type=Path), help="The playbook's .npy instead: a pickled dict.")
@click.option("--trust-pickle", is_flag=True, help="Open it; only arrays, dicts, lists, texts and numbers get through.")
@click.option("--embedder", required=True, help="Id of the encoder that made the vectors.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The corpus folder to make.")
@click.option("--name", default="", help="Name of the corpus; the folder's by default.")
@click.option("--source", default="", help="Where the texts come from.")
@click.option("--licence", default="", help="Licence of the texts.")
@_shard_rows
@user_errors
def import_(
    vectors: tuple[Path, ...],
    articles: tuple[Path, ...],
    payload: Path | None,
    trust_pickle: bool,
    embedder: str,
    out: Path,
    name: str,
    source: str,
    licence: str,
    shard_rows: int | None,
) -> None:
    """Make a corpus folder of chunk vectors and their articles.

    A line of the articles is {"title": ..., "topic": ..., "chunks": [text, ...]}, or {"title": ..., "text": ...,
    "topic": ...} of one chunk; a Parquet file has these columns, and may have the vectors as another (`embedding`).
    Row i of the vectors is chunk i, counted through the articles in order. Several files count as one; those of a
    folder are taken in the order of their names, part-2 before part-10.

    \b
    Examples:
      lvm-engine data import --vectors v.npy --articles articles.jsonl --embedder all-mpnet-base-v2 --out mine
      lvm-engine data import --vectors t.parquet --articles t.parquet --embedder all-mpnet-base-v2 --out mine
      lvm-engine data import --vectors v/ --articles a/ --embedder all-mpnet-base-v2 --shard-rows 1000000 --out mine
    """
    from engine.data.importers import import_corpus
    from engine.data.payload_corpus import import_payload

    if payload and (vectors or articles or name or source or licence or shard_rows):
        raise ConfigError("--payload: holds vectors and texts itself. Leave the other options out but --embedder.")
    if payload:
        made = import_payload(payload, out, trusted=trust_pickle, embedder=embedder)
    elif vectors and articles:
        made = import_corpus(
            vectors,
            articles,
            out,
            embedder=embedder,
            name=name,
            source=source,
            licence=licence,
            shard_rows=shard_rows,
        )
    else:
        raise ConfigError("import needs --vectors and --articles, or the playbook's --payload.")
    click.echo(
        f"{made.folder}: {made.num_chunks:,} chunks of {len(made.titles):,} articles, {made.dim} dimensions, "
        f"{made.manifest.dtype}, norm {made.manifest.norm}{_in_shards(made)}"
    )


@command.command()
@click.option("--preset", required=True, metavar="NAME", help="Which one, of those above.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The corpus folder to make.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Equal seeds, equal files.")
@click.option("--npz", type=click.Path(path_type=Path), help="Also write its windows out, without article ids.")
@_shard_rows
@user_errors
def synth(preset: str, out: Path, seed: int, npz: Path | None, shard_rows: int | None) -> None:
    """Make a corpus of numbers alone, whose outcome is known beforehand: to try the gates and the triage on.

    \b
    passes     a plain model passes the gate
    miss       misses the gate narrowly; its ceiling lies above
    hopeless   the ceiling lies below the gate: no fix can pass
    cos_only   cosine passes, ranking does not
    eff_miss   Contain@50 and R@5 pass, Eff@5 does not
    collapse   cosine passes with one answer for everything
    leak       learned by heart where it is split by window
    """
    from engine.data.synth import find_preset, write_scenario, write_windows

    scenario = find_preset(preset)
    if npz and npz.exists():
        raise ConfigError(f"--npz: {npz} exists, and is never overwritten. Name another file.")
    made = write_scenario(scenario, out, seed, shard_rows)
    click.echo(
        f"{made.folder}: {made.num_chunks:,} chunks of {len(made.titles):,} articles, {made.dim} dimensions, "
        f"{made.manifest.embedder}; the best possible val_cosine on unseen articles is about {scenario.ceiling:.2f}"
        f"{_in_shards(made)}"
    )
    if npz:
        num_windows = write_windows(made, npz, DEFAULTS.context)
        click.echo(f"{npz}: {num_windows:,} windows of {DEFAULTS.context} chunks and a target, no articles named")


def _in_shards(corpus: Corpus) -> str:
    return f", in {len(corpus.parts):,} shards" if len(corpus.parts) > 1 else ""


def _folder(corpus: str) -> Path:
    from engine.run.runs_file import corpus_folder

    return corpus_folder(DataConfig(corpus=corpus), Path.cwd())


def _open(corpus: str) -> Corpus:
    from engine.data.corpus import open_corpus

    return open_corpus(_folder(corpus))
