"""`lvm-tui`: opens the room, or acts without it, through the same code.

stdout is data, stderr is narration. Exit codes: 0 done, 1 a gate or check failed, 2 could not.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import find_run
from engine.run.secrets import without_secrets
from tui.completion import complete_evaluation, complete_fix, complete_run, complete_table, completion_command
from tui.control.launcher import wait_until_ended
from tui.control.launching.machine_doctor import locale_of
from tui.control.report import status_record, status_table
from tui.control.run_filter import parse_filter
from tui.examples import add_examples
from tui.place import open_place, place_options
from tui.text import clean
from tui.verbs_diagnose import diagnose_command
from tui.verbs_doctor import doctor_command
from tui.verbs_journal import journal_command
from tui.verbs_keys import keys_command
from tui.verbs_mend import mend_command
from tui.verbs_probe import probe_command
from tui.verbs_runs import archive_command, compare_command, note_command
from tui.verbs_scenarios import scenarios_command
from tui.verbs_serve import serve_command

if TYPE_CHECKING:
    from tui.control.preferences import Source


class _Group(click.Group):
    """Reports a user's mistake in one line, wherever it is found."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ConfigError, OSError) as error:
            fail(str(error))


def wants_ascii(environment: Mapping[str, str]) -> bool:
    """Whether the locale is set, and to one without Unicode. An unset one says nothing of the terminal."""
    locale = locale_of(environment)
    return bool(locale) and "utf" not in locale.lower()


def fail(message: str) -> NoReturn:
    """Say what is wrong on stderr and end with code 2."""
    click.echo(f"error: {clean(message)}", err=True)
    sys.exit(2)


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@place_options
@click.option("--readonly", is_flag=True, help="Watch only: no action can be taken.")
@click.option("--ascii", "plain", is_flag=True, help="Draw with ASCII only; so does LANG=C.")
@click.version_option(package_name="lvm-tui")
@click.pass_context
def main(ctx: click.Context, config: str | None, runs_dir: str | None, readonly: bool, plain: bool) -> None:
    """Open the control room. Training goes on when you leave it."""
    if ctx.invoked_subcommand is None:
        from tui.app import open_room
        from tui.outside import is_served

        # Textual draws on stderr
        if not (is_served() or (sys.stdin.isatty() and sys.stderr.isatty())):
            fail("the room needs a terminal; `lvm-tui status` and the other commands do not")
        place = open_place(config, runs_dir)
        by: Source = "command line" if plain else "locale"
        plain = plain or wants_ascii(os.environ)
        sys.exit(open_room(place.file, place.runs_dir, readonly=place.readonly, plain=plain, plain_by=by))


@main.command()
@place_options
@click.option("--filter", "wanted", default="", metavar="WORDS", help="Only these runs, as the list of runs has them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(config: str | None, runs_dir: str | None, wanted: str, as_json: bool) -> None:
    """Say what every run is doing; archived ones are left out unless the filter asks for them.

    Words of a filter stand for AND, | for OR, a leading - for NOT; a word is `key:value`, `setting<number`, or what
    the run's id, name or note holds.

    \b
    Examples:
      lvm-tui status --filter 'gate:missed loss.temperature<0.07 -note:debug | id:0007'
      lvm-tui status --filter is:archived
    """
    watcher = open_place(config, runs_dir).watcher(briefs=not as_json)
    known = list(watcher.views.values())
    views = parse_filter(wanted).of(known)
    if as_json:
        click.echo(msgspec.json.encode(status_record(views)))
    elif views:
        click.echo("\n".join(map(clean, status_table(views))))
    else:
        click.echo("no run is found by this" if known else "no runs yet: lvm-tui start NAME")
    hidden = sum(view.is_put_away for view in known) - sum(view.is_put_away for view in views)
    if hidden and not wanted:
        click.echo(f"{hidden} archived, left out: lvm-tui status --filter is:archived", err=True)
    for run_id, reason in watcher.unreadable.items():
        click.echo(f"warning: {clean(run_id)}: {clean(reason)}", err=True)


@main.command()
@place_options
@click.option("--override", default="", metavar="REASON", help="Train whatever the preflight finds; it is journaled.")
@click.argument("name", shell_complete=complete_table)
def start(config: str | None, runs_dir: str | None, name: str, override: str) -> None:
    """Start the run of the table [run.NAME]; prints its id."""
    click.echo(open_place(config, runs_dir).actions().start(name, override=clean(override).strip()).id)


@main.command()
@place_options
@click.option("--kill", "now", is_flag=True, help="End it now instead of at a step's end.")
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def stop(config: str | None, runs_dir: str | None, run_id: str, now: bool, wait: bool) -> None:
    """Ask a run to finish its step, save a checkpoint and end."""
    place = open_place(config, runs_dir)
    run = find_run(place.runs_dir, run_id)
    actions = place.actions()
    if now:
        actions.kill(run)
    else:
        actions.stop(run)
    if wait and not wait_until_ended(run, 120):
        fail(f"{run.id} has not ended after 120 s; use --kill")
    click.echo(f"{run.id} {'ended' if wait else 'is asked to end'}", err=True)


@main.command()
@place_options
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def resume(config: str | None, runs_dir: str | None, run_id: str) -> None:
    """Go on with a stopped, failed or lost run from its newest checkpoint."""
    place = open_place(config, runs_dir)
    run, _ = place.view(run_id)
    actions = place.actions()
    actions.check_resume(run)
    actions.resume(run.directory)
    click.echo(f"{run.id} goes on", err=True)


@main.command()
@place_options
@click.option(
    "--fix",
    type=int,
    metavar="N",
    shell_complete=complete_fix,
    help="Number of the fix; default: what the tree recommends.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and stop there.")
@click.option("--override", default="", metavar="REASON", help="Turn a locked knob; the reason goes into the journal.")
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def triage(
    config: str | None, runs_dir: str | None, run_id: str, fix: int | None, dry_run: bool, override: str
) -> None:
    """Restart a run with a fix of the ladder; prints the child's id."""
    place = open_place(config, runs_dir)
    run, views = place.view(run_id)
    actions = place.actions()
    plan = actions.plan_restart(run, views, fix=fix, override=clean(override))
    for line in [*plan.lines(), *actions.how_started(plan.config)]:
        click.echo(clean(line), err=not dry_run)
    if not dry_run:
        click.echo(actions.restart(plan).id)


@main.command("eval")
@place_options
@click.option(
    "--name", default="smoke", show_default=True, shell_complete=complete_evaluation, help="Which [eval.NAME] to run."
)
@click.option("--detach", is_flag=True, help="Do not wait for its end.")
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def evaluate(config: str | None, runs_dir: str | None, run_id: str, name: str, detach: bool) -> None:
    """Evaluate a run's best checkpoint; prints the engine's table. Exit 0 all gates passed, 1 a gate failed."""
    place = open_place(config, runs_dir)
    run, _ = place.view(run_id)
    job = place.actions().evaluate(run, name)
    if detach:
        click.echo(job.path.name.removesuffix(".job"))
        return
    while job.read_life().is_busy:
        time.sleep(0.05)
    click.echo(clean_lines(job.log_file), nl=False)
    ended = job.read_life().exit  # written before the lock was let go
    if ended is None:
        fail(f"{job.path.name}: its wrapper was killed, exit unknown")
    sys.exit(min(ended.code, 2))


@main.command("watch")
@place_options
@click.option("--until-idle", is_flag=True, help="End when no run is alive any more.")
@click.option(
    "--auto",
    "run_id",
    metavar="ID",
    shell_complete=complete_run,
    help="Walk the playbook for this run and its children, alone.",
)
def watch_runs(config: str | None, runs_dir: str | None, until_idle: bool, run_id: str | None) -> None:
    """Say what happens to the runs as it happens: gates, evaluations, ends, stalls. Ctrl+C ends it.

    Rings the terminal's bell, and runs the command of `[room] notify`. With --auto it takes the playbook's next step
    by itself, within the limits of `[autopilot]`, and journals each; a person's restart, undo, stop, kill or resume
    ends it, and so does its own end. Training goes on either way. One autopilot acts for a family: where a room (W) or
    another watch has one, this one is refused.
    """
    from tui.control.pilot_seat import PilotSeat
    from tui.notices import watch

    place = open_place(config, runs_dir)
    seat = None
    with suppress(KeyboardInterrupt):
        if run_id is not None:
            run, views = place.view(run_id)
            seat = PilotSeat(place.actions(), run, views, "lvm-tui watch --auto")
        watch(place.actions(), until_idle=until_idle, seat=seat)


@main.command("report")
@place_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for report.md and its chart.")
def write_report(config: str | None, runs_dir: str | None, out: Path) -> None:
    """Write a campaign down: runs, who came of whom, decisions with their evidence and what they brought."""
    from engine.run.files import write_atomically
    from tui.control.campaign import CHART, draw_campaign, write_campaign

    place = open_place(config, runs_dir)
    views = list(place.watcher().views.values())
    place.note_outcomes(views)
    if not views:
        raise ConfigError(f"{place.runs_dir}: there is no run to report on. Start one with `lvm-tui start NAME`.")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(out / CHART, draw_campaign(views).encode())
    text = write_campaign(views, place.actions().journal.records(), f"Runs of {clean(str(place.runs_dir))}")
    write_atomically(out / "report.md", text.encode())
    click.echo(out / "report.md")


@main.command()
@place_options
@click.option(
    "--speed", type=click.FloatRange(1, 10_000), default=60.0, show_default=True, help="60: an hour a minute."
)
@click.argument("recording", type=click.Path(path_type=Path), metavar="DIR")
def replay(config: str | None, runs_dir: str | None, recording: Path, speed: float) -> None:
    """Play a recorded run, or a folder of them, through the room. The recording is only read."""
    import tempfile
    import threading

    from tui.app import open_room
    from tui.control.replay import Replay, find_recordings

    place = open_place(config, runs_dir)
    with tempfile.TemporaryDirectory(prefix="lvm-replay-") as folder:
        player = Replay(find_recordings(recording.absolute()), Path(folder), speed)
        stopped = threading.Event()
        playing = threading.Thread(target=player.play, args=(stopped,))
        playing.start()
        try:
            code = open_room(place.file, Path(folder), readonly=True, plain=wants_ascii(os.environ), plain_by="locale")
        finally:
            stopped.set()
            playing.join()
    sys.exit(code)


def clean_lines(log: Path) -> str:
    """The last megabyte of a log, made safe for the terminal line by line, without the environment's secrets."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - (1 << 20)))
        data = file.read()
    # not splitlines: a carriage return redraws its line, of which `clean` keeps the last state
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return without_secrets("".join(clean(line) + "\n" for line in lines))


main.add_command(diagnose_command)
main.add_command(doctor_command)
main.add_command(keys_command)
main.add_command(journal_command)
main.add_command(mend_command)
main.add_command(probe_command)
main.add_command(note_command)
main.add_command(archive_command)
main.add_command(compare_command)
main.add_command(serve_command)
main.add_command(scenarios_command)
main.add_command(completion_command)
add_examples(main)
