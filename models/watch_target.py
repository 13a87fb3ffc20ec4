"""What a watch-time head learns, and how seconds come back from it: the one thing in which the rows of the comparison differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core.task import Watched

Arrays = Mapping[str, NDArray[np.generic]]


class Target(ABC):
    """Fitted on train alone, then applied: labels of any rows, a loss on the head's outputs, and the way back to seconds.

    outputs: how many numbers the head has; binary: labels learned beside it by a sigmoid head each, by name; adversary: weight of a
    linear head that predicts the duration from the network behind a gradient reversal (0: none), which also takes the duration from
    the inputs.

    `labels` are computed once before training, so they hold whatever `loss` needs of a row. A subclass with a name registers itself
    under it, for a saved target to be found again.
    """

    name: ClassVar[str]
    registry: ClassVar[dict[str, type[Target]]] = {}
    outputs: int = 1
    binary: tuple[str, ...] = ()
    adversary: float = 0.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            Target.registry[cls.name] = cls

    @abstractmethod
    def labels(self, rows: Watched) -> NDArray[np.float32]:
        """(N, L)"""

    def binary_labels(self, rows: Watched) -> NDArray[np.float32]:
        """(N, len(binary)) in {0, 1}"""
        return np.zeros((len(rows), 0), dtype=np.float32)

    @abstractmethod
    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch, from the head's outputs (B, outputs) before any squashing, and labels (B, L)."""

    @abstractmethod
    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """The predicted watch time (N,), never negative, from outputs (N, outputs) and durations (N,)."""

    def score(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the head itself ranks by (N,); the first output, where nothing else is said."""
        return head[:, 0]

    @abstractmethod
    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and settings (JSON) that `restored` builds it from."""

    @classmethod
    def restored(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`: equal labels and seconds, bit for bit."""
        return cls(**arrays, **settings)
