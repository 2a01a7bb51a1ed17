"""Healthy trainings: nothing may be found in them, whatever the model, the data and the space of the contrast."""

from __future__ import annotations

from engine.run.settings import EvalConfig, Patch
from engine.scenarios.case import NO_RERANKER, Asked, Case
from engine.scenarios.data import FULL, embedded, raw_lengths, synthetic, window_file

SCRATCH: Patch = {"model.residual": "none"}
EMBEDDED: Patch = {"epochs": 2, "sampler.batch_size": 128, "optimizer.lr": 1e-3}
BEHIND_HEAD: Patch = {"loss.contrast_space": "projected", "loss.lambda_con": 0.7, "loss.lambda_ar": 0.3}
MANY_ASKED = embedded(test_share=0.3)
ALL_ASKED = Asked(EvalConfig(limit=0, eff5=0.5))
"""Some 2,000 queries: a gain of .06 in R@5 is beyond the noise of these, and within that of 300."""
TRADED: Patch = {"loss.lambda_con": 0.7, "loss.lambda_ar": 0.3}

HEALTHY = (
    Case(name="passes", expects="", planted="preset passes", data=synthetic("passes", **FULL), asked=Asked()),
    Case(
        name="miss",
        expects="",
        planted="preset miss: the gate is missed narrowly",
        data=synthetic("miss", **FULL),
        asked=Asked(),
    ),
    Case(
        name="healthy_mamba",
        expects="",
        planted="preset passes, small",
        data=synthetic("passes"),
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="healthy_gru",
        expects="",
        planted="preset passes, GRU",
        data=synthetic("passes"),
        patch={"model.kind": "gru"},
        asked=Asked(),
    ),
    Case(
        name="healthy_amn",
        expects="",
        planted="preset passes, AMN, batches of 128",
        data=synthetic("passes"),
        patch={"model.kind": "amn", "model.width": 128, "sampler.batch_size": 128, "epochs": 6},
        asked=Asked(),
    ),
    Case(
        name="healthy_transformer",
        expects="",
        planted="preset passes with less noise, transformer",
        data=synthetic("passes", noise=0.5),
        patch={"model.kind": "transformer", "optimizer.lr": 1e-3},
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="healthy_queue",
        expects="",
        planted="preset passes with a queue of 512",
        data=synthetic("passes"),
        patch={"queue.size": 512, "queue.same_topic_share": 0.0},
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="healthy_queue_behind_head",
        expects="",
        planted="embedded corpus, AMN, a queue of 1,024 behind the head",
        data=embedded(),
        patch={**EMBEDDED, **BEHIND_HEAD, "model.kind": "amn", "queue.size": 1024, "optimizer.lr": 3e-4},
    ),
    Case(
        name="healthy_queue_mamba",
        expects="",
        planted="embedded corpus, Mamba-S, a queue of 512 behind the head",
        data=embedded(),
        patch={**EMBEDDED, **BEHIND_HEAD, "queue.size": 512, "queue.same_topic_share": 0.0},
        held_out=True,
    ),
    Case(
        name="healthy_raw_lengths",
        expects="",
        planted="preset passes, vectors of all lengths in the file: they are normalised when read",
        data=raw_lengths("passes"),
        patch={"model.kind": "gru"},
        asked=Asked(),
    ),
    Case(
        name="healthy_file",
        expects="",
        planted="preset passes as a file of windows with article ids",
        data=window_file("passes", "named"),
        patch={"model.kind": "gru"},
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="healthy_embedded_gru",
        expects="",
        planted="embedded corpus, GRU",
        data=embedded(),
        patch={**EMBEDDED, "model.kind": "gru", "loss.lambda_con": 0.7, "loss.lambda_ar": 0.3},
        asked=NO_RERANKER,
    ),
    Case(
        name="healthy_embedded_mamba",
        expects="",
        planted="embedded corpus, Mamba-S",
        data=embedded(),
        patch={**EMBEDDED, "model.width": 128},
        asked=NO_RERANKER,
        held_out=True,
    ),
    Case(
        name="healthy_embedded_amn",
        expects="",
        planted="embedded corpus, AMN, contrast behind the head",
        data=embedded(),
        patch={**EMBEDDED, "model.kind": "amn", "optimizer.lr": 3e-4, "loss.contrast_space": "projected"},
    ),
    Case(
        name="healthy_embedded_scratch",
        expects="",
        planted="embedded corpus, Mamba-S from scratch",
        data=embedded(),
        patch={**EMBEDDED, **SCRATCH, "epochs": 3, "optimizer.lr": 3e-3},
    ),
    Case(
        name="trade_off_gru",
        expects="",
        planted="embedded corpus, GRU over the context mean, contrast among the vectors at full weight",
        data=MANY_ASKED,
        patch={**EMBEDDED, **TRADED, "model.kind": "gru", "model.width": 128, "epochs": 3},
        asked=ALL_ASKED,
        notes="trade_off",
    ),
    Case(
        name="trade_off_amn",
        expects="",
        planted="embedded corpus, AMN, contrast among the vectors at full weight",
        data=MANY_ASKED,
        patch={**EMBEDDED, **TRADED, "model.kind": "amn", "epochs": 3},
        asked=ALL_ASKED,
        notes="trade_off",
    ),
    Case(
        name="trade_off_mamba",
        expects="",
        planted="embedded corpus, Mamba-S over the context mean, contrast among the vectors at full weight",
        data=MANY_ASKED,
        patch={**EMBEDDED, **TRADED, "optimizer.lr": 2e-3, "epochs": 3},
        asked=ALL_ASKED,
        notes="trade_off",
        held_out=True,
    ),
)
