"""Factorisation machine (Rendle, ICDM 2010) on the two fields user and item."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FactorizationMachine(nn.Module):
    """s(u, i) = w_0 + w_u + w_i + <p_u, q_i>, a raw logit.

    With two one-hot fields, a machine of degree 2 is matrix factorisation with biases.
    Factors start normal with `init_std`, weights at 0.
    """

    def __init__(self, users: int, items: int, dim: int, init_std: float = 0.01, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.users, self.items = users, items
        self.factors = nn.Parameter(torch.empty(users + items, dim).normal_(0.0, init_std, generator=generator))
        self.weights = nn.Parameter(torch.zeros(users + items))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits (B,) of the pairs (user[b], item[b])."""
        item = self.users + item
        linear = self.weights.index_select(0, user) + self.weights.index_select(0, item)
        return self.bias + linear + (self.factors.index_select(0, user) * self.factors.index_select(0, item)).sum(-1)
