"""Pos: BIGRec whose tokens count less towards a title's end; CFT with lambda = 0."""

from __future__ import annotations

from ...core.task import NextItem
from ...models.language.params import PositionParams
from ...models.language.title_loss import ByPosition
from ...models.language.title_rows import Catalogue
from ...models.language.tuned import TunedRunner


class Pos(TunedRunner):
    """CFT's weights on BIGRec's loss: what is left of CFT when nothing is counterfactual."""

    name = "pos"
    title = "Pos"
    Params = PositionParams
    reference = "named so by the authors of IGD; Zhang et al., 2024, arXiv 2410.22809, at lambda = 0"

    def loss(self, catalogue: Catalogue, task: NextItem, params: PositionParams) -> ByPosition:
        return ByPosition(params.beta, params.weights)
