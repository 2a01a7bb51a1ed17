"""`runs.toml`: the whole room in one file, read once, every default resolved, every mistake named.

An error says the file, the table and the key, suggests the nearest valid name and says how to mend it; it is never a
traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import tomli
from msgspec import Meta, field

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.files import read_regular
from engine.run.launch import LOCAL, LauncherConfig
from engine.run.preferences import Preferences
from engine.run.settings import (
    CheckBars,
    Count,
    DataConfig,
    EvalConfig,
    Fix,
    Gate,
    Positive,
    PositiveInt,
    RunConfig,
    RunName,
    Section,
)
from engine.run.spec import apply_patch

MAX_BYTES = 1_000_000
"""A configuration larger than this is not a configuration; refused before it is parsed."""
EMBEDDED = "embedded:"
CORPORA = Path(__file__).resolve().parent.parent / "data"


class RoomConfig(Preferences, frozen=True, kw_only=True):
    """The `[room]` table: how the control room looks and behaves. What it does not say, a person's own file may."""

    runs_dir: Annotated[str, Meta(pattern=r"^[^\x00]+\Z")] = "runs"
    """Folder of the runs; relative to the file it is written in."""
    compare: Annotated[list[str], Meta(min_length=2, max_length=2)] = field(default_factory=lambda: ["mamba_s", "amn"])
    """The `[run.NAME]` tables that `T` and `B` start and that stand side by side."""
    readonly: bool = False
    """Watch only: no action can be taken."""
    playbook: Annotated[str, Meta(pattern=r"^[^\x00]*\Z")] = ""
    """A playbook of your own instead of the packaged one; relative to the file it is written in. Empty for none."""
    undo_s: Annotated[float, Meta(ge=1.0, le=600.0)] = 10.0
    """Seconds in which a restart can be undone with one key."""
    notify: list[Annotated[str, Meta(max_length=4096)]] = field(default_factory=list)
    """A command that `lvm-tui watch` runs at every alert, as a list of its arguments: no shell reads it. What happened
    is in its environment: LVM_RUN, LVM_TITLE, LVM_TEXT and LVM_SEVERITY (information, warning, error)."""
    stall_s: Annotated[float, Meta(ge=1.0)] = 120.0
    """A running engine that is silent for longer is shown as stalled. Four times the longest step measured here."""


AutoAction = Literal[
    "start_baseline",
    "restart",
    "mend",
    "probe",
    "resume",
    "kill",
    "evaluate",
    "evaluate_full",
    "evaluate_tuned",
    "align",
    "rerank",
    "evaluate_fitted",
]
AUTO_ACTIONS: tuple[AutoAction, ...] = get_args(AutoAction)


class AutopilotConfig(Section, frozen=True, kw_only=True):
    """The `[autopilot]` table: what an autopilot may do, set on by `lvm-tui watch --auto ID` or by W in the room."""

    allow: list[AutoAction] = field(default_factory=lambda: [name for name in AUTO_ACTIONS if name != "kill"])
    """Actions it may take; the playbook's next one that is not among them ends it. `mend`: restart with the remedy of
    what a diagnosis names. `probe`: measure the ladder before climbing it. `resume`: go on with a run that was lost or
    crashed. `kill`: end a run that has stalled; only if it is asked for."""
    max_runs: PositiveInt = 8
    """Runs it may start in a family."""
    max_hours: Positive = 12.0
    """Hours from its first look or action on a family after which it acts no more."""
    max_crashes: Count = 2
    """Crashes it puts up with in a family, resumed each time after a pause that doubles; one more ends it."""
    quiet: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?\Z")] = ""
    """Hours of the day, local time, in which it only watches: "22:00-07:00"; empty for none."""


QUOTED = 500
"""Characters at the beginning and at the end of a refusal that are kept: a key may be a megabyte long."""


class RunsFile(Section, frozen=True, kw_only=True):
    """All of `runs.toml`, checked."""

    path: str = ""
    """Where it was read from."""
    said: frozenset[str] = frozenset()
    """The keys that its `[room]` holds; the others have their defaults."""
    room: RoomConfig = field(default_factory=RoomConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: dict[RunName, RunConfig] = field(default_factory=dict)
    gate: list[Gate] = field(default_factory=lambda: [Gate()])
    check: CheckBars = field(default_factory=CheckBars)
    autopilot: AutopilotConfig = field(default_factory=AutopilotConfig)
    eval: dict[str, EvalConfig] = field(default_factory=dict)
    launcher: dict[RunName, LauncherConfig] = field(default_factory=dict)
    fix: list[Fix] = field(default_factory=list)

    @property
    def runs_dir(self) -> Path:
        """Absolute folder of the runs."""
        base = Path.cwd() if _is_packaged(Path(self.path)) else Path(self.path).parent
        return (base / self.room.runs_dir).absolute()

    @property
    def playbook_path(self) -> Path | None:
        """Absolute path of the room's own playbook; None where the packaged one serves."""
        name = self.room.playbook
        return (Path(self.path).parent / name).absolute() if name else None

    def named(self, name: str) -> RunConfig:
        """The configuration of `[run.NAME]`.

        Raises:
            ConfigError: there is no such table; the nearest one is named.
        """
        if name not in self.run:
            raise ConfigError(f"{self.path}: there is no [run.{name}].{suggestion(name, self.run)}")
        return self.run[name]

    def launcher_named(self, name: str) -> LauncherConfig | None:
        """The settings of `[launcher.NAME]`; None for `local`, which has none.

        Raises:
            ConfigError: there is no such table; the nearest one is named.
        """
        if name == LOCAL:
            return None
        if name not in self.launcher:
            near = suggestion(name, [LOCAL, *self.launcher])
            raise ConfigError(f"{self.path}: there is no [launcher.{name}].{near}")
        return self.launcher[name]


def packaged_runs_file() -> Path:
    """The runs.toml that ships with the program: beside this module when installed, at the top of a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "runs.toml"
    return installed if installed.exists() else here.parent.parent / "runs.toml"


def find_runs_file(given: str | None) -> Path:
    """The file to use: the one given, else `runs.toml` here, else the packaged one."""
    if given:
        return Path(given).absolute()
    here = Path("runs.toml").absolute()
    return here if here.exists() else packaged_runs_file()


def load_runs(path: Path) -> RunsFile:
    """Read and check a runs.toml.

    Raises:
        ConfigError: with file, table, key and remedy.
    """
    try:
        return _load(path)
    except ConfigError as error:
        words, first = str(error), len(str(path)) + QUOTED
        if len(words) <= first + QUOTED:
            raise
        raise ConfigError(f"{words[:first]} ... {words[-QUOTED:]}") from None


def _load(path: Path) -> RunsFile:
    tables = parse_toml(path, "Name another file with --config.")
    _refuse_unknown_tables(path, tables)
    sections: dict[str, Any] = {"path": str(path)}
    singles: dict[str, type] = {
        "room": RoomConfig,
        "data": DataConfig,
        "check": CheckBars,
        "autopilot": AutopilotConfig,
    }
    for key, kind in singles.items():
        if key in tables:
            sections[key] = convert_section(tables[key], kind, where=f"{path}, [{key}]")
    named: dict[str, type] = {"run": RunConfig, "eval": EvalConfig, "launcher": LauncherConfig}
    for key, kind in named.items():
        sections[key] = {
            name: convert_section(table, kind, where=f"{path}, [{key}.{name}]")
            for name, table in tables.get(key, {}).items()
        }
    listed: dict[str, type] = {"gate": Gate, "fix": Fix}
    for key, kind in listed.items():
        if key in tables:
            sections[key] = [
                convert_section(table, kind, where=f"{path}, [[{key}]] {number}")
                for number, table in enumerate(tables[key], start=1)
            ]
    for key in named:
        for name in sections[key]:  # all become parts of file or job names
            convert_section(name, RunName, where=f"{path}, [{key}.{name}]")
    loaded = RunsFile(said=frozenset(tables.get("room", {})), **sections)
    _check_references(loaded)
    return loaded


def npz_path(data: DataConfig, key: Literal["train_npz", "eval_npz"], base: Path) -> Path | None:
    """The file of windows that `[data]` names under this key, absolute; None where it names none.

    Args:
        data: the settings.
        key: `train_npz` or `eval_npz`.
        base: folder where relative paths start.
    """
    name: str = getattr(data, key)
    return (base / Path(name).expanduser()).absolute() if name else None


def corpus_folder(data: DataConfig, base: Path) -> Path:
    """The folder that `[data] corpus` names; relative paths start at `base`.

    Raises:
        ConfigError: no such embedded corpus, or no corpus folder there.
    """
    if data.corpus.startswith(EMBEDDED):
        name = data.corpus.removeprefix(EMBEDDED)
        known = sorted(path.parent.name for path in CORPORA.glob("*/manifest.json"))
        if name not in known:
            embedded = [EMBEDDED + name for name in known]
            raise ConfigError(f'[data] corpus: there is no "{data.corpus}".{suggestion(data.corpus, embedded)}')
        return CORPORA / name
    folder = (base / Path(data.corpus).expanduser()).absolute()
    if not (folder / "manifest.json").is_file():
        missing = "has no manifest.json" if folder.is_dir() else "does not exist"
        raise ConfigError(
            f'[data] corpus: {folder} {missing}. Name a corpus folder, or use "embedded:wikileads"; '
            "`lvm-engine data import` makes a corpus of your own vectors."
        )
    return folder


def absolute_evaluation(settings: EvalConfig, base: Path) -> EvalConfig:
    """The settings with paths that hold wherever an engine is started."""

    def absolute(name: str) -> str:
        return str((base / Path(name).expanduser()).absolute()) if name and not name.startswith(EMBEDDED) else name

    paths = {key: absolute(getattr(settings, key)) for key in ("corpus", "eval_npz", "payload", "faiss")}
    return msgspec.structs.replace(settings, **paths)


def _check_evaluation(name: str, settings: EvalConfig, base: Path) -> None:
    """Whether the files that an evaluation names are there."""
    paths = absolute_evaluation(settings, base)
    for key in ("corpus", "eval_npz", "payload", "faiss"):
        path: str = getattr(paths, key)
        if path and not path.startswith(EMBEDDED) and not Path(path).exists():
            raise ConfigError(f"[eval.{name}] {key}: {path} does not exist.")


def parse_toml(path: Path, mend: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: it cannot be read, and what to do then (`mend`), or it is not TOML.
    """
    try:
        raw = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {mend}") from None
    try:
        return tomli.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    except (tomli.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path}: not valid TOML: {reason}.") from None


def _refuse_unknown_tables(path: Path, tables: dict[str, Any]) -> None:
    """Unknown names at the top, and tables written in another form than theirs."""
    forms = {
        "run": "[run.NAME]",
        "eval": "[eval.NAME]",
        "launcher": "[launcher.NAME]",
        "gate": "[[gate]]",
        "fix": "[[fix]]",
    }
    known = [name for name in RunsFile.__struct_fields__ if name not in ("path", "said")]
    for key, value in tables.items():
        if key not in known:
            raise ConfigError(f'{path}: unknown table "{key}".{suggestion(key, known)}')
        form = forms.get(key, f"[{key}]")
        inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else []
        right_shape = isinstance(value, list if form.startswith("[[") else dict)
        if not right_shape or (key in forms and not all(isinstance(table, dict) for table in inner)):
            raise ConfigError(f'{path}: "{key}" must be written as {form}.')


def _check_launchers(file: RunsFile) -> None:
    """Whether runs and evaluations name launchers that are there."""
    if LOCAL in file.launcher:
        raise ConfigError(f'{file.path}: [launcher.{LOCAL}]: "{LOCAL}" is this machine, and has no table. Rename it.')
    named: list[tuple[str, RunConfig | EvalConfig]] = [
        *((f"[run.{name}]", settings) for name, settings in file.run.items()),
        *((f"[eval.{name}]", settings) for name, settings in file.eval.items()),
    ]
    for table, settings in named:
        try:
            file.launcher_named(settings.launcher)
        except ConfigError as error:
            raise ConfigError(f"{error} (named by {table} launcher)") from None


def _is_packaged(path: Path) -> bool:
    return path == packaged_runs_file() and path.parent == Path(__file__).resolve().parent


def _check_references(file: RunsFile) -> None:
    """Names that point at other tables must exist, patches must fit, and the data must be there."""
    if not file.run:
        raise ConfigError(f"{file.path}: no [run.NAME] table, so there is nothing to start.")
    for name in file.room.compare:
        try:
            file.named(name)
        except ConfigError as error:
            raise ConfigError(f"{error} (named by [room] compare)") from None
    _check_launchers(file)
    for number, fix in enumerate(file.fix, start=1):
        for patch in fix.tries:
            try:
                apply_patch(RunConfig(), patch)
            except ConfigError as error:
                raise ConfigError(f"{file.path}, [[fix]] {number} ({fix.title}): {error}") from None
    base = Path(file.path).parent
    try:
        npz_keys: tuple[Literal["train_npz", "eval_npz"], ...] = ("train_npz", "eval_npz")
        for key in npz_keys:
            npz = npz_path(file.data, key, base)
            if npz and not npz.is_file():
                raise ConfigError(f"[data] {key}: {npz} does not exist.")
        for name, settings in file.eval.items():
            _check_evaluation(name, settings, base)
        if not file.data.train_npz:
            corpus_folder(file.data, base)
    except (ConfigError, OSError, RuntimeError) as error:  # a name too long for a file; "~nobody"
        problem = error if isinstance(error, ConfigError) else f"[data]: {error}"
        raise ConfigError(f"{file.path}, {problem}") from None
