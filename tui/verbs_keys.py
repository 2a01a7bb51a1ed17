"""`lvm-tui keys`: every key with its id, as the room would have it now; the ids are what `[keys]` rebinds."""

from __future__ import annotations

import click
import msgspec

from tui.text import clean


@click.command("keys")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def keys_command(as_json: bool) -> None:
    """List every key: its id, the key, what it does and where it is heard.

    Your own keys are in `lvm-tui/config.toml` of your configuration folder (`~/.config` unless XDG_CONFIG_HOME says
    otherwise), as `[keys]` with lines such as `"act.restart" = "ctrl+r"`.
    """
    from tui.control.preferences import load_personal, personal_file
    from tui.keymap import shown_key
    from tui.rebinding import checked_keys, place_name, usual_keys, with_keys

    personal = load_personal(personal_file())
    keys = checked_keys(personal.keys, f"{personal.path}, [keys]")
    rows = with_keys(usual_keys(), keys)
    if as_json:
        told = [
            {"id": row.id, "key": row.key, "what": row.what, "place": place_name(row), "rebound": row.id in keys}
            for row in rows
        ]
        click.echo(msgspec.json.encode({"schema": 1, "keys": told}))
        return
    cells = [(row.id, shown_key(row.key) + (" *" if row.id in keys else ""), row.what, place_name(row)) for row in rows]
    table = [("id", "key", "what", "where"), *cells]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        click.echo(clean("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])))
    click.echo(f"\n{'* rebound in' if keys else 'rebind them in'} {clean(str(personal.path))}, [keys]", err=True)
