"""Gradient, Hessian product and removal for any module(user, item) -> logits, matrix-free by torch.func. The generic path.

theta is the flat vector (P,) of the parameters that require a gradient. H v is the pull-back of the gradient map (H is symmetric);
its graph is built once. Gauss-Newton is J' w J with J v as the pull-back of a pull-back. All rows go through in one batch, so
memory grows with them: matrix factorisation and LightGCN have closed forms in `influence`.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp
from torch.nn.functional import binary_cross_entropy_with_logits

from ..core.errors import UsageError
from ..core.task import Interactions
from .solvers import Product, scaled_identity

Mask = NDArray[np.bool_]


class FunctionalRisk:
    """R(theta) = (1/over) sum over `rows` of BCE(logit, y) + (l2/2) ||theta||^2 for any module, in evaluation mode."""

    def __init__(self, model: nn.Module, rows: Interactions, l2: float = 0.0, over: int | None = None) -> None:
        self.model, self.l2, self.over = copy.deepcopy(model).eval(), l2, over or max(len(rows), 1)
        self.parameters = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        self.theta = torch.cat([value.detach().reshape(-1) for value in self.parameters.values()])
        self.user, self.item = (torch.tensor(column, device=self.theta.device) for column in (rows.user, rows.item))
        self.label = torch.tensor(rows.label, device=self.theta.device, dtype=self.theta.dtype)

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """The parameters by name, as views of theta."""
        parts = theta.split([value.numel() for value in self.parameters.values()])
        return {name: part.view_as(value) for (name, value), part in zip(self.parameters.items(), parts, strict=True)}

    def logits(self, theta: Tensor) -> Tensor:
        return functional_call(self.model, self.unflatten(theta), (self.user, self.item))

    def loss(self, theta: Tensor) -> Tensor:
        """R(theta), a scalar tensor."""
        loss = binary_cross_entropy_with_logits(self.logits(theta), self.label, reduction="sum") / self.over
        return loss + 0.5 * self.l2 * theta.square().sum() if self.l2 else loss

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """dR/dtheta, (P,)."""
        return grad(self.loss)(self.theta if theta is None else theta)

    def hessian(self, chosen: Tensor | None = None, damping: float = 0.0, gauss_newton: bool = False) -> Product:
        """x -> (H_SS + (l2 + damping) I) x for x (|S|,), S being the coordinates `chosen` (sorted indexes; all by default)."""
        full, shift = (self._gauss_newton(), self.l2 + damping) if gauss_newton else (self._hessian(), damping)

        def product(x: Tensor) -> Tensor:
            if chosen is None:
                return full(x).add(x, alpha=shift)
            return full(torch.zeros_like(self.theta).index_copy_(0, chosen, x))[chosen].add_(x, alpha=shift)

        return product

    def _hessian(self) -> Product:
        pull = vjp(grad(self.loss), self.theta)[1]
        return lambda v: pull(v)[0]

    def _gauss_newton(self) -> Product:
        s, pull = vjp(self.logits, self.theta)[:2]
        push = vjp(lambda cotangent: pull(cotangent)[0], torch.zeros_like(s))[1]  # linear in the cotangent, so its pull-back is J
        p = torch.sigmoid(s)
        w = p * (1 - p) / self.over
        return lambda v: pull(w * push(v)[0])[0]


class FunctionalRemoval:
    """The update of any module, step by step; vectors are flat. It has no graph that could be switched, so b is the direct part."""

    def __init__(self, model: nn.Module, interactions: Interactions, removed: Mask, l2: float = 0.0) -> None:
        self.interactions, self.removed = interactions, removed
        self.risk = FunctionalRisk(model, interactions, l2)
        self.model = model

    def gradient(self, spillover: str = "full") -> Tensor:
        """b, (P,)."""
        return FunctionalRisk(self.model, self.interactions[self.removed], over=1).gradient()

    def system(
        self, place: Tensor | None, damping: float, curvature: str = "hessian", block_jacobi: bool = False
    ) -> tuple[Product, Product | None]:
        """x -> (H_SS + (l2 + damping) I) x. curvature: "hessian", "gauss_newton", or "none" (H = 0)."""
        if block_jacobi or curvature == "mf_hessian":
            name = "block_jacobi" if block_jacobi else "curvature='mf_hessian'"
            raise UsageError(f"{name} needs a MatrixFactorization or LightGCN; leave it out for a {type(self.model).__name__}")
        if curvature == "none":
            return scaled_identity(self.risk.l2 + damping), None
        return self.risk.hessian(place, damping, gauss_newton=curvature == "gauss_newton"), None

    def strength(self, b: Tensor) -> NDArray[np.float64]:
        """A parameter need not belong to a node, so nodes have no gradient norm."""
        kind = type(self.model).__name__
        raise UsageError(f"selection='gradient_norm' needs a MatrixFactorization or LightGCN; choose another for a {kind}")

    def place(self, chosen: Mask) -> Tensor:
        """The coordinates of theta that the nodes `chosen` (users + items,) free, as sorted indexes.

        A parameter whose first dimension is users, items or users + items is a table with a row per user, item or node; where
        users == items a row is free if either of its owners is. Every other parameter is free as a whole.
        """
        users, items = self.interactions.users, self.interactions.items
        tables = {users: chosen[:users], items: chosen[users:], users + items: chosen}
        if users == items:
            tables[users] = chosen[:users] | chosen[users:]
        parts = []
        for value in self.risk.parameters.values():
            rows = tables.get(value.shape[0]) if value.ndim else None
            width = math.prod(value.shape[1:])
            parts.append(np.ones(value.numel(), dtype=bool) if rows is None else np.repeat(rows, width))
        return torch.from_numpy(np.flatnonzero(np.concatenate(parts))).to(self.risk.theta.device)

    def after(self, graph: str = "retained") -> nn.Module:
        """A copy of the model at theta_0; `graph` has no effect."""
        return copy.deepcopy(self.model)

    @torch.no_grad()
    def write(self, after: nn.Module, place: Tensor, delta: Tensor) -> None:
        """theta_0 + delta at the coordinates `place`, into `after`; the others keep their bits."""
        theta = self.risk.theta.clone()
        theta[place] += delta
        for name, value in self.risk.unflatten(theta).items():
            after.get_parameter(name).copy_(value)
