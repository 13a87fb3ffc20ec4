"""Which nodes an unlearning update may move: importance-based pruning (IFRU) and its controls.

    c(v) = rows of D_r at v,   deg(v) = 1 + rows of D at v
    w_0(v) = c(v) / deg(v),    w_k(v) = (1 / deg(v)) sum over x in N(v) + {v} of w_(k-1)(x)
    S = {v : w_k(v) > tau} + endpoints(D_r)

tau is the (1 - keep)-quantile of w_k over its support; keep = 1 means w_k > 0. Nodes are users, then items. The release computes
the union with the endpoints and then overwrites it: its cut drops nodes that were to be unlearned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..core.task import Interactions

Nodes = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _ends(rows: Interactions) -> Nodes:
    """Both ends of every row as nodes, (2N,): users, then items."""
    return np.concatenate([rows.user, rows.users + rows.item])


def degree(rows: Interactions) -> Nodes:
    """Rows at each node, (users + items,)."""
    return np.bincount(_ends(rows), minlength=rows.users + rows.items)


def importance(interactions: Interactions, removed: Mask, hops: int) -> NDArray[np.float64]:
    """w_k, (users + items,), with k = `hops`. 0 <= w_k < 1; it is 0 beyond `hops` steps from a removed row."""
    nodes = interactions.users + interactions.items
    scale = 1.0 / (1.0 + degree(interactions).astype(np.float64))
    w = degree(interactions[removed]).astype(np.float64) * scale
    if hops:
        ends = _ends(interactions)
        others = np.roll(ends, len(interactions))
        neighbours = csr_array((np.ones(len(ends)), (ends, others)), shape=(nodes, nodes))
        neighbours.data[:] = 1.0  # binary: repeated rows were summed
        for _ in range(hops):
            w = scale * (neighbours @ w + w)
    return w


def select(interactions: Interactions, removed: Mask, hops: int = 1, keep: float = 1.0) -> Mask:
    """S as a mask (users + items,)."""
    w = importance(interactions, removed, hops)
    tau = float(np.quantile(w[w > 0], 1.0 - keep)) if keep < 1.0 and removed.any() else 0.0
    return (w > tau) | (degree(interactions[removed]) > 0)


def select_by(score: NDArray[np.floating], interactions: Interactions, removed: Mask, size: int) -> Mask:
    """The control at equal |S|: the endpoints of D_r, then the nodes of highest `score` until there are `size`."""
    endpoints = degree(interactions[removed]) > 0
    rest = np.flatnonzero(~endpoints)
    best = rest[np.argsort(-score[rest], kind="stable")][: max(size - int(endpoints.sum()), 0)]
    endpoints[best] = True
    return endpoints
