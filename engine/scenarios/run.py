"""Running the cases: real data, a real training, a real evaluation, and a run folder that any tool can read."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import msgspec

from engine.data.split import split_windows
from engine.data.windows import WindowSource, open_windows
from engine.device import set_threads
from engine.models.floors import measure_floors
from engine.models.kept_ridge import kept_ridge
from engine.preflight.run import run_preflight
from engine.preflight.subject import subject_of
from engine.preflight.verdict import act_on
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.files import write_atomically
from engine.run.settings import RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.scenarios.case import BASE, Case
from engine.scenarios.cases import CASES
from engine.scenarios.data import Made
from engine.scenarios.evaluation import evaluate_run
from engine.scenarios.faults import AbandonedError
from engine.scenarios.record import RUNS, PlantedRun
from engine.training.recorder import Recorder, log
from engine.training.trainer import Trainer
from engine.training.validation import open_unseen

WHY_TRAINED = "a scenario of the suite: what is wrong is planted, and is to be found"


def run_suite(jobs: Iterable[tuple[str, int]], out: Path, *, workers: int) -> Iterator[PlantedRun]:
    """Run cases, each in one thread, as they come to their end.

    Args:
        jobs: name and seed of each.
        out: folder of the suite, which exists.
        workers: processes at a time; 1 runs them in this one.
    """
    if workers == 1:
        for name, seed in jobs:
            yield run_case(CASES[name], seed, out)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_run_named, name, seed, out) for name, seed in jobs]
        for done in as_completed(running):
            yield done.result()


def run_case(case: Case, seed: int, out: Path) -> PlantedRun:
    """Make the data of a case, train on them, evaluate, and leave a run folder behind.

    Args:
        case: what to run.
        seed: of data, weights and order.
        out: folder of the suite; `out/runs` and `out/data` receive what is made.

    Raises:
        ConfigError: there is such a run already.
    """
    began = time.monotonic()
    run = RunDirectory(out / RUNS / f"{case.name}-{seed:04d}")
    place = out / "data" / run.id
    if run.path.exists() or place.exists():
        raise ConfigError(f"{out}: holds a run {run.id} already. Name a new folder.")
    place.mkdir(parents=True)
    run.path.mkdir(parents=True)
    before = set_threads(0)
    set_threads(1)  # so small a model gains nothing from a second one
    try:
        made = case.data(place, seed)
        spec = _spec(case, made, run.id, seed)
        write_atomically(run.spec_file, msgspec.json.format(msgspec.json.encode(spec)))
        source = open_windows(made.data, place)
        with _logged_to(run):
            is_trained = _train(case, run, spec, made, source, out / "cache")
        if is_trained and case.asked is not None:
            evaluate_run(run, made, source, case.asked, seed, out / "cache")
    finally:
        set_threads(before)
    if case.aftermath is not None:
        case.aftermath(run)
    return PlantedRun(
        name=case.name,
        run=run.id,
        expects=case.expects,
        planted=case.planted,
        split=case.split(seed),
        seed=seed,
        seconds=round(time.monotonic() - began, 2),
        is_held=case.is_held,
    )


def _run_named(name: str, seed: int, out: Path) -> PlantedRun:
    return run_case(CASES[name], seed, out)


def _spec(case: Case, made: Made, run_id: str, seed: int) -> RunSpec:
    return RunSpec(
        id=run_id,
        name=case.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=apply_patch(RunConfig(), {**BASE, **case.patch, "seed": seed, "title": case.planted}),
        data=made.data,
        preflight_override=WHY_TRAINED,
    )


def _train(case: Case, run: RunDirectory, spec: RunSpec, made: Made, source: WindowSource, cache: Path) -> bool:
    """Look at the data and train; whether it came to an end that can be evaluated."""
    import torch

    data = spec.data
    split = split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    recorder = Recorder(run, spec)
    floors: dict[str, float] = {}
    try:
        if case.looks_first:
            subject = subject_of(data, spec.gates, run.path, source, split, made.payload)
            report = run_preflight(subject, cache=cache)
            act_on(report, recorder, WHY_TRAINED)
            floors = report.floors
        trainer = Trainer(
            spec, source, split, torch.device("cpu"), recorder, lambda: False, open_unseen(data, run.path, source)
        )
        if case.fault is not None:
            case.fault(trainer)
        with suppress(AbandonedError):
            outcome = trainer.train(
                lambda: floors or measure_floors(source, kept_ridge(source, split.train, None), split.val)
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
