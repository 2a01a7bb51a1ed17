"""Faults of data and of retrieval: what is planted in a corpus, and indexes that are not of it."""

from __future__ import annotations

from engine.run.settings import EvalConfig, Patch
from engine.scenarios.case import Asked, Case
from engine.scenarios.data import (
    FULL,
    copied_articles,
    embedded,
    other_corpus,
    other_evaluation,
    other_payload,
    scaled,
    shifted,
    shuffled_targets,
    synthetic,
    window_file,
)

SCRATCH: Patch = {"model.residual": "none"}
GRU: Patch = {"model.kind": "gru"}
CYCLES = {"num_articles": 60, "num_chunks": 100}

OF_DATA = (
    Case(
        name="hopeless",
        expects="hopeless",
        planted="preset hopeless: its ceiling is below the gate",
        data=synthetic("hopeless"),
        asked=Asked(),
    ),
    Case(
        name="hopeless_noise",
        expects="hopeless",
        planted="preset miss with more noise",
        data=synthetic("miss", noise=1.2),
        held_out=True,
    ),
    Case(
        name="collapse",
        expects="collapse",
        planted="preset collapse, from scratch",
        data=synthetic("collapse"),
        patch=SCRATCH,
        asked=Asked(),
    ),
    Case(
        name="collapse_residual",
        expects="collapse",
        planted="preset collapse, GRU over the context mean",
        data=synthetic("collapse"),
        patch={"model.kind": "gru"},
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="leak_by_window",
        expects="leak",
        planted="preset leak as a file of windows without articles",
        data=window_file("leak", "unnamed", **CYCLES),
        patch=SCRATCH,
        asked=Asked(),
    ),
    Case(
        name="leak_own_number",
        expects="leak",
        planted="preset passes as a file that gives each window an article of its own",
        data=window_file("passes", "own number"),
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="leak_copies",
        expects="leak",
        planted="preset passes, a third of the articles twice under other titles",
        data=copied_articles("passes", 0.33),
        asked=Asked(),
    ),
    Case(
        name="leak_honest",
        expects="hopeless",
        planted="preset leak split by article: what was learned by heart is out of reach",
        data=synthetic("leak", **CYCLES),
        patch=SCRATCH,
        asked=Asked(),
    ),
    Case(
        name="two_encoders",
        expects="provenance",
        planted="training in one encoder's space, the payload in another's",
        data=other_payload("passes"),
        asked=Asked(),
    ),
    Case(
        name="two_encoders_unseen",
        expects="provenance",
        planted="the evaluation's windows are of another encoder",
        data=other_evaluation("miss"),
        held_out=True,
    ),
    Case(
        name="two_encoders_late",
        expects="provenance",
        planted="no preflight; the evaluation asks in the space of training and searches another",
        data=other_payload("passes"),
        asked=Asked(by_training=True),
        looks_first=False,
    ),
    Case(
        name="shuffled",
        expects="provenance",
        planted="targets in another order than their keys",
        data=shuffled_targets("passes"),
        asked=Asked(),
    ),
)

OF_RETRIEVAL = (
    Case(
        name="cos_only",
        expects="ranking",
        planted="preset cos_only: the rank within the article is luck",
        data=synthetic("cos_only"),
        asked=Asked(),
    ),
    Case(
        name="eff_miss",
        expects="ranking",
        planted="preset eff_miss: Contain@50 and R@5 pass, Eff@5 does not",
        data=synthetic("eff_miss", **FULL),
        patch={"sampler.batch_size": 256, "epochs": 2},
        asked=Asked(),
    ),
    Case(
        name="embedded_ranking",
        expects="ranking",
        planted="embedded corpus without a reranker, the usual bar on Eff@5",
        data=embedded(),
        patch={"sampler.batch_size": 128, "epochs": 2, "optimizer.lr": 1e-3},
        asked=Asked(),
        held_out=True,
    ),
    Case(
        name="index_other_corpus",
        expects="retrieval_gap",
        planted="the index is of another corpus",
        data=synthetic("passes"),
        patch=GRU,
        asked=Asked(indexed=other_corpus),
    ),
    Case(
        name="index_shifted",
        expects="retrieval_gap",
        planted="the index holds the right vectors under numbers of other articles",
        data=synthetic("passes", noise=0.5),
        patch=GRU,
        asked=Asked(indexed=shifted),
        held_out=True,
    ),
    Case(
        name="index_unnormalised",
        expects="retrieval_gap",
        planted="the index holds vectors that were not normalised",
        data=synthetic("passes"),
        patch=GRU,
        asked=Asked(indexed=scaled),
    ),
    Case(
        name="index_one_list",
        expects="retrieval_gap",
        planted="the index visits a single list",
        data=embedded(),
        patch={"sampler.batch_size": 128, "epochs": 2, "optimizer.lr": 1e-3},
        asked=Asked(EvalConfig(limit=300, nprobe=1, eff5=0.5)),
    ),
)
