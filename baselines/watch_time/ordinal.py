"""OR, ordinal regression: is the watch time above each of K - 1 cuts?

    loss  = mean_k BCE(z_k, 1[y > t_k]),  k = 1..K-1
    y_hat = v_1 + sum_k P(y > t_k) (v_{k+1} - v_k)

The cuts are watch times of train, of equal frequency, by value: equal watch times are never parted, and cuts that coincide are one.
Their number is ours, and so is where a level v_k stands: at its group's mean watch time on train, so that perfect heads give each
row the mean of its group. With levels at the upper edges (v_k = t_k, v_K the longest watch time, P(y > 0) = 1) this is the plain
sum_k P(y > t_k) (t_{k+1} - t_k), t_0 = 0: an option, which overshoots, by far where one row was watched for hours. Where every
distinct value is a group the two are one, and perfect heads give back y. Ours too: z_k starts from the share of train above t_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...core.errors import UsageError
from ...core.params import fixed
from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_target import Arrays, Target


class OrdinalParams(WatchTimeParams):
    """How watch time is cut."""

    groups: int = fixed(50, minimum=2, help="groups of equal frequency, K")
    levels: str = fixed("means", options=("means", "edges"), help="what a group decodes to: its mean watch time, or its upper edge")


@dataclass(frozen=True, eq=False)
class Ordinal(Target):
    """cuts: t_1 < ... < t_{K-1}; levels: v_1 < ... < v_K; start: the logit of the share of train above each cut."""

    name = "ordinal"
    cuts: NDArray[np.float64]
    levels: NDArray[np.float64]
    start: NDArray[np.float64]

    @property
    def outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.cuts)

    @classmethod
    def fit(cls, train: Watched, groups: int = 50, levels: str = "means") -> Self:
        """Raises UsageError where all watch times are one."""
        values, counts = np.unique(train.watch_time.astype(np.float64), return_counts=True)
        if len(values) < 2:
            raise UsageError(
                f"all {len(train)} watch times of train are {values[0]:g} s, so there is nothing to cut; take a longer log"
            )
        below = np.cumsum(counts) / len(train)  # the share of rows at or below each value
        place = np.unique(np.searchsorted(below[:-2], np.arange(1, groups) / groups - 1e-12))  # nothing lies above the last value
        edges = np.append(place, len(values) - 1)
        first = np.append(0, edges[:-1] + 1)
        means = np.add.reduceat(values * counts, first) / np.add.reduceat(counts, first)
        return cls(values[place], means if levels == "means" else values[edges], np.log(1 / below[place] - 1))

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        return (rows.watch_time[:, None] > self.cuts).astype(np.float32)

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(head + torch.from_numpy(self.start).to(head), labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        return (self.levels[0] + expit(head + self.start) @ np.diff(self.levels)).astype(np.float32)

    def score(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """y_hat, seconds"""
        return self.seconds(head, duration)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {"cuts": self.cuts, "levels": self.levels, "start": self.start}, {}


class OrdinalRegression(WatchTimeRunner):
    """A head for each of the cuts."""

    name = "ordinal"
    title = "OR"
    Params = OrdinalParams
    reference = "ordinal regression on binned watch time, a baseline of Zhang et al., CIKM 2023, doi 10.1145/3583780.3615483"

    def target(self, train: Watched, params: OrdinalParams) -> Ordinal:
        return Ordinal.fit(train, params.groups, params.levels)
