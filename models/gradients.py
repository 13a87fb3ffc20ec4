"""Balanced backward: the gradients of T losses, weighed by what their T x T Gram matrix says, become one gradient.

    g_k  = gradient of loss k,   J = its rows over the balanced parameters (T, n)
    K    = J J'                  (T, T), float64
    w    = balancer(K)           (T,), float64; 1/T each is the gradient of the mean loss
    grad = J' w                  what the optimiser sees

Each task takes one backward pass through its own part and the shared one, so keep the T outputs apart (a list, not a matrix):
where they were stacked, every pass walks through all T parts. For a large embedding table pass the looked-up rows as a leaf.

    balance = balanced_backward(losses, shared, gradcraft_weights, task_params)    # instead of sum(losses).backward()
    balance.weights, balance.conflicts, balance.hurt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.errors import UsageError

__all__ = ["Balance", "Balancer", "Weights", "balance_gradients", "balanced_backward"]

Weights = Callable[[Tensor], Tensor]  # K (T, T) -> w (T,), both float64
BLOCK = 1 << 12  # columns of J that are float64 at a time: a block stays in the cache
ROUNDING = 1e-9  # an inner product this close below 0 is none


def _nothing() -> None:
    """What a balancer without epochs does at the start of one."""


@dataclass
class Balancer:
    """What turns losses (T,) and their gradients' Gram matrix (T, T), both float64 on the CPU, into weights (T,).

    needs_gram: where False, `weights` gets None for it, and one backward pass of sum_k w_k l_k serves all parameters;
    new_epoch: called before each epoch; after_step: if any, called after the optimiser's step with the losses (T,) of the same
    batch, computed anew; every: with m > 1, w is computed in every m-th step and weighs losses in between.
    """

    weights: Callable[[Tensor, Tensor | None], Tensor]
    needs_gram: bool = True
    new_epoch: Callable[[], None] = _nothing
    after_step: Callable[[Tensor], None] | None = None
    every: int = 1
    _steps: int = field(default=0, init=False)
    _last: Tensor | None = field(default=None, init=False)

    @classmethod
    def from_gram(cls, weights: Weights, every: int = 1) -> Balancer:
        """The balancer of a plain function K -> w."""

        def both(_: Tensor, gram: Tensor | None) -> Tensor:
            assert gram is not None  # needs_gram
            return weights(gram)

        return cls(both, every=every)

    def reused(self) -> Tensor | None:
        """The weights of an earlier step, where this one is not to compute its own. Counts the step."""
        due = self._steps % self.every == 0
        self._steps += 1
        return None if due else self._last

    def weigh(self, losses: Tensor, gram: Tensor | None) -> Tensor:
        """w (T,), float64. Raises FloatingPointError where it is not finite."""
        w = self.weights(losses, gram).to(losses)
        if not w.isfinite().all():
            raise FloatingPointError(f"the balancer's weights are not finite: {w.tolist()}")
        self._last = w
        return w


@dataclass(frozen=True)
class Balance:
    """How one step was balanced.

    weights: w (T,); gram: K (T, T) as the balancer saw it, None where it asked for none; shared_gram: K over the shared parameters
    alone, which differs from `gram` only in scope "all".
    """

    weights: Tensor
    gram: Tensor | None
    shared_gram: Tensor | None

    def _shared(self) -> Tensor:
        if self.shared_gram is None:
            raise UsageError("this step's weights came from the losses alone, so nothing is known of its gradients")
        return self.shared_gram

    @property
    def conflicts(self) -> int:
        """Pairs of tasks whose shared gradients have a negative inner product."""
        return int((self._shared().triu(1) < 0).sum())

    @property
    def hurt(self) -> int:
        """Tasks whose loss the combined shared gradient increases, to first order."""
        return _hurt(self._shared(), self.weights)

    @property
    def hurt_by_mean(self) -> int:
        """The same for equal weights."""
        return _hurt(self._shared(), torch.ones_like(self.weights))

    @property
    def norm_ratio(self) -> float:
        """The largest over the smallest norm of the shared gradients, tasks without a gradient left out."""
        norms = self._shared().diagonal().sqrt()
        norms = norms[norms > 0]
        return float(norms.max() / norms.min()) if len(norms) else 1.0


def _hurt(K: Tensor, w: Tensor) -> int:
    norms = K.diagonal().sqrt()
    return int((K @ w < -ROUNDING * (w.abs() @ norms) * norms).sum())  # <J' w, g_k> against the sizes of its terms


def balanced_backward(
    losses: Sequence[Tensor],
    shared: Sequence[Tensor],
    balancer: Balancer | Weights,
    task_params: Sequence[Sequence[Tensor]] = (),
    *,
    scope: str = "shared",
    specific: str = "own",
) -> Balance:
    """Write the balanced gradient into `.grad` of every parameter given (replacing what is there), and free the losses' graph.

    losses: T scalars; shared: parameters that several tasks use; balancer: K -> w, or a `Balancer`; task_params: for each task the
    parameters that it alone uses. A parameter that a loss does not reach counts as zero there.
    scope: K over the shared parameters, or over "all" (GradCraft as released); specific: a task's parameters get its "own"
    gradient, or T w_k times it ("weighted", as released). A balancer that weighs losses knows neither: it weighs them for all
    parameters.
    Raises UsageError for parameters that fit no such problem, FloatingPointError naming the task where a loss or a gradient is not
    finite; in both cases every `.grad` is as it was.

    >>> theta = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> balance = balanced_backward([theta[0] ** 2, theta.prod() - 3 * theta[0]], [theta], lambda K: torch.tensor([0.5, 0.5]))
    >>> theta.grad, balance.conflicts, balance.hurt
    (tensor([0.5000, 0.5000]), 1, 0)
    """
    rule = balancer if isinstance(balancer, Balancer) else Balancer.from_gram(balancer)
    private = [list(each) for each in task_params] or [list[Tensor]() for _ in losses]
    _check(losses, shared, private, scope, specific)
    values = torch.stack([loss.detach().double().reshape(()) for loss in losses]).cpu()
    refuse_poison("loss", values)
    if not rule.needs_gram:
        return _weigh_losses(losses, shared, private, rule.weigh(values, None), [1.0] * len(losses))
    reused = rule.reused()
    if reused is not None:
        return _weigh_losses(losses, shared, private, reused, undone(reused, specific).tolist())
    J, own, norms = _jacobian(losses, shared, private)
    balance = balance_gradients(rule, values, J, norms, scope)
    w = balance.weights
    factors = [1.0] * len(losses) if specific == "own" else (len(losses) * w).tolist()
    _write(shared, [piece.view_as(to) for to, piece in zip(shared, (w.to(J) @ J).split(_sizes(shared)), strict=True)])
    for parameters, gradients, factor in zip(private, own, factors, strict=True):
        _write(parameters, gradients, factor)
    return balance


def balance_gradients(rule: Balancer, losses: Tensor, J: Tensor, own_norms: Tensor, scope: str = "shared") -> Balance:
    """The weights for gradients J (T, n) of the shared parameters and norms (T,) of each task's own part.

    For who has the gradients already; `balanced_backward` takes them from losses. Raises FloatingPointError naming the task.
    """
    shared_gram = gram_of(J)
    refuse_poison("gradient", shared_gram.diagonal() + own_norms.square())
    K = shared_gram + torch.diag(own_norms.square()) if scope == "all" else shared_gram
    return Balance(rule.weigh(losses, K), K, shared_gram)


def _check(
    losses: Sequence[Tensor], shared: Sequence[Tensor], private: Sequence[Sequence[Tensor]], scope: str, specific: str
) -> None:
    if not losses:
        raise UsageError("losses: there is none; give one scalar for each task")
    for k, loss in enumerate(losses):
        if loss.numel() != 1:
            raise UsageError(f"losses: that of task {k} has shape {tuple(loss.shape)}; give one scalar for each task")
    if scope not in ("shared", "all") or specific not in ("own", "weighted"):
        raise UsageError(f'scope={scope!r}, specific={specific!r}: scope is "shared" or "all", specific is "own" or "weighted"')
    if len(private) != len(losses):
        raise UsageError(f"task_params: {len(private)} lists for {len(losses)} losses; give one list for each task")
    everything = [id(each) for each in (*shared, *(each for own in private for each in own))]
    if len(set(everything)) < len(everything):
        raise UsageError("a parameter is listed twice; what several tasks use belongs into shared, once")
    if not shared:
        raise UsageError("shared: the tasks share no parameter, so there is nothing to balance; train each on its own loss")


def _sizes(parameters: Sequence[Tensor]) -> list[int]:
    return [each.numel() for each in parameters]


def _jacobian(
    losses: Sequence[Tensor], shared: Sequence[Tensor], private: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, list[Sequence[Tensor | None]], Tensor]:
    """J (T, n) over the shared parameters; each task's gradients of its own ones, and their norm (T,), float64."""
    sizes = _sizes(shared)
    kind = shared[0].dtype
    for parameter in shared:
        kind = torch.promote_types(kind, parameter.dtype)
    J = torch.zeros(len(losses), sum(sizes), dtype=kind, device=shared[0].device)
    own: list[Sequence[Tensor | None]] = []
    reached = [0] * len(shared)
    last = max((k for k, loss in enumerate(losses) if loss.requires_grad), default=-1)
    for k, loss in enumerate(losses):
        found = _gradients(loss, [*shared, *private[k]], retain=k < last)
        for at, (piece, gradient) in enumerate(zip(J[k].split(sizes), found, strict=False)):
            if gradient is not None:
                reached[at] += 1
                piece.copy_(gradient.to_dense().reshape(-1))
        own.append(found[len(shared) :])
    if len(losses) > 1 and max(reached) < 2:
        raise UsageError("shared: no parameter in it is reached by two losses, so there is nothing to balance; is the graph cut?")
    return J, own, torch.stack([_norm(each) for each in own])


def _gradients(loss: Tensor, parameters: Sequence[Tensor], retain: bool = False) -> Sequence[Tensor | None]:
    """The gradient of each parameter, None where the loss does not reach it. A constant loss reaches nothing."""
    if not loss.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True)


def _norm(gradients: Sequence[Tensor | None]) -> Tensor:
    """The norm of all of them together, float64, on the CPU."""
    norms = [torch.linalg.vector_norm(each.to_dense(), dtype=torch.float64) for each in gradients if each is not None]
    return torch.linalg.vector_norm(torch.stack(norms)).cpu() if norms else torch.zeros((), dtype=torch.float64)


def gram_of(J: Tensor) -> Tensor:
    """J J' in float64, without a float64 copy of J."""
    K = J.new_zeros(len(J), len(J), dtype=torch.float64)
    for block in J.split(BLOCK, dim=1):
        wide = block.double()
        K.addmm_(wide, wide.T)
    return ((K + K.T) / 2).cpu()  # a product of BLAS need not be symmetric to the last bit


def refuse_poison(what: str, values: Tensor) -> None:
    """Raises FloatingPointError naming the first task whose value (T,) is not finite."""
    for k, finite in enumerate(values.isfinite().tolist()):
        if not finite:
            raise FloatingPointError(f"the {what} of task {k} is not finite; no .grad was changed")


def undone(w: Tensor, specific: str) -> Tensor:
    """(T,) what makes w_k g_k, a task's gradient where losses were weighed, into g_k ("own"; 0 where w_k is) or T w_k g_k."""
    return torch.where(w == 0, 0.0, 1 / w) if specific == "own" else torch.full_like(w, len(w))


def _weigh_losses(
    losses: Sequence[Tensor], shared: Sequence[Tensor], private: Sequence[Sequence[Tensor]], w: Tensor, factors: Sequence[float]
) -> Balance:
    """One backward pass of sum_k w_k l_k; each task's own part times its factor."""
    total = torch.stack([weight * loss.reshape(()) for weight, loss in zip(w.tolist(), losses, strict=True)]).sum()
    found = _gradients(total, [*shared, *(each for own in private for each in own)])
    if not _norm(found).isfinite():
        raise FloatingPointError("the gradient of the weighted losses is not finite; no .grad was changed")
    _write(shared, found[: len(shared)])
    at = len(shared)
    for parameters, factor in zip(private, factors, strict=True):
        _write(parameters, found[at : at + len(parameters)], factor)
        at += len(parameters)
    return Balance(w, None, None)


def _write(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], factor: float = 1.0) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            parameter.grad = torch.zeros_like(parameter)
        else:
            parameter.grad = (gradient if factor == 1.0 else gradient * factor).to(parameter.dtype)
