"""CFT's rows: rows of ids, rows of titles from one pre-trained model, the controls that its claims need, and its ablations."""

from __future__ import annotations

from typing import Any

from ...baselines.next_item.alpha_rec import AlphaRec
from ...baselines.next_item.bigrec import BIGRec
from ...baselines.next_item.caser import Caser
from ...baselines.next_item.d3 import D3
from ...baselines.next_item.ease import EASE
from ...baselines.next_item.effect_score import EffectScore
from ...baselines.next_item.gru4rec import GRU4Rec
from ...baselines.next_item.igd import IGD
from ...baselines.next_item.item_knn import ItemKNN
from ...baselines.next_item.language_model import PretrainedLanguageModel
from ...baselines.next_item.last_item import LastItem
from ...baselines.next_item.popularity import ItemPopularity
from ...baselines.next_item.popularity_injection import PopularityInjection
from ...baselines.next_item.pos import Pos
from ...baselines.next_item.prior import Prior
from ...baselines.next_item.sasrec import SASRec
from ...baselines.next_item.title_ngram import TitleNgram
from ...baselines.next_item.unlikelihood import Unlikelihood
from ...methods.cft import CFT
from ..benchmark import Row

PAPER: dict[str, Any] = {"lam": 0.1, "beta": 0.25}
STEP_COST = 1.4  # of CFT's packed step over BIGRec's, measured (`make bench`)

FLOOR = Row(ItemPopularity, role="floor")
IDS = (Row(SASRec), Row(GRU4Rec))
LM = Row(PretrainedLanguageModel, role="floor", differs="what all rows of titles start from")
BIGREC, POS = Row(BIGRec), Row(Pos, pinned={"beta": PAPER["beta"]})
CRAFT = Row(CFT, role="method", pinned=PAPER, differs="lambda and beta as they stand in the released code")
D3_ROW = Row(D3, differs="its share of the language model is searched; the paper's is not known")
EFFECT = Row(EffectScore, role="control", differs="not in the paper: the effect at inference, without its training")
TITLES = (LM, BIGREC, D3_ROW, POS, CRAFT)
MAIN = (FLOOR, *IDS, *TITLES)
CONTROLS = (EFFECT,)

FLOORS = (Row(LastItem, role="floor"), Row(TitleNgram, role="floor"), Row(Prior, role="control"))
LATER = (
    Row(ItemKNN),
    Row(EASE),
    Row(Caser),
    Row(AlphaRec, differs="no sentence encoder: title vectors are hashed words, reduced"),
    Row(PopularityInjection),
    Row(IGD, differs="how its decoding uses the gain could not be read: a weight on the step's log-probability"),
    Row(CFT, key="cft_searched", title="CFT, searched", role="method"),
    Row(
        BIGRec,
        key="bigrec_longer",
        title="BIGRec, CFT's time",
        role="control",
        pinned={"epochs": 3 * STEP_COST},
        differs="as many more steps as CFT's second pass costs",
    ),
    Row(Unlikelihood, role="control", differs="not in the paper: the push on p_0 alone"),
)


def _without(key: str, title: str, differs: str = "", **pinned: Any) -> Row:
    return Row(CFT, key=f"cft_{key}", title=title, role="ablation", pinned={**PAPER, **pinned}, differs=differs)


ABLATIONS = (
    _without("no_weights", "CFT, no weighting", beta=1.0),
    _without("detached", "CFT, detached", "no gradient through the counterfactual pass", detach_cf=True),
    _without("probabilities", "CFT, effect on probabilities", "cross-entropy of p_h - p_0", effect="prob"),
    _without("none_word", "CFT, null: the word none", "the prompt keeps its form", null="none_word"),
    _without("shuffled", "CFT, null: shuffled", "the user's own history in another order", null="shuffled"),
    _without("another", "CFT, null: another's", "another user's history", null="another"),
)
LAMBDAS, BETAS = (0.01, 0.02, 0.05, 0.2, 0.3), (0.09, 0.5, 0.9)
BY_LAMBDA = tuple(_without(f"lam_{lam:g}", f"CFT, lambda {lam:g}", lam=lam) for lam in LAMBDAS)
BY_BETA = tuple(_without(f"beta_{beta:g}", f"CFT, beta {beta:g}", beta=beta) for beta in BETAS)
EVERY = (*MAIN, *CONTROLS, *FLOORS, *LATER, *ABLATIONS, *BY_LAMBDA, *BY_BETA)
