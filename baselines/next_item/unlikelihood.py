"""BIGRec that also learns not to expect the title without its history: what of CFT's gain is that push alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.params import real
from ...core.task import NextItem
from ...models.language.params import TuningParams
from ...models.language.title_loss import CrossEntropy
from ...models.language.title_rows import Catalogue
from ...models.language.tuned import TunedRunner


class UnlikelihoodParams(TuningParams):
    mu: float = real(0.1, low=0.01, high=1.0, log=True, minimum=0.0, help="weight of the unlikelihood")


class WithUnlikelihood(CrossEntropy):
    """l(a, b; y) = CE(a; y) - mu log(1 - softmax(b)_y) (Welleck et al., 2020, on the prompt without a history)."""

    counterfactual = True

    def __init__(self, mu: float) -> None:
        self.mu = mu

    def each(self, a: Tensor, b: Tensor | None, target: Tensor) -> Tensor:
        factual = super().each(a, None, target)
        if b is None:
            return factual
        expected = b.log_softmax(1).gather(1, target[:, None]).squeeze(1)
        return factual - self.mu * torch.log1p(-expected.exp().clamp(max=1 - 1e-6))


class Unlikelihood(TunedRunner):
    """The part of CFT's gradient that goes through b, as a loss of its own."""

    name = "unlikelihood"
    title = "BIGRec + unlikelihood on p_0"
    Params = UnlikelihoodParams
    reference = "Welleck et al., Neural Text Generation with Unlikelihood Training, ICLR 2020, arXiv 1908.04319"

    def loss(self, catalogue: Catalogue, task: NextItem, params: UnlikelihoodParams) -> WithUnlikelihood:
        return WithUnlikelihood(params.mu)
