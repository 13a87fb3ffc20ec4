"""DML's tasks and budgets: what each profile compares, with how many seeds and trials."""

from __future__ import annotations

from typing import Any

from ...datasets.sim_video_worlds import OTHER_WORLDS
from ..benchmark import Profile, Row, Scope
from ..rows import pinned
from ..watch_time_task import WatchTimeSpec
from .dml_rows import CURVES, EVERY, GRID, MAIN, named

SLICED = "kuairand-pure-slice"
SHARES = (0.01, 0.05, 0.25)


def task_of(dataset: str, share: float = 1.0) -> WatchTimeSpec:
    scope: Scope = "simulated" if dataset.startswith("sim-") else "real stand-in"
    return WatchTimeSpec(dataset, scope, share)


SMOKE_TASK, SIM, REAL = task_of("sim-video-small"), task_of("sim-video"), task_of(SLICED)
SIM_SHARES, REAL_SHARES = (tuple(task_of(dataset, share) for share in SHARES) for dataset in ("sim-video", SLICED))
WORLDS_TASKS = tuple(task_of(name) for name in (*OTHER_WORLDS, "sim-video-kuairand"))
BIG = tuple(task_of(name) for name in ("kuairand-pure", "kuairec"))

SMALL: dict[str, Any] = {"dim": 4, "hidden": 32, "batch_size": 1024, "patience": 2}
SMALL_SAID = "a small MMoE (embeddings of 4, experts 32-16), batches of 1,024, patience 2"
TINY: dict[str, Any] = {**SMALL, "hidden": 16, "max_epochs": 2}
FIT_SECONDS = {"*": 2.2, "watch_floor": 0.4, f"{SLICED}/*": 6.0, f"{SLICED}/watch_floor": 0.6}


def _rows(rows: tuple[Row, ...], tasks: tuple[WatchTimeSpec, ...]) -> dict[str, tuple[Row, ...]]:
    return {task.key: pinned(rows, SMALL) for task in tasks}


PROFILES = {
    "smoke": Profile(
        name="smoke",
        tasks=(SMOKE_TASK,),
        rows={SMOKE_TASK.key: pinned(MAIN, TINY)},
        seeds=2,
        trials=2,
        core_seconds=30,
        differs="a tiny MMoE, two epochs",
        fit_seconds={"*": 0.6},
        deadline=60,
    ),
    "quick": Profile(
        name="quick",
        tasks=(SIM, REAL),
        rows=_rows(MAIN, (SIM, REAL)),
        seeds=5,
        trials=3,
        core_seconds=200,
        differs=SMALL_SAID,
        fit_seconds=FIT_SECONDS,
        deadline=600,
        imported={SLICED: 600},
    ),
    "standard": Profile(
        name="standard",
        tasks=(SIM, REAL, *SIM_SHARES, *REAL_SHARES, *WORLDS_TASKS, *BIG),
        rows={
            **_rows(EVERY, (SIM, REAL, *BIG)),
            **_rows(named(CURVES), (*SIM_SHARES, *REAL_SHARES)),
            **_rows(named(GRID), WORLDS_TASKS),
        },
        seeds=10,
        trials=8,
        core_seconds=12 * 3600,
        differs=SMALL_SAID,
        fit_seconds={**FIT_SECONDS, **{f"{task.dataset}/*": 100.0 for task in BIG}},
        imported={task.dataset: 15 * 3600 for task in BIG},
        recheck=3,
        tuning_seeds=3,
        deadline=3600,
    ),
    "paper": Profile(
        name="paper",
        tasks=BIG,
        rows={task.key: EVERY for task in BIG},
        seeds=10,
        trials=24,
        core_seconds=2000 * 3600,
        fit_seconds={"*": 3600.0},
        recheck=3,
        tuning_seeds=3,
        deadline=48 * 3600,
    ),
}
