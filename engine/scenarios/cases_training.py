"""Faults of the objective: the loss, its negatives, the projection head, and a model that a floor outdoes."""

from __future__ import annotations

from engine.run.settings import Patch
from engine.scenarios import faults
from engine.scenarios.case import NO_RERANKER, Asked, Case
from engine.scenarios.data import embedded, synthetic

PASSES = synthetic("passes")
MISS = synthetic("miss")
BEHIND_HEAD: Patch = {"loss.contrast_space": "projected", "loss.lambda_con": 0.7, "loss.lambda_ar": 0.3}
SCRATCH: Patch = {"model.residual": "none"}
PLAIN_GRU: Patch = {**SCRATCH, "model.kind": "gru", "model.width": 128}
AMONG_VECTORS: Patch = {"loss.contrast_space": "target"}
RESIDUAL: Patch = {"model.residual": "context_mean"}
HEALTHY_EMBEDDED: Patch = {
    **AMONG_VECTORS,
    **RESIDUAL,
    "loss.lambda_con": 0.3,
    "loss.lambda_ar": 0.7,
    "optimizer.lr": 1e-3,
}
LONG_PAGES = synthetic("passes", num_articles=40, num_chunks=60)

OF_LOSS = (
    Case(
        name="ar_only",
        expects="collapse",
        planted="embedded corpus, plain GRU, no contrast",
        data=embedded(),
        patch={**PLAIN_GRU, "loss.lambda_con": 0.0, "sampler.batch_size": 128, "epochs": 2},
        asked=NO_RERANKER,
        mended=HEALTHY_EMBEDDED,
    ),
    Case(
        name="ar_only_small",
        expects="collapse",
        planted="embedded corpus, plain GRU, no contrast, other width and rate",
        data=embedded(),
        patch={**PLAIN_GRU, "model.width": 64, "loss.lambda_con": 0.0, "optimizer.lr": 1e-3, "epochs": 2},
        asked=NO_RERANKER,
        mended=HEALTHY_EMBEDDED,
        held_out=True,
    ),
    Case(
        name="few_negatives",
        expects="too_few_negatives",
        planted="batches of 8",
        data=PASSES,
        patch={"sampler.batch_size": 8, "epochs": 2, "optimizer.lr": 1e-3},
        asked=Asked(),
        mended={"sampler.batch_size": 64, "optimizer.lr": 3e-3},
    ),
    Case(
        name="few_negatives_16",
        expects="too_few_negatives",
        planted="batches of 16, GRU",
        data=MISS,
        patch={"model.kind": "gru", "sampler.batch_size": 16, "epochs": 2, "optimizer.lr": 1e-3},
        mended={"sampler.batch_size": 64, "optimizer.lr": 3e-3},
        held_out=True,
    ),
    Case(
        name="own_article",
        expects="hygiene",
        planted="candidates of the own article are not masked",
        data=LONG_PAGES,
        patch={"loss.mask_same_article": False},
        asked=Asked(),
        mended={"loss.mask_same_article": True},
    ),
    Case(
        name="own_article_queue",
        expects="hygiene",
        planted="the same through a queue, shorter articles",
        data=PASSES,
        patch={"loss.mask_same_article": False, "queue.size": 1024, "queue.same_topic_share": 0.0, "epochs": 2},
        mended={"loss.mask_same_article": True},
        held_out=True,
    ),
    Case(
        name="wrong_space",
        expects="space_mismatch",
        planted="embedded corpus, contrast behind the projection head",
        data=embedded(),
        patch={**BEHIND_HEAD, **SCRATCH, "sampler.batch_size": 128, "epochs": 4},
        asked=NO_RERANKER,
        mended=HEALTHY_EMBEDDED,
    ),
    Case(
        name="wrong_space_gru",
        expects="space_mismatch",
        planted="the same with a GRU of width 128",
        data=embedded(),
        patch={**BEHIND_HEAD, **PLAIN_GRU, "sampler.batch_size": 96, "epochs": 3},
        asked=NO_RERANKER,
        mended=HEALTHY_EMBEDDED,
        held_out=True,
    ),
)

OF_HEAD = (
    Case(
        name="head_bias",
        expects="dead_head",
        planted="projection head with a bias on its last layer",
        data=PASSES,
        patch=BEHIND_HEAD,
        fault=faults.bias_the_head,
        mended=AMONG_VECTORS,
    ),
    Case(
        name="head_no_norm",
        expects="dead_head",
        planted="from scratch, projection head without L2 norm",
        data=MISS,
        patch={**BEHIND_HEAD, **SCRATCH},
        fault=faults.unnormalise_the_head,
        mended=AMONG_VECTORS,
    ),
    Case(
        name="head_no_norm_gru",
        expects="dead_head",
        planted="embedded corpus, GRU from scratch, projection head without L2 norm",
        data=embedded(),
        patch={**BEHIND_HEAD, **PLAIN_GRU, "sampler.batch_size": 128, "epochs": 2},
        fault=faults.unnormalise_the_head,
        mended=AMONG_VECTORS,
        held_out=True,
    ),
    Case(
        name="head_bias_amn",
        expects="dead_head",
        planted="AMN, projection head with a bias on its last layer",
        data=MISS,
        patch={**BEHIND_HEAD, "model.kind": "amn"},
        fault=faults.bias_the_head,
        mended=AMONG_VECTORS,
        held_out=True,
    ),
    Case(
        name="head_silent",
        expects="dead_head",
        planted="projection head whose first layer is zero",
        data=PASSES,
        patch=BEHIND_HEAD,
        fault=faults.silence_the_head,
        mended=AMONG_VECTORS,
    ),
)

OF_FLOOR = (
    Case(
        name="below_ridge",
        expects="below_floor",
        planted="preset passes, small, Mamba-S from scratch: a linear map does better",
        data=PASSES,
        patch=SCRATCH,
        asked=Asked(),
        mended=RESIDUAL,
    ),
    Case(
        name="below_ridge_gru",
        expects="below_floor",
        planted="preset passes, smaller, GRU from scratch and too short",
        data=synthetic("passes", num_articles=120),
        patch={**PLAIN_GRU, "model.width": 64, "epochs": 2, "optimizer.lr": 2e-3},
        asked=Asked(),
        mended=RESIDUAL,
    ),
    Case(
        name="below_ridge_transformer",
        expects="below_floor",
        planted="preset miss, transformer from scratch",
        data=MISS,
        patch={**SCRATCH, "model.kind": "transformer", "optimizer.lr": 1e-3},
        asked=Asked(),
        mended=RESIDUAL,
        held_out=True,
    ),
)
