"""Adam twice: dense, and on the rows of a table which a batch has touched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """`torch.optim.Adam(fused=True, weight_decay=l2)` to the last digit: dense Adam, one pass over the memory a step.

    It calls torch's own kernel, without the class around it: that imports the compiler at its first step, which takes
    longer (1-2 s) than most fits here.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, l2: float = 0.0) -> None:
        self.lr, self.l2 = lr, l2
        self.parameters = [parameter.detach() for parameter in parameters]  # the same memory, outside autograd
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move every parameter against its gradient plus l2 * itself."""
        adam(  # the kernel runs through memory, so a gradient must lie there as its parameter does
            self.parameters, [gradient.contiguous() for gradient in gradients], self._means, self._squares, [], self._steps,
            foreach=False, fused=True, amsgrad=False, maximize=False,
            beta1=0.9, beta2=0.999, lr=self.lr, weight_decay=self.l2, eps=1e-8,
        )  # fmt: skip


class RowSparseAdam:
    """Lazy Adam on the rows of `table` (n, d): the update of `torch.optim.SparseAdam`, at a cost that does not depend on n.

    A row's moments and values move only in the steps that touch it, so momentum does not decay in between: not the same optimiser
    as dense Adam. Beside `torch.optim.SparseAdam` it has L2: the gradient l2 * theta of the k steps since a row's last touch is
    deferred to its next touch, as k * l2 * theta. So over any stretch that ends in a touch, a row collects the penalty of every
    step, as in dense training, up to its own movement meanwhile; what is still due after the last touch is dropped.
    """

    def __init__(
        self, table: Tensor, lr: float, l2: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.table, self.lr, self.l2, self.betas, self.eps = table, lr, l2, betas, eps
        self.steps = 0
        self._mean, self._square = torch.zeros_like(table), torch.zeros_like(table)
        self._touched = torch.zeros(len(table), dtype=torch.int64, device=table.device)  # the step of a row's last touch

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """Move the distinct `rows` (R,) against `gradient` (R, d) of the loss without its penalty."""
        self.steps += 1
        beta1, beta2 = self.betas
        if self.l2:
            missed = self.steps - self._touched.index_select(0, rows)
            gradient = gradient.addcmul(self.table.index_select(0, rows), missed[:, None], value=self.l2)
            self._touched.index_fill_(0, rows, self.steps)
        mean = self._mean.index_select(0, rows).lerp_(gradient, 1 - beta1)
        square = self._square.index_select(0, rows).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self._mean.index_copy_(0, rows, mean)
        self._square.index_copy_(0, rows, square)
        size = self.lr * math.sqrt(1 - beta2**self.steps) / (1 - beta1**self.steps)
        self.table.index_add_(0, rows, mean.div_(square.sqrt_().add_(self.eps)), alpha=-size)
