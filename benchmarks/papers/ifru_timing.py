"""Timing cells of IFRU: whole answers to a request, interleaved in one process."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...baselines.unlearning.original import Original
from ...baselines.unlearning.receraser import RecEraser
from ...baselines.unlearning.retrain import Retrain
from ...baselines.unlearning.scif import SCIF
from ...baselines.unlearning.sisa import SISA
from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import Interactions, UnlearningTask
from ...methods.ifru import IFRU
from ...models.pointwise import FactorParams, build, stepper
from ..unlearning_task import UnlearningSpec

Seconds = dict[str, list[float]]
Step = Callable[[Tensor, Tensor, Tensor], object]  # one mini-batch: user (B,), item (B,), label (B,)

STEPS: dict[str, tuple[type[Runner], dict[str, Any]]] = {
    "retrain": (Retrain, {}),
    "retrain_row_sparse": (Retrain, {"optimiser": "row_sparse_adam"}),
    "sisa": (SISA, {}),
    "receraser": (RecEraser, {}),
    "scif": (SCIF, {}),
    "ifru": (IFRU, {}),
    "ifru_hop0": (IFRU, {"hops": 0}),
}


def whole_requests(task: UnlearningSpec, folder: Path, repeats: int, steps: Sequence[str] = tuple(STEPS)) -> Seconds:
    """Seconds of each row's `fit` on the request, one after the other, `repeats` times; repeat k uses seed k in every row."""
    opened = task.open(folder)
    seconds: Seconds = {name: [] for name in steps}
    for seed in range(repeats):
        original = Original().fit(opened, Original.Params(), RunContext(seed))
        for name in steps:
            runner, values = STEPS[name]
            run = RunContext(seed, parents={"original": original})
            seconds[name].append(_timed(lambda: runner().fit(opened, runner.Params(**values), run)))  # noqa: B023 (called at once)
    return seconds


# At the paper's size a dense Retrain takes many minutes, and released shards take hours. So every training has the same number of
# epochs (validation AUC still grows then), the row-sparse Retrain is run, and the dense ones are projected from their steps.
PAPER_SIZE = {"dim": 64, "lr": 3e-2, "init_std": 3e-2, "l2": 1e-6, "max_epochs": 10, "optimiser": "row_sparse_adam"}
SHARDS = 10


def paper_size(task: UnlearningSpec, folder: Path, repeats: int, steps: int = 20) -> Seconds:
    """Seconds of a request at the paper's size: IFRU and the row-sparse Retrain in full, dense trainings projected.

    A `_projected` entry is the median of `steps` steps x steps an epoch x the row-sparse Retrain's epochs, on the retained rows.
    """
    opened = task.open(folder)
    original = Original().fit(opened, Original.Params(**PAPER_SIZE), RunContext(0))
    seconds: Seconds = {}
    for seed in range(repeats):
        retrain = RunContext(seed)
        took = {"retrain_row_sparse": _timed(lambda: Retrain().fit(opened, Retrain.Params(**PAPER_SIZE), retrain))}  # noqa: B023
        for name, hops in (("ifru", 1), ("ifru_hop0", 0)):
            run = RunContext(seed, parents={"original": original})
            took[name] = _timed(lambda: IFRU().fit(opened, IFRU.Params(hops=hops), run))  # noqa: B023
        for name, step_seconds in dense_steps(opened, steps).items():
            took[name] = step_seconds * retrain.notes["epochs"] * steps_an_epoch(opened.retained)
        for name, value in took.items():
            seconds.setdefault(name, []).append(value)
    return seconds


def steps_an_epoch(rows: Interactions, batch_size: int = 2048) -> int:
    return math.ceil(len(rows) / batch_size)


def dense_steps(task: UnlearningTask, steps: int) -> dict[str, float]:
    """Seconds of one dense mini-batch step of Retrain as released, of Retrain here, and of a shard as released."""
    nodes, params = task.train.users + task.train.items, FactorParams(**{**PAPER_SIZE, "optimiser": "adam"})
    trainings: dict[str, Callable[[], Step]] = {
        "retrain_released_projected": lambda: released_step(task.train.users, nodes, params),
        "retrain_fused_projected": lambda: stepper(build("mf", task.retained, params, torch.Generator()), params),
        "shards_released_projected": lambda: released_step(task.train.users, nodes, params, SHARDS),
    }
    return {name: median_step(make(), task.retained, steps) for name, make in trainings.items()}


def median_step(step: Step, rows: Interactions, steps: int, batch_size: int = 2048) -> float:
    """Median seconds of `steps` steps on successive batches of `rows`, after one that does not count."""
    columns = (torch.tensor(column).split(batch_size) for column in (rows.user, rows.item, rows.label))
    seconds = [_timed(lambda: step(*batch)) for batch in islice(zip(*columns, strict=True), steps + 1)]  # noqa: B023
    return statistics.median(seconds[1:])


def released_step(users: int, nodes: int, params: FactorParams, shards: int = 1) -> Step:
    """A step as released: autograd into a table (nodes, shards x dim), and torch's default Adam over all of it.

    A shard's sub-model scores with its own `dim` columns, but its gradient and its moments have the whole table's size.
    """
    table = torch.nn.Parameter(torch.randn(nodes, shards * params.dim).mul_(params.init_std))
    adam = torch.optim.Adam([table], lr=params.lr)

    def step(user: Tensor, item: Tensor, label: Tensor) -> None:
        own = table[:, : params.dim]
        loss = binary_cross_entropy_with_logits((own[user] * own[users + item]).sum(1), label)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
