"""LabelCraft's tasks and budgets: what each profile compares, with how many seeds and trials."""

from __future__ import annotations

from typing import Any

from ..benchmark import Profile, Row, Scope
from ..feed_task import FeedSpec
from ..rows import pinned
from .labelcraft_rows import ABLATIONS, ADAM, ASCENT, LATER, MAIN, MANY_RULES, ON_META, RELEASED, RULES

SLICED = "kuairand-pure-slice"
QUICK = tuple(row for row in MAIN if row not in (ADAM, ASCENT))  # the two are half of what MAIN costs
EVERY = (*MAIN, *ABLATIONS, *RELEASED, *LATER, *RULES, *ON_META)


def task_of(dataset: str) -> FeedSpec:
    scopes: dict[str, Scope] = {"wechat-2021": "paper's data"}
    return FeedSpec(dataset, scopes.get(dataset, "simulated" if dataset.startswith("sim-") else "real stand-in"))


SMOKE_TASK, SIM, REAL = FeedSpec("sim-video-small", "simulated", 3), task_of("sim-video-long"), task_of(SLICED)
BIG = tuple(task_of(name) for name in ("wechat-2021", "kuairand-1k"))

SMALL: dict[str, Any] = {
    "dim": 4,
    "hidden": 40,
    "history": 20,
    "batch_size": 1024,
    "patience": 2,
    "max_epochs": 100,
    "holdout_users": 16,
    "holdout_rows": 60,
}
SMALL_SAID = (
    "a small DIN (embeddings of 4, layers 40-16, the last 20 plays), batches of 1,024, patience 2; a step of the labels looks at "
    "16 users with up to 60 rows"
)
TINY: dict[str, Any] = {**SMALL, "hidden": 20, "history": 5, "max_epochs": 2}
FIT_SECONDS = {
    "*": 1.8,
    "random_order": 0.3,
    "short_first": 0.3,
    "labelcraft": 8.0,
    "labelcraft_adam": 8.0,
    "direct_ascent": 5.0,
    "labelcraft_released_top_k": 200.0,  # an estimate: 29 epochs of 7 seconds
    "labelcraft_as_released": 300.0,  # an estimate: one fit was still gaining after 29 epochs and 232 seconds
    "rule_10": 12.0,  # 1.2 seconds a rule
    "rule_100": 120.0,
    "rule_1000": 1200.0,
    f"{SLICED}/*": 5.0,
    f"{SLICED}/labelcraft_released_top_k": 100.0,  # for lists of 3 the operator has 4 anchors, not 11
    f"{SLICED}/labelcraft_as_released": 100.0,
    f"{SLICED}/rule_10": 50.0,
    f"{SLICED}/rule_100": 500.0,
}


def _rows(rows: tuple[Row, ...], tasks: tuple[FeedSpec, ...]) -> dict[str, tuple[Row, ...]]:
    return {task.key: pinned(rows, SMALL) for task in tasks}


PROFILES = {
    "smoke": Profile(
        name="smoke",
        tasks=(SMOKE_TASK,),
        rows={SMOKE_TASK.key: pinned(MAIN, TINY)},
        seeds=2,
        trials=2,
        core_seconds=30,
        differs="a tiny DIN, two epochs",
        fit_seconds={"*": 0.5},
        deadline=60,
    ),
    "quick": Profile(
        name="quick",
        tasks=(SIM, REAL),
        rows=_rows(QUICK, (SIM, REAL)),
        seeds=5,
        trials=3,
        core_seconds=240,
        differs=SMALL_SAID,
        fit_seconds=FIT_SECONDS,
        deadline=600,
        imported={SLICED: 800},
    ),
    "standard": Profile(
        name="standard",
        tasks=(SIM, REAL, *BIG),
        rows={**_rows((*EVERY, MANY_RULES), (SIM,)), **_rows(EVERY, (REAL,)), **_rows(MAIN, BIG)},
        seeds=10,
        trials=8,
        core_seconds=12 * 3600,
        differs=SMALL_SAID,
        fit_seconds={**FIT_SECONDS, **{f"{task.dataset}/*": 200.0 for task in BIG}},
        imported={task.dataset: 20 * 3600 for task in BIG},
        recheck=3,
        tuning_seeds=3,
        deadline=3600,
    ),
    "paper": Profile(
        name="paper",
        tasks=BIG,
        rows={task.key: (*EVERY, MANY_RULES) for task in BIG},
        seeds=10,
        trials=24,
        core_seconds=2000 * 3600,
        fit_seconds={"*": 3600.0},
        recheck=3,
        tuning_seeds=3,
        deadline=48 * 3600,
    ),
}
