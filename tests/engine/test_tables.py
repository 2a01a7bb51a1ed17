"""Tables of chunks, one row a chunk: the same corpus as the same articles one a line, or the row that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.corpus import Article, read_articles
from engine.data.importers import import_corpus
from engine.data.tables import ChunkRow, _grouped, read_any_articles, read_vector_column
from engine.run.convert import ConfigError
from tests.reference.small_corpus import walk, write_articles

LENGTHS = [7, 8, 9, 6]


def rows(tmp_path: Path) -> list[dict[str, str]]:
    """The articles of the small corpus, a row for each chunk."""
    articles = [*read_articles(write_articles(tmp_path / "a.jsonl.gz", LENGTHS))]
    return [
        {"title": article.title, "text": text, "topic": article.topic}
        for article in articles
        for text in article.chunks
    ]


def jsonl(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def parquet(path: Path, lines: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(lines), path, row_group_size=5)
    return path


def test_a_table_makes_the_same_corpus_as_articles_do(tmp_path: Path) -> None:
    vectors = walk(LENGTHS)
    np.save(tmp_path / "v.npy", vectors)
    lines = rows(tmp_path)
    with_vectors = [{**line, "embedding": row.tolist()} for line, row in zip(lines, vectors, strict=True)]
    table = parquet(tmp_path / "t.parquet", with_vectors)
    made = [
        import_corpus(tmp_path / "v.npy", tmp_path / "a.jsonl.gz", tmp_path / "one", embedder="e"),
        import_corpus(tmp_path / "v.npy", jsonl(tmp_path / "t.jsonl", lines), tmp_path / "two", embedder="e"),
        import_corpus(table, table, tmp_path / "three", embedder="e"),
    ]
    assert len({frozenset(corpus.manifest.files.items()) for corpus in made}) == 1, "to the byte"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text(max_size=5)), max_size=20))
def test_rows_that_stand_together_are_an_article_and_others_are_refused(given_rows: list[tuple[str, str]]) -> None:
    table = [ChunkRow(title, text) for title, text in given_rows]
    titles = [title for title, _ in given_rows]
    runs = [title for place, title in enumerate(titles) if place == 0 or titles[place - 1] != title]
    if len(set(runs)) != len(runs):
        with pytest.raises(ConfigError, match="Sort rows"):
            list(_grouped(table, Path("t")))
        return
    articles = list(_grouped(table, Path("t")))
    assert [article.title for article in articles] == runs
    assert [(article.title, text) for article in articles for text in article.chunks] == given_rows


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([{"titel": "a", "text": "b"}], 'did you mean "titel"'),
        ([{"title": "a", "text": None}, {"title": "a", "text": "b"}], "row 1"),
        ([{"title": "a", "text": 3}], "row 1"),
    ],
)
def test_a_parquet_file_that_is_no_table_of_chunks_is_refused(
    tmp_path: Path, table: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(ConfigError, match="(?i)" + words) as refused:
        list(read_any_articles(parquet(tmp_path / "t.parquet", table)))
    assert "t.parquet" in str(refused.value)


def test_a_line_that_is_no_chunk_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", [{"title": "a", "text": "b"}, {"title": "a"}])
    with pytest.raises(ConfigError, match=r"line 2.*Lines are chunks"):
        list(read_any_articles(path))
    assert list(read_any_articles(jsonl(tmp_path / "a.jsonl", [{"title": "a", "chunks": ["b"]}]))) == [
        Article("a", ["b"])
    ]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([{"vec": [1.0, 2.0]}], "embedding"),
        ([{"embedding": [1.0, 2.0]}, {"embedding": [1.0]}], "one length"),
        ([{"embedding": "words"}], "one length"),
    ],
)
def test_a_column_that_holds_no_vectors_is_refused(tmp_path: Path, table: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        list(read_vector_column(parquet(tmp_path / "t.parquet", table)))


def test_what_only_claims_to_be_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        list(read_any_articles(path))
