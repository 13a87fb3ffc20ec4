"""RecEraser (Chen et al., Recommendation Unlearning, WWW 2022): shards of similar rows, joined by a learned attention."""

from __future__ import annotations

from functools import partial

from ...core.context import RunContext
from ...core.params import fixed
from ...core.task import UnlearningTask
from ...models.shards import cluster, greedy_assignment
from ._sharded import AttentionParams, ShardedFitted, ShardRunner, aggregate, ends, train_shards


class RecEraserParams(AttentionParams):
    iterations: int = fixed(50, minimum=1, help="rounds of the balanced clustering, T")
    centroid: str = fixed("mean", options=("mean", "as_released"), help="as_released: averaged over its coordinates too")


def capacity(rows: int, shards: int) -> int:
    """ceil(1.2 N / K), the most rows a shard may hold.

    >>> capacity(rows=100, shards=10)
    12
    """
    return -(-6 * rows // (5 * shards))


class RecEraser(ShardRunner):
    """Interaction-based balanced partition on Original's embeddings, then sub-models, then attention.

    Original has seen the rows to be removed, so the partition remembers them; the sub-models do not.
    """

    name = "receraser"
    title = "RecEraser"
    requires = ("original",)
    Params = RecEraserParams
    fitted = ShardedFitted
    reference = "Chen et al., Recommendation Unlearning, WWW 2022"

    def fit(self, task: UnlearningTask, params: RecEraserParams, run: RunContext) -> ShardedFitted:
        with run.clock("partition"):
            sides = ends(run.parent("original").model, task.train)
            assign = partial(greedy_assignment, capacity=capacity(len(task.train), params.shards))
            collapse = params.centroid == "as_released"
            partition = cluster(sides, params.shards, assign, params.iterations, run.rng("partition"), collapse)
        tables = train_shards(task, partition, params, run)
        with run.clock("aggregation"):
            return ShardedFitted(aggregate(tables, task, params, run), partition)
