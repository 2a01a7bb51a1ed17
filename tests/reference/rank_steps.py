"""Optimizer steps of small trainings by themselves or shared by ranks, and all that they come to, to be compared.

As a program it is one of those ranks: `python -m tests.reference.rank_steps FOLDER`, which computes every case.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from engine.data.corpus import IndexArray
from engine.data.split import split_windows
from engine.data.windows import open_windows
from engine.run.settings import PatchValue
from engine.training.learner import Learner
from engine.training.negative_queue import open_queue
from engine.training.ranks import OneProcess, joined
from engine.training.sampler import EffectiveBatchSampler
from tests.reference.rank_programs import TIMEOUT_S, run_ranks
from tests.reference.small_training import make_spec

NUM_STEPS = 5

CASES: dict[str, dict[str, PatchValue]] = {
    # two epochs of 41 windows: the last micro-batch of each, of 5, is shared unevenly
    "accumulated": {"sampler__batch_size": 12, "sampler__accumulate": 2},
    "one micro-batch": {"sampler__batch_size": 12, "sampler__accumulate": 1},
    "queue, projected": {"sampler__batch_size": 6, "queue__size": 20},
    "queue, target space": {"sampler__batch_size": 6, "queue__size": 20, "loss__contrast_space": "target"},
    "queue without topics": {"sampler__batch_size": 6, "queue__size": 20, "queue__same_topic_share": 0.0},
    "own articles among the negatives": {"sampler__batch_size": 12, "loss__mask_same_article": False},
    "contrast alone": {"sampler__batch_size": 12, "loss__lambda_ar": 0.0},
    "cosine alone": {"sampler__batch_size": 12, "loss__lambda_con": 0.0},
    "articles spread": {"sampler__batch_size": 6, "sampler__max_per_article": 2},
    "much corruption": {"sampler__batch_size": 12, "sampler__span_corruption": 1.0, "sampler__article_dropout": 0.5},
    "residual": {"sampler__batch_size": 12, "model__residual": "context_mean"},
    "amn": {"sampler__batch_size": 12, "model__kind": "amn"},
    "gru": {"sampler__batch_size": 12, "model__kind": "gru"},
    "transformer": {"sampler__batch_size": 12, "model__kind": "transformer"},
    # of a remainder of 5 shared by 3, and of 2 in "few": a rank with nothing to compute
    "few": {"sampler__batch_size": 39, "sampler__accumulate": 1, "queue__size": 2},
}


AVERAGED = "averaged"
"""What ranks compute besides: steps of the first case whose shares of the loss are averaged, not added up."""


def take_steps(case: str, folder: Path, ranks: OneProcess) -> dict[str, Any]:
    """Figures, gradients and weights of a few steps, the queue after them, and what it predicts.

    Args:
        case: one of `CASES`.
        folder: where the corpus is, or is made.
        ranks: with whom.
    """
    spec = make_spec(folder / "run", **CASES[case])
    config = spec.config
    source = open_windows(spec.data, folder)
    split = split_windows(source, val_share=spec.data.val_share, test_share=spec.data.test_share, seed=0)
    device = torch.device("cpu")
    learner = Learner(config, source, device, open_queue(config, source, split.train, device), ranks)
    sampler = EffectiveBatchSampler(
        split.train,
        source.articles[split.train],
        batch_size=config.sampler.batch_size,
        accumulate=config.sampler.accumulate,
        max_per_article=config.sampler.max_per_article,
        seed=config.seed,
    )
    computed = _note_windows(learner)
    gradients, figures = [], []
    steps: list[list[IndexArray]] = [*sampler.epoch(1), *sampler.epoch(2)][:NUM_STEPS]
    for number, micro_batches in enumerate(steps):
        stepped = learner.optimizer.step
        learner.optimizer.step = _noting(learner, gradients, stepped)  # type: ignore[method-assign]
        figures.append(learner.take_step(micro_batches, step=number, lr=3e-3))
        learner.optimizer.step = stepped  # type: ignore[method-assign]
    queue = learner.queue
    return {
        "figures": [{name: getattr(each, name) for name in each.__struct_fields__} for each in figures],
        "gradients": gradients,
        "weights": [parameter.detach().clone() for parameter in learner.parameters],
        "queue": None if queue is None else queue.state(with_vectors=True),
        "predictions": learner.predict(split.val),
        "computed": computed,
    }


def computed_by(count: int, folder: Path) -> list[dict[str, dict[str, Any]]]:
    """What each of so many ranks computes, by case."""
    run_ranks("tests.reference.rank_steps", count, str(folder))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(count)]


def _gradients(learner: Learner) -> list[torch.Tensor]:
    return [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
        for parameter in learner.parameters
    ]


def _noting(learner: Learner, gradients: list[Any], step: Any) -> Any:
    def note() -> None:
        gradients.append(_gradients(learner))
        step()

    return note


def _note_windows(learner: Learner) -> list[list[int]]:
    """Have the windows noted whose loss is computed, micro-batch after micro-batch."""
    noted: list[list[int]] = []
    corrupt = learner._corrupt

    def note(contexts: Any, windows: IndexArray, part: slice, **place: int) -> Any:
        noted.append(windows[part].tolist())
        return corrupt(contexts, windows, part, **place)

    learner._corrupt = note  # type: ignore[method-assign]
    return noted


def main() -> None:
    """Compute every case as one of the ranks that the environment tells of."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    with joined(torch.device("cpu"), TIMEOUT_S) as ranks:
        found = {case: take_steps(case, folder, ranks) for case in CASES}
        backward = ranks.backward
        ranks.backward = lambda loss, *, exchange: backward(loss / ranks.count, exchange=exchange)  # type: ignore[method-assign]
        found[AVERAGED] = take_steps("accumulated", folder, ranks)
        torch.save(found, folder / f"rank{ranks.rank}.pt")


if __name__ == "__main__":
    main()
