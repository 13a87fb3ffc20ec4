"""ItemKNN: items like those of the history, by who took both.

    s_ij = c_ij / (sqrt(c_i c_j) + shrinkage)      c_ij: users of train who took i and j; an item is no neighbour of its own
    score_j = sum over i of the history of decay^age s_ij, where j is among the k items most like i

The decay by age is ours: the paper's baskets have no order. With decay 1 it is the paper's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array, vstack

from ...core.context import RunContext
from ...core.params import Params, choice, integer, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from .histories import taken, weighted

AT_ONCE = 512  # items whose similarities to all others are held together


class ItemKNNParams(Params):
    """How neighbours are found, and how the history is weighed."""

    similarity: str = choice("cosine", "count", help="s_ij: cosine, or c_ij itself")
    neighbours: int = integer(100, low=10, high=1000, log=True, minimum=1, grid=(10, 20, 30, 40, 50), help="k")
    shrinkage: float = real(1.0, low=0.1, high=100.0, log=True, minimum=0.0, help="of a cosine of few users")
    decay: float = real(0.8, low=0.3, high=1.0, minimum=0.0, maximum=1.0, help="per place that an item lies further back")


class FittedItemKNN:
    """similarity: (items + 1, items + 1), its rows cut to their nearest."""

    def __init__(self, similarity: csr_array, decay: float) -> None:
        self.similarity, self.decay = similarity, decay

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}."""
        history = weighted(view.columns["history"], self.similarity.shape[0] - 1, self.decay)
        return {"score": (history @ self.similarity).toarray().astype(np.float32)}

    def save(self, folder: Path) -> None:
        """Write `item_knn.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"offsets": self.similarity.indptr, "item": self.similarity.indices, "similarity": self.similarity.data}
        save_file({**arrays, "decay": np.array([self.decay])}, folder / "item_knn.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedItemKNN:
        """The inverse of `save`."""
        arrays = load_file(folder / "item_knn.safetensors")
        size = len(arrays["offsets"]) - 1
        found = csr_array((arrays["similarity"], arrays["item"], arrays["offsets"]), shape=(size, size))
        return cls(found, float(arrays["decay"][0]))


class ItemKNN(Runner):
    """Cosine neighbours."""

    name = "item_knn"
    title = "ItemKNN"
    task = NextItem
    Params = ItemKNNParams
    fitted = FittedItemKNN
    reference = "Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 22(1), 2004, doi 10.1145/963770.963776"

    def fit(self, task: NextItem, params: ItemKNNParams, run: RunContext) -> FittedItemKNN:
        users, parts = taken(task.train, task.items), []
        for start in range(0, task.items + 1, AT_ONCE):
            run.progress(start)
            parts.append(neighbours(users, slice(start, start + AT_ONCE), params))
        return FittedItemKNN(csr_array(vstack(parts, format="csr")), params.decay)


def neighbours(users: csr_array, part: slice, params: ItemKNNParams) -> csr_array:
    """s of `part` of the items of `users` (U, I) to all, (part, I), but for the nearest 0; of equally near ones the lower ids.

    >>> users = csr_array([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])  # who (row) took what (column; 0 is no item)
    >>> neighbours(users, slice(0, 4), ItemKNNParams(similarity="count", neighbours=1)).toarray().tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """
    together = np.asarray((users[:, part].T @ users).toarray())
    count = np.asarray(users.sum(axis=0)).ravel()
    if params.similarity == "cosine":
        together = together / np.maximum(np.sqrt(count[part, None] * count) + params.shrinkage, 1e-12)
    np.fill_diagonal(together[:, part.start :], 0)
    nearest = np.argsort(-together, axis=1, kind="stable")[:, : params.neighbours]
    kept = np.zeros_like(together)
    np.put_along_axis(kept, nearest, np.take_along_axis(together, nearest, axis=1), axis=1)
    return csr_array(kept)
