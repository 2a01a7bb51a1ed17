"""Where a training stands, and what its steps have come to: the part of its state that is neither weights nor data."""

from __future__ import annotations

from msgspec import Struct, field

from engine.run.events import EpochRecord, finite
from engine.training.learner import StepFigures
from engine.training.validation import Validated


class Progress(Struct, kw_only=True):
    """Position and sums; with weights, optimizer and queue, all that a resume needs."""

    epoch: int = 1
    """The epoch under way, from 1."""
    step_in_epoch: int = 0
    step: int = 0
    """Optimizer steps taken in all."""
    elapsed_s: float = 0.0
    """Spent on the epoch under way before this process took over."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of the epoch under way, over windows, queries or steps."""
    rows: list[EpochRecord] = field(default_factory=list)
    """Finished epochs."""
    best_epoch: int = 0
    best_val_cosine: float | None = None
    patience_val_cosine: float | None = None
    """The value that a gain of `min_delta` is counted from."""
    epochs_without_gain: int = 0

    def add(self, figures: StepFigures) -> None:
        """Take a step's figures into the sums of the epoch."""
        windows = figures.num_windows
        self.step += 1
        self.step_in_epoch += 1
        shares = {
            "windows": windows,
            "steps": 1,
            "loss": figures.loss * windows,
            "infonce": figures.infonce * windows,
            "ar_cosine": figures.ar_cosine * windows,
            "negatives": figures.num_negatives,
            "masked": figures.num_masked,
            "same_article": figures.num_same_article,
            "unknown": figures.num_unknown,
            "queue_negatives": figures.num_queue_negatives,
            "with_queue": figures.num_with_queue,
            "queue_topic_shares": figures.queue_topic_shares,
            "grad_norm": figures.grad_norm,
            "update_ratio": figures.update_ratio,
        }
        for name, value in shares.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def make_record(
        self, seen: Validated, *, lr: float, seconds: float, queue_drift: float | None, has_queue: bool
    ) -> EpochRecord:
        """The numbers of the epoch that has just been validated.

        Args:
            seen: what validation found.
            lr: of the epoch's last step.
            seconds: the epoch took, validation included.
            queue_drift: see `EpochRecord`.
            has_queue: whether there is a queue.
        """
        sums, inspection = self.sums, seen.inspection
        windows, steps = sums["windows"], sums["steps"]
        # A checkpoint may be older than the queue, and its sums lack these.
        with_queue = sums.get("with_queue", 0.0)
        return EpochRecord(
            epoch=self.epoch,
            step=self.step,
            train_loss=finite(sums["loss"] / windows),
            train_infonce=finite(sums["infonce"] / windows),
            train_ar_cosine=finite(sums["ar_cosine"] / windows),
            val_loss=finite(1 - inspection.val_cosine),
            val_cosine=finite(inspection.val_cosine),
            lr=lr,
            time=seconds,
            margin=finite(inspection.margin),
            same_article_negatives=None if sums["unknown"] else int(sums["same_article"]),
            masked_candidates=int(sums["masked"]),
            negatives_per_query=sums["negatives"] / windows,
            queue_negatives_per_query=sums.get("queue_negatives", 0.0) / windows if has_queue else None,
            queue_same_topic_share=sums["queue_topic_shares"] / with_queue if with_queue else None,
            queue_drift=None if queue_drift is None else finite(queue_drift),
            val_lift=finite(seen.val_lift),
            unseen_lift=None if seen.unseen_lift is None else finite(seen.unseen_lift),
            unseen_windows=seen.unseen_windows,
            lift_gap_error=None if seen.lift_gap_error is None else finite(seen.lift_gap_error),
            effective_rank=finite(inspection.effective_rank),
            effective_rank_limit=inspection.effective_rank_limit,
            pairwise_cosine=finite(inspection.pairwise_cosine),
            context_pairwise_cosine=finite(seen.context_pairwise_cosine),
            top1_projected=inspection.top1_projected,
            top1_target=inspection.top1_target,
            ranked_apart=inspection.ranked_apart,
            nearer_projected=inspection.nearer_projected,
            grad_norm=finite(sums["grad_norm"] / steps),
            update_ratio=finite(sums["update_ratio"] / steps),
        )

    def take_in(self, record: EpochRecord, *, min_delta: float) -> bool:
        """Move on to the next epoch; whether `record` is the best so far."""
        self.rows = [*self.rows, record]
        self.epoch, self.step_in_epoch, self.elapsed_s, self.sums = record.epoch + 1, 0, 0.0, {}
        value, reference = record.val_cosine, self.patience_val_cosine
        if value is not None and (reference is None or value >= reference + min_delta):
            self.patience_val_cosine, self.epochs_without_gain = value, 0
        else:
            self.epochs_without_gain += 1
        if value is None or (self.best_val_cosine is not None and value <= self.best_val_cosine):
            return False
        self.best_epoch, self.best_val_cosine = record.epoch, value
        return True
