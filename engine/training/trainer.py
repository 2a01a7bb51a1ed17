"""The training of one run: epochs of optimizer steps, each followed by validation, verdicts and checkpoints.

Exactly resumable: the order of windows, their corruption and the learning rate are functions of seed, epoch and step,
so weights, optimizer, queue and `Progress` are the whole state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import torch

from engine.data.identity import source_digest
from engine.data.split import Split
from engine.data.windows import WindowSource
from engine.device import synchronize
from engine.models.heads import verify_projection
from engine.run.convert import ConfigError
from engine.run.events import (
    CheckpointSaved,
    EpochRecord,
    FloorsMeasured,
    NonFiniteFound,
    RanksMeasured,
    RunFinished,
    RunStarted,
    RunStopped,
    StepLogged,
)
from engine.run.spec import RunSpec
from engine.training.checkpoint import CheckpointMeta, has_checkpoint, load_training, save_checkpoint
from engine.training.learner import Learner, StepFigures
from engine.training.negative_queue import open_queue
from engine.training.progress import Progress
from engine.training.ranks import OneProcess
from engine.training.recorder import Recorder, log
from engine.training.sampler import EffectiveBatchSampler
from engine.training.schedule import plan_schedule
from engine.training.validation import Unseen, Validator

EVENT_INTERVAL_S = 0.25
"""Steps are recorded at most this often: as fast as a chart is redrawn."""
LOG_INTERVAL_S = 2.0
"""Steps are written to the log at most this often."""

Outcome = Literal["finished", "stopped", "failed"]


class Trainer:
    """One run's model, optimizer and position in the data.

    Args:
        spec: what to train and how.
        source: the windows.
        split: which of them train and validate.
        device: where to compute.
        recorder: where to say it.
        stop_requested: asked before every step; True ends the training with a checkpoint.
        unseen: windows of articles that neither training nor validation sees; the split's test windows by default.
        ranks: with whom it trains; None for nobody. All but the first have a recorder that says nothing.
    """

    def __init__(
        self,
        spec: RunSpec,
        source: WindowSource,
        split: Split,
        device: torch.device,
        recorder: Recorder,
        stop_requested: Callable[[], bool],
        unseen: Unseen | None = None,
        ranks: OneProcess | None = None,
    ) -> None:
        config = spec.config
        self.ranks = ranks or OneProcess(device)
        self.spec, self.config, self.source, self.split = spec, config, source, split
        self.recorder, self.stop_requested = recorder, stop_requested
        self.learner = Learner(config, source, device, open_queue(config, source, split.train, device), self.ranks)
        self.validator = Validator(source, split, unseen)
        self.sampler = EffectiveBatchSampler(
            split.train,
            source.articles[split.train],
            batch_size=config.sampler.batch_size,
            accumulate=config.sampler.accumulate,
            max_per_article=config.sampler.max_per_article,
            seed=config.seed,
        )
        num_steps = config.epochs * self.sampler.steps_per_epoch
        self.schedule = plan_schedule(config.schedule, peak=config.optimizer.lr, num_steps=num_steps)
        self.progress = Progress()
        self._epoch_began = self._pace_from = self._logged_event_at = self._logged_line_at = 0.0
        self._windows_since_event = 0

    def restore(self) -> None:
        """Go back to `last`, or to `best` where `last` is damaged; start afresh where neither was ever written.

        Raises:
            ConfigError: there are checkpoints and none is whole, or they learned from other data.
        """
        problems: list[ConfigError] = []
        for label in ("last", "best"):
            folder = self.recorder.run.checkpoints / label
            if not has_checkpoint(folder):
                continue
            try:
                state, meta = load_training(folder, self.learner.model, self.learner.head)
            except ConfigError as error:
                problems.append(error)
                continue
            self._refuse_other_data(state.get("data_sha256", meta.corpus_sha256))
            try:
                self.learner.load_state(state)
                self.progress = msgspec.convert(state["progress"], Progress)
            except (KeyError, ValueError, msgspec.ValidationError) as error:
                problems.append(ConfigError(f"{folder}: its state does not fit the run: {error}"))
                continue
            if problems:
                self.recorder.warn(f"resumed from {label} at step {self.progress.step}, because {problems[0]}")
            self.recorder.recover(self.progress.rows)
            return
        if problems:
            raise ConfigError(
                f"{self.recorder.run.checkpoints}: no checkpoint can be resumed from: "
                f"{'; '.join(str(problem) for problem in problems)} Start a new run."
            )
        log.info("no checkpoint was written yet: starting from the beginning")

    def _refuse_other_data(self, learned_from: str) -> None:
        """Raise a ConfigError where a checkpoint learned from data of another digest; empty is not known."""
        if learned_from in ("", source_digest(self.source)):
            return
        data = self.spec.data
        what = f"{data.train_npz}: the file" if data.train_npz else f"{data.corpus}: the corpus"
        raise ConfigError(
            f"{what} was changed since the run began, and with it the split: articles it has learned from would "
            "validate it. Restore it, or start a new run."
        )

    def train(self, measure_floors: Callable[[], dict[str, float]]) -> Outcome:
        """Train to the end, or until asked to stop or a number is not finite.

        Args:
            measure_floors: called before the first step, unless the floors were measured before a resume; where the end
                was asked for already, the resume measures them.
        """
        self._announce()
        if not self.recorder.floors and not self.stop_requested():
            self.recorder.floors = measure_floors()
            self.recorder.write(FloorsMeasured(floors=self.recorder.floors, num_windows=len(self.split.val)))
            log.info("floors: %s", ", ".join(f"{name} {value:.4f}" for name, value in self.recorder.floors.items()))
        progress = self.progress
        reason = self._ended()
        while reason is None:
            self._epoch_began = time.monotonic() - progress.elapsed_s
            outcome = self._train_epoch()
            if outcome == "failed":
                return "failed"
            if outcome == "stopped":
                progress.elapsed_s = time.monotonic() - self._epoch_began
                self._save("last")
                self.recorder.write(RunStopped(epoch=progress.epoch, step=progress.step))
                log.info("stopped as asked at epoch %d, step %d; resume with --resume", progress.epoch, progress.step)
                return "stopped"
            if not self._end_epoch():
                return "failed"
            reason = self._ended()
        self.recorder.write(
            RunFinished(
                reason=reason,
                epoch=len(progress.rows),
                best_epoch=progress.best_epoch,
                best_val_cosine=progress.best_val_cosine,
            )
        )
        best = "none" if progress.best_val_cosine is None else f"{progress.best_val_cosine:.4f}"
        log.info("finished (%s): best val_cosine %s at epoch %d", reason, best, progress.best_epoch)
        return "finished"

    def _announce(self) -> None:
        config, schedule = self.config, self.schedule
        started = RunStarted(
            epochs=config.epochs,
            steps_per_epoch=self.sampler.steps_per_epoch,
            num_train=len(self.split.train),
            num_val=len(self.split.val),
            num_parameters=sum(parameter.numel() for parameter in self.learner.parameters),
            device=str(self.learner.device),
            threads=torch.get_num_threads(),
            ranks=self.ranks.count,
            resumed_step=self.progress.step,
            article_disjoint=self.split.article_disjoint,
        )
        self.recorder.write(started)
        log.info(
            "%s: %s, %d parameters, %d training and %d validation windows, %d steps an epoch, %s, %d threads%s%s",
            self.spec.id,
            config.model.kind,
            started.num_parameters,
            started.num_train,
            started.num_val,
            started.steps_per_epoch,
            started.device,
            started.threads,
            f" on each of {started.ranks} ranks" if started.ranks > 1 else "",
            f", resumed at step {started.resumed_step}" if started.resumed_step else "",
        )
        if not self.split.article_disjoint:
            self.recorder.warn(
                "THE SPLIT CANNOT BE ARTICLE-DISJOINT: the data name no articles, so overlapping windows of one "
                "article may stand on both sides, val_cosine may flatter, and no same-article candidate can be "
                "masked. Add article_ids to the file, or train on a corpus folder."
            )
        if schedule.was_cut:
            self.recorder.warn(
                f"schedule.warmup_steps = {config.schedule.warmup_steps} was cut to {schedule.warmup_steps}, a tenth "
                f"of the run's {schedule.num_steps} steps: the learning rate would else have peaked late or never."
            )

        self._warn_of_small_queue()

    def _warn_of_small_queue(self) -> None:
        asked, queue = self.config.queue, self.learner.queue
        capacity = 0 if queue is None else queue.capacity
        if capacity < asked.size:
            self.recorder.warn(
                f"queue.size = {asked.size:,} was cut to {capacity:,}: of {len(self.split.train):,} training windows "
                "those beyond the effective batch; a larger queue would hold windows twice."
            )

    def _warn_of_low_share(self, record: EpochRecord) -> None:
        asked, reached = self.config.queue.same_topic_share, record.queue_same_topic_share
        if reached is None or reached >= asked - 1e-9:  # a mean of shares that are all met may round below
            return
        self.recorder.warn(
            f"queue.same_topic_share = {asked:g} was not reached: the queue held nothing of the topic of some queries. "
            "Each epoch's queue_same_topic_share says how far it came; a larger queue.size or fewer queue.topics would "
            "bring more."
        )

    def _ended(self) -> Literal["epochs", "early_stopping"] | None:
        if len(self.progress.rows) >= self.config.epochs:
            return "epochs"
        patience = self.config.checkpoint.patience
        return "early_stopping" if 0 < patience <= self.progress.epochs_without_gain else None

    def _train_epoch(self) -> Literal["done", "stopped", "failed"]:
        progress = self.progress
        self._pace_from, self._windows_since_event = time.monotonic(), 0
        for micro_batches in self.sampler.epoch(progress.epoch)[progress.step_in_epoch :]:
            if self.ranks.confer(stop=self.stop_requested()):
                return "stopped"
            lr = self.schedule.rate(progress.step)
            figures = self.learner.take_step(micro_batches, step=progress.step, lr=lr)
            if figures.non_finite is not None:
                self._fail(*figures.non_finite, epoch=progress.epoch, step=progress.step + 1)
                return "failed"
            self.progress.add(figures)
            self._log_step(figures, lr)
        return "stopped" if self.ranks.confer(stop=self.stop_requested()) else "done"

    def _log_step(self, figures: StepFigures, lr: float) -> None:
        progress, now = self.progress, time.monotonic()
        self._windows_since_event += figures.num_windows
        is_end = progress.step_in_epoch == self.sampler.steps_per_epoch
        if not (is_end or progress.step == 1 or now - self._logged_event_at >= EVENT_INTERVAL_S):
            return
        to_log = progress.step == 1 or now - self._logged_line_at >= LOG_INTERVAL_S
        event = StepLogged(
            epoch=progress.epoch,
            step=progress.step,
            loss=figures.loss,
            infonce=figures.infonce,
            ar_cosine=figures.ar_cosine,
            lr=lr,
            grad_norm=figures.grad_norm,
            negatives_per_query=figures.num_negatives / figures.num_windows,
            windows_per_s=self._windows_since_event / max(now - self._pace_from, 1e-6),
        )
        self.recorder.step(event, to_log=to_log)
        figures_of_ranks = self.ranks.figures()
        if figures_of_ranks:
            self.recorder.write(RanksMeasured(ranks=figures_of_ranks))
        self._logged_event_at = self._pace_from = now
        self._windows_since_event = 0
        if to_log:
            self._logged_line_at = now

    def _end_epoch(self) -> bool:
        """Validate, keep what is worth keeping, and say how it went; False where the predictions were not finite.

        `best` is saved before the epoch is announced, so that whoever acts on the announcement finds it; `last` after,
        so that a crash in between repeats the epoch instead of losing it.
        """
        progress, config, learner = self.progress, self.config, self.learner
        seen, drift = self.validator.validate(learner), learner.measure_drift()
        synchronize(learner.device)
        own_record = progress.make_record(
            seen,
            lr=self.schedule.rate(progress.step - 1),
            seconds=time.monotonic() - self._epoch_began,
            queue_drift=drift,
            has_queue=learner.queue is not None,
        )
        record = self.ranks.told(own_record)
        is_best = progress.take_in(record, min_delta=config.checkpoint.min_delta)
        if is_best:
            self._save("best")
        is_finite = record.val_cosine is not None
        every = config.checkpoint.every_epochs
        if is_finite and every and record.epoch % every == 0:
            self._save(f"epoch_{record.epoch:04d}")
        self._warn_of_low_share(record)
        self.recorder.epoch(progress.rows, None if learner.head is None else verify_projection(learner.head))
        if is_finite:
            self._save("last")
        else:
            self._fail("val_cosine", seen.inspection.val_cosine, epoch=record.epoch, step=record.step)
        return is_finite

    def _save(self, label: str) -> None:
        if not self.ranks.is_first:
            return
        progress, began = self.progress, time.perf_counter()
        val_cosine = progress.rows[-1].val_cosine if progress.rows else None
        training: dict[str, Any] = {
            **self.learner.state(),
            "progress": msgspec.to_builtins(progress),
            "data_sha256": source_digest(self.source),
        }
        num_bytes = save_checkpoint(
            self.recorder.run.checkpoints / label,
            model=self.learner.model,
            head=self.learner.head,
            training=training,
            meta=CheckpointMeta(
                kind=self.config.model.kind,
                config=self.config,
                data=self.spec.data,
                corpus_sha256=self.source.sha256,
                dim=self.source.dim,
                context=self.source.context,
                epoch=len(progress.rows),
                step=progress.step,
                val_cosine=val_cosine,
                sha256={},
            ),
        )
        seconds = time.perf_counter() - began
        self.recorder.checkpoint(
            CheckpointSaved(
                label=label,
                epoch=len(progress.rows),
                step=progress.step,
                val_cosine=val_cosine,
                bytes=num_bytes,
                seconds=seconds,
            )
        )

    def _fail(self, what: str, value: float, *, epoch: int, step: int) -> None:
        """Say that a number was not finite, and what to do."""
        in_time = what in {"loss", "gradient norm"}
        done = "the optimizer was not moved" if in_time else "these weights were not saved"
        earlier = ", and earlier checkpoints are good" if has_checkpoint(self.recorder.run.checkpoints / "last") else ""
        message = (
            f"The {what} was {value} at epoch {epoch}, step {step}; {done}{earlier}. "
            f"Restart with a lower optimizer.lr (now {self.config.optimizer.lr:g}) or a higher "
            f"loss.temperature (now {self.config.loss.temperature:g}); if it happens at step 1, check the data."
        )
        self.recorder.non_finite(NonFiniteFound(what=what, value=str(value), epoch=epoch, step=step), message)
