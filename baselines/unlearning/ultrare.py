"""UltraRE (Li et al., NeurIPS 2023): RecEraser with transport-balanced clustering, converged sub-models, a simple combination."""

from __future__ import annotations

from functools import partial

import torch

from ...core.context import RunContext
from ...core.params import fixed, real
from ...core.task import UnlearningTask
from ...models.aggregation import LogisticCombination
from ...models.shards import cluster
from ...models.transport import balanced_transport, equal_sizes
from ._sharded import ShardedFitted, ShardParams, ShardRunner, ends, train_shards


class UltraREParams(ShardParams):
    iterations: int = fixed(20, minimum=1, help="rounds of the balanced clustering")
    shard_patience: int = fixed(30, minimum=0, help="patience of a sub-model: an epoch of a shard has few steps")
    ridge: float = real(1e-4, low=1e-6, high=1e-1, log=True, minimum=0.0, help="L2 weight of the combination, mean-loss scale")


class UltraRE(ShardRunner):
    """Three changes to RecEraser, one per loss that the paper takes apart.

    Redundancy: rows are assigned by optimal transport to shards of equal size (N / K, within one), the exact optimum of what the
    paper solves with entropic weights, on RecEraser's cost. Relevance: sub-models are trained longer before they count as
    converged. Combination: a logistic regression on the K scores, in place of the attention. The paper's body was not at hand:
    the cost on rows, the patience and the form of the combination are this file's reading of its abstract.
    """

    name = "ultrare"
    title = "UltraRE"
    requires = ("original",)
    Params = UltraREParams
    fitted = ShardedFitted
    reference = "Li et al., UltraRE: Enhancing RecEraser via Error Decomposition, NeurIPS 2023"

    def fit(self, task: UnlearningTask, params: UltraREParams, run: RunContext) -> ShardedFitted:
        with run.clock("partition"):
            sides = ends(run.parent("original").model, task.train)
            assign = partial(balanced_transport, sizes=equal_sizes(len(task.train), params.shards))
            partition = cluster(sides, params.shards, assign, params.iterations, run.rng("partition"))
        converged = params.model_copy(update={"patience": params.shard_patience})
        tables = train_shards(task, partition, converged, run)
        with run.clock("aggregation"):
            columns = (torch.tensor(column) for column in (task.retained.user, task.retained.item, task.retained.label))
            combination = LogisticCombination(tables, task.train.users).fit(*columns, ridge=params.ridge)
        return ShardedFitted(combination, partition)
