"""CFT: counterfactual fine-tuning of language-model recommenders (Zhang et al., 2024, arXiv 2410.22809).

    a_t = f_theta(x_h, y_<t)      next-token logits after the prompt with the history h
    b_t = f_theta(x_0, y_<t)      after the same prompt without: the counterfactual; the same theta
    L   = L_n + lambda L_c,   L_n = sum_t w_t CE(a_t; y_t) / sum_t w_t,   L_c = sum_t w_t CE(a_t - b_t; y_t) / sum_t w_t

The effect of the history, a_t - b_t, shall itself predict the title. w_t falls along the title, as the effect does. At inference
a_t alone is used. softmax(a - b) is p_h / p_0, renormalised; as nothing is detached, dL_c/db = -dL_c/da: learning L_c also pushes
the title's probability without a history down.

The paper could be read up to its section 2.2; the loss, the weights and the settings are those of its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..core.params import fixed, real
from ..core.task import NextItem
from ..models.language.params import PositionParams
from ..models.language.title_loss import ByPosition, Form, token_weights
from ..models.language.title_rows import NULLS, Catalogue, Null
from ..models.language.tuned import TunedRunner

__all__ = ["CFT", "CFTParams", "Counterfactual", "cft_loss", "token_weights"]

IGNORED = -100


def cft_loss(
    logits: Tensor, counterfactual_logits: Tensor, labels: Tensor, lam: float = 0.1, beta: float = 0.25
) -> tuple[Tensor, dict[str, Tensor]]:
    """L, and its parts {"factual": L_n, "counterfactual": L_c}.

    logits, counterfactual_logits: (B, n, V), a_t and b_t where token t of the title is predicted; labels: (B, n), its tokens, the
    end token last, and -100 behind it (or in front) wherever there is none. Raises ValueError where all labels are -100.
    """
    told = labels != IGNORED
    if not bool(told.any()):
        raise ValueError("no label is a token: every one is -100")
    length = told.sum(1, keepdim=True).expand_as(labels)
    position = told.cumsum(1) - 1
    w = token_weights(position[told], length[told], beta).to(logits)
    a, b, y = logits[told], counterfactual_logits[told], labels[told]
    parts = {
        "factual": (w * cross_entropy(a, y, reduction="none")).sum() / w.sum(),
        "counterfactual": (w * cross_entropy(a - b, y, reduction="none")).sum() / w.sum(),
    }
    return parts["factual"] + lam * parts["counterfactual"], parts


class Counterfactual(ByPosition):
    """l(a, b; y) = CE(a; y) + lambda CE(a - b; y), and what the ablations make of it.

    detached: no gradient through b. probabilities: CE on p_h - p_0, another loss, which the paper's words allow.

    >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]])  # the history changes nothing: L_c is log 2, whatever a says
    >>> with_history, both = (Counterfactual(lam, beta=1).each(a, b, torch.tensor([0])) for lam in (0.0, 1.0))
    >>> round(float(both - with_history), 4)
    0.6931
    """

    def __init__(self, lam: float, beta: float, form: Form = "linear_from_1", detached: bool = False, probabilities: bool = False):
        super().__init__(beta, form)
        self.lam, self.detached, self.probabilities = lam, detached, probabilities
        self.counterfactual = lam > 0

    def each(self, a: Tensor, b: Tensor | None, target: Tensor) -> Tensor:
        factual = super().each(a, None, target)
        if b is None:
            return factual
        b = b.detach() if self.detached else b
        effect = torch.softmax(a, 1) - torch.softmax(b, 1) if self.probabilities else a - b
        return factual + self.lam * cross_entropy(effect, target, reduction="none")


class CFTParams(PositionParams):
    """The release's values; 0.1 and 0.25 stand in its code."""

    lam: float = real(
        0.1,
        low=0.01,
        high=0.3,
        log=True,
        minimum=0.0,
        grid=(0.01, 0.02, 0.025, 0.05, 0.1, 0.2, 0.3),
        help="lambda, the weight of L_c",
    )
    detach_cf: bool = fixed(False, help="no gradient through the counterfactual pass")
    effect: str = fixed("logit", options=("logit", "prob"), help="the difference of logits, or of probabilities")
    null: str = fixed("drop", options=NULLS, help="what stands for no history")


class CFT(TunedRunner):
    """Counterfactual fine-tuning."""

    name = "cft"
    title = "CFT"
    Params = CFTParams
    reference = (
        "Zhang et al., Causality-Enhanced Behavior Sequence Modeling in LLMs for Personalized Recommendation, arXiv 2410.22809"
    )

    def loss(self, catalogue: Catalogue, task: NextItem, params: CFTParams) -> Counterfactual:
        return Counterfactual(params.lam, params.beta, params.weights, params.detach_cf, params.effect == "prob")

    def null(self, params: CFTParams) -> Null:
        return params.null  # pyright: ignore[reportReturnType]
