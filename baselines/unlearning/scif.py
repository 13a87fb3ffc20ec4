"""SCIF: forget a label by moving to the loss in which it is replaced by an average one (Li et al., arXiv 2304.10199).

    F(theta) = sum over D of l(y) - sum over D_r of [ l(y) - l(ybar) ]
    b        = sum over D_r of [ grad l(y) - grad l(ybar) ] + sign * sum over D of grad l
    theta'   = theta_0 + (1/N) H_SS^-1 b_S,   S = the users and items of D_r

A Newton step on F has sign = -1; the adaptation released with IFRU has sign = +1, which is harmless only where the gradient is 0.
ybar is the mean retained label of the row's user. Everything is on raw embeddings: in LightGCN too, the graph plays no part.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.context import RunContext
from ...core.metrics.classification import auc
from ...core.params import Params, choice, fixed, real
from ...core.runner import Runner
from ...core.task import Interactions, UnlearningTask, View
from ...models.influence import FactorRisk
from ...models.matrix_factorization import MatrixFactorization
from ...models.pointwise import FittedFactors
from ...models.pruning import select
from ...models.removal import FactorRemoval
from ...models.solvers import adam_as_released, conjugate_gradient

RESIDUAL = {"descent": -1.0, "as_released": 1.0, "none": 0.0}


class SCIFParams(Params):
    """SCIF's own choices.

    residual: searched, for on an early-stopped model a full step down the gradient over all rows also undoes the early stopping;
    solver: "cg" takes the damped Gauss-Newton matrix for H, since the true Hessian of an early-stopped model is indefinite;
    "adam_as_released" is the released loop on p, with the true Hessian and without damping.
    """

    damping: float = real(1e-4, low=1e-6, high=1e-3, log=True, minimum=0.0, help="added to H's diagonal, mean-loss scale (cg)")
    step: float = real(
        1e-2,
        low=1e-3,
        high=1e-1,
        log=True,
        minimum=0.0,
        help="if_lr / N: how far Adam moves a coordinate in a step (adam_as_released)",
    )
    residual: str = choice("descent", "none", "as_released", help="sign of the gradient over all rows in b: -1, 0, +1")
    solver: str = fixed("cg", options=("cg", "adam_as_released"), help="conjugate gradient, or the released Adam loop on p")
    graph_after: str = fixed("retained", options=("retained", "full"), help="the graph that scores afterwards (full as released)")
    tol: float = fixed(1e-3, minimum=0.0, help="relative residual at which cg stops")
    max_iter: int = fixed(100, minimum=1, help="cg steps at most")


class SCIF(Runner):
    """Selective and collaborative influence function, in IFRU's adaptation, with its signs and solvers to choose from."""

    name = "scif"
    title = "SCIF"
    task = UnlearningTask
    requires = ("original",)
    Params = SCIFParams
    fitted = FittedFactors
    reference = (
        "Li et al., Selective and Collaborative Influence Function for Efficient Recommendation Unlearning, arXiv 2304.10199"
    )

    def cannot(self, task: UnlearningTask) -> str | None:
        if task.backbone not in ("mf", "lightgcn"):
            return f"SCIF is written for embeddings that meet in an inner product (mf, lightgcn), not for {task.backbone}"
        return None

    def fit(self, task: UnlearningTask, params: SCIFParams, run: RunContext) -> FittedFactors:
        original: FittedFactors = run.parent("original")
        start: MatrixFactorization = original.model  # pyright: ignore[reportAssignmentType]
        removal = FactorRemoval(start, task.train, task.removed)
        with run.clock("gradient"):
            risk = FactorRisk(start, task.train, original.params.l2, mf=True)
            b = label_gradient(start.embeddings.detach(), task.train, task.removed)
            b.add_(risk.gradient(), alpha=RESIDUAL[params.residual] * len(task.train))
        with run.clock("selection"):
            place = removal.place(select(task.train, task.removed, hops=0))
        with run.clock("write"):
            after = FittedFactors(removal.after(params.graph_after), original.params, task.backbone)
        valid = View("valid", {"user": task.valid.user, "item": task.valid.item})

        def write(p: Tensor) -> None:
            removal.write(after.model, place, p / len(task.train))

        def score(p: Tensor) -> float:
            write(p)
            scores = after.predict(valid)["score"]
            return auc(scores, task.valid.label) if np.isfinite(scores).all() else float("-inf")

        with run.clock("solver"):
            if params.solver == "cg":
                hessian = risk.hessian(place, params.damping, gauss_newton=True)
                solution = conjugate_gradient(hessian, b[place], None, params.tol, params.max_iter, run.progress)
            else:
                rate = params.step * len(task.train)
                solution = adam_as_released(risk.hessian(place), b[place], rate, score, progress=run.progress)
        with run.clock("write"):
            write(solution.p)
        run.note("iterations", solution.iterations)
        run.note("residual", solution.residual)
        return after


def average_labels(train: Interactions, removed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """ybar of each removed row: the mean retained label of its user, else of its item, else of all (1/2 if nothing is retained).

    >>> label = np.array([1, 0, 1, 1], dtype=np.float32)
    >>> rows = Interactions(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), label, users=3, items=2)
    >>> average_labels(rows, np.array([True, False, False, True])).tolist()  # user 0's other row; all that are left
    [0.0, 0.5]
    """
    kept, gone = train[~removed], train[removed]
    overall = float(kept.label.mean()) if len(kept) else 0.5
    by_item = _mean_label(kept.item, kept.label, train.items, np.full(len(gone), overall), gone.item)
    return _mean_label(kept.user, kept.label, train.users, by_item, gone.user).astype(np.float32)


def _mean_label(
    ids: NDArray[np.int64], label: NDArray[np.float32], size: int, default: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The mean label of the rows with id `at`, or `default` where there is none."""
    count, total = np.bincount(ids, minlength=size), np.bincount(ids, weights=label, minlength=size)
    return np.where(count[at] > 0, total[at] / np.maximum(count[at], 1), default)


def label_gradient(theta: Tensor, train: Interactions, removed: NDArray[np.bool_]) -> Tensor:
    """sum over D_r of [grad l(y) - grad l(ybar)], (users + items, d): a row adds (ybar - y) (q_i, p_u), whatever is predicted.

    >>> label = np.array([1, 0], dtype=np.float32)
    >>> rows = Interactions(np.array([0, 0]), np.array([0, 1]), label, users=1, items=2)
    >>> theta = torch.tensor([[1.0], [2.0], [3.0]])  # of the user, then of both items
    >>> label_gradient(theta, rows, np.array([True, False])).tolist()
    [[-2.0], [-1.0], [0.0]]
    """
    gone = train[removed]
    change = torch.from_numpy(average_labels(train, removed) - gone.label).to(theta)[:, None]
    user = torch.from_numpy(gone.user).to(theta.device)  # a selection of rows is a copy, so writable
    item = torch.from_numpy(gone.users + gone.item).to(theta.device)
    b = torch.zeros_like(theta).index_add_(0, user, change * theta[item])
    return b.index_add_(0, item, change * theta[user])
