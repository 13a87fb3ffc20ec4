"""Timing cells of IFRU: whole answers to a request, interleaved in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...baselines.unlearning.original import Original
from ...baselines.unlearning.receraser import RecEraser
from ...baselines.unlearning.retrain import Retrain
from ...baselines.unlearning.scif import SCIF
from ...baselines.unlearning.sisa import SISA
from ...core.context import RunContext
from ...core.runner import Runner
from ...methods.ifru import IFRU
from ..unlearning_task import UnlearningSpec

STEPS: dict[str, tuple[type[Runner], dict[str, Any]]] = {
    "retrain": (Retrain, {}),
    "retrain_row_sparse": (Retrain, {"optimiser": "row_sparse_adam"}),
    "sisa": (SISA, {}),
    "receraser": (RecEraser, {}),
    "scif": (SCIF, {}),
    "ifru": (IFRU, {}),
    "ifru_hop0": (IFRU, {"hops": 0}),
}


def whole_requests(task: UnlearningSpec, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each row's `fit` on the request, one after the other, `repeats` times; repeat k uses seed k in every row."""
    opened = task.open(folder)
    seconds: dict[str, list[float]] = {name: [] for name in STEPS}
    for seed in range(repeats):
        original = Original().fit(opened, Original.Params(), RunContext(seed))
        for name, (runner, values) in STEPS.items():
            run = RunContext(seed, parents={"original": original})
            seconds[name].append(_timed(lambda: runner().fit(opened, runner.Params(**values), run)))  # noqa: B023 (called at once)
    return seconds


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
