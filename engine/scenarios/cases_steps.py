"""Faults of optimisation and of the process: steps, gradients, the queue, learning by heart, silence."""

from __future__ import annotations

import math

from engine.run.settings import Patch
from engine.scenarios import faults
from engine.scenarios.case import Asked, Case
from engine.scenarios.data import embedded, synthetic

PASSES = synthetic("passes")
MISS = synthetic("miss")
IN_CODE = "a defect in the code: it comes back in every run, whatever its settings"
LESS_BY_HEART: Patch = {
    "model.residual": "context_mean",
    "epochs": 4,
    "loss.lambda_con": 0.3,
    "loss.lambda_ar": 0.7,
    "sampler.article_dropout": 0.2,
    "sampler.span_corruption": 0.1,
}
RESTLESS = {
    "num_articles": 20,
    "num_chunks": 18,
    "dim": 12,
    "topic": 0.1,
    "walk": 0.8,
    "noise": 0.5,
    "persistence": 0.9,
}
"""Two articles of a few directions to validate with: swings do not average out, as those of hundreds of each do."""
SWINGING: Patch = {
    "epochs": 16,
    "sampler.batch_size": 4,
    "sampler.article_dropout": 0.0,
    "sampler.span_corruption": 0.0,
    "loss.lambda_con": 0.0,
    "loss.lambda_ar": 1.0,
    "optimizer.lr": 3e-2,
    "optimizer.weight_decay": 0.4,
    "schedule.min_lr_ratio": 1.0,
    "checkpoint.patience": 0,
}
CALM: Patch = {"optimizer.lr": 1e-3, "optimizer.weight_decay": 0.01, "sampler.batch_size": 16}
QUEUED: Patch = {
    "epochs": 2,
    "sampler.batch_size": 128,
    "queue.same_topic_share": 0.0,
    "loss.contrast_space": "projected",
    "loss.lambda_con": 0.7,
    "loss.lambda_ar": 0.3,
}

OF_STEPS = (
    Case(
        name="rate_high",
        expects="exploding",
        planted="learning rate 100 times too high",
        data=PASSES,
        patch={"optimizer.lr": 0.3},
        mended={"optimizer.lr": 3e-3},
    ),
    Case(
        name="rate_high_amn",
        expects="exploding",
        planted="AMN, learning rate 100 times too high",
        data=MISS,
        patch={"model.kind": "amn", "optimizer.lr": 0.1},
        mended={"optimizer.lr": 1e-3},
        held_out=True,
    ),
    Case(
        name="rate_low",
        expects="vanishing",
        planted="learning rate 100 times too low",
        data=PASSES,
        patch={"optimizer.lr": 3e-5},
        asked=Asked(),
        mended={"optimizer.lr": 3e-3},
    ),
    Case(
        name="rate_low_gru",
        expects="vanishing",
        planted="GRU, learning rate 100 times too low",
        data=MISS,
        patch={"model.kind": "gru", "optimizer.lr": 1e-5},
        asked=Asked(),
        mended={"optimizer.lr": 1e-3},
        held_out=True,
    ),
    Case(
        name="exploding",
        expects="exploding",
        planted="gradients grow by 8 % a step, nothing is clipped",
        data=PASSES,
        patch={"optimizer.clip_norm": 1e9},
        fault=faults.grow_gradients(1.08),
        beyond_repair=IN_CODE,
    ),
    Case(
        name="exploding_faster",
        expects="exploding",
        planted="GRU, gradients grow by 12 % a step, clipped",
        data=MISS,
        patch={"model.kind": "gru"},
        fault=faults.grow_gradients(1.12),
        beyond_repair=IN_CODE,
        held_out=True,
    ),
    Case(
        name="vanishing",
        expects="vanishing",
        planted="gradients shrunk by 1e-6 on their way",
        data=PASSES,
        fault=faults.scale_gradients(1e-6),
        asked=Asked(),
        beyond_repair=IN_CODE,
    ),
    Case(
        name="frozen",
        expects="vanishing",
        planted="weights frozen",
        data=MISS,
        fault=faults.scale_gradients(0.0),
        beyond_repair=IN_CODE,
    ),
    Case(
        name="frozen_late",
        expects="vanishing",
        planted="GRU whose weights are frozen after the first epoch",
        data=PASSES,
        patch={"model.kind": "gru", "schedule.min_lr_ratio": 1.0},
        fault=faults.scale_gradients(0.0, after=60),
        beyond_repair=IN_CODE,
        held_out=True,
    ),
    Case(
        name="not_a_number",
        expects="non_finite",
        planted="NaN in the gradients of the second epoch",
        data=PASSES,
        fault=faults.scale_gradients(math.nan, after=100),
        beyond_repair=IN_CODE,
    ),
    Case(
        name="not_a_number_at_once",
        expects="non_finite",
        planted="NaN in the gradients of the first step, AMN",
        data=MISS,
        patch={"model.kind": "amn"},
        fault=faults.scale_gradients(math.nan),
        beyond_repair=IN_CODE,
        held_out=True,
    ),
    Case(
        name="not_a_number_once",
        expects="non_finite",
        planted="NaN in the gradients of a single step of the second epoch, GRU",
        data=PASSES,
        patch={"model.kind": "gru"},
        fault=faults.scale_gradients(math.nan, after=100, until=101),
        fault_is_once=True,
        mended={},
    ),
    Case(
        name="not_a_number_once_late",
        expects="non_finite",
        planted="NaN in the gradients of a single step of the third epoch, Mamba-S",
        data=MISS,
        fault=faults.scale_gradients(math.nan, after=160, until=161),
        fault_is_once=True,
        mended={},
        held_out=True,
    ),
    Case(
        name="overfit",
        expects="overfit",
        planted="24 articles learned by heart, no contrast, GRU of width 256",
        data=synthetic("miss", num_articles=24, num_chunks=60),
        patch={
            "model.kind": "gru",
            "model.width": 256,
            "model.residual": "none",
            "epochs": 24,
            "loss.lambda_con": 0.0,
            "loss.lambda_ar": 1.0,
            "sampler.article_dropout": 0.0,
            "sampler.span_corruption": 0.0,
        },
        mended=LESS_BY_HEART,
    ),
    Case(
        name="overfit_fewer",
        expects="overfit",
        planted="16 articles learned by heart, no contrast, GRU of width 192",
        data=synthetic("passes", num_articles=16, num_chunks=60),
        patch={
            "model.kind": "gru",
            "model.width": 192,
            "model.residual": "none",
            "epochs": 30,
            "loss.lambda_con": 0.0,
            "loss.lambda_ar": 1.0,
            "sampler.article_dropout": 0.0,
            "sampler.span_corruption": 0.0,
        },
        mended=LESS_BY_HEART,
        held_out=True,
    ),
)

OF_SWINGS = (
    Case(
        name="oscillating",
        expects="oscillating",
        planted="GRU, batches of 4 at a constant learning rate 30 times too high, held there by weight decay",
        data=synthetic("passes", **RESTLESS),
        patch={**SWINGING, "model.kind": "gru", "model.width": 32},
        mended=CALM,
    ),
    Case(
        name="oscillating_smaller",
        expects="oscillating",
        planted="GRU of width 24, the same with less noise",
        data=synthetic("passes", **{**RESTLESS, "num_articles": 22, "noise": 0.45}),
        patch={**SWINGING, "model.kind": "gru", "model.width": 24},
        mended=CALM,
    ),
    Case(
        name="oscillating_wider",
        expects="oscillating",
        planted="GRU of width 48, the same with more noise",
        data=synthetic("passes", **{**RESTLESS, "num_chunks": 20, "noise": 0.55}),
        patch={**SWINGING, "model.kind": "gru", "model.width": 48},
        mended=CALM,
        held_out=True,
    ),
)

OF_PROCESS = (
    Case(
        name="lost",
        expects="lost",
        planted="the process is gone and left no exit",
        data=PASSES,
        fault=faults.abandon(90),
        aftermath=faults.lose_process,
        fault_is_once=True,
        mended={},
    ),
    Case(
        name="stalled",
        expects="stalled",
        planted="the process is there and has said nothing for an hour",
        data=PASSES,
        fault=faults.abandon(90),
        aftermath=faults.fall_silent,
        is_held=True,
        fault_is_once=True,
        mended={},
    ),
    Case(
        name="queue_stale",
        expects="stale_queue",
        planted="embedded corpus, AMN, a queue of 1,024 that is filled once, behind the head",
        data=embedded(),
        patch={**QUEUED, "model.kind": "amn", "queue.size": 1024},
        fault=faults.leave_the_queue,
        mended={"queue.size": 0},
    ),
    Case(
        name="queue_stale_mamba",
        expects="stale_queue",
        planted="embedded corpus, Mamba-S, a queue of 512 that is filled once, behind the head",
        data=embedded(),
        patch={**QUEUED, "queue.size": 512},
        fault=faults.leave_the_queue,
        mended={"queue.size": 0},
        held_out=True,
    ),
)
