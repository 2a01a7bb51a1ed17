"""A run's specification, and the patches that make one of another.

A `RunSpec` is frozen into `spec.json` once; a fix never edits it but makes a new one with `patched`, whose `parent`
names the run it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.launch import LauncherConfig
from engine.run.settings import CheckBars, DataConfig, EvalConfig, Gate, Patch, PatchValue, RunConfig

SPEC_SCHEMA = 1


class RunSpec(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Everything a run was started with; `spec.json`. Written once, by the launcher."""

    schema: int = SPEC_SCHEMA
    id: str
    """Folder name: run name and a number, `mamba_s-0007`."""
    name: str
    """The `[run.NAME]` table it came from."""
    created: str
    """UTC, ISO 8601."""
    config: RunConfig
    data: DataConfig
    gates: list[Gate] = field(default_factory=lambda: [Gate()])
    check: CheckBars = field(default_factory=CheckBars)
    evals: dict[str, EvalConfig] = field(default_factory=dict)
    parent: str | None = None
    """The run this one was patched from."""
    patch: Patch = field(default_factory=dict)
    """What differs from the parent."""
    fix: str | None = None
    """Title of the triage fix that made the patch."""
    preflight_override: str = ""
    """Why it may be trained although a must-pass item of the preflight did not pass; empty: it may not."""
    argv: list[str] = field(default_factory=list)
    """The engine's command."""
    resume_argv: list[str] = field(default_factory=list)
    """Arguments added to it from the second attempt on."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment set for the engine beyond what it inherits."""
    launch: LauncherConfig | None = None
    """The launcher's settings as they were; None for this machine."""
    revision: str = ""
    """Version of the program that launched it."""

    def patched(self, patch: Mapping[str, PatchValue]) -> RunConfig:
        """This run's configuration with `patch` applied and checked.

        Raises:
            ConfigError: a key is unknown (the nearest one is named) or a value is out of range.
        """
        return apply_patch(self.config, patch)


def apply_patch(config: RunConfig, patch: Mapping[str, PatchValue]) -> RunConfig:
    """`config` with dotted keys replaced, validated as if it had been read from a file."""
    table: dict[str, Any] = msgspec.to_builtins(config)
    for dotted, value in patch.items():
        *path, last = dotted.split(".")
        target: Any = table
        for part in path:
            target = target.get(part) if isinstance(target, dict) else None
        if not isinstance(target, dict) or last not in target or isinstance(target[last], dict):
            raise ConfigError(f'unknown setting "{dotted}".{suggestion(dotted, dotted_keys(table))}')
        target[last] = value
    return convert_section(table, RunConfig, where="patch")


def read_setting(config: RunConfig, dotted: str) -> PatchValue:
    """The value at a dotted key of a configuration that is known to have it."""
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value  # type: ignore[no-any-return]


def resolved_settings(spec: RunSpec) -> dict[str, Any]:
    """Every setting of a run by its dotted key, those of its data as `data.*`; its title is none."""
    settings = {key: read_setting(spec.config, key) for key in dotted_keys(msgspec.to_builtins(spec.config))}
    del settings["title"]
    return settings | {f"data.{key}": getattr(spec.data, key) for key in spec.data.__struct_fields__}


def differing_settings(left: RunConfig, right: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values; titles do not count."""
    a, b = msgspec.to_builtins(left), msgspec.to_builtins(right)
    keys = [key for key in dotted_keys(a) if key != "title"]
    pairs = {key: (read_setting(left, key), read_setting(right, key)) for key in keys if key in set(dotted_keys(b))}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def dotted_keys(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every leaf of nested tables as a dotted key."""
    keys: list[str] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            keys += dotted_keys(value, f"{prefix}{key}.")
        else:
            keys.append(f"{prefix}{key}")
    return keys
