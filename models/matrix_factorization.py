"""Matrix factorisation: one embedding per user and per item, the score is their inner product.

One table holds both: row u is user u, row `users + i` is item i. So a graph model is the same model on propagated embeddings
(`propagate`), and gradients, Hessian products and optimisers are written once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MatrixFactorization(nn.Module):
    """s(u, i) = <p_u, q_i>; no bias, raw logit (IFRU, section 1.1)."""

    def __init__(self, users: int, items: int, dim: int, init_std: float = 0.1, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.users, self.items, self.dim = users, items, dim
        start = torch.empty(users + items, dim).normal_(0.0, init_std, generator=generator)
        self.embeddings = nn.Parameter(start)

    def propagate(self, embeddings: Tensor) -> Tensor:
        """The embeddings that are scored, (users + items, dim). A linear, symmetric map; here the identity."""
        return embeddings

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits (B,) of the pairs (user[b], item[b])."""
        final = self.propagate(self.embeddings)
        return (final.index_select(0, user) * final.index_select(0, self.users + item)).sum(-1)
