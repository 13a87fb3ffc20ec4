"""p_0 alone: BIGRec's model asked without the history, the key control of any claim about using it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from ...models.language.extra import IMPORTS
from ...models.language.fitted import FittedTitles


@dataclass(frozen=True)
class FittedPrior:
    """The same list for everybody."""

    titles: FittedTitles

    def predict(self, view: View) -> Predictions:
        """As BIGRec after an empty history."""
        empty = np.zeros_like(view.columns["history"])
        return self.titles.predict(replace(view, columns={**view.columns, "history": empty}))

    def save(self, folder: Path) -> None:
        """The model."""
        self.titles.save(folder)

    @classmethod
    def load(cls, folder: Path) -> FittedPrior:
        """The inverse of `save`."""
        return cls(FittedTitles.load(folder))


class Prior(Runner):
    """What the model says of a title that it knows nothing else of."""

    name = "prior"
    title = "BIGRec without history (p_0)"
    task = NextItem
    requires = ("bigrec",)
    fitted = FittedPrior
    imports = IMPORTS
    accelerated = True
    reference = "control of ours"

    def fit(self, task: NextItem, params: object, run: RunContext) -> FittedPrior:
        return FittedPrior(run.parent("bigrec").to(run.device))
