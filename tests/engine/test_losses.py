"""The objective: against a query-by-query InfoNCE, and the effective batch's gradient against one big batch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from engine.models.registry import build_head, build_model
from engine.run.settings import LossConfig, ModelConfig
from engine.training.losses import MicroLoss, info_nce, mask_candidates, micro_loss, project_candidates
from tests.reference.info_nce import big_batch_loss, plain_info_nce

ARTICLES = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 0, -1, -1])
SIZES = [5, 4, 3]
SPACES: list[Any] = ["projected", "target"]


def units(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def accumulate(
    model: nn.Module, head: nn.Module | None, contexts: Tensor, targets: Tensor, config: LossConfig, *, naive: bool
) -> float:
    """Gradients of an effective batch in micro-batches; `naive` contrasts each against itself alone."""
    candidates = project_candidates(targets, ARTICLES, head)
    first, total = 0, 0.0
    for size in SIZES:
        own = slice(first, first + size)
        if naive:
            few = project_candidates(targets[own], ARTICLES[own], head)
            mask = mask_candidates(ARTICLES[own], 0, size, mask_same_article=True)
            share = micro_loss(model(contexts[own]), targets[own], few, mask, 0, config, head)
            share = MicroLoss(share.loss * size / sum(SIZES), share.infonce, share.ar_cosine)
        else:
            mask = mask_candidates(ARTICLES, first, size, mask_same_article=True)
            share = micro_loss(model(contexts[own]), targets[own], candidates, mask, first, config, head)
        share.loss.backward()  # type: ignore[no-untyped-call]
        total += share.loss.item()
        first += size
    return total


def worst_gradient_error(dtype: torch.dtype, space: Any, *, naive: bool) -> float:
    """Largest relative error over the parameters of model and head, against one big batch."""
    config = LossConfig(contrast_space=space, projection_hidden=16, projection_width=8)
    model = build_model(ModelConfig(width=16, layers=2, state=8, head_width=8), dim=12, context=3).to(dtype)
    head = build_head(config, dim=12)
    head = None if head is None else head.to(dtype)
    parameters = [*model.parameters(), *([] if head is None else head.parameters())]
    contexts, targets = units(12, 3, 12, dtype=dtype), units(12, 12, seed=1, dtype=dtype)
    big = big_batch_loss(
        model, head, contexts, targets, ARTICLES.tolist(), temperature=0.07, lambda_con=0.7, lambda_ar=0.3
    )
    expected = torch.autograd.grad(big, parameters)
    loss = accumulate(model, head, contexts, targets, config, naive=naive)
    if not naive:
        assert loss == pytest.approx(big.item(), rel=1e-5)
    errors = []
    for parameter, reference in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        errors.append(float((parameter.grad - reference).norm() / reference.norm()))
    return max(errors)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_micro_batches_give_the_big_batchs_gradient_for_every_parameter(
    space: Any, dtype: torch.dtype, bar: float
) -> None:
    assert worst_gradient_error(dtype, space, naive=False) <= bar


@pytest.mark.parametrize("space", SPACES)
def test_contrasting_each_micro_batch_against_itself_does_not(space: Any) -> None:
    assert worst_gradient_error(torch.float64, space, naive=True) > 1e-2


def test_targets_carry_no_gradient() -> None:
    head = build_head(LossConfig(projection_hidden=16, projection_width=8), dim=12)
    assert head is not None
    candidates = project_candidates(units(4, 12, dtype=torch.float32).requires_grad_(), ARTICLES[:4], head)
    assert not candidates.vectors.requires_grad


@given(
    articles=st.lists(st.integers(-1, 3), min_size=2, max_size=10),
    temperature=st.sampled_from([0.05, 0.07, 0.5]),
    seed=st.integers(0, 99),
)
def test_info_nce_is_the_query_by_query_one(articles: list[int], temperature: float, seed: int) -> None:
    queries, candidates = units(len(articles), 6, seed=seed), units(len(articles), 6, seed=seed + 1)
    mask = mask_candidates(np.array(articles), 0, len(articles), mask_same_article=True)
    found = info_nce(
        queries, candidates, torch.arange(len(articles)), torch.from_numpy(mask.masked), temperature=temperature
    )
    plain = plain_info_nce(queries, candidates, articles, temperature=temperature)
    assert found.item() / len(articles) == pytest.approx(plain.item(), rel=1e-9, abs=1e-12)


@given(articles=st.lists(st.integers(-1, 4), min_size=2, max_size=30), data=st.data())
def test_every_candidate_is_counted_once(articles: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(articles) - 1))
    count = data.draw(st.integers(1, len(articles) - first))
    masks = [mask_candidates(np.array(articles), first, count, mask_same_article=masking) for masking in (True, False)]
    same = sum(
        articles[i] == articles[j] != -1 for i in range(first, first + count) for j in range(len(articles)) if i != j
    )
    on, off = masks
    assert (on.num_masked, on.num_same_article) == (same, 0)
    assert (off.num_masked, off.num_same_article) == (0, same)
    assert on.num_negatives + on.num_masked == off.num_negatives == count * (len(articles) - 1)
    assert on.num_unknown == articles[first : first + count].count(-1)
    assert not on.masked[np.arange(count), first + np.arange(count)].any()


def test_1024_windows_in_four_parts_give_every_query_1023_negatives() -> None:
    masks = [mask_candidates(np.arange(1024), first, 256, mask_same_article=True) for first in range(0, 1024, 256)]
    assert sum(mask.num_negatives for mask in masks) / 1024 == 1023


def test_a_masked_candidate_changes_nothing_and_an_unmasked_one_does() -> None:
    queries, candidates = units(4, 6), units(4, 6, seed=1)
    moved = candidates.clone()
    moved[1] = units(6, seed=9)
    masked = torch.zeros(1, 4, dtype=torch.bool)
    masked[0, 1] = True
    own = torch.tensor([0])

    def loss(vectors: Tensor, mask: Tensor) -> float:
        return info_nce(queries[:1], vectors, own, mask, temperature=0.07).item()

    assert loss(candidates, masked) == loss(moved, masked)
    assert loss(candidates, ~masked & masked) != loss(moved, ~masked & masked)


def test_the_weights_of_the_terms_are_what_they_say() -> None:
    targets, predictions = units(12, 12, seed=1), units(12, 12, seed=2).requires_grad_()
    candidates = project_candidates(targets, ARTICLES, None)
    mask = mask_candidates(ARTICLES, 0, 12, mask_same_article=True)
    compute: Callable[[float, float], MicroLoss] = lambda con, ar: micro_loss(  # noqa: E731
        predictions, targets, candidates, mask, 0, LossConfig(lambda_con=con, lambda_ar=ar), None
    )
    both, contrast, cosine = compute(0.7, 0.3), compute(1.0, 0.0), compute(0.0, 1.0)
    assert both.loss.item() == pytest.approx(0.7 * contrast.loss.item() + 0.3 * cosine.loss.item())
    assert cosine.loss.item() == pytest.approx(1 - both.ar_cosine.item())
    assert contrast.loss.item() == pytest.approx(both.infonce.item())
