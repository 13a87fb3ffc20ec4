"""SISA (Bourtoule et al., Machine Unlearning, S&P 2021): random shards; a request retrains only the shards that it hits."""

from __future__ import annotations

from ...core.context import RunContext
from ...core.params import fixed
from ...core.task import UnlearningTask
from ...models.aggregation import MeanOfShards
from ...models.shards import random_partition
from ._sharded import AttentionParams, ShardedFitted, ShardRunner, aggregate, train_shards


class SISAParams(AttentionParams):
    aggregate: str = fixed("attention", options=("attention", "mean"), help="attention: IFRU's release; mean: the SISA paper")


class SISA(ShardRunner):
    """K equal shards of rows, drawn at random.

    The IFRU table runs `aggregate="attention"`, RecEraser's learned aggregation, because IFRU's release does: its SISA differs from
    its RecEraser in the partition only. The SISA paper itself averages the sub-models' probabilities: `aggregate="mean"`.
    """

    name = "sisa"
    title = "SISA"
    Params = SISAParams
    fitted = ShardedFitted
    reference = "Bourtoule et al., Machine Unlearning, IEEE S&P 2021"

    def fit(self, task: UnlearningTask, params: SISAParams, run: RunContext) -> ShardedFitted:
        with run.clock("partition"):
            partition = random_partition(len(task.train), params.shards, run.rng("partition"))
        tables = train_shards(task, partition, params, run)
        with run.clock("aggregation"):
            if params.aggregate == "mean":
                return ShardedFitted(MeanOfShards(tables, task.train.users), partition)
            return ShardedFitted(aggregate(tables, task, params, run), partition)
