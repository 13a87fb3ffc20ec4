"""CWM: the time that would have been watched had the video been long enough (Zhao et al., KDD 2024).

    r        = exp(-c / (w + 1))                      w = min(y, d), whole seconds; c, the cost of a second
    loss     (s - logit r)^2 / (2 sigma^2)            where w < d
             -log sigmoid((s - logit r) / sigma)      where w >= d: the video ended first, so s lies above logit r
    seconds  c / -log sigmoid(s) - 1, the inverse of r; in [0, d]

The inverse is the counterfactual time; what is watched of a video ends with it, so seconds do too. r is kept `clip` away from 0
and 1, as released; without it, c = 40 asks s = -40 of a video that was skipped at once. The loss is the mean over the rows of a
batch; the release adds the means of its two kinds of rows. s is the head's output plus train's mean logit r: while a network
comes down to it from 0, valid GAUC falls for epochs, and early stopping would end the training there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn.functional import softplus

from ...core.params import fixed, real
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_seconds import cut_watch_time, whole_seconds, within
from ...models.watch_target import Arrays, Target


@dataclass(frozen=True)
class CounterfactualWatch(Target):
    """labels (N, 2): logit r, and 1 where the video ended first.

    cost: c, seconds; sigma: the spread of s; clip: how far r is kept from 0 and 1; start: s where the head says 0.
    """

    name = "counterfactual_watch"
    cost: float
    sigma: float
    clip: float
    start: float = 0.0

    @classmethod
    def fit(cls, train: Watched, cost: float, sigma: float, clip: float) -> Self:
        logit_r = cls(cost, sigma, clip).labels(train)[:, 0]
        return cls(cost, sigma, clip, float(logit_r.mean(dtype=np.float64)))

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        w, d = cut_watch_time(rows)
        r = np.clip(np.exp(-self.cost / (w + 1)), self.clip, 1 - self.clip)
        return np.stack([logit(r), w >= d], axis=1).astype(np.float32)

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        above = (self.start + head[:, 0] - labels[:, 0]) / self.sigma
        return torch.where(labels[:, 1] > 0, softplus(-above), above.square() / 2).mean()

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        toll = np.logaddexp(0, -self.start - head[:, 0].astype(np.float64))  # -log sigmoid(s)
        return within(self.cost / np.maximum(toll, np.finfo(np.float32).tiny) - 1, whole_seconds(duration))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, asdict(self)


class CWMParams(WatchTimeParams):
    """CWM's own settings; defaults as in the released command for KuaiRand."""

    cost: float = real(40.0, low=5.0, high=100.0, log=True, minimum=1e-3, help="c, seconds")
    sigma: float = real(2.0, low=0.3, high=4.0, log=True, minimum=1e-3, help="the spread of the head's output about logit r")
    clip: float = fixed(1e-6, minimum=1e-12, maximum=0.1, help="how far r is kept from 0 and 1")


class CWM(WatchTimeRunner):
    """Counterfactual watch model."""

    name = "cwm"
    title = "CWM"
    Params = CWMParams
    reference = "Zhao et al., Counteracting Duration Bias in Video Recommendation via Counterfactual Watch Time, KDD 2024"

    def target(self, train: Watched, params: CWMParams) -> Target:
        return CounterfactualWatch.fit(train, params.cost, params.sigma, params.clip)
