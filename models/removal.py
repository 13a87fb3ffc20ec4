"""What a removal asks of a factor model: the right-hand side b, the system on the nodes S, and the model that comes of it.

    b      = sum_{D_r} grad l(theta_0; G) + sum_{D_c} [grad l(theta_0; G) - grad l(theta_0; G_k)]      (IFRU, section 1.2)
    theta' = theta_0 + (1/N) (H_SS + damping I)^-1 b_S on S, theta_0 elsewhere                         (section 1.4)

G is LightGCN's graph, the rows with label 1; G_k is the graph of the retained rows D_k.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.task import Interactions
from .influence import FactorRisk
from .lightgcn import LightGCN, normalised_adjacency
from .matrix_factorization import MatrixFactorization
from .solvers import Product, scaled_identity

Mask = NDArray[np.bool_]


def on_graph(model: MatrixFactorization, rows: Interactions) -> MatrixFactorization:
    """A copy of `model` on the graph of the rows with label 1; matrix factorisation has none."""
    new = copy.deepcopy(model)
    if isinstance(new, LightGCN):
        positive, like = rows.label == 1, model.embeddings
        graph = normalised_adjacency(rows.user[positive], rows.item[positive], model.users, model.items, like.dtype)
        new.adjacency = graph.to(like.device)
    return new


def removal_gradient(model: MatrixFactorization, interactions: Interactions, removed: Mask, spillover: str = "full") -> Tensor:
    """b = sum_{D_r} grad l(G) + sum_{D_c} [grad l(G) - grad l(G_k)], (users + items, d): direct influence and spillover.

    spillover: "full": D_c is every retained row, two full-batch gradients; "released": only retained rows at an end of a removed
    row whose positive degree fell by more than 1 %; "off": none. Without a graph, or with no removed edge, there is none.
    """
    removed_rows, retained = interactions[removed], interactions[~removed]
    direct = FactorRisk(model, removed_rows, over=1).gradient()
    has_graph = isinstance(model, LightGCN) and model.layers > 0
    if spillover == "off" or not has_graph or not (removed_rows.label == 1).any():
        return direct
    changed = retained
    if spillover == "released":
        users, nodes = model.users, model.users + model.items
        before, after = (_positive_degree(rows, nodes) for rows in (interactions, retained))
        fell = after < 0.99 * before
        changed = retained[fell[retained.user] | fell[users + retained.item]]
    old = FactorRisk(model, changed, over=1).gradient()
    return direct + old - FactorRisk(on_graph(model, retained), changed, over=1).gradient()


def _positive_degree(rows: Interactions, nodes: int) -> NDArray[np.int64]:
    positive = rows[rows.label == 1]
    return np.bincount(np.concatenate([positive.user, rows.users + positive.item]), minlength=nodes)


class FactorRemoval:
    """The update of matrix factorisation or LightGCN, step by step; vectors are (|S|, d)."""

    def __init__(self, model: MatrixFactorization, interactions: Interactions, removed: Mask, l2: float = 0.0) -> None:
        self.model, self.interactions, self.removed, self.l2 = model, interactions, removed, l2

    def gradient(self, spillover: str = "full") -> Tensor:
        """b on all nodes, (users + items, d)."""
        return removal_gradient(self.model, self.interactions, self.removed, spillover)

    def place(self, chosen: Mask) -> Tensor:
        """S as sorted node indexes: where b and theta_0 are read and written."""
        return torch.from_numpy(np.flatnonzero(chosen)).to(self.model.embeddings.device)

    def system(
        self, place: Tensor | None, damping: float, curvature: str = "hessian", block_jacobi: bool = False
    ) -> tuple[Product, Product | None]:
        """x -> (H_SS + (l2 + damping) I) x, and its preconditioner if asked for.

        curvature: "hessian"; "gauss_newton"; "mf_hessian", the release's, which is that of BCE on raw embeddings; "none" (H = 0).
        """
        if curvature == "none":
            return scaled_identity(self.l2 + damping), None
        risk = FactorRisk(self.model, self.interactions, self.l2, mf=curvature == "mf_hessian")
        hessian = risk.hessian(place, damping, gauss_newton=curvature == "gauss_newton")
        return hessian, hessian.preconditioner() if block_jacobi else None

    def strength(self, b: Tensor) -> NDArray[np.float64]:
        """What gradient-norm pruning ranks nodes by: ||b_v||, and below all of these ||(H b)_v|| where b_v = 0."""
        direct = b.norm(dim=1).double()
        indirect = self.system(None, 0.0)[0](b).norm(dim=1).double()
        floor = direct[direct > 0].min() if bool((direct > 0).any()) else 1.0
        return torch.where(direct > 0, direct, 0.5 * floor * indirect / indirect.max().clamp(min=1e-300)).cpu().numpy()

    def after(self, graph: str = "retained") -> MatrixFactorization:
        """A copy of the model at theta_0, on G_k (graph="retained") or still on G ("full")."""
        return on_graph(self.model, self.interactions[~self.removed]) if graph == "retained" else copy.deepcopy(self.model)

    @torch.no_grad()
    def write(self, after: nn.Module, place: Tensor, delta: Tensor) -> None:
        """theta_0 + delta on S, into `after`. Rows outside S keep their bits."""
        after.get_parameter("embeddings")[place] = self.model.embeddings[place] + delta
