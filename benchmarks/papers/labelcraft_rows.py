"""LabelCraft's rows: fixed labels, the learned one, its rivals, its ablations, and the release's differences."""

from __future__ import annotations

from typing import Any

from ...baselines.feed.d2co import FeedD2Co
from ...baselines.feed.d2q import FeedD2Q
from ...baselines.feed.direct_ascent import DirectAscent
from ...baselines.feed.dvr import FeedDVR
from ...baselines.feed.ef import EF
from ...baselines.feed.mix import Mix
from ...baselines.feed.orders import RandomOrder, ShortFirst
from ...baselines.feed.pc import PC
from ...baselines.feed.pcr import PCR
from ...baselines.feed.rule import Rule
from ...baselines.feed.rule_search import RuleSearch
from ...baselines.feed.two_towers import D2QEF, DVREF, WTEF
from ...baselines.feed.wpr_d import FeedWPRD
from ...baselines.feed.wt import WT
from ...baselines.feed.wtg import FeedWTG
from ...methods.labelcraft import LabelCraft
from ..benchmark import Row

FLOORS = (Row(RandomOrder, role="floor"), Row(ShortFirst, role="floor"))
PUBLISHED = (Row(PC), Row(PCR), Row(WT), Row(EF), Row(FeedD2Q), Row(FeedDVR), Row(WTEF), Row(D2QEF), Row(DVREF))
CRAFT = Row(LabelCraft, role="method")
RIVAL = Row(Mix, role="control", differs="not in the paper: a fixed mix of watch time, feedback and duration")
ADAM = Row(
    LabelCraft,
    key="labelcraft_adam",
    title="LabelCraft, Adam",
    role="method",
    pinned={"optimiser": "adam"},
    start={"lr": 3e-3},
    differs="the recommender takes Adam's steps, as every other row's does; the look-ahead takes plain ones",
)
ASCENT = Row(DirectAscent, role="control", differs="not in the paper: the objective is ascended without labels")
MAIN = (*FLOORS, *PUBLISHED, CRAFT, ADAM, RIVAL, ASCENT)


def _without(key: str, title: str, **pinned: Any) -> Row:
    return Row(LabelCraft, key=f"labelcraft_no_{key}", title=f"w/o {title}", role="ablation", pinned=pinned)


ABLATIONS = (
    _without("balance", "B (balancing)", tau=0.0),
    _without("scale", "S (scaling)", two_slopes=False),
    _without("watch_input", "WI (watch time as input)", watch_input=False),
    _without("duration_input", "DI (duration as input)", duration_input=False),
    _without("explicit_input", "EI (feedback as input)", explicit_input=False),
    _without("watch_objective", "WO (usage time)", usage=False),
    _without("spread_objective", "DO (duration spread)", spread=False),
    _without("explicit_objective", "EO (engagement)", engagement=False),
)
LATER = (
    Row(FeedWPRD, differs="DML's label; not in the paper"),
    Row(FeedD2Co, differs="not in the paper"),
    Row(FeedWTG, differs="not in the paper"),
    Row(LabelCraft, key="frozen_labeler", title="Frozen random labels", role="control", pinned={"labeler_lr": 0.0}),
    Row(Rule, role="control", differs="not in the paper: thresholds and weights, searched"),
)


def _rules(number: int) -> Row:
    """As much work by hand; learned at the rates that were best for the searched rule."""
    pinned, said = {"rules": number}, "not in the paper: drawn at random inside one fit, judged on valid"
    return Row(RuleSearch, f"rule_{number}", f"Best of {number:,} rules", "control", pinned, inherits="rule", differs=said)


RULES = (_rules(10), _rules(100))
MANY_RULES = _rules(1000)


def _also_on_meta(row: Row) -> Row:
    return Row(row.runner, key=f"{row.key}_meta", title=f"{row.title}, also on meta", role="control", pinned={"meta": True})


ON_META = tuple(_also_on_meta(row) for row in (*PUBLISHED, RIVAL))


# Where labels move and do not collapse: those of raw seconds do at 10, those of the release's harder top k drift to 1 there.
RATES = {"inputs": 1.0, "top_k": 3.0}


def _released(name: str, differs: str) -> Row:
    begun = {"labeler_lr": RATES[name]} if name in RATES else {}
    pinned = {f"released_{name}": True}
    return Row(LabelCraft, f"labelcraft_released_{name}", f"as released: {name}", "ablation", pinned, start=begun, differs=differs)


# 3.2 a to e of the release, each alone (its metric, d, is a column), and its operator.
SWITCHES = {
    "scale": "0 above the knee",
    "lookahead": "the look-ahead is judged by another network's scores",
    "spread": "M3 over all candidates",
    "weights": "sums over users, and weights of their multiples",
    "inputs": "raw seconds into a labeling model without biases",
    "top_k": "sorted Sinkhorn, which at its eps is some ten times harder than the top k here",
}
WHOLE = Row(
    LabelCraft,
    key="labelcraft_as_released",
    title="as released: all",
    role="ablation",
    pinned={**{f"released_{name}": True for name in SWITCHES}, "tau": 0.5, "l2": 0.0, "labeler_lr": 0.04},
    differs="eta_2 = 1e-4 of sums over some 400 users, as a rate of means; stops by the same objective as every row",
)
RELEASED = (*(_released(name, said) for name, said in SWITCHES.items()), WHOLE)
