"""What each part may load, looked at in a fresh interpreter: the boundary that keeps the room quick to open."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import engine.run
import tui.control

NUMERICS = {"torch", "numpy", "faiss", "sklearn", "safetensors", "scipy"}
TERMINAL = {"textual", "rich"}


def modules_of(package: object) -> list[str]:
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]
    return [f"{name}.{module.name}" for module in pkgutil.iter_modules(path)]


def loaded_by(*modules: str) -> set[str]:
    """Top-level names in `sys.modules` after importing `modules`."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {list(modules)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_probe_notices_a_module_that_is_loaded() -> None:
    assert "numpy" in loaded_by("numpy")


def test_the_command_line_loads_no_numerics() -> None:
    assert not loaded_by("tui.cli") & NUMERICS


def test_the_rooms_judgement_loads_neither_numerics_nor_a_terminal() -> None:
    found = loaded_by(*modules_of(tui.control))
    assert not found & (NUMERICS | TERMINAL)


def test_the_room_loads_no_numerics() -> None:
    assert not loaded_by("tui.app") & NUMERICS


def test_what_a_run_is_loads_neither_numerics_nor_a_terminal_nor_click() -> None:
    assert not loaded_by(*modules_of(engine.run)) & (NUMERICS | TERMINAL | {"click"})


def test_the_engines_command_line_loads_no_numerics_before_a_verb_is_called() -> None:
    assert not loaded_by("engine.cli") & (NUMERICS | TERMINAL)


def test_the_wrapper_loads_the_standard_library_only() -> None:
    found = loaded_by("engine.run.wrapper")
    startup = loaded_by()  # what this installation's site hooks bring along
    foreign = {name for name in found - startup if name not in sys.stdlib_module_names}
    assert foreign == {"engine"}


def test_package_markers_are_empty() -> None:
    root = Path(engine.run.__file__ or "").parents[2]
    markers = [path for name in ("engine", "tui") for path in (root / name).rglob("__init__.py")]
    assert len(markers) >= 7
    assert [path for path in markers if path.read_text()] == []
