"""`lvm-tui serve`: the room in a browser of this machine."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from engine.run.convert import ConfigError
from tui.place import open_place, place_options


@click.command("serve")
@place_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; default: any free port.")
@click.option("--sessions", type=click.IntRange(1, 32), default=4, show_default=True, help="Rooms at a time.")
@click.option("--allow-actions", is_flag=True, help="Let whoever has the address start, restart and stop runs.")
def serve_command(config: str | None, runs_dir: str | None, port: int, sessions: int, allow_actions: bool) -> None:
    """Show the room in a browser of this machine; prints its address, which is a secret. Ctrl+C ends it.

    Listens on 127.0.0.1 only. From another machine, come through ssh: `ssh -L 8000:127.0.0.1:8000 HOST` with
    --port 8000. Read-only unless --allow-actions. Each page has a room of its own that ends with it; training goes
    on either way.
    """
    if find_spec("textual_serve") is None:
        raise ConfigError("serve needs textual-serve, which is not installed: pip install 'lvm-tui[web]'")
    from tui.control.preferences import load_personal, personal_file
    from tui.rebinding import checked_keys
    from tui.web import serve_rooms

    place = open_place(config, runs_dir)
    personal = load_personal(personal_file())  # refused here, where it can be read, rather than by each room
    checked_keys(personal.keys, f"{personal.path}, [keys]")
    argv = [sys.executable, "-P", "-m", "tui", "--config", place.file.path, "--runs-dir", str(place.runs_dir)]
    if place.readonly or not allow_actions:
        argv.append("--readonly")

    def tell(url: str) -> None:
        click.echo(url)
        click.echo(f"{'read-only' if '--readonly' in argv else 'with actions'}; Ctrl+C ends it", err=True)

    try:
        serve_rooms(argv, port, max_sessions=sessions, tell=tell)
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror}. Name another one, or none for any that is free.") from None
