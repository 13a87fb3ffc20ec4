"""T numbers that learn beside the model, with an Adam of their own, from gradients in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from .optimisers import Adam


class LearnedWeights:
    """value (T,), float64; `step` moves it against a gradient by Adam with weight decay `l2`."""

    def __init__(self, start: Tensor, lr: float, l2: float = 0.0) -> None:
        self.value = start.to(torch.float64).clone()
        self._adam = Adam([self.value], lr, l2)

    def step(self, gradient: Tensor) -> None:
        """One step of Adam."""
        self._adam.step([gradient.to(self.value)])
