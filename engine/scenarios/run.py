"""Running the cases: real data, a real training, a real evaluation, and a run folder that any tool can read."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import msgspec

from engine.data.windows import open_windows
from engine.device import set_threads
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.files import write_atomically
from engine.run.runs_file import corpus_folder
from engine.run.settings import EvalConfig, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.scenarios.case import BASE, Case
from engine.scenarios.cases import CASES
from engine.scenarios.data import Made
from engine.scenarios.evaluation import NAME, evaluate_run
from engine.scenarios.faults import AbandonedError
from engine.scenarios.record import RUNS, TWINS, PlantedRun
from engine.training.recorder import Recorder, log
from engine.verbs.recorded_training import train_recorded

WHY_TRAINED = "a scenario of the suite: what is wrong is planted, and is to be found"


ENV = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
"""Of a child: trained in one thread, as its parent was."""


def run_suite(jobs: Iterable[tuple[str, int]], out: Path, *, workers: int, twins: bool = False) -> Iterator[PlantedRun]:
    """Run cases, each in one thread, as they come to their end.

    Args:
        jobs: name and seed of each.
        out: folder of the suite, which exists.
        workers: processes at a time; 1 runs them in this one.
        twins: train each without its fault as well.
    """
    if workers == 1:
        for name, seed in jobs:
            yield run_case(CASES[name], seed, out, twins=twins)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_run_named, name, seed, out, twins) for name, seed in jobs]
        for done in as_completed(running):
            yield done.result()


def run_case(case: Case, seed: int, out: Path, *, twins: bool = False) -> PlantedRun:
    """Make the data of a case, train on them, evaluate, and leave a run folder behind.

    Args:
        case: what to run.
        seed: of data, weights and order.
        out: folder of the suite; `out/runs`, `out/twins` and `out/data` receive what is made.
        twins: train the case without its fault as well, where a setting mends it.

    Raises:
        ConfigError: there is such a run already.
    """
    began = time.monotonic()
    run = RunDirectory(out / RUNS / f"{case.name}-{seed:04d}")
    place = out / "data" / run.id
    if run.path.exists() or place.exists():
        raise ConfigError(f"{out}: holds a run {run.id} already. Name a new folder.")
    place.mkdir(parents=True)
    twin = case.twin() if twins else None
    before = set_threads(0)
    set_threads(1)  # so small a model gains nothing from a second one
    try:
        made = case.data(place, seed)
        _leave_run(case, run, made, seed, out / "cache")
        seconds = time.monotonic() - began
        if twin is not None:
            _leave_run(twin, RunDirectory(out / TWINS / run.id), made, seed, out / "cache")
    finally:
        set_threads(before)
    return PlantedRun(
        name=case.name,
        run=run.id,
        expects=case.expects,
        planted=case.planted,
        split=case.split(seed),
        seed=seed,
        seconds=round(seconds, 2),
        is_held=case.is_held,
        twin=run.id if twin is not None else "",
        beyond_repair=case.beyond_repair,
        notes=case.notes,
        train=training_command(case),
    )


def training_command(case: Case) -> list[str]:
    """What trains a child of a case's run, without its arguments: with the fault again where it comes back."""
    module = ["engine.scenarios.plant", case.name] if case.recurs else ["engine", "train"]
    return [sys.executable, "-P", "-m", *module]


def _run_named(name: str, seed: int, out: Path, twins: bool) -> PlantedRun:
    return run_case(CASES[name], seed, out, twins=twins)


def _leave_run(case: Case, run: RunDirectory, made: Made, seed: int, cache: Path) -> None:
    """Train on data that are made, evaluate where the case is evaluated, and do to the folder what is to be done."""
    run.path.mkdir(parents=True)
    spec = _spec(case, made, run, seed)
    write_atomically(run.spec_file, msgspec.json.format(msgspec.json.encode(spec)))
    with _logged_to(run):
        is_trained = _train(case, run, spec, made, cache)
    if is_trained and case.asked is not None:
        evaluate_run(run, made, open_windows(made.data, run.path), case.asked, seed, cache)
    if case.aftermath is not None:
        case.aftermath(run)


def _spec(case: Case, made: Made, run: RunDirectory, seed: int) -> RunSpec:
    """As a launched run's: a room that opens the suite can resume it, patch it and evaluate what comes of that."""
    config = apply_patch(RunConfig(), {**BASE, **case.patch, "seed": seed, "title": case.planted})
    return RunSpec(
        id=run.id,
        name=case.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config,
        data=made.data,
        evals={} if case.asked is None else {NAME: _evaluation(case.asked.config, made, config, seed)},
        preflight_override=WHY_TRAINED,
        argv=[*training_command(case), "--run-dir", str(run.path)],
        resume_argv=["--resume"],
        env=ENV,
        revision=metadata.version("lvm-tui"),
    )


def _evaluation(asked: EvalConfig, made: Made, config: RunConfig, seed: int) -> EvalConfig:
    """What the run is asked, as settings of a room: at its end, and of the corpus that is searched."""
    trained = None if made.data.train_npz else corpus_folder(made.data, made.searched.folder)
    corpus = "" if trained == made.searched.folder else str(made.searched.folder)
    return msgspec.structs.replace(asked, at_epoch=config.epochs, corpus=corpus, seed=seed)


def _train(case: Case, run: RunDirectory, spec: RunSpec, made: Made, cache: Path) -> bool:
    """Look at the data and train; whether it came to an end that can be evaluated."""
    recorder = Recorder(run, spec)
    try:
        with suppress(AbandonedError):
            outcome = train_recorded(
                recorder,
                lambda: False,
                reason=WHY_TRAINED,
                plant=case.fault,
                looks_first=case.looks_first,
                payload=made.payload,
                cache=cache,
            )
            return outcome == "finished"
    finally:
        recorder.close()
    return False


@contextmanager
def _logged_to(run: RunDirectory) -> Iterator[None]:
    """Write what the training says into the run's log, and nowhere else."""
    handler = logging.FileHandler(run.log_file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates
        handler.close()
