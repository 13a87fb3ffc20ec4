"""PCR: the share of the video that was played.

    label    w / d                      w = min(y, d), whole seconds
    loss     BCE(sigma(s), w / d)       whose minimiser is the mean share
    seconds  sigma(s) d

The label has no hyperparameter of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...core.task import Watched
from ...models.watch_runner import WatchTimeParams, WatchTimeRunner
from ...models.watch_seconds import cut_watch_time, whole_seconds, within
from ...models.watch_target import Arrays, Target


class PlayedShare(Target):
    """w / d, in [0, 1]."""

    name = "played_share"

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        w, d = cut_watch_time(rows)
        return (w / d).astype(np.float32)[:, None]

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(head, labels)

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        d = whole_seconds(duration)
        return within(expit(head[:, 0].astype(np.float64)) * d, d)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {}, {}


class PCR(WatchTimeRunner):
    """Play completion rate."""

    name = "pcr"
    title = "PCR"
    Params = WatchTimeParams
    reference = "play completion rate, as in Zhao et al., RecSys 2023"

    def target(self, train: Watched, params: WatchTimeParams) -> Target:
        return PlayedShare()
