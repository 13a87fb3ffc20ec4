"""Memory of one Hessian product in a process of its own: `python bench/peak_memory.py ROWS.npz closed|double` prints MB.

Counted from when the model, the rows and the vector lie there, to the largest resident size seen while it is built and used
(sampled: `ru_maxrss` would be inherited from the process that started this one).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import numpy as np
import psutil
import torch
from craftbench.core.task import Interactions
from craftbench.models.influence import FactorRisk
from craftbench.models.matrix_factorization import MatrixFactorization
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

DIM = 64


def closed(model: MatrixFactorization, rows: Interactions) -> Callable[[Tensor], Tensor]:
    return FactorRisk(model, rows).hessian()


def double(model: MatrixFactorization, rows: Interactions) -> Callable[[Tensor], Tensor]:
    """As released: the gradient once with its graph, then the gradient of <gradient, v>."""
    user, item, label = (torch.tensor(column) for column in (rows.user, rows.item, rows.label))
    theta = model.embeddings
    logits = (theta[user] * theta[model.users + item]).sum(1)
    (gradient,) = torch.autograd.grad(binary_cross_entropy_with_logits(logits, label), theta, create_graph=True)
    return lambda v: torch.autograd.grad((gradient * v).sum(), theta, retain_graph=True)[0]


def measure(rows_file: str, kind: str) -> float:
    with np.load(rows_file) as stored:
        rows = Interactions(stored["user"], stored["item"], stored["label"], int(stored["users"]), int(stored["items"]))
    model = MatrixFactorization(rows.users, rows.items, DIM, 0.1, torch.Generator().manual_seed(0))
    v = torch.randn(model.embeddings.shape)
    process, done = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    product = {"closed": closed, "double": double}[kind](model, rows)
    for _ in range(3):
        product(v)
    done.set()
    watcher.join()
    return (max(seen) - seen[0]) / 1e6


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))
