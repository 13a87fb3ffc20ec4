"""Cutting the rows of a table into shards: at random (SISA), or by balanced clustering on embeddings (RecEraser, UltraRE).

A partition is an int64 array (N,): the shard, 0..K-1, of each row. Every row lies in exactly one shard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError

Floats = NDArray[np.floating]
Partition = NDArray[np.int64]
Side = tuple[Floats, NDArray[np.int64]]
"""One end of the rows: a table of embeddings (n, d), and the index (N,) into it of each row's end."""


def random_partition(rows: int, shards: int, rng: np.random.Generator) -> Partition:
    """Shards of equal size, within one row of each other."""
    _check(rows, shards)
    return rng.permutation(rows).astype(np.int64) % shards


def cluster(
    sides: Sequence[Side],
    shards: int,
    assign: Callable[[Floats], Partition],
    iterations: int,
    rng: np.random.Generator,
    collapse: bool = False,
) -> Partition:
    """K-means of rows under the product of their ends' distances, with balance left to `assign` (RecEraser, section 4.1).

    The cost of row (u, i) to centroid k is ||p_u - c_k||^2 ||q_i - c'_k||^2. K random rows are the first centroids; `assign` turns
    the costs (N, K) into shards; centroids become means. Stops after `iterations`, or at a fixpoint: more would change nothing.
    collapse: average a centroid over its coordinates too, as the released code does (a mean without an axis): from the second
    iteration on, a centroid is one scalar per side.
    """
    rows = len(sides[0][1])
    _check(rows, shards)
    first = rng.choice(rows, shards, replace=False)
    centroids = [table[index[first]].astype(np.float64) for table, index in sides]
    partition = None
    for _ in range(iterations):
        cost = np.ones((rows, shards))
        for (table, index), centroid in zip(sides, centroids, strict=True):
            cost *= _distances(table, centroid)[index]
        previous, partition = partition, assign(cost)
        if previous is not None and np.array_equal(previous, partition):
            break
        centroids = [_means(side, partition, centroid, collapse) for side, centroid in zip(sides, centroids, strict=True)]
    if partition is None:
        raise UsageError(f"iterations={iterations} leaves the rows without a shard; use at least 1")
    return partition


def greedy_assignment(cost: Floats, capacity: int) -> Partition:
    """Walk all (row, shard) pairs in ascending (cost, row, shard); a row not yet placed enters the shard if there is room.

    cost: (N, K). The walk is not made pair by pair. Until a first shard is full, each row enters its cheapest shard; so find the
    pair that fills a shard first, place everything up to it, close that shard, and go on with the rest: at most K rounds, no sort.
    """
    rows, shards = cost.shape
    if capacity * shards < rows:
        raise UsageError(f"{shards} shards of {capacity} rows cannot hold {rows} rows; raise the capacity")
    partition = np.full(rows, -1, dtype=np.int64)
    room = np.full(shards, capacity)
    pending = np.arange(rows)
    choice = cost.argmin(1)
    price = cost[pending, choice]
    while True:
        wanted = np.bincount(choice[pending], minlength=shards)
        crowded = np.flatnonzero(wanted > room)
        if not len(crowded):
            partition[pending] = choice[pending]
            return partition
        level, last = min(_filling_pair(price, pending[choice[pending] == shard], room[shard]) for shard in crowded)
        cost_now = price[pending]
        placed = (cost_now < level) | ((cost_now == level) & (pending <= last))
        entering, pending = pending[placed], pending[~placed]
        partition[entering] = choice[entering]
        room -= np.bincount(choice[entering], minlength=shards)
        still_open = np.flatnonzero(room > 0)
        turned_away = pending[room[choice[pending]] == 0]
        choice[turned_away] = still_open[cost[np.ix_(turned_away, still_open)].argmin(1)]
        price[turned_away] = cost[turned_away, choice[turned_away]]


def _filling_pair(price: Floats, rows: NDArray[np.int64], room: int) -> tuple[float, int]:
    """(price, row) of the row that takes the last place when `rows` enter in ascending (price, row)."""
    prices = price[rows]
    level = np.partition(prices, room - 1)[room - 1]
    tied = rows[prices == level]
    return float(level), int(tied[room - 1 - np.count_nonzero(prices < level)])


def _distances(table: Floats, centroids: Floats) -> NDArray[np.float64]:
    """Squared distances (n, K), one centroid at a time: no (n, K, d) array, no cancellation."""
    return np.stack([np.square(table - centroid).sum(1, dtype=np.float64) for centroid in centroids], axis=1)


def _means(side: Side, partition: Partition, before: Floats, collapse: bool) -> NDArray[np.float64]:
    """Mean embedding of each shard's rows (K, d); an empty shard keeps its centroid."""
    table, index = side
    shards = len(before)
    counts = np.bincount(partition * len(table) + index, minlength=shards * len(table)).reshape(shards, -1)
    size = counts.sum(1, keepdims=True)
    means = np.where(size > 0, counts @ table.astype(np.float64) / np.maximum(size, 1), before)
    return means.mean(1, keepdims=True) if collapse else means


def _check(rows: int, shards: int) -> None:
    if not 1 <= shards <= rows:
        raise UsageError(f"cannot cut {rows} rows into {shards} shards; use between 1 and {rows}")
