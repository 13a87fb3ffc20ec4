"""SASRec: causal self-attention over the ids of the history. D3 reads its logits, so softmax(score[:, 1:]) is a distribution."""

from __future__ import annotations

import torch

from ...core.context import RunContext
from ...core.params import fixed
from ...models.sequential_training import SequenceParams, SequenceRunner


class SASRecParams(SequenceParams):
    """Sizes of its paper; cross-entropy over all items, where the paper has one negative (`loss="bce"`)."""

    loss: str = fixed("ce", options=("ce", "bce"), help="over all items, or against one drawn item")
    blocks: int = fixed(2, minimum=1, help="of attention and two layers each")
    heads: int = fixed(1, minimum=1, help="of attention, which must divide dim")


class SASRec(SequenceRunner):
    """Self-attention."""

    name = "sasrec"
    title = "SASRec"
    Params = SASRecParams
    network = "sasrec"
    sizes = ("blocks", "heads")
    reference = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018, doi 10.1109/ICDM.2018.00035"

    def negatives(self, params: SASRecParams, run: RunContext) -> torch.Generator | None:
        return run.generator("negatives") if params.loss == "bce" else None
