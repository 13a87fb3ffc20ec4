"""IGD: tokens that decide nothing count less, in tuning and in decoding (Lin et al., NeurIPS 2025, arXiv 2506.13229).

A token's information gain is by how much the entropy of the item falls when it is known; a token that the catalogue forces has
none. Items are as likely as they are in train. How the paper's decoding uses the gain could not be read: here a step's
log-probability is weighted by 1 + alpha IG / (the largest IG), which is the model's own score at alpha = 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ...core.context import RunContext
from ...core.params import real
from ...core.task import NextItem, Predictions, View
from ...models.language.fitted import FittedTitles, predicted
from ...models.language.guide import Guide, information_gain
from ...models.language.params import TuningParams
from ...models.language.title_loss import CrossEntropy
from ...models.language.title_rows import Catalogue
from ...models.language.trie import TitleTrie
from ...models.language.tuned import TunedRunner

NO_GAIN = 1e-6  # nats


class IGDParams(TuningParams):
    beta: float = real(
        0.2,
        low=0.08,
        high=0.6,
        minimum=0.0,
        maximum=1.0,
        grid=(0.08, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        help="weight of a token without information",
    )
    alpha: float = real(
        0.2,
        low=0.0,
        high=0.4,
        minimum=0.0,
        grid=(0.0, 0.1, 0.2, 0.3, 0.4),
        help="how much more a token with information counts in decoding",
    )


class ByInformation(CrossEntropy):
    """w = 1 for a token that tells something of the item, beta for one that does not."""

    def __init__(self, beta: float, tells: Mapping[tuple[int, ...], NDArray[np.bool_]]) -> None:
        self.beta, self.tells = beta, tells

    def weights(self, position: Tensor, length: Tensor, target: Tensor) -> Tensor:
        starts = torch.nonzero(position == 0).flatten().tolist()
        titles = [target[start : start + int(length[start])].tolist() for start in starts]
        found = np.concatenate([np.where(self.tells[tuple(title)], 1.0, self.beta) for title in titles])
        return torch.from_numpy(found).to(position.device)


@dataclass(frozen=True)
class FittedIGD:
    """likely: float32 (items + 1,), how often each item was taken in train."""

    titles: FittedTitles
    alpha: float
    likely: NDArray[np.float32]

    def predict(self, view: View) -> Predictions:
        """As any row of titles."""
        return predicted(self.titles, view, self._guide)

    def _guide(self, trie: TitleTrie, view: View) -> Guide:
        gain = information_gain(trie, self.likely)
        own = Guide.none(trie)
        return Guide(own.scale + np.float32(self.alpha) * gain / gain.max(), own.bonus)

    def save(self, folder: Path) -> None:
        """The model in a folder, alpha, and the counts."""
        folder.mkdir(parents=True, exist_ok=True)
        self.titles.save(folder / "model")
        save_file({"likely": self.likely}, folder / "likely.safetensors")
        (folder / "igd.json").write_text(json.dumps({"alpha": self.alpha}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedIGD:
        """The inverse of `save`."""
        told = json.loads((folder / "igd.json").read_text(encoding="utf-8"))
        return cls(FittedTitles.load(folder / "model"), told["alpha"], load_file(folder / "likely.safetensors")["likely"])


class IGD(TunedRunner):
    """Information gain in place of the position."""

    name = "igd"
    title = "IGD"
    Params = IGDParams
    fitted = FittedIGD
    reference = (
        "Lin et al., IGD: Token Decisiveness Modeling via Information Gain in LLMs for Personalized Recommendation, NeurIPS 2025"
    )

    def loss(self, catalogue: Catalogue, task: NextItem, params: IGDParams) -> ByInformation:
        trie = catalogue.trie
        telling = information_gain(trie, counts(task)) > NO_GAIN
        tells = {
            tuple(response): telling[path[path >= 0]] for response, path in zip(catalogue.responses[1:], trie.paths, strict=True)
        }
        return ByInformation(params.beta, tells)

    def fit(self, task: NextItem, params: IGDParams, run: RunContext) -> FittedIGD:
        return FittedIGD(super().fit(task, params, run), params.alpha, counts(task))


def counts(task: NextItem) -> NDArray[np.float32]:
    """How often each id is taken in train, and once more, so that no item is impossible.

    >>> from craftbench.core.task import Sequences
    >>> rows = Sequences(np.array([0, 1]), np.array([[1], [2]]), np.array([2, 2]))
    >>> counts(NextItem("a shop", rows, rows, ("", "Tea", "Coffee"), "item")).tolist()
    [1.0, 1.0, 3.0]
    """
    return 1 + np.bincount(task.train.target, minlength=task.items + 1).astype(np.float32)
