"""IFRU: recommendation unlearning via influence functions (Zhang et al., ACM TORS 3(2), 2024, doi 10.1145/3701763).

To forget the rows D_r of the N rows D, move the trained theta_0 by one Newton-like step towards the loss without them:

    S      = nodes whose importance w_k exceeds tau, endpoints of D_r included             which embeddings may move
    b      = sum_{D_r} grad l(G) + sum_{D_k} [grad l(G) - grad l(G_k)]                     direct influence and spillover
    theta' = theta_0 + (1/N) (H_SS + damping I)^-1 b_S                                     H of the mean loss over D at theta_0

l is BCE with logits; G is LightGCN's graph (rows with label 1), G_k that of the retained rows D_k; theta' is scored on G_k.

    from craftbench.methods.ifru import unlearn
    result = unlearn(model, interactions, removed, damping=1e-5, hops=1, keep=1.0)
    result.model, result.iterations, result.residual, result.updated_nodes, result.seconds
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..core.context import RunContext
from ..core.errors import UsageError
from ..core.metrics.classification import auc
from ..core.params import Params, choice, fixed, real
from ..core.runner import Runner
from ..core.task import Interactions, UnlearningTask
from ..models.functional_influence import FunctionalRemoval
from ..models.matrix_factorization import MatrixFactorization
from ..models.pointwise import FittedFactors
from ..models.pruning import degree, select, select_by
from ..models.removal import FactorRemoval
from ..models.solvers import Product, Solution, adam_as_released, conjugate_gradient

__all__ = ["IFRU", "IFRUParams", "Interactions", "UnlearnParams", "Unlearned", "unlearn"]

Mask = NDArray[np.bool_]
Evaluate = Callable[[nn.Module], float]


class UnlearnParams(Params):
    """Settings of `unlearn`.

    The true Hessian of an early-stopped model is indefinite, where conjugate gradient stops early. Hence Gauss-Newton, which is
    positive semidefinite, by default; in a study validation decides. As released: solver="adam_as_released", damping=0,
    curvature="mf_hessian", spillover="released", graph_after="full" (and for LightGCN keep=0.6, without the union with the
    endpoints).
    """

    damping: float = real(1e-4, low=1e-7, high=1e-3, log=True, minimum=0.0, help="added to the Hessian's diagonal, mean-loss scale")
    step: float = real(
        1e-2,
        low=1e-3,
        high=1e-1,
        log=True,
        minimum=0.0,
        help="if_lr / N: how far Adam moves a coordinate in a step (adam_as_released)",
    )
    hops: int = fixed(1, minimum=0, maximum=8, help="how far from a removed row a node may move")
    keep: float = fixed(1.0, minimum=0.0, maximum=1.0, help="share of the nodes in reach, by importance, that may move")
    selection: str = fixed(
        "importance",
        options=("importance", "random", "degree", "gradient_norm"),
        help="what ranks the nodes; the others fill up to importance's number of nodes",
    )
    curvature: str = choice(
        "gauss_newton",
        "hessian",
        also=("mf_hessian", "none"),
        help="H: its positive part, or true; without the graph (released LightGCN); or 0",
    )
    solver: str = fixed("cg", options=("cg", "adam_as_released"), help="conjugate gradient, or the released Adam loop on p")
    block_jacobi: bool = fixed(False, help="precondition cg by the nodes' diagonal blocks (mf, lightgcn)")
    tol: float = fixed(1e-3, minimum=0.0, help="relative residual at which cg stops")
    max_iter: int = fixed(100, minimum=1, help="cg steps at most (the Adam loop has 5000)")
    spillover: str = fixed("full", options=("full", "released", "off"), help="retained rows whose change through the graph counts")
    graph_after: str = fixed("retained", options=("retained", "full"), help="the graph that scores afterwards")


@dataclass(frozen=True)
class Unlearned:
    """The unlearned model, and how it was reached.

    residual: ||H p - b|| / ||b|| of the linear system; converged: it is below `tol`; updated_nodes: |S|; smallest_ritz,
    smallest_curvature, negative_curvature: see `Solution` (damping has to exceed a negative one's size); clocks: seconds for
    "selection", "gradient", "solver", "write"; seconds: all of it; message: what to know, else "".
    """

    model: nn.Module
    iterations: int
    residual: float
    converged: bool
    updated_nodes: int
    smallest_ritz: float
    smallest_curvature: float
    negative_curvature: bool
    clocks: dict[str, float]
    seconds: float
    message: str


def unlearn(
    model: nn.Module,
    interactions: Interactions,
    removed: ArrayLike,
    *,
    l2: float = 0.0,
    evaluate: Evaluate | None = None,
    seed: int = 0,
    **settings: Any,
) -> Unlearned:
    """Forget the rows `removed` of `interactions`, the rows that `model` was trained on. `model` is not modified.

    model: MatrixFactorization, LightGCN, or any module called as module(user, item) -> logits, for which `hops` and `keep` act on
    the tables with a row per user, item or node, and everything else moves freely; removed: a bool mask (N,) or row indexes;
    l2: weight of (l2/2) ||theta||^2 in the training objective; evaluate: validation score of a candidate, which only
    solver="adam_as_released" asks for; seed: for selection="random"; settings: `UnlearnParams`.
    Raises UsageError on a request that is empty, everything, or holds unknown rows.
    """
    params = UnlearnParams.resolve(settings)
    mask = request_mask(model, interactions, removed)
    return influence_update(model, interactions, mask, params, RunContext(root=seed), l2, evaluate)


def request_mask(model: nn.Module, interactions: Interactions, removed: ArrayLike) -> Mask:
    """The request as a mask over the rows; refuses what cannot be unlearned.

    >>> rows = Interactions(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3, np.float32), users=2, items=2)
    >>> request_mask(nn.Identity(), rows, [0, 2]).tolist()
    [True, False, True]
    """
    rows = len(interactions)
    given = np.asarray(removed)
    if given.dtype == np.bool_:
        if given.shape != (rows,):
            raise UsageError(f"removed: a mask of shape {given.shape} for {rows} interactions; give one entry per row")
        mask = given
    else:
        if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
            raise UsageError(f"removed: {given.dtype} of shape {given.shape}; give a bool mask or a list of row indexes")
        unknown = given[(given < 0) | (given >= rows)]
        if unknown.size:
            raise UsageError(f"removed: row {unknown[0]} is unknown; the {rows} interactions are rows 0 to {rows - 1}")
        mask = np.zeros(rows, dtype=np.bool_)
        mask[given.astype(np.int64)] = True
    if not mask.any():
        raise UsageError("removed: the request is empty, so there is nothing to unlearn; name at least one row")
    if mask.all():
        raise UsageError("removed: the request is every interaction; keep some rows, or start from an untrained model")
    for name, column, size in (("user", interactions.user, interactions.users), ("item", interactions.item, interactions.items)):
        if column.min() < 0 or column.max() >= size:
            raise UsageError(f"interactions: {name} ids run from {column.min()} to {column.max()}, outside 0 to {size - 1}")
    if isinstance(model, MatrixFactorization) and (model.users, model.items) != (interactions.users, interactions.items):
        raise UsageError(
            f"the model has {model.users} users and {model.items} items, the interactions {interactions.users} and "
            f"{interactions.items}; give the rows that it was trained on"
        )
    return mask


def influence_update(
    model: nn.Module,
    interactions: Interactions,
    removed: Mask,
    params: UnlearnParams,
    run: RunContext,
    l2: float = 0.0,
    evaluate: Evaluate | None = None,
) -> Unlearned:
    """The update itself, on a checked request (an empty one gives theta_0 back).

    >>> rows = Interactions(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3, np.float32), users=2, items=2)
    >>> model = MatrixFactorization(2, 2, dim=4, init_std=0.1, generator=torch.Generator().manual_seed(0))
    >>> nothing = influence_update(model, rows, np.zeros(3, dtype=bool), UnlearnParams(), RunContext(root=0))
    >>> bool((nothing.model.embeddings == model.embeddings).all())
    True
    """
    start, before = time.perf_counter(), dict(run.clocks)
    removal: Removal
    if isinstance(model, MatrixFactorization):
        removal = FactorRemoval(model, interactions, removed, l2)
    else:
        removal = FunctionalRemoval(model, interactions, removed, l2)
    with run.clock("gradient"):
        b = removal.gradient(params.spillover)
    with run.clock("selection"):
        chosen = choose(removal, b, interactions, removed, params, run)
        place = removal.place(chosen)
    with run.clock("write"):
        after = removal.after(params.graph_after)
    with run.clock("solver"):
        solution = _solve(removal, b[place], place, after, params, run, evaluate)
    with run.clock("write"):
        removal.write(after, place, solution.p / len(interactions))
    clocks = {name: run.clocks[name] - before.get(name, 0.0) for name in ("gradient", "selection", "solver", "write")}
    return Unlearned(
        after,
        solution.iterations,
        solution.residual,
        solution.converged,
        int(chosen.sum()),
        solution.smallest_ritz,
        solution.smallest_curvature,
        solution.negative_curvature,
        clocks,
        time.perf_counter() - start,
        _message(solution, params),
    )


class Removal(Protocol):
    """The steps of an update that depend on the kind of model; `place` is where S sits in b and theta_0."""

    removed: Mask

    def gradient(self, spillover: str) -> Tensor: ...

    def place(self, chosen: Mask) -> Tensor: ...

    def system(
        self, place: Tensor | None, damping: float, curvature: str, block_jacobi: bool
    ) -> tuple[Product, Product | None]: ...

    def strength(self, b: Tensor) -> NDArray[np.float64]: ...

    def after(self, graph: str) -> nn.Module: ...

    def write(self, after: nn.Module, place: Tensor, delta: Tensor) -> None: ...


def choose(removal: Removal, b: Tensor, interactions: Interactions, removed: Mask, params: UnlearnParams, run: RunContext) -> Mask:
    """S as a mask over users + items: by importance, or by a control that takes equally many nodes.

    >>> rows = Interactions(np.array([0, 1, 2]), np.array([0, 1, 2]), np.ones(3, np.float32), users=3, items=3)
    >>> model = MatrixFactorization(3, 3, dim=2, init_std=0.1, generator=torch.Generator().manual_seed(0))
    >>> removed = np.array([True, False, False])
    >>> removal = FactorRemoval(model, rows, removed)
    >>> choose(removal, removal.gradient(), rows, removed, UnlearnParams(hops=0), RunContext(root=0)).nonzero()[0].tolist()
    [0, 3]
    """
    chosen = select(interactions, removed, params.hops, params.keep)
    if params.selection == "importance":
        return chosen
    rank: dict[str, Callable[[], NDArray[np.floating]]] = {
        "random": lambda: run.rng("selection").random(len(chosen)),
        "degree": lambda: degree(interactions).astype(np.float64),
        "gradient_norm": lambda: removal.strength(b),
    }
    return select_by(rank[params.selection](), interactions, removed, int(chosen.sum()))


def _solve(
    removal: Removal, b: Tensor, place: Tensor, after: nn.Module, params: UnlearnParams, run: RunContext, evaluate: Evaluate | None
) -> Solution:
    """p = (H_SS + damping I)^-1 b_S by conjugate gradient, or what the released Adam loop makes of it."""
    product, precondition = removal.system(place, params.damping, params.curvature, params.block_jacobi)
    if params.solver == "cg":
        return conjugate_gradient(product, b, precondition, params.tol, params.max_iter, run.progress)
    if evaluate is None:
        raise UsageError("solver='adam_as_released' picks its iterate by a validation score: pass evaluate, or use solver='cg'")
    rows = len(removal.removed)

    def score(p: Tensor) -> float:
        removal.write(after, place, p / rows)
        return evaluate(after)

    return adam_as_released(product, b, params.step * rows, score, progress=run.progress)


def _message(solution: Solution, params: UnlearnParams) -> str:
    if solution.negative_curvature:
        return (
            f"the Hessian is not positive definite: curvature {solution.smallest_curvature:.2g} after {solution.iterations} steps, "
            f"residual {solution.residual:.2g}; raise damping ({params.damping:.2g}) by more, or use curvature='gauss_newton'"
        )
    if params.solver == "cg" and not solution.converged:
        return f"residual {solution.residual:.2g} after {solution.iterations} steps; raise max_iter or damping to reach tol"
    return ""


class IFRUParams(UnlearnParams):
    """`UnlearnParams`, and which rows to forget, when."""

    request: str = fixed(
        "removed", options=("removed", "placebo"), help="the task's rows; or, as a control, equally many clean ones at random"
    )
    answer: str = fixed(
        "at_once", options=("at_once", "in_sequence"), help="all requests as one; or one update after the other, each from the last"
    )


class IFRU(Runner):
    """IFRU on the trained Original: the corrected method by default, as released or ablated by its parameters."""

    name = "ifru"
    title = "IFRU"
    task = UnlearningTask
    requires = ("original",)
    Params = IFRUParams
    fitted = FittedFactors
    reference = "Zhang et al., Recommendation Unlearning via Influence Function, ACM TORS 3(2), 2024, doi 10.1145/3701763"

    def fit(self, task: UnlearningTask, params: IFRUParams, run: RunContext) -> FittedFactors:
        original: FittedFactors = run.parent("original")
        answers = _answers(original, task, params, run)
        result = answers[-1]
        run.note("iterations", sum(answer.iterations for answer in answers))
        run.note("residual", result.residual)
        run.note("updated_share", result.updated_nodes / (task.train.users + task.train.items))
        run.note("negative_curvature", result.negative_curvature)
        if np.isfinite(result.smallest_ritz):  # the Adam loop has none
            run.note("smallest_ritz", result.smallest_ritz)
            run.note("smallest_curvature", result.smallest_curvature)
        return FittedFactors(result.model, original.params, original.backbone)


def _answers(original: FittedFactors, task: UnlearningTask, params: IFRUParams, run: RunContext) -> list[Unlearned]:
    """An update for each request, from the model and on the rows that the one before left."""
    removed = task.removed if params.request == "removed" else placebo(task.removed, run.rng("placebo"))
    model, gone, answers = original.model, np.zeros_like(removed), list[Unlearned]()
    evaluate = _valid_auc(task.valid, model)
    for request in task.requests if params.answer == "in_sequence" else [removed]:
        rows = task.train[~gone]
        answers.append(influence_update(model, rows, request[~gone], params, run, original.params.l2, evaluate))
        model, gone = answers[-1].model, gone | request
    return answers


def placebo(removed: Mask, rng: np.random.Generator) -> Mask:
    """As many retained rows, drawn at random.

    >>> removed = np.array([True, False, False, True, False])
    >>> other = placebo(removed, np.random.default_rng(0))
    >>> int(other.sum()), bool((other & removed).any())
    (2, False)
    """
    retained = np.flatnonzero(~removed)
    mask = np.zeros_like(removed)
    mask[rng.choice(retained, size=min(int(removed.sum()), len(retained)), replace=False)] = True
    return mask


def _valid_auc(valid: Interactions, like: nn.Module) -> Evaluate:
    """Validation AUC of a candidate; only the Adam loop asks for it."""
    device = next(like.parameters()).device
    user, item = torch.tensor(valid.user, device=device), torch.tensor(valid.item, device=device)

    @torch.no_grad()
    def evaluate(model: nn.Module) -> float:
        score = model(user, item).cpu().numpy()
        return auc(score, valid.label) if np.isfinite(score).all() else float("-inf")

    return evaluate
