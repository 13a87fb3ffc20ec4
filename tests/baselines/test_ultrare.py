"""UltraRE: shards of equal size from optimal transport, a logistic combination."""

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning.ultrare import UltraRE
from craftbench.core.context import RunContext
from craftbench.core.task import Interactions, UnlearningTask
from craftbench.models.aggregation import LogisticCombination, shard_logits
from craftbench.models.pointwise import FactorParams, FittedFactors, build

USERS, ITEMS, ROWS = 30, 20, 403


@pytest.fixture(scope="module")
def fitted_and_task():
    rng = np.random.default_rng(0)

    def table(count):
        return Interactions(rng.integers(0, USERS, count), rng.integers(0, ITEMS, count),
                            np.arange(count, dtype=np.float32) % 2, USERS, ITEMS)  # fmt: skip

    task = UnlearningTask("small", table(ROWS), rng.random(ROWS) < 0.1, table(60), "mf")
    base = FactorParams(init_std=1.0)
    original = FittedFactors(build("mf", task.train, base, torch.Generator().manual_seed(0)), base, "mf")
    run = RunContext(0, parents={"original": original})
    params = UltraRE.Params(lr=0.05, batch_size=64, shard_epochs=200, shard_patience=5, patience=1, shards=5)
    return UltraRE().fit(task, params, run), task, run


def test_shards_differ_by_one_row(fitted_and_task):
    fitted, _, _ = fitted_and_task
    sizes = np.bincount(fitted.partition, minlength=5)
    assert sizes.sum() == ROWS
    assert sizes.max() - sizes.min() <= 1


def test_the_combination_has_converged_on_the_retained_rows(fitted_and_task):
    fitted, task, _ = fitted_and_task
    combination, kept = fitted.combination, task.retained
    assert isinstance(combination, LogisticCombination)
    scores = shard_logits(combination.tables, USERS, torch.tensor(kept.user), torch.tensor(kept.item)).double()
    residual = (combination.weight.double() @ scores + combination.bias).sigmoid() - torch.tensor(kept.label).double()
    gradient = scores @ residual / len(kept) + 1e-4 * combination.weight
    assert gradient.abs().max() < 1e-6


def test_sub_models_run_on_their_own_patience(fitted_and_task):
    _, _, run = fitted_and_task
    assert run.notes["shard_epochs"] >= 5 * 6  # patience 5 stops at the sixth miss at the earliest, patience 1 at the second
