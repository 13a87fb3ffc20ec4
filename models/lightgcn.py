"""LightGCN (He et al., SIGIR 2020): matrix factorisation on embeddings averaged over the layers of a normalised graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .matrix_factorization import MatrixFactorization
from .sparse import bag, csr, row_offsets


def normalised_adjacency(
    user: NDArray[np.int64], item: NDArray[np.int64], users: int, items: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """D^-1/2 A D^-1/2 of the undirected user-item graph as CSR (users + items, users + items).

    No self loop. A pair that occurs twice is an edge of weight 2. A node without edges gets a zero row (d^-1/2 := 0).
    """
    nodes = users + items
    row = torch.from_numpy(np.concatenate([user, users + item]))
    column = torch.from_numpy(np.concatenate([users + item, user]))
    edges, weight = torch.unique(row * nodes + column, return_counts=True)  # sorted: CSR order
    row, column = edges // nodes, edges % nodes
    degree = torch.zeros(nodes, dtype=torch.float64).index_add_(0, row, weight.double())
    scale = torch.where(degree > 0, degree.clamp(min=1).rsqrt(), 0.0)
    values = (weight * scale[row] * scale[column]).to(dtype)
    return csr(row_offsets(row, nodes), column, values, (nodes, nodes))


class _Propagate(torch.autograd.Function):
    """E -> mean_k A^k E. The map is symmetric, so its backward is the map itself: no transpose is ever built."""

    @staticmethod
    def forward(embeddings: Tensor, offsets: Tensor, columns: Tensor, values: Tensor, layers: int) -> Tensor:
        total = layer = embeddings
        for _ in range(layers):
            layer = bag(offsets, columns, values, layer)
            total = total + layer
        return total / (layers + 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.fixed = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _Propagate.apply(gradients[0], *ctx.fixed), None, None, None, None  # pyright: ignore[reportReturnType]


class LightGCN(MatrixFactorization):
    """Matrix factorisation on P E, P = mean_{k=0..layers} A^k, A = `adjacency` (symmetric CSR). Released IFRU uses one layer."""

    offsets: Tensor
    columns: Tensor
    values: Tensor

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
        self.layers = layers
        # Three plain tensors, since a CSR tensor can be neither deep-copied nor saved. They follow .to() and .double(), and are
        # no part of the state: the graph is data.
        self.register_buffer("offsets", None, persistent=False)
        self.register_buffer("columns", None, persistent=False)
        self.register_buffer("values", None, persistent=False)
        self.adjacency = adjacency

    @property
    def adjacency(self) -> Tensor:
        """A as CSR (users + items, users + items); may be set."""
        nodes = self.users + self.items
        return csr(self.offsets, self.columns, self.values, (nodes, nodes))

    @adjacency.setter
    def adjacency(self, matrix: Tensor) -> None:
        self.offsets, self.columns, self.values = matrix.crow_indices(), matrix.col_indices(), matrix.values()

    def propagate(self, embeddings: Tensor) -> Tensor:
        """P E; as cheap backwards as forwards."""
        if self.layers == 0:
            return embeddings
        return _Propagate.apply(embeddings, self.offsets, self.columns, self.values, self.layers)  # pyright: ignore[reportReturnType]
