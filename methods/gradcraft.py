"""GradCraft: gradients of T tasks, made comparable and free of conflict (Bai et al., KDD 2024, doi 10.1145/3637528.3671585).

    a_i    = 1 - tau + tau max_j n_j / n_i,    g^_i = a_i g_i                       magnitudes, n_i = ||g_i||
    C_i    = { j : <g^_i, g^_j> < 0 },         G_i its rows g^_j                    all conflicts of i at once
    g~_i   = g^_i + G_i' w_i,                  G_i g~_i = z_i,  z_ij = eps n^_i n^_j
    g      = (1/T) sum_i g~_i                                                       the shared parameters' gradient

Everything follows from K = J J' (T x T): g = J' c with weights c, some of which may be negative.

    weights = gradcraft_weights(J @ J.T, tau=0.1, eps=1e-10)    # (T,): shared gradient = J.T @ weights
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.context import RunContext
from ..core.errors import UsageError, unknown
from ..core.params import fixed, real
from ..models.balanced import BalancedRunner, MultiTaskParams
from ..models.geometry import Geometry
from ..models.gradients import Balance, Balancer
from ..models.gram import Matrix, cosines, inverse, least_norm, matrix, norms, tensor
from ..models.projections import dual_cone, interpolated, new_conflicts, one_by_one, random_orders

__all__ = ["Crafted", "GradCraft", "GradCraftParams", "craft", "gradcraft_weights"]

PROJECTIONS = ("equality", "dual_cone", "one_by_one", "none")


@dataclass(frozen=True)
class Crafted:
    """Both steps, in coefficients.

    scale: a (T,); mixing: W (T, T) with g~_i = sum_j W_ij g^_j; conflicts (T, T): C_i as a mask, row by row; created (T, T): pairs
    (i, j) where g~_i conflicts with g^_j though g^_i did not.
    """

    scale: Matrix
    mixing: Matrix
    conflicts: NDArray[np.bool_]
    created: NDArray[np.bool_]

    def left(self, K: Matrix) -> NDArray[np.bool_]:
        """(T, T): pairs of C_i that still conflict; K is the Gram matrix before step 1."""
        slope = self.mixing @ (self.scale[:, None] * K * self.scale)
        size = np.sqrt(np.maximum((slope * self.mixing).sum(1), 0.0))[:, None] * norms(K) * self.scale
        return self.conflicts & (slope < -1e-10 * size)

    @property
    def weights(self) -> Matrix:
        """c (T,): the shared gradient is (1/T) sum_i g~_i = J' c."""
        return self.scale * self.mixing.sum(0) / len(self.scale)


def gradcraft_weights(
    gram: Tensor,
    tau: float = 0.1,
    eps: float = 1e-10,
    projection: str = "equality",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Weights (T,), float64, from gram = J @ J.T (T, T): shared gradient = J.T @ weights, the mean over tasks included.

    tau: 0 leaves the norms, 1 makes all equal to the largest; eps: the cosine that is asked of a resolved conflict; projection: the
    paper's "equality"; "dual_cone": conflicts with no task, by inequalities; "one_by_one": one conflict after the other in random
    order, from `generator`; "none". A task without a gradient gets, and causes, nothing; collinear gradients are no obstacle.

    >>> gradcraft_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0500, 0.6375], dtype=torch.float64)
    """
    return tensor(craft(gram, tau, eps, projection, generator).weights, gram)


def craft(
    gram: Tensor,
    tau: float = 0.1,
    eps: float = 1e-10,
    projection: str = "equality",
    generator: torch.Generator | None = None,
) -> Crafted:
    """The same in its parts, to count what was resolved and what arose.

    >>> gram = torch.tensor([[1.0, -1.0], [-1.0, 4.0]])  # two tasks whose gradients conflict
    >>> found = craft(gram)
    >>> found.conflicts.tolist(), int(found.left(gram.numpy()).sum()), int(found.created.sum())
    ([[False, True], [True, False]], 0, 0)
    """
    if not (0.0 <= tau <= 1.0 and eps >= 0.0):
        raise UsageError(f"tau={tau}, eps={eps}: tau lies in [0, 1], eps is not negative")
    K = matrix(gram)
    a = interpolated(K, tau)
    adjusted = a[:, None] * K * a
    W = _project(adjusted, eps, projection, generator)
    return Crafted(a, W, adjusted < 0, new_conflicts(adjusted, W))


def _project(K: Matrix, eps: float, projection: str, generator: torch.Generator | None) -> Matrix:
    if projection == "equality":
        return all_at_once(K, eps)
    if projection == "dual_cone":
        return dual_cone(K, eps)
    if projection == "one_by_one":
        return one_by_one(K, random_orders(len(K), generator), eps)
    if projection == "none":
        return np.eye(len(K))
    raise unknown("projection", projection, PROJECTIONS)


def all_at_once(K: Matrix, eps: float) -> Matrix:
    """W (T, T) of step 2: g~_i has the inner product eps n_i n_j with each j in C_i.

    In unit gradients the T systems C[C_i, C_i] y_i = eps - C[C_i, i] are solved as one batch, the rest of each masked to the
    identity. Collinear members of C_i make one singular; the least-norm solution treats copies of a gradient as one.

    >>> K = np.array([[1.0, -1.0], [-1.0, 4.0]])
    >>> W = all_at_once(K, eps=0.0)
    >>> bool(np.abs(np.diag((W @ K)[:, ::-1])).max() < 1e-12)  # g~_1 is orthogonal to g_2, and g~_2 to g_1
    True
    """
    n, C = norms(K), cosines(K)
    mask = (C < 0).astype(np.float64)  # (i, j): j in C_i
    systems = mask[:, :, None] * C * mask[:, None, :]
    systems += (1 - mask)[:, :, None] * np.eye(len(K))
    Y = mask * least_norm(systems, mask * (eps - C))
    return np.eye(len(K)) + Y * n[:, None] * inverse(n)


class GradCraftParams(MultiTaskParams):
    """The paper's two hyperparameters, and what tells its variants apart.

    eps: searched over the published range, which is below what float32 gradients resolve, and over the range that matters.
    """

    tau: float = real(
        0.1,
        low=0.0,
        high=1.0,
        minimum=0.0,
        maximum=1.0,
        grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        help="how far norms are drawn to the largest one",
    )
    eps: float = real(
        1e-10,
        low=1e-12,
        high=1e-1,
        log=True,
        minimum=0.0,
        maximum=1.0,
        grid=(1e-10, 1e-9, 1e-8),
        help="cosine that is asked of a resolved conflict",
    )
    projection: str = fixed("equality", options=PROJECTIONS, help="how conflicts are resolved")
    every: int = fixed(1, minimum=1, help="weights are computed in every such step, and weigh losses in between")


class CraftGeometry(Geometry):
    """Beside what every row shows: pairs that step 2 `resolved`, `left` in conflict, or `created`; the ratio of norms after step 1
    (`crafted_ratio`), and tau times that ratio (`bound_used`), which is below 1.
    """

    def __init__(self, params: GradCraftParams) -> None:
        super().__init__()
        self.params = params

    def __call__(self, balance: Balance) -> None:
        super().__call__(balance)
        assert balance.shared_gram is not None
        order = torch.Generator().manual_seed(0)
        crafted = craft(balance.shared_gram, self.params.tau, self.params.eps, self.params.projection, order)
        left = crafted.left(matrix(balance.shared_gram))
        n = norms(matrix(balance.shared_gram)) * crafted.scale
        ratio = float(n.max() / n[n > 0].min()) if n.any() else 1.0
        self.add(resolved=float((crafted.conflicts & ~left).sum()), left=float(left.sum()), created=float(crafted.created.sum()))
        self.add(crafted_ratio=ratio, bound_used=self.params.tau * ratio)


class GradCraft(BalancedRunner):
    """GradCraft on the shared parameters; as released with scope="all", specific="weighted", adam_steps="two"."""

    name = "gradcraft"
    title = "GradCraft"
    Params = GradCraftParams
    reference = (
        "Bai et al., GradCraft: Elevating Multi-task Recommendations through Holistic Gradient Crafting, KDD 2024, "
        "doi 10.1145/3637528.3671585"
    )

    def geometry(self, params: GradCraftParams) -> Geometry:
        return CraftGeometry(params)

    def balancer(self, tasks: int, params: GradCraftParams, run: RunContext) -> Balancer:
        generator = run.generator("balancer")
        return Balancer.from_gram(
            lambda gram: gradcraft_weights(gram, params.tau, params.eps, params.projection, generator), params.every
        )
