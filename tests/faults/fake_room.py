"""`lvm-tui` whose launches go to the fake engine; `FAKE_ENGINE_OPTIONS` holds options for it, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from processes import FAKE_ENGINE

from tui.cli import main
from tui.control import launcher


def fake_argv(verb: str, *arguments: str) -> list[str]:
    """The fake engine's command line, as `launcher.engine_argv` gives the engine's."""
    options = json.loads(os.environ.get("FAKE_ENGINE_OPTIONS", "[]"))
    return [sys.executable, str(FAKE_ENGINE), verb, *arguments, *options]


if __name__ == "__main__":
    launcher.engine_argv = fake_argv
    main()
