"""How an objective of a recommender one step ahead depends on the labels that it is about to learn, exactly.

    theta' = theta - lr grad_theta L(theta; y),   L = (1/B) sum_i l(s_i, y_i),  s = scores of the batch at theta,  y = g_phi(z)

    v        = grad M(theta')                                    one backward pass on the hold-out rows
    dM/dy_i  = -lr (d^2 l / ds dy)_i (J_s v)_i / B               one Jacobian-vector product of the whole batch's map
    dM/dphi  = sum_i dM/dy_i dg_phi(z_i)/dphi                    one backward pass through the labeler

The label enters grad_theta L linearly, so no second-order graph is needed: raise the label of row i if to raise its score, as
seen from theta, moves theta the way M wants. Batch statistics of the training batch are part of the map; on hold-out rows the
module is in evaluation mode, with the running statistics that the batch has left.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from ..core.errors import unknown

METHODS = ("jvp", "two_forwards", "one_forward", "double_backward")
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Loss:
    """Of logits (B,) against labels (B,): `score` ranks, `mean` is minimised, and mixed = -d^2 l / ds dy (B,) for logits s."""

    score: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor, Tensor], Tensor]
    mixed: Callable[[Tensor], Tensor]


def _sigmoid_slope(s: Tensor) -> Tensor:
    p = s.sigmoid()
    return 2 * p * (1 - p)


LOSSES: Mapping[str, Loss] = {
    "mse": Loss(torch.sigmoid, lambda s, y: mse_loss(s.sigmoid(), y), _sigmoid_slope),
    "bce": Loss(torch.sigmoid, binary_cross_entropy_with_logits, torch.ones_like),
    "linear": Loss(lambda s: s, mse_loss, lambda s: torch.full_like(s, 2.0)),
}


@dataclass(frozen=True)
class MetaGradient:
    """value: M(theta'); gradients: dM/dphi by name; labels: y (B,); at_labels: dM/dy (B,), None by double backward."""

    value: Tensor
    gradients: Parameters
    labels: Tensor
    at_labels: Tensor | None


def meta_gradient(
    recommender: nn.Module,
    labeler: nn.Module,
    batch: Any,
    z: Tensor,
    holdout: Any,
    objective: Callable[[Tensor], Tensor],
    lr: float,
    *,
    loss: str = "mse",
    method: str = "jvp",
    l2: Mapping[str, float] | None = None,
) -> MetaGradient:
    """dM/dphi for one step of `lr` on one batch. No parameter, buffer, `.grad` or mode of either module changes.

    recommender(batch) and recommender(holdout) are logits (B,) and (rows,); labeler(z) are labels (B,) of the batch; objective
    takes the scores of the hold-out rows (sigmoids of the logits, but for loss="linear") to a scalar. loss: "mse", of sigmoids,
    "bce", or "linear", mse of the logits themselves. l2: by parameter name, lambda in L + lambda theta^2.
    method: "jvp"; "two_forwards", the same product by a central difference without any graph, to 1e-4 or so in float32;
    "one_forward", by a one-sided one, to 1e-3 or so; "double_backward", which differentiates through the step, as all equal.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    inner = InnerStep(recommender, batch, LOSSES[loss], l2)
    if method == "double_backward":
        return _differentiated(inner, labeler, z, holdout, objective, lr)
    return inner.meta_gradient(labeler, z, holdout, objective, lr, method, keep=False)


class InnerStep:
    """One batch at theta: its logits (B,) with their graph, from which as many labels as wanted can be learned.

    buffers: as the batch leaves them; the module's own stay as they are.
    """

    def __init__(self, module: nn.Module, batch: Any, loss: Loss, l2: Mapping[str, float] | None = None) -> None:
        self.module, self.batch, self.loss, self.l2 = module, batch, loss, l2 or {}
        self.parameters = dict(module.named_parameters())
        self._before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        self._noise = [(each, each.get_state()) for each in generators(module)]
        values = {**self.parameters, **{name: buffer.clone() for name, buffer in self._before.items()}}
        self.logits: Tensor = functional_call(module, values, (batch,))
        self.buffers: Parameters = {name: values[name].detach() for name in self._before}

    def gradient(self, labels: Tensor, *, create_graph: bool = False, keep: bool = True) -> Parameters:
        """grad_theta L at labels (B,), by name; may be asked for again where the logits keep their graph."""
        mean = self.loss.mean(self.logits, labels)
        found = torch.autograd.grad(
            mean, list(self.parameters.values()), retain_graph=keep, create_graph=create_graph, materialize_grads=True
        )
        if not keep:
            self.logits = self.logits.detach()
        gradient = dict(zip(self.parameters, found, strict=True))
        for name, weight in self.l2.items():
            gradient[name] = gradient[name] + 2 * weight * self.parameters[name].detach()
        return gradient

    def ahead(self, labels: Tensor, lr: float, *, keep: bool = True) -> Parameters:
        """theta', outside any graph."""
        gradient = self.gradient(labels.detach(), keep=keep)
        return {name: torch.sub(theta.detach(), gradient[name], alpha=lr) for name, theta in self.parameters.items()}

    def meta_gradient(
        self,
        labeler: nn.Module,
        z: Tensor,
        holdout: Any,
        objective: Callable[[Tensor], Tensor],
        lr: float,
        method: str = "jvp",
        scorer: nn.Module | None = None,
        *,
        keep: bool = True,
    ) -> MetaGradient:
        """As the function, without a second-order graph. scorer: another network of the same parameters that M looks at."""
        labels: Tensor = labeler(z)
        leaves = {name: theta.requires_grad_() for name, theta in self.ahead(labels, lr, keep=keep).items()}
        value = objective(self.scores(leaves, holdout, scorer))
        v = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        product = PRODUCTS[method](self, dict(zip(leaves, v, strict=True)))
        at_labels = lr * self.loss.mixed(self.logits.detach()) * product / len(product)
        phi = dict(labeler.named_parameters())
        found = torch.autograd.grad(labels, list(phi.values()), at_labels, materialize_grads=True)
        return MetaGradient(value.detach(), dict(zip(phi, found, strict=True)), labels.detach(), at_labels)

    def scores(self, theta: Parameters, rows: Any, scorer: nn.Module | None = None) -> Tensor:
        """What other rows score at other parameters, in evaluation mode with this batch's buffers."""
        module = scorer or self.module
        with mode(module, False):
            return self.loss.score(functional_call(module, {**theta, **self.buffers}, (rows,)))

    @torch.no_grad()
    def along(self, v: Parameters) -> Tensor:
        """J_s v (B,), exactly."""
        with warnings.catch_warnings(), self._same_noise(), forward_ad.dual_level():
            warnings.filterwarnings("ignore", ".torch.jit.script. is deprecated", DeprecationWarning)  # torch's own, at first
            theta = {name: forward_ad.make_dual(each.detach(), v[name]) for name, each in self.parameters.items()}
            logits, tangent = forward_ad.unpack_dual(self._again(theta))
            return torch.zeros_like(logits) if tangent is None else tangent

    def _again(self, theta: Parameters) -> Tensor:
        """The batch's logits at other parameters, from the buffers that it found."""
        return functional_call(self.module, {**theta, **{name: each.clone() for name, each in self._before.items()}}, (self.batch,))

    @torch.no_grad()
    def along_by_difference(self, v: Parameters, *, sides: int = 2) -> Tensor:
        """J_s v (B,) from the logits at theta + h v and theta - h v, or at theta + h v and theta; h |v| = .01, or .001."""
        norm = torch.stack([each.square().sum() for each in v.values()]).sum().sqrt()
        if not bool(norm > 0):
            return torch.zeros_like(self.logits)
        h = (1e-2 if sides == 2 else 1e-3) / norm
        ahead = self._at(v, h)
        return (ahead - self._at(v, -h)) / (2 * h) if sides == 2 else (ahead - self.logits) / h

    def _at(self, v: Parameters, h: Tensor) -> Tensor:
        with self._same_noise():
            return self._again({name: each + h * v[name] for name, each in self.parameters.items()})

    @contextmanager
    def _same_noise(self) -> Generator[None]:
        """Dropout draws inside what the batch drew."""
        now = [(each, each.get_state()) for each, _ in self._noise]
        for each, state in self._noise:
            each.set_state(state)
        try:
            yield
        finally:
            for each, state in now:
                each.set_state(state)


PRODUCTS: Mapping[str, Callable[[InnerStep, Parameters], Tensor]] = {
    "jvp": InnerStep.along,
    "two_forwards": InnerStep.along_by_difference,
    "one_forward": lambda inner, v: inner.along_by_difference(v, sides=1),
}


def _differentiated(
    inner: InnerStep, labeler: nn.Module, z: Tensor, holdout: Any, objective: Callable[[Tensor], Tensor], lr: float
) -> MetaGradient:
    labels: Tensor = labeler(z)
    gradient = inner.gradient(labels, create_graph=True)
    value = objective(
        inner.scores({name: torch.sub(each, gradient[name], alpha=lr) for name, each in inner.parameters.items()}, holdout)
    )
    phi = dict(labeler.named_parameters())
    found = torch.autograd.grad(value, list(phi.values()), materialize_grads=True)
    return MetaGradient(value.detach(), dict(zip(phi, found, strict=True)), labels.detach(), None)


def generators(module: nn.Module) -> list[torch.Generator]:
    """Where a module's noise comes from: torch's own stream, and those that its parts hold."""
    own = {id(each): each for part in module.modules() for each in vars(part).values() if isinstance(each, torch.Generator)}
    return [torch.default_generator, *own.values()]


@contextmanager
def mode(module: nn.Module, training: bool) -> Generator[None]:
    """The module in training or in evaluation mode, each part as before afterwards."""
    before = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, was in before:
            part.training = was
