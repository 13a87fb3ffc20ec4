"""BIGRec: a language model tuned to write the next title (Bao et al., 2023, arXiv 2308.08434; CFT's equation 1)."""

from __future__ import annotations

from ...core.task import NextItem
from ...models.language.params import TuningParams
from ...models.language.title_loss import CrossEntropy
from ...models.language.title_rows import Catalogue
from ...models.language.tuned import TunedRunner


class BIGRec(TunedRunner):
    """Cross-entropy of the title's tokens after the history; how what it writes becomes a list is a view, not a row."""

    name = "bigrec"
    title = "BIGRec"
    reference = "Bao et al., A Bi-Step Grounding Paradigm for LLMs in Recommendation Systems, 2023, arXiv 2308.08434"

    def loss(self, catalogue: Catalogue, task: NextItem, params: TuningParams) -> CrossEntropy:
        return CrossEntropy()
