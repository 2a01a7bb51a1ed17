"""The index of lines and the search in it, against plain splitting, however the file is written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.run.secrets import secrets_hider
from tui.widgets.line_index import CHUNK, LINE_LIMIT, Change, LineIndex
from tui.widgets.line_search import LineSearch, next_trouble
from tui.widgets.log_line import byte_size, kind_of, shown
from tui.widgets.log_paint import cut
from tui.widgets.log_rows import LogRows


def plain_lines(data: bytes) -> list[bytes]:
    """Splitting at newlines; what follows the last one is a line if it is not empty."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read_all(index: LineIndex) -> list[bytes]:
    return [index.line(number).data for number in range(len(index))]


def take_in(index: LineIndex, budget: int = CHUNK) -> Change:
    first = index.poll(budget)
    while index.behind:
        index.poll(budget)
    return first


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


content = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"\xff", b"\x00", b"ERROR", b"\n\n"]), max_size=12).map(
    b"".join
)


@given(st.lists(st.tuples(st.sampled_from(["append", "truncate", "replace"]), content), max_size=8))
def test_the_index_agrees_with_splitting_under_appends_truncations_and_rotations(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "output.log"
    index = LineIndex(path)
    data = b""
    for what, piece in steps:
        if what == "append":
            data += piece
            with path.open("ab") as file:
                file.write(piece)
        elif what == "truncate":
            data = piece[: max(len(data) - 1, 0)]
            path.touch()
            os.truncate(path, 0)
            take_in(index)
            path.write_bytes(data)
        else:
            data = piece
            other = path.with_suffix(".new")
            other.write_bytes(data)
            other.rename(path)
        take_in(index)
        assert read_all(index) == plain_lines(data)
    index.close()


@given(content, st.text(st.sampled_from("abcER\n"), min_size=1, max_size=3), st.integers(0, 30))
def test_a_search_agrees_with_looking_at_every_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, text: str, cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "output.log"
    path.write_bytes(data[:cut])
    index = LineIndex(path)
    take_in(index)
    search = LineSearch(index, text)
    search.advance()
    with path.open("ab") as file:
        file.write(data[cut:])
    take_in(index)
    search.advance()
    wanted = text.encode()
    lines = [line.lower() if text == text.lower() else line for line in plain_lines(data)]
    assert list(search.lines) == [number for number, line in enumerate(lines) if wanted in line]
    index.close()


@given(content, st.text(st.sampled_from("abcER\n"), min_size=1, max_size=3), st.integers(0, 30))
def test_what_is_not_shown_is_not_found_however_the_file_grew(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, text: str, cut: int
) -> None:
    def hide(shown: str) -> str:
        return shown.replace("ab", "[E]")

    path = tmp_path_factory.mktemp("log") / "output.log"
    path.write_bytes(data[:cut])
    index = LineIndex(path)
    take_in(index)
    search = LineSearch(index, text, hide)
    search.advance()
    with path.open("ab") as file:
        file.write(data[cut:])
    take_in(index)
    search.advance()
    shown = [hide(line.decode("utf-8", "surrogateescape")) for line in plain_lines(data)]
    ignores_case = text == text.lower()
    wanted = [number for number, line in enumerate(shown) if text in (line.lower() if ignores_case else line)]
    assert list(search.lines) == wanted
    index.close()


def test_a_secret_at_the_edge_of_a_chunk_is_not_found(log: Path) -> None:
    lines = [b"x" * number + b" canary-6f1d0c was refused" for number in range(900)]
    log.write_bytes(b"\n".join(lines) + b"\n")
    assert log.stat().st_size > CHUNK
    index = LineIndex(log)
    take_in(index)
    for text, num_found in (("canary", 0), ("6f1d0c", 0), ("[hidden]", 900), ("refused", 900)):
        search = LineSearch(index, text, secrets_hider({"HF_TOKEN": "canary-6f1d0c"}))
        search.advance()
        assert len(search.lines) == num_found, text
    index.close()


def test_a_secret_of_several_lines_is_hidden_line_by_line_and_moves_no_line(log: Path) -> None:
    key = "-----BEGIN KEY-----\nQ2FuYXJ5LW9mLWEta2V5\nbW9yZS1vZi10aGUta2V5\n-----END KEY-----\n"
    log.write_text(f"before\n{key}the needle\n")
    index = LineIndex(log)
    take_in(index)
    hide = secrets_hider({"SSH_PRIVATE_KEY": key})
    for text, found in (("needle", [5]), ("canary", []), ("Q2Fu", []), ("[hidden]", [1, 2, 3, 4])):
        search = LineSearch(index, text, hide)
        search.advance()
        assert list(search.lines) == found, text
    assert hide("line 2: Q2FuYXJ5LW9mLWEta2V5") == "line 2: [hidden]"
    index.close()


def test_matches_across_the_edges_of_chunks_are_found(log: Path) -> None:
    lines = [b"x" * 997 + b"needle" * (number % 3 == 0) for number in range(2000)]
    log.write_bytes(b"\n".join(lines))
    index = LineIndex(log)
    take_in(index)
    search = LineSearch(index, "needle")
    search.advance()
    assert list(search.lines) == [number for number, line in enumerate(lines) if b"needle" in line]
    index.close()


def test_half_a_line_is_a_line_that_grows(log: Path) -> None:
    log.write_bytes(b"one\nha")
    index = LineIndex(log)
    assert take_in(index) is Change.GREW
    assert read_all(index) == [b"one", b"ha"]
    with log.open("ab") as file:
        file.write(b"lf\n")
    assert take_in(index) is Change.GREW
    assert read_all(index) == [b"one", b"half"]
    assert take_in(index) is Change.NONE
    index.close()


def test_a_budget_is_kept_and_what_is_left_is_known(log: Path) -> None:
    log.write_bytes(b"line\n" * CHUNK)
    index = LineIndex(log)
    index.poll(1)
    assert index.behind
    assert index.size == CHUNK
    take_in(index)
    assert len(index) == CHUNK
    index.close()


def test_a_file_rewritten_in_place_to_a_greater_length_is_noticed(log: Path) -> None:
    log.write_bytes(b"old 1\nold 2\n")
    index = LineIndex(log)
    take_in(index)
    log.write_bytes(b"quite another\ncontent\nof greater length\n")
    assert take_in(index) is Change.REPLACED
    assert read_all(index) == [b"quite another", b"content", b"of greater length"]
    index.close()


def test_a_missing_file_may_come_and_a_removed_one_stays_readable(log: Path) -> None:
    index = LineIndex(log)
    take_in(index)
    assert index.problem.endswith("does not exist yet")
    log.write_bytes(b"one\n")
    take_in(index)
    assert index.problem == ""
    log.unlink()
    take_in(index)
    assert index.problem.endswith("does not exist any more")
    assert read_all(index) == [b"one"]
    index.close()


def test_what_is_not_a_regular_file_is_not_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        index = LineIndex(path)
        take_in(index)
        assert index.problem == f"{path} is not a regular file"
        assert len(index) == 0


def test_a_log_that_becomes_a_directory_is_let_go(log: Path) -> None:
    log.write_bytes(b"one\n")
    index = LineIndex(log)
    take_in(index)
    log.unlink()
    log.mkdir()
    assert take_in(index) is Change.REPLACED
    assert len(index) == 0


def test_a_line_of_fifty_megabytes_is_cut_with_a_mark(log: Path) -> None:
    with log.open("wb") as file:
        file.write(b"before\nstart of ")
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\nafter\n")
    index = LineIndex(log)
    take_in(index)
    line = shown(index.line(1))
    assert len(index) == 3
    assert len(line.text) == LINE_LIMIT
    assert line.text.startswith("start of xxx")
    assert line.note == " [cut: 50.0 MB in this line]"
    index.close()


def test_a_progress_bar_shows_its_last_state_however_long_it_ran(log: Path) -> None:
    log.write_bytes(b"".join(b"\r%6d of 100000 steps" % step for step in range(100_000)))
    index = LineIndex(log)
    take_in(index)
    line = shown(index.line(0))
    assert (line.text, line.note) == (" 99999 of 100000 steps", "")
    index.close()


def test_a_line_that_is_not_there_is_an_error(log: Path) -> None:
    index = LineIndex(log)
    for number in (-1, 0):
        with pytest.raises(IndexError):
            index.line(number)


def test_trouble_is_found_below_a_line_and_not_in_ordinary_ones(log: Path) -> None:
    lines = ["[INFO] 0 errors so far", "WARNING: low disk", "ok", "Traceback (most recent call last):", "ok"]
    log.write_text("\n".join(lines) + "\n" + "ok\n" * CHUNK + "ValueError: bad\n")
    index = LineIndex(log)
    take_in(index)
    found = [next_trouble(index, number) for number in (-1, 0, 1, 2, 3, CHUNK + 5)]
    assert found == [1, 1, 3, 3, CHUNK + 5, None]
    index.close()


def test_matches_go_round_and_say_so(log: Path) -> None:
    log.write_text("hit\nmiss\nhit\n")
    rows = LogRows(log, "hit")
    rows.poll(CHUNK)
    assert rows.next_match(0, 1) == (2, False)
    assert rows.next_match(2, 1) == (0, True)
    assert rows.next_match(0, -1) == (2, True)
    assert rows.find("nowhere") == 0
    assert rows.next_match(0, 1) is None
    rows.index.close()


def test_filtered_rows_are_the_matching_lines(log: Path) -> None:
    log.write_text("hit 1\nmiss\nhit 2\n")
    rows = LogRows(log, "hit")
    rows.filtering = True
    rows.poll(CHUNK)
    assert [rows.number_at(row) for row in range(-1, 3)] == [None, 0, 2, None]
    assert rows.row_of(1) == 1
    with log.open("a") as file:
        file.write("hit 3\n")
    rows.poll(CHUNK)
    assert rows.num_rows == 3
    rows.index.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[GATE] val_cosine@2 missed, ERROR", "gate"),
        ("[EVAL] Contain@20=0.620", "eval"),
        ("2024 ERROR no space left", "error"),
        ("torch.OutOfMemoryError: tried", "error"),
        ("UserWarning: deprecated", "warning"),
        ("[INFO] val_error=0.1 0 errors", ""),
    ],
)
def test_a_line_is_of_the_kind_that_its_words_say(text: str, kind: str) -> None:
    assert kind_of(text) == kind


@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=2))
def test_highlighting_takes_nothing_away(text: str, wanted: str) -> None:
    spans = list(LineSearch(LineIndex(Path("unused")), wanted).spans(text))
    pieces = [(piece, is_match) for piece, is_match, _ in cut(text, spans, ())]
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, is_match in pieces if is_match] == [wanted] * text.count(wanted)


def test_sizes_are_written_for_people() -> None:
    assert [byte_size(n) for n in (0, 999, 8192, 50_000_000, 3 * 10**15)] == [
        "0 bytes",
        "999 bytes",
        "8.2 kB",
        "50.0 MB",
        "3000.0 TB",
    ]
