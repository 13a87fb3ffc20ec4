"""WLR, weighted logistic regression (Covington et al., RecSys 2016, section 4.2), where every row was played.

    loss  = -(y log p + log(1 - p)) = y softplus(-z) + softplus(z),  z = logit p
    y_hat = p / (1 - p) = exp(z)

A full-screen feed has no click to tell positives from negatives: each row is a positive of weight y and a negative of weight 1. The
minimiser is exp(z) = E[y | x]. With a threshold, as in the code of CWM (Zhao et al., KDD 2024), a row is a positive of weight y
where y lies above a percentile of train, else a negative of weight 1; and y_hat = exp(z) (1 - c), with c the probability of a
positive by a second output. That estimates E[y 1[y > threshold] | x].

Ours: z starts from its best constant, and the loss is divided by the mean weight of train, so that it is a mean of cross-entropies
as those of the other heads are; neither moves the minimiser. Nothing overflows: softplus grows linearly, so a row watched for hours
pulls at z with at most its weight, which Adam's division tames; and the exponential, needed by the decoder alone, ends at train's
longest watch time, above which no mean can lie.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from ...core.params import fixed
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_target import Arrays, Target


class WLRParams(WatchTimeParams):
    """The choice of what a positive is."""

    threshold: float = fixed(
        0.0,
        minimum=0.0,
        maximum=99.0,
        help="percentile of train's watch times above which a row is a positive (CWM: 60); 0: all are both",
    )


@dataclass(frozen=True)
class Odds(Target):
    """cut: the seconds above which a row is a positive, None where each row is both; level: log of train's odds; weight: the mean
    weight of its rows; longest: its longest watch time, seconds."""

    name = "odds"
    cut: float | None
    level: float
    weight: float
    longest: float

    @property
    def outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 if self.cut is None else 2

    @classmethod
    def fit(cls, train: Watched, threshold: float = 0.0) -> Self:
        """threshold: a percentile of train's watch times; 0: each row is a positive and a negative."""
        y = train.watch_time.astype(np.float64)
        cut = float(np.percentile(y, threshold, method="inverted_cdf")) if threshold else None
        positive, negative = _weights(y, cut)
        level = float(np.log(max(positive.mean(), 1e-6) / negative.mean()))
        return cls(cut, level, float((positive + negative).mean()), float(y.max()))

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        """Weights as a positive and as a negative."""
        return np.stack(_weights(rows.watch_time, self.cut), axis=1).astype(np.float32)

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        z, (positive, negative) = head[:, 0] + self.level, labels.unbind(1)
        loss = (positive * softplus(-z) + negative * softplus(z)).mean() / self.weight
        if self.cut is None:
            return loss
        return loss + binary_cross_entropy_with_logits(head[:, 1], 1 - negative)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.exp(np.minimum(self.score(head, duration), np.log(max(self.longest, 1e-6)))).astype(np.float32)

    def score(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """log y_hat"""
        z = head[:, 0] + np.float32(self.level)
        return z if self.cut is None else z - np.logaddexp(np.float32(0), head[:, 1])  # log(1 - c)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, asdict(self)


def _weights(y: NDArray[np.floating[Any]], cut: float | None) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Each row's weight as a positive and as a negative, (N,) each."""
    if cut is None:
        return y, np.ones_like(y)
    return np.where(y > cut, y, 0), (y <= cut).astype(y.dtype)


class WLR(WatchTimeRunner):
    """Weighted logistic regression."""

    name = "wlr"
    title = "WLR"
    Params = WLRParams
    reference = "Covington et al., Deep Neural Networks for YouTube Recommendations, RecSys 2016"

    def target(self, train: Watched, params: WLRParams) -> Odds:
        return Odds.fit(train, params.threshold)
