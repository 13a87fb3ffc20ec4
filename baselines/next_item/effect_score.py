"""The history's effect at inference, without CFT's training: log p_h - alpha log p_0 of BIGRec's model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from ...models.language.extra import IMPORTS
from ...models.language.fitted import FittedTitles, predicted
from ...models.language.guide import Guide
from ...models.language.trie import TitleTrie


class EffectScoreParams(Params):
    alpha: float = real(0.3, low=0.0, high=1.0, minimum=0.0, help="how much of the prior is taken away")


@dataclass(frozen=True)
class FittedEffectScore:
    """Step score log p(v | x_h) - alpha log p(v | x_0); the prior is read once for all users."""

    titles: FittedTitles
    alpha: float

    def predict(self, view: View) -> Predictions:
        """As any row of titles."""
        return predicted(self.titles, view, self._guide)

    def _guide(self, trie: TitleTrie, view: View) -> Guide:
        return Guide(Guide.none(trie).scale, -np.float32(self.alpha) * self.titles.prior_edges())

    def save(self, folder: Path) -> None:
        """The model in a folder, and alpha."""
        folder.mkdir(parents=True, exist_ok=True)
        self.titles.save(folder / "bigrec")
        (folder / "effect.json").write_text(json.dumps({"alpha": self.alpha}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedEffectScore:
        """The inverse of `save`."""
        told = json.loads((folder / "effect.json").read_text(encoding="utf-8"))
        return cls(FittedTitles.load(folder / "bigrec"), told["alpha"])


class EffectScore(Runner):
    """The control that C6 is about: what CFT's loss learns, asked of a model that was not trained for it."""

    name = "effect_score"
    title = "BIGRec, effect score"
    task = NextItem
    requires = ("bigrec",)
    Params = EffectScoreParams
    fitted = FittedEffectScore
    imports = IMPORTS
    accelerated = True
    reference = "control of ours: Zhang et al., 2024, arXiv 2410.22809, section 1, as a decoding rule"

    def fit(self, task: NextItem, params: EffectScoreParams, run: RunContext) -> FittedEffectScore:
        return FittedEffectScore(run.parent("bigrec").to(run.device), params.alpha)
