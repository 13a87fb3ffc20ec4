"""A training step at the paper's size: Adam on a batch's rows against Adam over the whole table."""

from __future__ import annotations

import itertools

import torch
from craftbench.benchmarks.papers.ifru_timing import PAPER_SIZE, released_step, steps_an_epoch
from craftbench.models.pointwise import FactorParams, build, stepper

from .interleave import Race, interleave
from .limits import Work


def test_seconds_of_an_epoch(large_task, ledger):
    """Projected: seconds of a step x steps in an epoch; the row-sparse step is the mean of 50 in a row."""
    rows = large_task.retained
    batches = itertools.cycle(
        zip(*(torch.tensor(column).split(2048) for column in (rows.user, rows.item, rows.label)), strict=True)
    )
    row_sparse, dense = (FactorParams(**{**PAPER_SIZE, "optimiser": name}) for name in ("row_sparse_adam", "adam"))
    nodes = rows.users + rows.items
    trainings = {
        "row-sparse Adam": stepper(build("mf", rows, row_sparse, torch.Generator()), row_sparse),
        "dense Adam, fused": stepper(build("mf", rows, dense, torch.Generator()), dense),
        "torch.optim.Adam (as released)": released_step(rows.users, nodes, dense),
    }
    steps = {name: lambda step=step: step(*next(batches)) for name, step in trainings.items()}
    race = interleave("Retrain epoch, 1 M rows, projected", steps, rounds=20, calls={"row-sparse Adam": 50})
    epoch = Race(race.title, {name: [s * steps_an_epoch(rows) for s in seconds] for name, seconds in race.seconds.items()})
    touched = 2 * 2048 * row_sparse.dim * 4 * 3  # of a batch: a user and an item a row, and their two averages
    least = Work(bytes=2 * touched * steps_an_epoch(rows))
    ledger.add(epoch, "torch.optim.Adam (as released)", "row-sparse Adam", target=5.0, work=least)
    ledger.add(epoch, "dense Adam, fused", "row-sparse Adam", target=5.0)
