"""BIGRec + CI: collaborative information, here popularity, mixed into BIGRec's distances when it grounds (Bao et al., 2023)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from ...models.language.extra import IMPORTS
from ...models.language.fitted import FittedTitles


class PopularityInjectionParams(Params):
    gamma: float = real(
        0.1, low=0.01, high=99.0, log=True, minimum=0.0, help="how much popularity draws an item nearer; searched on valid"
    )


@dataclass(frozen=True)
class FittedPopularityInjection:
    """distance (1 + popularity)^(-gamma), both scaled to [0, 1]; what the decoder scores by stands for the distance.

    popular: float32 (items + 1,), train counts scaled to [0, 1].
    """

    titles: FittedTitles
    gamma: float
    popular: NDArray[np.float32]

    def predict(self, view: View) -> Predictions:
        """As BIGRec under the view's decoder, with popularity mixed in."""
        found = self.titles.predict(view)
        distance = -np.asarray(found["score"], dtype=np.float64)[:, 1:]
        least, most = distance.min(axis=1, keepdims=True), distance.max(axis=1, keepdims=True)
        near = (distance - least) / np.maximum(most - least, np.finfo(np.float64).tiny)
        score = -near * (1 + self.popular[1:].astype(np.float64)) ** -self.gamma
        return {**found, "score": np.pad(score, ((0, 0), (1, 0)), constant_values=-2).astype(np.float32)}

    def save(self, folder: Path) -> None:
        """The model in a folder, gamma, and the popularity."""
        folder.mkdir(parents=True, exist_ok=True)
        self.titles.save(folder / "bigrec")
        save_file({"popular": self.popular}, folder / "popular.safetensors")
        (folder / "gamma.json").write_text(json.dumps({"gamma": self.gamma}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedPopularityInjection:
        """The inverse of `save`."""
        told = json.loads((folder / "gamma.json").read_text(encoding="utf-8"))
        return cls(FittedTitles.load(folder / "bigrec"), told["gamma"], load_file(folder / "popular.safetensors")["popular"])


class PopularityInjection(Runner):
    """BIGRec's model; the released script picks gamma for each metric on the rows it evaluates, which is not done here."""

    name = "bigrec_ci"
    title = "BIGRec + CI"
    task = NextItem
    requires = ("bigrec",)
    Params = PopularityInjectionParams
    fitted = FittedPopularityInjection
    imports = IMPORTS
    accelerated = True
    reference = "Bao et al., A Bi-Step Grounding Paradigm for LLMs in Recommendation Systems, 2023, arXiv 2308.08434, section 3.3"

    def fit(self, task: NextItem, params: PopularityInjectionParams, run: RunContext) -> FittedPopularityInjection:
        count = np.bincount(task.train.target, minlength=task.items + 1).astype(np.float32)
        low, high = count[1:].min(), count[1:].max()
        popular = (count - low) / max(high - low, np.float32(1))
        popular[0] = 0
        return FittedPopularityInjection(run.parent("bigrec").to(run.device), params.gamma, popular)
