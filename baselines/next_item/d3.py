"""D3: BIGRec's model, decoded within the catalogue, each step guided by SASRec (Bao et al., EMNLP 2024, arXiv 2406.14900)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.context import RunContext
from ...core.params import Params, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from ...models.language.extra import IMPORTS
from ...models.language.fitted import FittedTitles, predicted
from ...models.language.guide import Guide, log_shares
from ...models.language.trie import TitleTrie
from .sasrec import SASRec


class D3Params(Params):
    guidance: float = real(0.5, low=0.0, high=1.0, minimum=0.0, maximum=1.0, help="g, the language model's share; 1: it alone")


@dataclass(frozen=True)
class FittedD3:
    """Step score g log p(v) + (1 - g) log q(v); q: SASRec's mass of the titles that go on with v. Lengths are not normalised."""

    titles: FittedTitles
    sasrec: Any
    guidance: float

    def predict(self, view: View) -> Predictions:
        """As any row of titles."""
        return predicted(self.titles, view, self._guide)

    def _guide(self, trie: TitleTrie, view: View) -> Guide:
        score = np.asarray(self.sasrec.predict(view)["score"], dtype=np.float32)
        likely = np.zeros_like(score)
        likely[:, 1:] = np.exp(score[:, 1:] - score[:, 1:].max(axis=1, keepdims=True))
        own = Guide.none(trie)
        return Guide(np.float32(self.guidance) * own.scale, np.float32(1 - self.guidance) * log_shares(trie, likely))

    def save(self, folder: Path) -> None:
        """Both models, each in a folder, and g."""
        folder.mkdir(parents=True, exist_ok=True)
        self.titles.save(folder / "bigrec")
        self.sasrec.save(folder / "sasrec")
        (folder / "d3.json").write_text(json.dumps({"guidance": self.guidance}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedD3:
        """The inverse of `save`."""
        told = json.loads((folder / "d3.json").read_text(encoding="utf-8"))
        return cls(FittedTitles.load(folder / "bigrec"), SASRec.fitted.load(folder / "sasrec"), told["guidance"])


class D3(Runner):
    """No training of its own: BIGRec and SASRec of the same seed."""

    name = "d3"
    title = "D3"
    task = NextItem
    requires = ("bigrec", "sasrec")
    Params = D3Params
    fitted = FittedD3
    imports = IMPORTS
    accelerated = True
    reference = (
        "Bao et al., Decoding Matters: Addressing Amplification Bias and Homogeneity Issue in Recommendations for LLMs, EMNLP 2024"
    )

    def fit(self, task: NextItem, params: D3Params, run: RunContext) -> FittedD3:
        return FittedD3(run.parent("bigrec").to(run.device), run.parent("sasrec"), params.guidance)
