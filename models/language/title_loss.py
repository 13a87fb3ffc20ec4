"""What is learned of a title's tokens: cross-entropy with weights by position, and what a loss looks at beside it.

    a_t = f_theta(x_h, y_<t),   b_t = f_theta(x_0, y_<t)      logits with the history, and without (the counterfactual)
    L   = sum_t w_t l(a_t, b_t; y_t) / sum_t w_t              over the tokens of a batch, the end token included

Methods and baselines are one `TitleLoss` each; the loop around them is `tuning.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Form = Literal["linear_from_1", "released_first"]


def token_weights(position: Tensor, length: Tensor, beta: float, form: Form = "linear_from_1") -> Tensor:
    """w_t of tokens at `position` (M,), from 0, of titles of `length` (M,) tokens: falls in a line to beta at the end token.

    linear_from_1: w_t = 1 - (t - 1)(1 - beta) / (n - 1), t from 1, and 1 where n = 1 (CFT's release; its paper's own form could not
    be read). released_first: w_t = 1 - t / (c n) with beta = 1 - 1 / c, the form that the release replaced on its first day.

    >>> token_weights(torch.arange(4), torch.full((4,), 4), beta=0.25)
    tensor([1.0000, 0.7500, 0.5000, 0.2500], dtype=torch.float64)
    """
    t, n = position.double(), length.double()
    if form == "released_first":
        return 1 - (t + 1) * (1 - beta) / n
    return 1 - t * (1 - beta) / (n - 1).clamp(min=1)


class TitleLoss(ABC):
    """counterfactual: whether it looks at b, which costs a second, shorter pass."""

    counterfactual: bool = False

    @abstractmethod
    def each(self, a: Tensor, b: Tensor | None, target: Tensor) -> Tensor:
        """The loss of each token (M,), from logits a and b (M, V) and tokens (M,)."""

    def weights(self, position: Tensor, length: Tensor, target: Tensor) -> Tensor:
        """w of each token (M,), float64; 1 unless a subclass says otherwise."""
        return torch.ones_like(position, dtype=torch.float64)


class CrossEntropy(TitleLoss):
    """Equation 1 of CFT's paper, BIGRec's loss: every token counts the same."""

    def each(self, a: Tensor, b: Tensor | None, target: Tensor) -> Tensor:
        return cross_entropy(a, target, reduction="none")


class ByPosition(CrossEntropy):
    """Cross-entropy whose tokens count less towards a title's end."""

    def __init__(self, beta: float, form: Form = "linear_from_1") -> None:
        self.beta = beta
        self.form: Form = form

    def weights(self, position: Tensor, length: Tensor, target: Tensor) -> Tensor:
        return token_weights(position, length, self.beta, self.form)
