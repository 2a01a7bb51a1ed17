"""What a person writes on a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from recorded import MAMBA_HISTORY, make_spec, make_view, run_events, write_run

from engine.run.convert import ConfigError
from engine.run.state import Status
from tui.control.labels import MAX_NOTE, archive, tags_of, write_note
from tui.control.report import age
from tui.control.watcher import Watcher


def test_a_note_is_seen_by_whoever_watches_also_on_a_run_that_has_settled(watcher: Watcher) -> None:
    view = watcher.views["mamba_s-0001"]
    assert not watcher.poll()
    before = view.version
    assert write_note(view.directory, "too  hot #keep\n#Debug #keep") == "too hot #keep #Debug #keep"
    assert watcher.poll()
    assert view.note == "too hot #keep #Debug #keep"
    assert view.tags == ("keep", "debug")
    assert view.version > before
    write_note(view.directory, " ")
    assert watcher.poll()
    assert (view.note, view.tags) == ("", ())
    assert not view.directory.note_file.exists()


def test_a_note_leaves_nothing_beside_it_and_is_for_its_owner_alone(recorded_runs: Path, watcher: Watcher) -> None:
    run = watcher.views["mamba_s-0001"].directory
    before = set(os.listdir(run.path))
    write_note(run, "first")
    write_note(run, "second")
    assert set(os.listdir(run.path)) - before == {"note.txt"}
    assert run.note_file.stat().st_mode & 0o777 == 0o600
    assert run.note_file.read_text() == "second\n"


def test_a_note_written_by_others_is_one_short_line(watcher: Watcher) -> None:
    view = watcher.views["mamba_s-0001"]
    view.directory.note_file.write_bytes(b"[b]\xff\n\r\n line two " + b"x" * 1000)
    watcher.poll()
    assert view.note.startswith("[b]\ufffd line two xxx")
    assert len(view.note) == MAX_NOTE


def test_a_note_that_is_no_note_is_none(watcher: Watcher) -> None:
    view = watcher.views["mamba_s-0001"]
    os.mkfifo(view.directory.note_file)
    watcher.poll()
    assert view.note == ""


def test_a_note_that_is_too_long_is_refused_and_the_old_one_stays(watcher: Watcher) -> None:
    run = watcher.views["mamba_s-0001"].directory
    write_note(run, "x" * MAX_NOTE)
    with pytest.raises(ConfigError, match="at most 400 characters, this one 401"):
        write_note(run, "y" * (MAX_NOTE + 1))
    assert run.note_file.read_text() == "x" * MAX_NOTE + "\n"


def test_tags_are_the_words_that_begin_with_a_hash() -> None:
    assert tags_of("#a b#c #d-1.2 # #,x ##e #Ä") == ("a", "d-1.2", "ä")


def test_an_archived_run_is_put_away_and_comes_back_whole(watcher: Watcher) -> None:
    view = watcher.views["mamba_s-0001"]
    before = sorted(os.listdir(view.directory.path))
    archive(view)
    watcher.poll()
    assert view.is_put_away
    archive(view, away=False)
    watcher.poll()
    assert not view.is_put_away
    assert sorted(os.listdir(view.directory.path)) == before


def test_a_run_that_is_alive_is_not_put_away(tmp_path: Path) -> None:
    spec = make_spec()
    events = run_events(spec, MAMBA_HISTORY)
    run = write_run(tmp_path, spec, events)
    alive = make_view(spec, events, runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="is running: it can be archived once it has ended"):
        archive(alive)
    assert not run.archived_file.exists()
    archive(make_view(spec, events, runs_dir=tmp_path, status=Status.LOST))
    alive.archived = run.archived_file.exists()
    assert alive.archived
    assert not alive.is_put_away, "it trains again, so that somebody should see it"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (59, "now"),
        (60, "1m"),
        (3599, "59m"),
        (7200, "2h"),
        (86_400, "1d"),
        (729 * 86_400, "729d"),
        (730 * 86_400, "2y"),
    ],
)
def test_an_age_is_one_number_and_its_unit(seconds: float | None, said: str) -> None:
    assert age(seconds) == said
