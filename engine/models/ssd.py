"""The state space recurrence of Mamba-2 as matrix products, exact at every length.

What defines it, per head, with one decay a head:

    state_t = exp(dt_t * A) * state_{t-1} + dt_t * x_t B_t^T        (P, N)
    y_t     = state_t C_t                                           (P,)

Unrolled, y = (M * (C B^T)) (dt * x) with M[t, s] = exp(sum of dt * A over s < r <= t): one masked matrix product for a
short window. A long one is cut into pieces of `CHUNK` positions that hand the state on, so that the cost stays linear.

Shapes: B batch, L window length, H heads, P channels of a head, N state width, Q positions of a piece.

Dao and Gu, "Transformers are SSMs", 2024 (arXiv:2405.21060), section 6.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from engine.device import computes_in_cache

CHUNK = 128
"""Windows up to this long take the single product: a quadratic cost below what handing states on would cost."""
CACHED = 300_000
"""Segment decays held at once on a CPU, 1.2 MB. At window 100 they came to 22 times the CPU time of window 5 in runs of
150 to 300 thousand and to 23 to 24 in larger ones, whose temporaries the allocator gives back and faults in anew."""


def ssd(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    log_decay_BLH: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    *,
    last_only: bool = False,
    chunk: int = CHUNK,
) -> Tensor:
    """The state space recurrence of the module's head.

    Args:
        x_BLHP: inputs.
        dt_BLH: time steps, positive.
        log_decay_BLH: dt * A, negative.
        B_BLN: input directions, shared by the heads.
        C_BLN: output directions, shared by the heads.
        last_only: return the last position alone.
        chunk: longest stretch done as one product.

    Returns:
        (B, L, H, P), or (B, 1, H, P) with `last_only`.
    """
    length = x_BLHP.shape[1]
    outputs: list[Tensor] = []
    state_BHNP: Tensor | None = None
    for start in range(0, length, chunk):
        at = slice(start, start + chunk)
        is_end = start + chunk >= length
        piece = (x_BLHP[:, at], dt_BLH[:, at], log_decay_BLH[:, at], B_BLN[:, at], C_BLN[:, at])
        y, state_BHNP = _piece(*piece, state_BHNP, last_only=last_only, keep_state=not is_end)
        outputs.append(y)
    return outputs[-1] if last_only or len(outputs) == 1 else torch.cat(outputs, dim=1)


def _piece(
    x_BQHP: Tensor,
    dt_BQH: Tensor,
    log_decay_BQH: Tensor,
    B_BQN: Tensor,
    C_BQN: Tensor,
    state_BHNP: Tensor | None,
    *,
    last_only: bool,
    keep_state: bool,
) -> tuple[Tensor, Tensor | None]:
    """One piece: what its own positions contribute, what the state handed to it does, and the state it hands on."""
    kept = slice(-1, None) if last_only else slice(None)
    log_decay_BHQ = log_decay_BQH.transpose(1, 2)
    u_BHQP = (x_BQHP * dt_BQH[..., None]).transpose(1, 2)
    scores_BQQ = C_BQN[:, kept] @ B_BQN.transpose(1, 2)
    if last_only:
        y_BHQP = (scores_BQQ[:, None] * decay_to_end(log_decay_BHQ)[:, :, None]) @ u_BHQP
    else:
        y_BHQP = decayed_product(scores_BQQ, log_decay_BHQ, u_BHQP)
    since_start_BHQ = log_decay_BHQ.cumsum(-1)
    if state_BHNP is not None:
        carried_BHQP = C_BQN[:, None, kept] @ state_BHNP
        y_BHQP = y_BHQP + carried_BHQP * since_start_BHQ[:, :, kept, None].exp()
    if not keep_state:
        return y_BHQP.transpose(1, 2), None
    handed_BHNP = B_BQN.transpose(1, 2)[:, None] @ (u_BHQP * decay_to_end(log_decay_BHQ)[..., None])
    if state_BHNP is not None:
        handed_BHNP = handed_BHNP + state_BHNP * since_start_BHQ[:, :, -1, None, None].exp()
    return y_BHQP.transpose(1, 2), handed_BHNP


def decay_to_end(log_decay: Tensor) -> Tensor:
    """exp of the sums over s < r <= Q, what is left at a piece's end of what entered at s.

    Args:
        log_decay: (..., Q).

    Returns:
        (..., Q); 1 for the last position.
    """
    after = log_decay.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    return torch.cat([after, torch.zeros_like(log_decay[..., :1])], dim=-1).exp()


def decayed_product(scores_BQQ: Tensor, log_decay_BHQ: Tensor, u_BHQP: Tensor) -> Tensor:
    """(M * scores) u with M the segment decays: (B, H, Q, P).

    Args:
        scores_BQQ: C B^T, shared by the heads.
        log_decay_BHQ: dt * A, negative.
        u_BHQP: dt * x.
    """
    same = log_decay_BHQ.dtype  # under autocast the products that made the others are of another one
    result: Tensor = _DecayedProduct.apply(scores_BQQ.to(same), log_decay_BHQ, u_BHQP.to(same))  # type: ignore[no-untyped-call]
    return result


class _DecayedProduct(torch.autograd.Function):
    """The masked product a few windows at a time, with its gradient written out.

    Autograd would keep M and go back through exp, cumsum and both masks, each a pass over (B, H, Q, Q). But with
    K = M * scores, the gradient of a segment's log decay is G[t, s] = dK[t, s] K[t, s], and only its sums along rows
    and columns are asked for: sum_s G[t, s] = dy_t y_t and sum_t G[t, s] = u_s du_s, for which no such pass is needed.
    M itself is cheaper made twice than kept.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, scores_BQQ: Tensor, log_decay_BHQ: Tensor, u_BHQP: Tensor) -> Tensor:
        y_BHQP = torch.empty_like(u_BHQP, memory_format=torch.contiguous_format)
        for at in _slices(log_decay_BHQ):
            mixing_bHQQ = segment_decay(log_decay_BHQ[at]).mul_(scores_BQQ[at, None])
            torch.matmul(mixing_bHQQ, u_BHQP[at], out=y_BHQP[at])
        ctx.save_for_backward(scores_BQQ, log_decay_BHQ, u_BHQP, y_BHQP)
        return y_BHQP

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # Any: saved_tensors is not declared
        scores_BQQ, log_decay_BHQ, u_BHQP, y_BHQP = ctx.saved_tensors
        grad_BHQP = grads[0].to(u_BHQP.dtype)
        grad_u_BHQP, grad_scores_BQQ = torch.empty_like(y_BHQP), torch.empty_like(scores_BQQ)
        for at in _slices(log_decay_BHQ):
            decay_bHQQ = segment_decay(log_decay_BHQ[at])
            grad_scores_BQQ[at] = (grad_BHQP[at] @ u_BHQP[at].transpose(2, 3)).mul_(decay_bHQQ).sum(1)
            mixing_bHQQ = decay_bHQQ.mul_(scores_BQQ[at, None])
            torch.matmul(mixing_bHQQ.transpose(2, 3), grad_BHQP[at], out=grad_u_BHQP[at])
        of_totals_BHQ = (u_BHQP * grad_u_BHQP - grad_BHQP * y_BHQP).sum(-1)
        # Every segment that contains r ends at or after it and starts before; no segment contains the first position.
        grad_log_BHQ = of_totals_BHQ.cumsum(-1) - of_totals_BHQ
        return grad_scores_BQQ, grad_log_BHQ, grad_u_BHQP


def _slices(log_decay_BHQ: Tensor) -> list[slice]:
    """Runs of windows whose segment decays stay in a processor's cache; elsewhere all of them at once."""
    batch, heads, length = log_decay_BHQ.shape
    at_once = max(1, CACHED // (heads * length * length)) if computes_in_cache(log_decay_BHQ.device) else batch
    return [slice(start, start + at_once) for start in range(0, batch, at_once)]


def segment_decay(log_decay: Tensor) -> Tensor:
    """exp of the sums over s < r <= t, for every t >= s; 0 above the diagonal. No gradient.

    Summed along the segments themselves: as a difference of running totals, a late short segment would keep only the
    digits that the long totals leave it.

    Args:
        log_decay: (..., Q).

    Returns:
        (..., Q, Q), indexed [t, s].
    """
    length = log_decay.shape[-1]
    with torch.no_grad():
        below = torch.ones(length, length, dtype=torch.bool, device=log_decay.device).tril(-1)
        sums = log_decay.detach()[..., None].expand(*log_decay.shape, length).masked_fill(~below, 0.0)
        torch.cumsum(sums, -2, out=sums)
        return sums.exp_().tril_()
