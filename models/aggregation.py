"""Making one recommender of K sub-models whose embeddings are frozen: `tables` (K, users + items, d), item i at row users + i.

All are modules of (user (B,), item (B,)) -> logits (B,), so that `models.pointwise.train` can train those that learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


def shard_logits(tables: Tensor, users: int, user: Tensor, item: Tensor) -> Tensor:
    """Every sub-model's score of every pair, (K, B)."""
    return torch.stack([(table.index_select(0, user) * table.index_select(0, users + item)).sum(1) for table in tables])


class _FrozenShards(nn.Module):
    """Holds the sub-models' embeddings: data, not state, so that a snapshot does not copy them."""

    tables: Tensor

    def __init__(self, tables: Tensor, users: int) -> None:
        super().__init__()
        self.users = users
        self.register_buffer("tables", tables.detach(), persistent=False)

    @property
    def items(self) -> int:
        return self.tables.shape[1] - self.users


class MeanOfShards(_FrozenShards):
    """The mean of the sub-models' probabilities (SISA, Bourtoule et al., S&P 2021), given back as a logit. Nothing to learn."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        scores = shard_logits(self.tables, self.users, user, item)
        return logsigmoid(scores).logsumexp(0) - logsigmoid(-scores).logsumexp(0)  # logit(mean p) = log mean p - log mean (1 - p)


class LogisticCombination(_FrozenShards):
    """logit = sum_k w_k s_k + b: one weight per sub-model, by logistic regression on the sub-models' scores."""

    weight: Tensor
    bias: Tensor

    def __init__(self, tables: Tensor, users: int) -> None:
        super().__init__(tables, users)
        shards = len(tables)
        self.register_buffer("weight", torch.full((shards,), 1 / shards))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.weight @ shard_logits(self.tables, self.users, user, item) + self.bias

    @torch.no_grad()
    def fit(self, user: Tensor, item: Tensor, label: Tensor, ridge: float, steps: int = 50) -> LogisticCombination:
        """Minimise mean BCE + (ridge / 2) (|w|^2 + b^2) by damped Newton steps, in float64; convex, K + 1 unknowns."""
        scores = shard_logits(self.tables, self.users, user, item).double()
        x = torch.cat([scores, torch.ones_like(scores[:1])])  # (K + 1, B)
        y, theta = label.double(), torch.cat([self.weight, self.bias[None]]).double()

        def objective(theta: Tensor) -> Tensor:
            s = theta @ x
            return -(logsigmoid(s) - (1 - y) * s).mean() + ridge / 2 * theta @ theta

        for _ in range(steps):
            p = (theta @ x).sigmoid()
            gradient = x @ (p - y) / len(y) + ridge * theta
            hessian = (x * (p * (1 - p))) @ x.T / len(y) + ridge * torch.eye(len(theta), dtype=x.dtype, device=x.device)
            newton = torch.linalg.solve(hessian, gradient)
            decrement, length, before = gradient @ newton, 1.0, objective(theta)
            if decrement < 1e-14:
                break
            while length > 1e-8 and objective(theta - length * newton) > before - 0.25 * length * decrement:
                length /= 2
            theta = theta - length * newton
        self.weight.copy_(theta[:-1])
        self.bias.copy_(theta[-1])
        return self


class AttentionAggregation(_FrozenShards):
    """RecEraser's learned aggregation (Chen et al., WWW 2022, section 4.3), as IFRU's release runs it for RecEraser and for SISA.

        z_k = e_k W_k + B_k,   alpha = softmax_k(h' relu(A z_k + a)),   e = sum_k alpha_k z_k,   logit = <e_u, e_i>

    W (K, d, d) and B (K, d) serve users and items alike; A (2, d, d // 2), a and h (2, d // 2) are one for users, one for items.
    Initialised as released: Xavier for W and B, truncated normal for A, 0 for a, 0.01 for h.
    """

    def __init__(self, tables: Tensor, users: int, generator: torch.Generator | None = None) -> None:
        super().__init__(tables, users)
        generator = generator or torch.Generator()
        shards, _, d = tables.shape
        hidden = max(d // 2, 1)
        std = math.sqrt(2 / (hidden + d))
        self.W = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shards, d, d), generator=generator))
        self.B = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shards, d), generator=generator))
        self.A = nn.Parameter(nn.init.trunc_normal_(torch.empty(2, d, hidden), std=std, generator=generator))
        self.a = nn.Parameter(torch.zeros(2, hidden))
        self.h = nn.Parameter(torch.full((2, hidden), 0.01))

    def embed(self, nodes: Tensor, side: int) -> Tensor:
        """The aggregated embeddings e (B, d) of rows `nodes` of the tables; side: 0 for users, 1 for items."""
        z = torch.baddbmm(self.B[:, None], self.tables.index_select(1, nodes), self.W)  # (K, B, d)
        alpha = torch.softmax((z @ self.A[side] + self.a[side]).relu_() @ self.h[side], 0)  # (K, B)
        return (alpha.unsqueeze(2) * z).sum(0)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        # A batch meets a user several times: aggregate each once.
        some_users, at_user = user.unique(return_inverse=True)
        some_items, at_item = item.unique(return_inverse=True)
        e_user = self.embed(some_users, 0).index_select(0, at_user)
        e_item = self.embed(self.users + some_items, 1).index_select(0, at_item)
        return (e_user * e_item).sum(1)
