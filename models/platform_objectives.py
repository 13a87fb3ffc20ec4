"""What a platform wants of the lists that it shows, as functions of scores (Bai et al., WSDM 2024, LabelCraft).

    alpha = soft top k of each user's candidates
    M1 = mean_u sum_x (alpha / k) scale(y_w)                        usage time
    M2 = mean_u sum_x (alpha / k) [any explicit feedback]           engagement
    M3 = mean_u (sum_x (alpha / k) (scale(x_d) - E)^2)^(1/2)        duration spread, around E = sum_x (alpha / k) scale(x_d)
    M  = sum_i w_i M_i,  w = softmax(-tau M)                        what lags behind weighs most

    scale(y) = beta' y / w_beta                                     up to the knee w_beta
             = 1 - (1 - beta') (w_max - y) / (w_max - w_beta)       from there to the top w_max, and 1 above it

The authors print M3 with the exponent -1/2; maximising that would shrink the spread, which their metric counts as a gain. What the
released code computes instead is named here `as_released` or `released`, each apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UsageError
from .soft_top_k import soft_top_k, sorted_sinkhorn

OBJECTIVES = ("usage", "engagement", "spread")
LEAST_TEMPERATURE = 1e-6  # where all scores are equal, so that their sd says nothing

Numbers = TypeVar("Numbers", NDArray[np.floating[Any]], Tensor)


def scale(y: Numbers, knee: float, top: float, knee_value: float) -> Numbers:
    """Seconds (...), at least 0, to [0, 1]: knee_value at the knee, 1 at the top and above. NumPy or torch, in the same type."""
    if not (0 < knee <= top and 0 < knee_value <= 1):
        raise UsageError(f"knee={knee}, top={top}, knee_value={knee_value}: 0 < knee <= top and 0 < knee_value <= 1 are needed")
    below = y.clip(0, knee) * (knee_value / knee)
    return below + (y.clip(knee, top) - knee) * ((1 - knee_value) / (top - knee)) if top > knee else below


def scale_as_released(y: Numbers, knee: float, knee_value: float) -> Numbers:
    """The same below the knee; whatever lies above it is 0, for the code never reaches its upper slope."""
    return (y <= knee) * y * (knee_value / knee)


@dataclass(frozen=True)
class Scale:
    """`scale` with its constants; released: `scale_as_released`."""

    knee: float
    top: float
    knee_value: float = 0.2
    released: bool = False

    @classmethod
    def of(
        cls,
        seconds: NDArray[np.floating[Any]],
        share: float = 0.9,
        knee_value: float = 0.2,
        *,
        two_slopes: bool = True,
        released: bool = False,
    ) -> Scale:
        """The knee at this quantile of train's seconds (N,), the top at the .999 quantile (both ours); else one slope to the top.

        One slope, too, where quantiles coincide: most videos, or plays, are as long as the longest.
        """
        knee, top = (float(each) for each in np.quantile(seconds.astype(np.float64), (share, 0.999)))
        top = top or 1.0
        if not two_slopes or not 0 < knee < top:
            return cls(top, top, 1.0, released)
        return cls(knee, top, knee_value, released)

    def __call__(self, y: Numbers) -> Numbers:
        if self.released:
            return scale_as_released(y, self.knee, self.knee_value)
        return scale(y, self.knee, self.top, self.knee_value)


@dataclass(frozen=True)
class Candidates:
    """What users could be shown: (users, n), scaled watch times and durations in [0, 1], explicit feedback in {0, 1}.

    mask: bool (users, n), False for padding. Scores come flat, (rows,): those of the mask, user by user.
    """

    watch: Tensor
    explicit: Tensor
    duration: Tensor
    mask: Tensor

    @classmethod
    def of(cls, watch: Tensor, explicit: Tensor, duration: Tensor, mask: Tensor) -> Candidates:
        """From flat values (rows,)."""
        return cls(padded(watch, mask), padded(explicit, mask), padded(duration, mask), mask)


def padded(flat: Tensor, mask: Tensor) -> Tensor:
    """(users, n) from flat values (rows,), 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask, flat)


def objectives(
    alpha: Tensor,
    watch: Tensor,
    explicit: Tensor,
    duration: Tensor,
    mask: Tensor,
    k: int,
    *,
    released_spread: bool = False,
) -> Tensor:
    """M1, M2, M3 as (3,), from memberships and scaled values, all (users, n).

    In [0, 1], and the spread in [0, 1/2]. released_spread: the standard deviation of alpha x_d over all n candidates, chosen or
    not, which rewards lists of long videos.
    """
    weight = alpha.masked_fill(~mask, 0.0) / k
    usage, engagement = (weight * watch).sum(1), (weight * explicit).sum(1)
    spread = _spread_over_all(alpha * duration, mask) if released_spread else _spread(weight, duration)
    return torch.stack([usage, engagement, spread]).mean(1)


def _spread(weight: Tensor, duration: Tensor) -> Tensor:
    """(users,) the weighted standard deviation; the weights of a user sum to 1."""
    mean = (weight * duration).sum(1, keepdim=True)
    return _root((weight * (duration - mean).square()).sum(1))


def _spread_over_all(value: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum(1, keepdim=True)
    mean = value.masked_fill(~mask, 0.0).sum(1, keepdim=True) / count
    return _root((value - mean).masked_fill(~mask, 0.0).square().sum(1) / (count.squeeze(1) - 1))


def _root(variance: Tensor) -> Tensor:
    """The square root; at 0, where it has no slope, the gradient is 0."""
    positive = variance > torch.finfo(variance.dtype).eps ** 2
    return torch.where(positive, variance, 1.0).sqrt() * positive


def balance_weights(values: Tensor, tau: float) -> Tensor:
    """softmax(-tau M) of objectives (T,)."""
    return torch.softmax(-tau * values, 0)


def balance_weights_as_released(sums: Tensor, tau: float) -> Tensor:
    """exp(-tau M) / sum, of sums over users times 10 as often as it takes to bring the smallest to 1.

    The code never ends where one is 0, and divides 0 by 0 where all are large. Here the first leaves the sums as they are, and the
    second is the limit, for the largest exponent is taken off all.
    """
    least = sums.detach().min().clamp(max=1.0)
    tens = torch.ceil(-torch.log10(least)) if bool(least > 0) else torch.zeros_like(least)
    return balance_weights(sums * 10**tens, tau)


class Achieved(NamedTuple):
    """value: M; each: M1, M2, M3, detached; weights: w, 0 for an objective that is left out; both (3,)."""

    value: Tensor
    each: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Objective:
    """M of scores: how soft the top k is, and how the three objectives make one.

    temperature: tau_s, in units of the scores, or in their sd over the batch where `relative`; tau: of the balance, 0 for equal
    weights; kept: which of the objectives count; literal: the gradient goes through w as well, as the formula reads, so that
    dM_i weighs w_i (1 - tau (M_i - M)), where the released code holds w constant.
    sinkhorn: the sorted operator for the top k; released_spread: see `objectives`; sums: w of sums over users, not of means;
    released_weights: `balance_weights_as_released` of these sums. M is a sum of means all the same, as the code's is but for a
    constant that its learning rate can take.
    """

    k: int
    temperature: float = 0.01
    relative: bool = False
    tau: float = 3.0
    kept: tuple[bool, bool, bool] = (True, True, True)
    literal: bool = False
    sinkhorn: bool = False
    released_spread: bool = False
    released_weights: bool = False
    sums: bool = False

    def memberships(self, scores: Tensor, mask: Tensor) -> Tensor:
        """alpha (users, n) of scores (users, n)."""
        if self.sinkhorn:
            return sorted_sinkhorn(scores, self.k, mask=mask).memberships
        sd = float(scores.detach()[mask].std()) if self.relative else 1.0
        if not np.isfinite(sd):
            return torch.full_like(scores, torch.nan)
        return soft_top_k(scores, self.k, max(self.temperature * sd, LEAST_TEMPERATURE), mask)

    def __call__(self, scores: Tensor, candidates: Candidates) -> Achieved:
        """From flat scores (rows,)."""
        alpha = self.memberships(padded(scores, candidates.mask), candidates.mask)
        found = objectives(
            alpha,
            candidates.watch,
            candidates.explicit,
            candidates.duration,
            candidates.mask,
            self.k,
            released_spread=self.released_spread,
        )
        return self.combined(found, len(candidates.mask))

    def combined(self, found: Tensor, users: int = 1) -> Achieved:
        """M from M1, M2, M3 (3,), means over this many users."""
        kept = torch.tensor(self.kept, device=found.device)
        balanced = balance_weights_as_released if self.released_weights else balance_weights
        w = balanced(found[kept] * (users if self.sums or self.released_weights else 1), self.tau)
        value = ((w if self.literal else w.detach()) * found[kept]).sum()
        weights = torch.zeros_like(found).masked_scatter(kept, w.detach())
        return Achieved(value, found.detach(), weights)
