"""The gradients of T tasks from one backward pass, for the networks of `multitask`.

What the tasks share enters each task's own part as a leaf with a copy for each task, so the gradient of sum_k l_k at copy k is that
of l_k: one pass through all own parts at once. The T gradients at this boundary then go through the shared part as one batch.

    own      = d l_k / d (own parts of k)                           (T, ...) each
    J        = d l_k / d (looked-up rows, shared parameters)        (T, n)

Equal to T separate passes, as `gradients.balanced_backward` takes them, in a fraction of the calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .multitask import MultiTaskModel


@dataclass(frozen=True)
class Batch:
    """What a step looks at: distinct embedding rows (U, d), the place of each id among them (B, F), dense (B, D), label (B, T)."""

    rows: Tensor
    place: Tensor
    dense: Tensor
    label: Tensor


@dataclass(frozen=True)
class TaskGradients:
    """losses (T,); J (T, n) over the looked-up rows and the shared parameters; own: (T, ...) for each private parameter."""

    losses: Tensor
    J: Tensor
    own: list[Tensor]

    def own_norms(self) -> Tensor:
        """The norm of each task's own part, float64 (T,)."""
        return torch.linalg.vector_norm(torch.cat([each.flatten(1) for each in self.own], dim=1), dim=1, dtype=torch.float64)


def losses_of(logits: Tensor, label: Tensor) -> Tensor:
    """BCE of each task, (T,), from logits (T, B) and labels (B, T)."""
    return binary_cross_entropy_with_logits(logits, label.T, reduction="none").mean(1)


def task_gradients(model: MultiTaskModel, batch: Batch) -> TaskGradients:
    """Each task's gradients on a batch."""
    T, body = model.tasks, model.body
    embeddings = batch.rows[batch.place]
    x, fm = model.inputs(embeddings, batch.dense)
    x.requires_grad_()
    c = body.meet(x)
    with torch.no_grad():
        z = body.enter(x)
    leaves = [z.requires_grad_(), *(each.detach().expand(T, *each.shape).requires_grad_() for each in (c, fm))]
    losses = losses_of(body.part(*leaves), batch.label)
    later = [each for each in body.private if each is not body.entry]
    at_z, at_c, at_fm, *own = torch.autograd.grad(losses.sum(), [*leaves, *later], materialize_grads=True)
    at_x, *shared = torch.autograd.grad(c, [x, *body.shared], at_c, is_grads_batched=True)
    with torch.no_grad():
        if body.entry is not None:
            at_x = at_x.baddbmm(at_z, body.entry.transpose(1, 2))
            own.insert(0, x.detach().T @ at_z)  # a leaf that asks for a gradient is multiplied by a copy of at_z
        others = embeddings.sum(1, keepdim=True) - embeddings  # d fm / d e_f
        at_e = at_x[:, :, : others[0].numel()].view(T, *others.shape) + at_fm.unsqueeze(3) * others
        at_rows = _summed(at_e, batch)
    return TaskGradients(losses.detach(), torch.cat([each.flatten(1) for each in (at_rows, *shared)], dim=1), own)


def _summed(at_e: Tensor, batch: Batch) -> Tensor:
    """The gradients (T, U, d) at the distinct rows, from those at their places (T, B, F, d): all tasks at once."""
    each = at_e.permute(1, 2, 0, 3).flatten(0, 1).flatten(1)
    rows = each.new_zeros(len(batch.rows), each.shape[1]).index_add_(0, batch.place.flatten(), each)
    return rows.view(len(batch.rows), *at_e.shape[::3]).transpose(0, 1)


def weighted_gradients(model: MultiTaskModel, losses: Tensor, leaf: Tensor, w: Tensor) -> list[Tensor]:
    """d sum_k w_k l_k over the looked-up rows `leaf`, the shared and the private parameters; frees the graph of `losses`."""
    wanted = [leaf, *model.body.shared, *model.body.private]
    return list(torch.autograd.grad((w.to(losses) * losses).sum(), wanted, materialize_grads=True))
