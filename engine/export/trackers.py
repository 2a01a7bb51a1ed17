"""Trackers of experiments that readings can be sent to. Each needs its own package, and says so where it is missing.

They follow a run's folder from outside: whatever befalls a tracker, no training notices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.export.readings import Reading
from engine.run.convert import ConfigError
from engine.run.secrets import without_secrets
from engine.run.spec import RunSpec, dotted_keys, read_setting

TAG = "lvm.run"
"""Of a run in MLflow: the run's id here."""
BATCH = 500
"""Metrics in a request to MLflow; it takes a thousand at most."""
_UNNAMED = re.compile(r"[^\w\-. :/]")
"""What MLflow does not allow in a name: the `@` of a gate's."""
_OURS = "events.out.tfevents."


class Tracker(Protocol):
    """Takes readings of one run."""

    def send(self, readings: Iterable[Reading]) -> None:
        """Write readings, which come in the order of their time."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files below `DIR/<run id>`; files of ours from an earlier export are replaced."""

    def __init__(self, folder: Path, spec: RunSpec) -> None:
        """Open the run's folder.

        Raises:
            ConfigError: TensorBoard is not installed, or the folder holds what is not an event file.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(_missing("tensorboard", "tensorboard", error)) from None
        target = folder / spec.id
        strangers = [file.name for file in target.glob("*") if not file.name.startswith(_OURS)]
        if strangers:
            raise ConfigError(f"{target}: holds {strangers[0]}, which is no event file. Name another folder.")
        for file in target.glob(f"{_OURS}*"):
            file.unlink()
        self._writer: Any = SummaryWriter(str(target))  # Any: untyped in torch
        self._writer.add_text("settings", _table(spec), 0)

    def send(self, readings: Iterable[Reading]) -> None:
        """Append scalars."""
        for reading in readings:
            self._writer.add_scalar(reading.name, reading.value, reading.step, walltime=reading.t)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class MlFlow:
    """A run of an MLflow experiment, found again by its tag; what it has already is not sent twice."""

    def __init__(self, uri: str, experiment: str, spec: RunSpec) -> None:
        """Find or make the run.

        Args:
            uri: of the tracking server, `http://...`, or `file:...` where MLflow still allows it.
            experiment: name of the experiment, made if missing.
            spec: of the run.

        Raises:
            ConfigError: MLflow is not installed or refuses.
        """
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Param
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise ConfigError(_missing("mlflow", "mlflow", error)) from None
        self._error = MlflowException
        self._uri = without_secrets(uri)
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            place = known.experiment_id if known else self._client.create_experiment(experiment)
            found = self._client.search_runs([place], f"tags.`{TAG}` = '{spec.id}'")
            run = found[0] if found else self._client.create_run(place, tags={TAG: spec.id}, run_name=spec.id)
            self._run: str = run.info.run_id
            if not found:
                params = [Param(key, str(read_setting(spec.config, key))[:500]) for key in _keys(spec)]
                self._client.log_batch(self._run, params=params)
            self._sent = {
                (key, metric.step, round(metric.value, 12))
                for key in run.data.metrics
                for metric in self._client.get_metric_history(self._run, key)
            }
        except MlflowException as error:
            raise self._refusal(error) from None

    def send(self, readings: Iterable[Reading]) -> None:
        """Send metrics that are not there yet.

        Raises:
            ConfigError: MLflow refuses or is not reached.
        """
        from mlflow.entities import Metric

        named = [(_UNNAMED.sub("_", one.name), one) for one in readings]
        news = [(name, one) for name, one in named if (name, one.step, round(one.value, 12)) not in self._sent]
        metrics = [Metric(name, one.value, math.floor(one.t * 1000), one.step) for name, one in news]
        try:
            for first in range(0, len(metrics), BATCH):
                self._client.log_batch(self._run, metrics=metrics[first : first + BATCH])
        except self._error as error:
            raise self._refusal(error) from None

    def close(self) -> None:
        """The run is over, as far as the tracker is told."""
        self._client.set_terminated(self._run)

    def _refusal(self, error: Exception) -> ConfigError:
        return ConfigError(f"MLflow at {self._uri}: {without_secrets(str(error))}")


def _keys(spec: RunSpec) -> list[str]:
    return dotted_keys(msgspec.to_builtins(spec.config))


def _table(spec: RunSpec) -> str:
    rows = [f"| {key} | {read_setting(spec.config, key)} |" for key in _keys(spec)]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def _missing(what: str, extra: str, error: ImportError) -> str:
    return f"{what} cannot be imported ({error}). Install it with `pip install 'lvm-tui[{extra}]'`."
