"""Timing cells of GradCraft: what a training step costs under each balancer, interleaved in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ...core.context import RunContext
from ...models.balanced import BalancedRunner
from ...models.multitask import MultiTaskModel
from ...models.multitask_training import stepper
from ..benchmark import Row
from ..multitask_task import MultiTaskSpec
from .gradcraft_rows import BALANCERS, LATER, RELEASED

FIELDS, TASKS, BATCH = (20_000, 60_000, 10_000, 8_000, 100, 24), 6, 2048  # 98 k ids as in the paper's Wechat log, 2 M parameters


def step_seconds(task: MultiTaskSpec, folder: Path, repeats: int, rows: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of whole training steps of the published PLE on random rows, for these rows, which take turns."""
    generator = torch.Generator().manual_seed(0)
    steps = {row.key: _step(row) for row in (*BALANCERS, *LATER, *RELEASED) if row.key in rows}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        ids = torch.stack([torch.randint(0, size, (BATCH,), generator=generator) for size in FIELDS], dim=1)
        label = (torch.rand(BATCH, TASKS, generator=generator) < 0.2).float()
        for name, step in steps.items():
            start = time.perf_counter()
            step(ids, label)
            if repeat:  # the first step of each one allocates
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _step(row: Row) -> Callable[[Tensor, Tensor], object]:
    runner = cast(BalancedRunner, row.runner())
    params: Any = runner.Params.resolve(dict(row.pinned))
    run = RunContext(0)
    model = MultiTaskModel("ple", FIELDS, 0, TASKS, generator=run.generator("init"))
    step = stepper(model, params, runner.balancer(TASKS, params, run))
    return lambda ids, label: step(ids, torch.zeros(BATCH, 0), label, False)
