"""Optimal transport of rows to a few places of fixed size: the balanced assignment of least total cost.

    min sum_i c[i, x_i]   subject to   |{i : x_i = k}| = size_k

Its dual has one price per place: every row goes where cost + price is least, and prices clear the places. With K places
(about 10) and N rows (up to millions) only the K prices are iterated on, never an N x K plan.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError

Floats = NDArray[np.floating]


def equal_sizes(rows: int, places: int) -> NDArray[np.int64]:
    """`rows` divided over `places`, within one of each other (K,)."""
    return np.arange(rows, rows + places, dtype=np.int64)[::-1] // places


def balanced_transport(cost: Floats, sizes: NDArray[np.int64], sweeps: int = 30) -> NDArray[np.int64]:
    """The assignment x (N,) of least total cost with exactly `sizes` rows per place. Exact, up to float64 rounding.

    cost: (N, K); sizes: (K,), summing to N. Two steps: (1) coordinate ascent on the prices, at most `sweeps` rounds: each place
    in turn takes the price at which exactly size_k rows want it. Whatever the prices, the resulting assignment is optimal for
    the sizes that it happens to have. (2) Successive shortest paths move the few surplus rows one by one, keeping optimality.
    """
    rows, places = cost.shape
    if sizes.shape != (places,) or sizes.sum() != rows or sizes.min() < 0:
        raise UsageError(f"sizes {sizes.tolist()} do not divide {rows} rows over {places} places")
    if places == 1:
        return np.zeros(rows, dtype=np.int64)
    offer = cost.T.astype(np.float64, order="C")  # cost + price, (K, N): a copy, updated in place
    place = offer.argmin(0)
    surplus = _surplus(place, sizes)
    for _ in range(sweeps):
        if surplus <= places:
            break
        _clear_in_turn(offer, sizes)
        trial = offer.argmin(0)
        left = _surplus(trial, sizes)
        if left >= surplus:
            break
        place, surplus = trial, left
    return _move_surplus(cost, place, sizes)


def _surplus(place: NDArray[np.int64], sizes: NDArray[np.int64]) -> int:
    return int(np.maximum(np.bincount(place, minlength=len(sizes)) - sizes, 0).sum())


def _clear_in_turn(offer: Floats, sizes: NDArray[np.int64]) -> None:
    """One round of coordinate ascent: re-price each place so that exactly its size prefers it to all others."""
    places, rows = offer.shape
    after = np.full((places + 1, rows), np.inf)  # after[k] = min of offers k, k+1, ...
    for k in range(places - 1, 0, -1):
        np.minimum(after[k + 1], offer[k], out=after[k])
    before = np.full(rows, np.inf)
    for k in range(places):
        margin = np.minimum(before, after[k + 1]) - offer[k]  # how much dearer k could be and still be this row's choice
        if 0 < sizes[k] < rows:
            lower, upper = np.partition(margin, (rows - sizes[k] - 1, rows - sizes[k]))[rows - sizes[k] - 1 : rows - sizes[k] + 1]
            offer[k] += (lower + upper) / 2
        np.minimum(before, offer[k], out=before)


def _move_surplus(cost: Floats, place: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Send surplus rows to free places along shortest paths of the exchange graph; `place` is optimal for its own sizes."""
    places = len(sizes)
    place = place.copy()
    excess = np.bincount(place, minlength=places) - sizes
    step = np.full((places, places), np.inf)  # step[a, b]: cost of moving the best row of a to b
    mover = np.zeros((places, places), dtype=np.int64)
    stale = list(range(places))
    tolerance = 1e-12 * float(np.abs(cost).max(initial=0.0))
    while excess.any():
        for a in stale:
            members = np.flatnonzero(place == a)
            step[a] = np.inf
            if len(members):
                gain = cost[members] - cost[members, a][:, None]
                best = gain.argmin(0)
                step[a], mover[a] = gain[best, np.arange(places)], members[best]
            step[a, a] = np.inf
        stale = _shortest_path(step, excess, tolerance)
        for a, b in pairwise(stale):
            place[mover[a, b]] = b
        excess[stale[0]] -= 1
        excess[stale[-1]] += 1
    return place


def _shortest_path(step: Floats, excess: NDArray[np.int64], tolerance: float) -> list[int]:
    """The cheapest path from a place with too many rows to one with too few (Bellman-Ford on K nodes)."""
    distance = np.where(excess > 0, 0.0, np.inf)
    came_from = np.full(len(excess), -1)
    for _ in range(len(excess) - 1):
        through = distance[:, None] + step
        best = through.argmin(0)
        shorter = through[best, np.arange(len(excess))] < distance - tolerance
        if not shorter.any():
            break
        distance = np.where(shorter, through[best, np.arange(len(excess))], distance)
        came_from = np.where(shorter, best, came_from)
    node = int(np.where(excess < 0, distance, np.inf).argmin())
    path = [node]
    while came_from[node] >= 0:
        node = int(came_from[node])
        path.append(node)
    return path[::-1]
