"""What a pane without anything to show says: why, and which key changes that."""

from __future__ import annotations

from tui.control.scene import Scene
from tui.keymap import key_of


def no_run(scene: Scene) -> str:
    """There is no run yet, and how there will be one."""
    if scene.readonly:
        return "No run yet, and this room only watches."
    return f"No run yet: {press_to_start(scene)}."


def press_to_start(scene: Scene) -> str:
    """`T trains Mamba-S, B the AMN baseline`."""
    start, baseline = (key_of(f"act.{action}", scene.keys) for action in ("start", "start_baseline"))
    return f"{start} trains Mamba-S, {baseline} the AMN baseline"
