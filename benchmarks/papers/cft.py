"""CFT (Zhang et al., 2024): does counterfactual fine-tuning make a language model use the history?"""

from __future__ import annotations

from ..benchmark import Benchmark, Claim, Column, Contrast, Curves, Figure, Table
from ..next_item_task import CUTS
from ..rows import keys
from .cft_profiles import BIG, DECODERS, GAMES, GRID, ML_LARGE, PROFILES, SIM, SMOKE_TASK
from .cft_rows import ABLATIONS, BY_BETA, BY_LAMBDA, CONTROLS, FLOORS, LATER, MAIN, TITLES

SIMULATED = (SMOKE_TASK.key, SIM.key, *(task.key for task in GRID))
USING = (SIM.key, GAMES.key)  # where a verdict on the use of the history rests
EVERYWHERE = (SIM.key, ML_LARGE[1].key, GAMES.key, *(task.key for task in BIG))
SHOWN = (1, 2, 3, 4)  # tokens that every title has, or nearly; F3 has more
NDCG, HR = Column("test/ndcg_10", "NDCG@10"), Column("test/hr_10", "HR@10")


def _at(view: str, cuts: tuple[int, ...]) -> tuple[Column, ...]:
    return tuple(Column(f"{view}/{name}_{k}", f"{title}@{k}") for name, title in (("ndcg", "NDCG"), ("hr", "HR")) for k in cuts)


def _history(name: str, title: str, higher: bool | None = None, decimals: int = 3) -> Column:
    return Column(f"history/{name}", title, higher_is_better=higher, decimals=decimals)


def _note(name: str, title: str, decimals: int = 3) -> Column:
    return Column(f"note/{name}", title, higher_is_better=None, decimals=decimals)


DROPS = (
    _history("drop_shuffled", "NDCG@10 lost, shuffled", decimals=4),
    _history("drop_replaced", "lost, another's history", decimals=4),
    _history("drop_emptied", "lost, no history", decimals=4),
)
USE = (_history("kl", "KL(p_h, p_0) [nats]"), *DROPS)
TRUTH = (
    _history("truth_kl", "KL of the truth"),
    _history("kl_truth", "KL(truth, p_h)", higher=False),
    _history("effect_match", "effect with true effect", higher=True),
)
FALL = _history("effect_fall", "first less third")
EFFECTS = tuple(_history(f"effect_{place}", f"token {place}") for place in SHOWN)
SIZES = tuple(_history(f"size_{place}", f"size, {place}") for place in SHOWN)
WORDS = tuple(
    column
    for place in range(3)
    for column in (_history(f"word_{place + 1}", f"word {place + 1}"), _history(f"truth_word_{place + 1}", f"truth, {place + 1}"))
)
POPULAR = tuple(Column(f"test/popular_{place + 1}_10", f"bin {place + 1}", higher_is_better=None, decimals=3) for place in range(5))
LM_KEYS = tuple(key for key in keys(TITLES) if key != "lm")
SAID = (
    "All items are ranked, those of the history too; ties share their places. All rows of titles score every title exactly "
    "(the decoder is a view: table 4). No cell of the paper could be read, so none is published here."
)

TABLES = (
    Table(
        "2",
        "What is taken next",
        _at("test", CUTS),
        (*keys(MAIN), *keys(CONTROLS), *keys(FLOORS), *keys(LATER)),
        reference="bigrec",
        caption=SAID,
    ),
    Table(
        "U",
        "How much the history is used",
        USE,
        (*keys(MAIN), *keys(CONTROLS), *keys(LATER)),
        reference="bigrec",
        caption="p_h, p_0: probabilities of the items with and without the history; rows of ids say nothing without one, "
        "so their KL is against a uniform list.",
    ),
    Table(
        "Ut",
        "The use of the history against the truth (simulated)",
        (*TRUTH, *WORDS),
        (*keys(MAIN), *keys(CONTROLS)),
        tasks=SIMULATED,
        reference="bigrec",
        caption="What is known of the world and of no log: how far p_h is from the truth, whether what a history changes is what "
        "it should change, and by how much it changes each word of the title that is taken next.",
    ),
    Table("Up", "Effect of the history on each token of the title that is taken next [nats]", (*EFFECTS, FALL, *SIZES), LM_KEYS),
    Table(
        "3",
        "Ablations",
        (NDCG, HR, *USE),
        ("cft", *keys(ABLATIONS), "pos", "bigrec", "cft_searched", "bigrec_longer", "unlikelihood", "effect_score"),
        reference="cft",
        caption="Below CFT's own ablations, what its claims need: position weights alone, BIGRec for the same time, the push on "
        "p_0 alone, and the effect asked for at inference.",
    ),
    Table(
        "4",
        "The same models under other decoders",
        (NDCG, *(Column(f"test-{name}/ndcg_10", f"{name.replace('_', ' ')}: NDCG@10") for name in DECODERS)),
        (*LM_KEYS, *keys(CONTROLS)),
        tasks=(SIM.key,),
        caption="Exhaustive: every title scored. Trie beam: 10 beams within the catalogue. Grounding: what the model writes, and "
        "the titles nearest to it; adjusted: five beams in turn, as CFT's code has it.",
    ),
    Table(
        "F4",
        "How popular the listed items are",
        POPULAR,
        (*keys(MAIN), *keys(CONTROLS)),
        caption="Share of the ten best items in each fifth of the items by train counts; bin 5 is taken most often. Those of "
        "the histories stand among the data.",
    ),
    Table(
        "L",
        "How tuning went",
        (_note("best_epoch", "best epoch", 1), _note("valid_loss", "validation loss")),
        ("lm", "bigrec", "pos", "cft", *keys(ABLATIONS)),
    ),
)

FIGURES = (
    Curves(
        "F3",
        "What the history changes along the title that is taken next",
        {"effect": "log p_h - log p_0 of a token [nats]", "words": "of a word [nats]"},
        ("bigrec", "pos", "cft"),
        "place in the title",
        caption="The paper's reason for weights that fall. Words in simulated worlds alone; the truth stands in table Ut.",
    ),
    Curves(
        "F4c",
        "How popular the ten best items are",
        {"popular": "share"},
        ("sasrec", "bigrec", "cft"),
        "fifth of the items",
        caption="By train counts; the fifth is taken most often. The shares in the histories stand among the data.",
    ),
    Figure(
        "F1",
        "The weight of the counterfactual loss",
        "param:lam",
        ("test/ndcg_10", "history/kl"),
        {"CFT": ("cft", *keys(BY_LAMBDA))},
        (SIM.key,),
        "lambda",
        True,
    ),
    Figure(
        "F2",
        "The weight of the last token",
        "param:beta",
        ("test/ndcg_10", "history/kl"),
        {"CFT": ("cft", *keys(BY_BETA), "cft_no_weights")},
        (SIM.key,),
        "beta",
    ),
)


def _against(row: str, others: tuple[str, ...], columns: tuple[str, ...], tasks: tuple[str, ...]) -> tuple[Contrast, ...]:
    return tuple(Contrast(row, other, column, task) for task in tasks for column in columns for other in others)


_ABSTRACT, _OURS = "abstract", "not in the paper"
_TOP = ("test/ndcg_10", "test/hr_10")
ABOVE = ("item_popularity", "test/ndcg_10")
_MATTERS = 0.002  # of NDCG@10: less than a twentieth of what popularity reaches
CLAIMS = (
    Claim(
        "C1",
        "CFT ranks better than BIGRec and D3.",
        _ABSTRACT,
        "greater",
        _against("cft", ("bigrec", "d3"), _TOP, EVERYWHERE),
        smallest=_MATTERS,
        above=ABOVE,
        short="ranks best",
    ),
    Claim(
        "C2",
        "The effect of the history is smaller on a title's third token than on its first.",
        "figure of the paper, by its motive for the weights",
        "greater",
        tuple(Contrast("bigrec", "", "history/effect_fall", task) for task in USING),
        above=ABOVE,
        note="BIGRec's, as the paper looks at the model before CFT",
        short="effect falls along titles",
    ),
    Claim(
        "C3",
        "Weighting tokens helps beyond the counterfactual loss.",
        _ABSTRACT,
        "greater",
        _against("cft", ("cft_no_weights",), _TOP, (SIM.key,)),
        smallest=_MATTERS,
        above=ABOVE,
        short="token weights help",
    ),
    Claim(
        "C4",
        "CFT uses the history more than BIGRec: it changes the probabilities more, and spoiling it costs more.",
        _ABSTRACT,
        "greater",
        _against("cft", ("bigrec",), ("history/kl", "history/drop_shuffled", "history/drop_replaced"), USING),
        above=ABOVE,
        note="On ml-100k under global time most test users are new and half of the plays tie in time, so no verdict rests on it",
        short="uses history more",
    ),
    Claim(
        "C5",
        "The gain is not that of position weights alone.",
        _OURS,
        "greater",
        _against("cft", ("pos",), _TOP, EVERYWHERE),
        smallest=_MATTERS,
        above=ABOVE,
        short="not position alone",
    ),
    Claim(
        "C6",
        "Training the effect is better than asking BIGRec's model for it at inference.",
        _OURS,
        "greater",
        _against("cft", ("effect_score",), _TOP, EVERYWHERE),
        smallest=_MATTERS,
        above=ABOVE,
        short="beats the effect score",
    ),
)

BENCHMARK = Benchmark(
    name="cft",
    title="CFT: does counterfactual fine-tuning make a language model use the history?",
    citation="Zhang, You, Bai, Zhang, Bao, Wang, Chua. Causality-Enhanced Behavior Sequence Modeling in LLMs for Personalized "
    "Recommendation. 2024. arXiv 2410.22809",
    profiles=PROFILES,
    tables=TABLES,
    figures=FIGURES,
    claims=CLAIMS,
    objective="valid/ndcg_10",
    deviations=(
        "The paper could be read up to its section 2.2: its result tables, data sets, baselines and chosen values are not known; "
        "the loss, its weights and settings are those of the released code (lambda .1, beta .25).",
        "A tiny model that is trained here has no knowledge of the world: it is first trained on titles without histories, so that "
        "there is a prior to overcome. It is no evidence for or against the paper; the simulated titles show what a loss does "
        "where the truth is known.",
        "Training and inference share one prompt; the released code's differ (a template of the language model, alpaca_released).",
        "A step's loss is divided by the weights of all its rows; the release divides each micro-batch by its own.",
        "The epoch is chosen by validation loss, as released; settings by validation NDCG@10.",
        "Rows of titles are compared under exact scores of all titles; generation and grounding are views of the same models.",
    ),
)
