"""A top-k that can be differentiated: how far each of a user's scores belongs to the k best.

    alpha_i = sigmoid((s_i - t) / tau),  t such that sum_i alpha_i = k
    d alpha_i / d s_j = (q_i [i = j] - q_i q_j / sum_m q_m) / tau,  q = alpha (1 - alpha)

It is the entropic transport of n scores to two anchors, in or out, in closed form: the limit of Sinkhorn's iterations at
eps = 2 tau for the cost (s - anchor)^2. `sorted_sinkhorn` is the operator that LabelCraft's release calls: the transport to k + 1
anchors (Xie et al., Differentiable Top-k with Optimal Transport, NeurIPS 2020), of which it uses row sums alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

from ..core.errors import UsageError

STEPS = 100  # at most; each at least halves the bracket of t
CLOSE = 1e-12  # of sum_i alpha_i to k
CONVERGED = 1e-6  # how far a row's mass may exceed its share


def soft_top_k(scores: Tensor, k: int, temperature: float, mask: Tensor | None = None) -> Tensor:
    """Memberships (users, n) in [0, 1] that sum to k in each row, in the scores' type; differentiable in the scores.

    scores: (users, n), float32 or float64; temperature: tau, in the units of scores; mask: bool (users, n), False for padding,
    whose score is ignored and whose membership is 0. A user with k candidates has them all. UsageError for fewer.

    >>> soft_top_k(torch.tensor([[3.0, 1.0, 2.0, 2.0]]), k=2, temperature=1.0)
    tensor([[0.7311, 0.2689, 0.5000, 0.5000]])
    """
    if not temperature > 0:
        raise UsageError(f"temperature {temperature} must be positive; the hard top k is its limit at 0")
    mask = _checked(scores, k, mask)
    return _SoftTopK.apply(scores, mask, k, temperature)  # pyright: ignore[reportReturnType]


def _checked(scores: Tensor, k: int, mask: Tensor | None) -> Tensor:
    if scores.dim() != 2 or not scores.is_floating_point():
        raise UsageError(f"scores are {scores.dtype} {tuple(scores.shape)}; they must be floats (users, n)")
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    if mask.shape != scores.shape or mask.dtype != torch.bool:
        raise UsageError(f"the mask is {mask.dtype} {tuple(mask.shape)}; it must be bool {tuple(scores.shape)}, as the scores")
    if k < 1 or (len(scores) and int(mask.sum(1).min()) < k):
        raise UsageError(f"the top {k} of fewer candidates: every user needs at least k >= 1; leave the others out")
    return mask


def _memberships(scores: Tensor, mask: Tensor, k: int, temperature: float) -> Tensor:
    """By Newton's steps on t, in units of tau and in float64; a step that leaves t's bracket is replaced by a bisection.

    The k - 1 largest hold at most 1 each and the others at most what the k-th does, and the k + 1 largest hold at least what the
    (k + 1)-th does: so t lies between x_(k+1) - log k and x_(k) + log(n - k).
    """
    count = mask.sum(1, keepdim=True)
    all_in = count == k
    if bool(all_in.all()):
        return mask.to(scores.dtype)
    known = scores.double().masked_fill(~mask, -torch.inf)
    edge = known.topk(k + 1, dim=1).values[:, -2:]
    edge = torch.where(all_in, edge[:, :1], edge)
    middle = edge.mean(1, keepdim=True)
    x, edge = (known - middle) / temperature, (edge - middle) / temperature
    low, high = edge[:, 1:] - math.log(k), edge[:, :1] + (count - k).clamp(min=1).log()
    t = torch.zeros_like(low)
    alpha = torch.sigmoid(x)
    for _ in range(STEPS):
        excess = alpha.sum(1, keepdim=True) - k
        if bool((excess.abs() <= CLOSE * k).logical_or(all_in).all()):
            break
        low, high = torch.where(excess > 0, t, low), torch.where(excess > 0, high, t)
        newton = t + excess / (alpha - alpha * alpha).sum(1, keepdim=True)
        t = torch.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        alpha = torch.sigmoid(x - t)
    return torch.where(all_in, mask.double(), alpha).to(scores.dtype)


def _slope(alpha: Tensor, direction: Tensor, temperature: float) -> Tensor:
    """J direction = J' direction; 0 where every membership is 0 or 1."""
    q = alpha * (1 - alpha)
    along = q * direction
    total = q.sum(1, keepdim=True)
    return (along - q * (along.sum(1, keepdim=True) / total.clamp(min=torch.finfo(q.dtype).tiny))) / temperature


class _SoftTopK(Function):
    @staticmethod
    def forward(scores: Tensor, mask: Tensor, k: int, temperature: float) -> Tensor:
        return _memberships(scores, mask, k, temperature)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.temperature = inputs[3]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (alpha,) = ctx.saved_tensors
        return _slope(alpha, gradients[0], ctx.temperature), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (alpha,) = ctx.saved_tensors
        return _slope(alpha, tangents[0], ctx.temperature)


class Sorted(NamedTuple):
    """memberships (users, n); unconverged, bool (users,): some candidate holds more than it may, so the iterations were too few."""

    memberships: Tensor
    unconverged: Tensor


def sorted_sinkhorn(scores: Tensor, k: int, eps: float = 1e-4, iterations: int = 1000, mask: Tensor | None = None) -> Sorted:
    """The released operator, for all users at once: entropic transport to anchors k, k-1, ..., 0, summed over the first k.

    scores, mask: as above, and every user needs more than k candidates; eps: of the cost over its largest value, which is held
    constant; iterations: of Sinkhorn in logarithms, never stopped early. The gradient is that of the fixed point.
    """
    mask = _checked(scores, k, mask)
    if bool((mask.sum(1) == k).any()):
        raise UsageError(f"the sorted top {k} of {k} candidates: every user needs more than k; leave the others out")
    anchors = torch.arange(k, -1, -1, dtype=scores.dtype, device=scores.device)
    cost = (scores.masked_fill(~mask, 0.0).unsqueeze(2) - anchors).square()
    largest = cost.masked_fill(~mask.unsqueeze(2), 0.0).amax((1, 2), keepdim=True).detach()
    plan: Any = _Plan.apply(cost / largest, mask, eps, iterations)
    count = mask.sum(1, keepdim=True)
    memberships = plan[:, :, :k].sum(2) * count
    return Sorted(memberships, (plan.detach().sum(2) * count > 1 + CONVERGED).any(1))


class _Plan(Function):
    """The plan (users, n, k + 1) of a cost of the same shape."""

    @staticmethod
    def forward(ctx: FunctionCtx, cost: Tensor, mask: Tensor, eps: float, iterations: int) -> Tensor:
        count = mask.sum(1).to(cost.dtype)[:, None]
        mu = mask / count
        nu = torch.ones_like(cost[:, 0]) / count
        nu[:, -1] = 1 - nu[:, :-1].sum(1)
        log_mu, log_nu, kernel = mu.log().unsqueeze(2), nu.log().unsqueeze(1), -cost / eps
        g = torch.zeros_like(log_nu)
        f = log_mu
        for _ in range(iterations):
            f = log_mu - torch.logsumexp(kernel + g, 2, keepdim=True)
            g = log_nu - torch.logsumexp(kernel + f, 1, keepdim=True)
        plan = (kernel + f + g).exp()
        ctx.save_for_backward(plan)
        ctx.eps = eps  # pyright: ignore[reportAttributeAccessIssue]
        return plan

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """d plan = plan (df + dg - dcost) / eps, with df and dg such that both margins stay; the last dg is 0, for one is free.

        dg solves a weighted Laplacian of the anchors. The harder the plan, the smaller its weights: so it is in float64, its
        diagonal is the sum of its weights and no difference, and anchors between which nothing is left have no dg.
        """
        (plan,) = (each.double() for each in ctx.saved_tensors)
        weighted = plan * gradients[0].double()
        mu = plan.sum(2)
        by_mu = torch.where(mu > 0, 1 / mu, torch.zeros_like(mu))
        weights = plan.mT @ (by_mu.unsqueeze(2) * plan)
        weights = weights - torch.diag_embed(weights.diagonal(dim1=1, dim2=2))
        laplacian = (torch.diag_embed(weights.sum(2)) - weights)[:, :-1, :-1]
        inner, rows, columns = plan[:, :, :-1], weighted.sum(2), weighted[:, :, :-1].sum(1)
        due = columns - (inner.mT @ (by_mu * rows).unsqueeze(2)).squeeze(2)
        dg = (torch.linalg.pinv(laplacian, hermitian=True) @ due.unsqueeze(2)).squeeze(2)
        df = by_mu * (rows - (inner @ dg.unsqueeze(2)).squeeze(2))
        dg = torch.nn.functional.pad(dg, (0, 1))
        found = (plan * (df.unsqueeze(2) + dg.unsqueeze(1)) - weighted) / ctx.eps
        return found.to(gradients[0].dtype), None, None, None
