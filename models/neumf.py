"""NeuMF (He et al., Neural Collaborative Filtering, WWW 2017): an element-wise product and a small network, fused in one layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NeuMF(nn.Module):
    """s(u, i) = w' [p_u * q_i ; MLP([x_u ; y_i])], a raw logit.

    The two halves have embeddings of their own, all of size d = `dim`; the tower is 2d -> d -> d/2 with ReLU. Embeddings start
    normal with `init_std`, weights Xavier-uniform, biases 0.
    """

    def __init__(self, users: int, items: int, dim: int, init_std: float = 0.01, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.users, self.items = users, items
        self.product = nn.Parameter(torch.empty(users + items, dim).normal_(0.0, init_std, generator=generator))
        self.tower = nn.Parameter(torch.empty(users + items, dim).normal_(0.0, init_std, generator=generator))
        self.wide, self.narrow = _linear(2 * dim, dim, generator), _linear(dim, dim // 2, generator)
        self.out = _linear(dim + dim // 2, 1, generator)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits (B,) of the pairs (user[b], item[b])."""
        item = self.users + item
        product = self.product.index_select(0, user) * self.product.index_select(0, item)
        pair = torch.cat([self.tower.index_select(0, user), self.tower.index_select(0, item)], dim=1)
        hidden = torch.relu(self.narrow(torch.relu(self.wide(pair))))
        return self.out(torch.cat([product, hidden], dim=1)).squeeze(1)


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear layer whose start depends on `generator` alone."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # the usual start would draw from the global stream
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
