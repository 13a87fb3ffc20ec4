"""Gradient and Hessian of the mean BCE of a factor model in closed form (what IFRU and SCIF solve with).

    z = P theta,  s = <z_u, z_i>,  r = (sigma(s) - y) / N,  w = sigma(s) (1 - sigma(s)) / N
    g_u = sum_i r z_i                                     gradient of R = f(P theta):  P g + l2 theta
    a = <dz_u, z_i> + <z_u, dz_i>
    (H dz)_u = sum_i w a z_i + r dz_i                     Hessian product:  P H(P dtheta) + l2 dtheta

P is the identity for matrix factorisation and the symmetric mean over the layers for LightGCN. A product is one SDDMM and two SpMM
over the rows; Gauss-Newton drops r.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..core.task import Interactions
from .lightgcn import LightGCN
from .matrix_factorization import MatrixFactorization
from .solvers import Product
from .sparse import Pairs


class FactorRisk:
    """R(theta) = (1/over) sum over `rows` of BCE(<z_u, z_i>, y) + (l2/2) ||theta||^2, z = P theta.

    over: N, the number of rows by default; 1 gives sums. mf=True leaves P out (the released Hessian of LightGCN).
    """

    def __init__(
        self, model: MatrixFactorization, rows: Interactions, l2: float = 0.0, over: int | None = None, mf: bool = False
    ) -> None:
        like = model.embeddings
        self.theta = like.detach()
        self.users, self.l2, self.over = model.users, l2, over or max(len(rows), 1)
        layers = model.layers if isinstance(model, LightGCN) and not mf else 0
        self.propagate: Product | None = model.propagate if layers else None
        self.own = 1 / (layers + 1)  # about P_vv
        user, item = (torch.tensor(column, device=like.device) for column in (rows.user, rows.item))
        self.pairs = Pairs(user, item, model.users, model.items)
        self.label = torch.tensor(rows.label, device=like.device, dtype=like.dtype)[self.pairs.order]

    @torch.no_grad()
    def factors(self, theta: Tensor | None = None) -> Tensor:
        """z = P theta, (users + items, d)."""
        theta = self.theta if theta is None else theta
        return self.propagate(theta) if self.propagate else theta

    def logits(self, z: Tensor) -> Tensor:
        """s of each row, in the order of `pairs`."""
        return self.pairs.dots(z[: self.users], z[self.users :])

    @torch.no_grad()
    def loss(self, theta: Tensor | None = None) -> float:
        """R(theta)."""
        theta = self.theta if theta is None else theta
        loss = binary_cross_entropy_with_logits(self.logits(self.factors(theta)), self.label, reduction="sum")
        return float(loss) / self.over + 0.5 * self.l2 * float(theta.square().sum())

    @torch.no_grad()
    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """dR/dtheta, (users + items, d)."""
        theta = self.theta if theta is None else theta
        z = self.factors(theta)
        g = self.pairs.spread((torch.sigmoid(self.logits(z)) - self.label) / self.over, z)
        if self.propagate:
            g = self.propagate(g)
        return g.add_(theta, alpha=self.l2) if self.l2 else g

    @torch.no_grad()
    def hessian(
        self, nodes: Tensor | None = None, damping: float = 0.0, gauss_newton: bool = False, theta: Tensor | None = None
    ) -> FactorHessian:
        """H_SS + (l2 + damping) I at theta, on the sorted node indexes S = `nodes` (all by default)."""
        z = self.factors(theta)
        p = torch.sigmoid(self.logits(z))
        rows = _Rows(self.pairs, z, p * (1 - p) / self.over, None if gauss_newton else (p - self.label) / self.over)
        nodes = torch.arange(len(z), device=z.device) if nodes is None else nodes
        return FactorHessian(rows, nodes, self.l2 + damping, self.propagate, self.own)


@dataclass(frozen=True)
class _Rows:
    """The rows that a Hessian product runs over: sparsity, factors z (n, d), w and r (N,)."""

    pairs: Pairs
    z: Tensor
    w: Tensor
    r: Tensor | None

    def product(self, v: Tensor) -> Tensor:
        """H v without P and without the diagonal shift, (n, d)."""
        users, z = self.pairs.users, self.z
        a = self.pairs.dots(torch.cat([v[:users], z[:users]], 1), torch.cat([z[users:], v[users:]], 1))
        out = self.pairs.spread(self.w * a, z)
        return out if self.r is None else out.add_(self.pairs.spread(self.r, v))

    def blocks(self, nodes: Tensor) -> Tensor:
        """The diagonal blocks sum w z z' over each node's rows, (len(nodes), d, d)."""
        dim = self.z.shape[1]
        out = self.z.new_zeros(len(nodes), dim, dim)
        bounds = torch.stack([self.pairs.offsets[nodes], self.pairs.offsets[nodes + 1]], 1).tolist()
        for block, (start, end) in zip(out, bounds, strict=True):
            z = self.z[self.pairs.other[start:end]]
            torch.mm((z * self.w[self.pairs.row[start:end], None]).T, z, out=block)
        return out

    def within(self, keep: Tensor, nodes: Tensor) -> _Rows:
        """The rows `keep` (bool), on the nodes `nodes` (sorted indexes that hold all their ends)."""
        pairs, users = self.pairs, int((nodes < self.pairs.users).sum())
        place = torch.zeros(len(self.z), dtype=torch.int64, device=nodes.device)
        place[nodes] = torch.arange(len(nodes), device=nodes.device)
        user, item = place[pairs.user[keep]], place[pairs.item[keep] + pairs.users] - users
        inside = Pairs(user, item, users, len(nodes) - users)  # keeps the order: already sorted by user
        return _Rows(inside, self.z[nodes], self.w[keep], None if self.r is None else self.r[keep])


class FactorHessian:
    """x -> (H_SS + shift I) x for x (|S|, d) on the nodes S alone: a restricted system, not a masked full one.

    Without P only rows with an end in S matter. A row with one end in S acts only inside that node's d x d block; a node with more
    than d such rows has them summed to its block once. The others stay rows, with a frozen end.
    """

    def __init__(self, rows: _Rows, nodes: Tensor, shift: float, propagate: Product | None = None, own: float = 1.0) -> None:
        self.nodes, self.shift, self.propagate, self.own = nodes, shift, propagate, own
        self._heavy = nodes[:0]
        self._blocks = rows.z[:0, :, None]
        if propagate is None and len(nodes) < len(rows.z):
            rows = self._restrict(rows)
        else:
            self._place = nodes
        self._rows = rows

    def _restrict(self, rows: _Rows) -> _Rows:
        """Drop, aggregate or keep each row; afterwards S sits at `_place` of a smaller table."""
        pairs, size, dim = rows.pairs, *rows.z.shape
        inside = torch.zeros(size, dtype=torch.bool, device=rows.z.device).index_fill_(0, self.nodes, True)
        user, item = pairs.user, pairs.item + pairs.users
        in_user, in_item = inside[user], inside[item]
        single = in_user ^ in_item
        end = torch.where(in_user, user, item)  # the end in S of a single row
        heavy = torch.bincount(end[single], minlength=size) > dim
        aggregate = single & heavy[end]
        keep = (in_user | in_item) & ~aggregate
        if bool(heavy.any()):
            heavy_nodes = heavy.nonzero().squeeze(1)
            everywhere = torch.arange(size, device=heavy.device)
            self._blocks = rows.within(aggregate, everywhere).blocks(heavy_nodes)
            self._heavy = torch.searchsorted(self.nodes, heavy_nodes)
        table = inside.index_fill(0, user[keep], True).index_fill_(0, item[keep], True).nonzero().squeeze(1)
        self._place = torch.searchsorted(table, self.nodes)
        return rows.within(keep, table)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        v = x
        if len(self.nodes) < len(self._rows.z):
            v = x.new_zeros(len(self._rows.z), x.shape[1]).index_copy_(0, self._place, x)
        out = self._rows.product(self.propagate(v) if self.propagate else v)
        out = self.propagate(out) if self.propagate else out
        if len(out) > len(x):
            out = out[self._place]
        if len(self._heavy):
            out.index_add_(0, self._heavy, (self._blocks @ x[self._heavy, :, None]).squeeze(2))
        return out.add_(x, alpha=self.shift)

    @torch.no_grad()
    def preconditioner(self) -> Product:
        """Block Jacobi, x_v -> (sum over v's rows of w z z' + shift I)^-1 x_v.

        A node with fewer than d rows takes its mean diagonal. Under P the blocks are those of z, times the squared weight of a node
        on itself (about 1 / (layers + 1)).
        """
        rows, dim = self._rows, self._rows.z.shape[1]
        diagonal = rows.pairs.spread(rows.w, rows.z.square().sum(1, keepdim=True))[self._place]
        diagonal.mul_(self.own**2 / dim).add_(self.shift)
        many = (rows.pairs.degree[self._place] >= dim).index_fill_(0, self._heavy, True)
        busy = many.nonzero().squeeze(1)
        blocks = rows.blocks(self._place[busy]).mul_(self.own**2)
        blocks[torch.searchsorted(busy, self._heavy)] += self._blocks
        blocks.diagonal(dim1=1, dim2=2).add_(self.shift)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(blocks))

        def solve(x: Tensor) -> Tensor:
            return (x / diagonal).index_copy_(0, busy, (inverse @ x[busy, :, None]).squeeze(2))

        return solve
