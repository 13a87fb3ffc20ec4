"""LightGCN (He et al., SIGIR 2020): matrix factorisation on embeddings averaged over the layers of a normalised graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .matrix_factorization import MatrixFactorization


def normalised_adjacency(
    user: NDArray[np.int64], item: NDArray[np.int64], users: int, items: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """D^-1/2 A D^-1/2 of the undirected user-item graph as CSR (users + items, users + items).

    No self loop. A pair that occurs twice is an edge of weight 2. A node without edges gets a zero row (d^-1/2 := 0).
    """
    nodes = users + items
    ends = np.stack([np.concatenate([user, users + item]), np.concatenate([users + item, user])])
    adjacency = torch.sparse_coo_tensor(torch.from_numpy(ends), torch.ones(ends.shape[1], dtype=torch.float64), (nodes, nodes)).coalesce()
    row, column = adjacency.indices()
    degree = torch.zeros(nodes, dtype=torch.float64).index_add_(0, row, adjacency.values())
    scale = torch.where(degree > 0, degree.clamp(min=1).rsqrt(), torch.zeros_like(degree))
    values = (adjacency.values() * scale[row] * scale[column]).to(dtype)
    return torch.sparse_coo_tensor(adjacency.indices(), values, (nodes, nodes), is_coalesced=True).to_sparse_csr()


class _Propagate(torch.autograd.Function):
    """E -> mean_k A^k E. The map is symmetric, so its backward is the map itself: no transpose is ever built."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, adjacency: Tensor, layers: int) -> Tensor:
        ctx.adjacency, ctx.layers = adjacency, layers
        return _mean_of_layers(embeddings, adjacency, layers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Propagate.apply(gradients[0], ctx.adjacency, ctx.layers), None, None  # differentiable again

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _mean_of_layers(tangents[0], ctx.adjacency, ctx.layers)


def _mean_of_layers(embeddings: Tensor, adjacency: Tensor, layers: int) -> Tensor:
    total = layer = embeddings
    for _ in range(layers):
        layer = adjacency @ layer
        total = total + layer
    return total / (layers + 1)


class LightGCN(MatrixFactorization):
    """Matrix factorisation on P E, P = mean_{k=0..layers} A^k, A = `adjacency` (symmetric CSR). Released IFRU uses one layer."""

    def __init__(
        self,
        users: int,
        items: int,
        dim: int,
        adjacency: Tensor,
        layers: int = 1,
        init_std: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(users, items, dim, init_std, generator)
        self.adjacency, self.layers = adjacency, layers

    def propagate(self, embeddings: Tensor) -> Tensor:
        """P E; as cheap backwards as forwards."""
        return _Propagate.apply(embeddings, self.adjacency, self.layers)  # pyright: ignore[reportReturnType]
