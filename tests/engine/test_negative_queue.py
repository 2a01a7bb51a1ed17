"""The queue: what is held, who sees what of it, and the loss over it, against entry-by-entry definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from engine.models.registry import build_head, build_model
from engine.run.convert import ConfigError
from engine.run.settings import LossConfig, ModelConfig, QueueConfig
from engine.training.losses import contrast_with_queue, mask_candidates, micro_loss, project_candidates
from engine.training.negative_queue import NegativeQueue, queue_capacity
from engine.training.streamed_contrast import stream_log_sum_exp
from tests.reference.plain_queue import PlainQueue, plain_queue_info_nce

CPU = torch.device("cpu")
WIDTH = 6


def units(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def make_queue(
    articles: list[int],
    topics: list[int],
    *,
    capacity: int,
    share: float = 0.3,
    masking: bool = True,
    width: int = WIDTH,
) -> NegativeQueue:
    return NegativeQueue(
        QueueConfig(size=capacity, same_topic_share=share),
        capacity=capacity,
        width=width,
        articles=np.array(articles),
        topics=np.array(topics, np.int32),
        mask_same_article=masking,
        device=CPU,
    )


def masked_of(queue: NegativeQueue, queries: list[int], block: int = 4) -> tuple[Any, int]:
    """(B, K) of what is left out, and how many own-article entries are not."""
    masked = torch.ones(len(queries), queue.fill, dtype=torch.bool)
    reached = 0
    for part in queue.view(np.array(queries)).parts:
        for start in range(0, len(part.slots), block):
            span = slice(start, min(start + block, len(part.slots)))
            buffers = [torch.zeros(len(part.rows), span.stop - start, dtype=torch.bool) for _ in range(3)]
            reached += int(part.mask_block(span, buffers[0], (buffers[1], buffers[2])))
            masked[part.rows[:, None], part.slots[span]] = buffers[0]
    return masked.numpy(), reached


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], list[list[int]], int]:
    """Articles and topics of up to 20 windows, pushes of some of them, and a capacity."""
    count = draw(st.integers(2, 20))
    articles = draw(st.lists(st.integers(-1, 4), min_size=count, max_size=count))
    topics = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    pushes = draw(st.lists(st.lists(st.integers(0, count - 1), min_size=1, max_size=7), max_size=5))
    return articles, topics, pushes, draw(st.integers(1, 12))


@given(history=histories(), share=st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_every_query_sees_what_the_definition_says(
    history: tuple[list[int], list[int], list[list[int]], int], share: float
) -> None:
    articles, topics, pushes, capacity = history
    queue = make_queue(articles, topics, capacity=capacity, share=share)
    plain = PlainQueue(capacity, articles, topics, share)
    for number, push in enumerate(pushes):
        vectors = units(len(push), WIDTH, seed=number, dtype=torch.float32)
        queue.push(np.array(push), vectors)
        plain.push(push, vectors)
    queries = list(range(len(articles)))
    order = np.argsort(-queue._ages(), kind="stable")  # slots, oldest first
    assert queue.windows[order].tolist() == [window for window, _ in plain.held]
    for slot, (_, vector) in zip(order, plain.held, strict=True):
        assert torch.equal(queue.vectors[slot], vector)
    masked, reached = masked_of(queue, queries)
    for query in queries:
        same = plain.same_topic(query)
        seen = np.flatnonzero(~masked[query][order]).tolist()
        assert seen == plain.seen(query)
        assert queue.view(np.array([query])).num_same_topic[0] == len(same)
        if same:
            assert len(same) / len(seen) >= share
    assert reached == 0


def test_without_masking_same_article_entries_reach_the_loss_and_are_counted() -> None:
    queue = make_queue([0, 0, 0, 1], [0, 0, 0, 0], capacity=4, share=0.0, masking=False)
    queue.push(np.array([0, 1, 2, 3]), units(4, WIDTH, dtype=torch.float32))
    masked, reached = masked_of(queue, [0, 3])
    assert reached == 2
    assert masked.tolist() == [[True, False, False, False], [False, False, False, True]]  # never its own window
    _, counts = contrast_with_queue(units(2, WIDTH, dtype=torch.float32), queue.view(np.array([0, 3])), temperature=0.1)
    assert (counts.num_same_article, counts.num_negatives) == (2, 6)


def test_a_mask_that_was_lost_on_the_way_is_counted() -> None:
    queue = make_queue([0, 0, 1], [0, 0, 0], capacity=3)
    queue.push(np.array([0, 1, 2]), units(3, WIDTH, dtype=torch.float32))
    view = queue.view(np.array([0]))
    view.parts[0].hidden_as.fill_(-7)  # nothing is anybody's own any more
    _, counts = contrast_with_queue(units(1, WIDTH, dtype=torch.float32), view, temperature=0.1)
    assert counts.num_same_article == 2


@settings(max_examples=40)
@given(
    history=histories(),
    share=st.sampled_from([0.0, 0.3]),
    temperature=st.sampled_from([0.01, 0.07, 1.0]),
    block=st.sampled_from([1, 3, 512]),
)
def test_the_streamed_sum_and_its_gradient_are_the_plain_ones(
    history: tuple[list[int], list[int], list[list[int]], int], share: float, temperature: float, block: int
) -> None:
    articles, topics, pushes, capacity = history
    queue = make_queue(articles, topics, capacity=capacity, share=share)
    for number, push in enumerate(pushes):
        queue.push(np.array(push), units(len(push), WIDTH, seed=number, dtype=torch.float32))
    queries = list(range(len(articles)))
    masked = torch.from_numpy(masked_of(queue, queries)[0])
    seeing = ~masked.all(dim=1)
    keys = queue.vectors.double()
    plain = units(len(queries), WIDTH, seed=99).requires_grad_()
    streamed = plain.detach().clone().requires_grad_()
    view = queue.view(np.array(queries))
    found, counts = contrast_with_queue(streamed, view, temperature=temperature, block=block)
    logits = (plain @ keys.T / temperature).masked_fill(masked, -torch.inf)
    assert counts.num_negatives == int((~masked).sum())
    assert counts.num_with_negatives == int(seeing.sum())
    assert (found[~seeing] == -torch.inf).all()
    if not seeing.any():
        return
    expected = logits[seeing].logsumexp(dim=1)
    assert torch.allclose(found[seeing], expected, rtol=1e-10, atol=1e-10)
    weights = torch.arange(1.0, 1 + int(seeing.sum()), dtype=torch.float64)
    (expected * weights).sum().backward()
    (found[seeing] * weights).sum().backward()
    assert streamed.grad is not None
    assert plain.grad is not None
    assert torch.allclose(streamed.grad, plain.grad, rtol=1e-9, atol=1e-9)
    assert not streamed.grad[~seeing].any()


def test_the_streamed_sum_is_exact_in_single_precision_over_many_keys() -> None:
    keys, query = units(5000, 32, seed=1, dtype=torch.float32), units(16, 32, dtype=torch.float32)
    streamed, plain = query.clone().requires_grad_(), query.double().requires_grad_()

    def nothing(_block: slice, masked: Tensor, _scratch: tuple[Tensor, Tensor]) -> Tensor:
        masked.fill_(False)
        return torch.tensor(0)

    found = stream_log_sum_exp(streamed, keys, torch.arange(5000), nothing, temperature=0.05).log_sum_exp
    expected = (plain @ keys.double().T / 0.05).logsumexp(dim=1)
    assert float(((found - expected) / expected).detach().abs().max()) < 1e-6
    found.sum().backward()
    expected.sum().backward()
    assert streamed.grad is not None
    assert plain.grad is not None
    assert float((streamed.grad - plain.grad).norm() / plain.grad.norm()) < 1e-6


ARTICLES = [0, 0, 1, 2, 2, 2, 3, 4, 5, 0, -1, -1, 6, 6, 7, 8]
TOPICS = [0, 0, 1, 0, 0, 0, 1, 2, 2, 0, 0, 1, 0, 0, 3, 0]
BATCH = list(range(8))
PUSHED = [12, 13, 14, 15, 1, 3, 9, 10, 11, 8]


def worst_gradient_error(space: Any, share: float, *, forget: bool = False, empty: bool = False) -> float:
    """Largest relative error over the parameters of model and head, in float64; `forget` leaves out the queue."""
    config = LossConfig(contrast_space=space, projection_hidden=16, projection_width=8, lambda_ar=0.0, lambda_con=1.0)
    model = build_model(ModelConfig(width=16, layers=2, state=8, head_width=8), dim=12, context=3).double()
    head = build_head(config, dim=12)
    head = None if head is None else head.double()
    project: nn.Module = nn.Identity() if head is None else head
    parameters = [*model.parameters(), *project.parameters()]
    contexts, targets = units(len(BATCH), 3, 12), units(len(BATCH), 12, seed=1)
    width = 12 if head is None else 8
    queue = make_queue(ARTICLES, TOPICS, capacity=9, share=share, width=width)
    plain = PlainQueue(9, ARTICLES, TOPICS, share)
    if not empty:
        vectors = units(len(PUSHED), width, seed=2, dtype=torch.float32)
        queue.push(np.array(PUSHED), vectors)
        plain.push(PUSHED, vectors.double())
    candidates = project(targets).detach()
    expected_loss = plain_queue_info_nce(project(model(contexts)), candidates, BATCH, plain, temperature=0.07) / len(
        BATCH
    )
    expected = torch.autograd.grad(expected_loss, parameters)
    articles, total, first = np.array(ARTICLES)[BATCH], 0.0, 0
    for size in (5, 3):
        own = slice(first, first + size)
        mask = mask_candidates(articles, first, size, mask_same_article=True)
        share_of_loss = micro_loss(
            model(contexts[own]),
            targets[own],
            project_candidates(targets, articles, head),
            mask,
            first,
            config,
            head,
            None if forget else queue.view(np.array(BATCH[own])),
        )
        share_of_loss.loss.backward()  # type: ignore[no-untyped-call]
        total += share_of_loss.loss.item()
        first += size
    if not forget:
        assert total == pytest.approx(expected_loss.item(), rel=1e-9)
    errors = []
    for parameter, reference in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        errors.append(float((parameter.grad - reference).norm() / reference.norm()))
    return max(errors)


@pytest.mark.parametrize("space", ["projected", "target"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_loss_over_batch_and_queue_gives_every_parameter_its_gradient(space: Any, share: float) -> None:
    assert worst_gradient_error(space, share) < 1e-6


def test_an_empty_queue_changes_nothing_and_a_forgotten_one_does() -> None:
    assert worst_gradient_error("projected", 0.3, empty=True) < 1e-6
    assert worst_gradient_error("projected", 0.3, forget=True) > 1e-3


@pytest.mark.parametrize(
    ("size", "num_train", "effective_batch", "capacity"),
    [(65_536, 5_324, 64, 5_260), (100, 5_324, 64, 100), (10, 64, 64, 0), (10, 20, 64, 0), (0, 5_324, 64, 0)],
)
def test_a_queue_never_holds_more_than_the_other_windows(
    size: int, num_train: int, effective_batch: int, capacity: int
) -> None:
    assert queue_capacity(size, num_train=num_train, effective_batch=effective_batch) == capacity


def test_a_queue_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    first, second = (make_queue(ARTICLES, TOPICS, capacity=5) for _ in range(2))
    first.push(np.arange(7), units(7, WIDTH, dtype=torch.float32))
    state = first.state(with_vectors=True)
    second.load(state, state["vectors"])
    for queue in (first, second):
        queue.push(np.array([9, 8]), units(2, WIDTH, seed=3, dtype=torch.float32))
    assert first.windows.tolist() == second.windows.tolist()
    assert torch.equal(first.vectors, second.vectors)
    assert "vectors" not in first.state(with_vectors=False)


def test_the_state_of_another_queue_is_refused() -> None:
    queue = make_queue(ARTICLES, TOPICS, capacity=5)
    queue.push(np.arange(3), units(3, WIDTH, dtype=torch.float32))
    state = queue.state(with_vectors=True)
    with pytest.raises(ConfigError, match=r"holds 5 vectors of width 6, this run's 4 of width 6"):
        make_queue(ARTICLES, TOPICS, capacity=4).load(state, state["vectors"])
