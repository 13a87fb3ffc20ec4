"""What the gradients of a multi-task training looked like, and what balancing made of them (GradCraft, figure F3)."""

from __future__ import annotations

import numpy as np

from ..core.context import RunContext
from .gradients import Balance


class Geometry:
    """Looks at some steps of a training, on the shared parameters; means over these steps become notes of the record.

    conflicts: pairs of tasks whose gradients have a negative inner product; hurt, hurt_by_mean: tasks whose loss the step
    increases, to first order, and would with equal weights; norm_ratio: largest over smallest gradient norm (median: early steps
    are extreme); least_weight: the smallest weight, times the number of tasks; negative_weight: share of steps where it is below 0.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def __call__(self, balance: Balance) -> None:
        least = float(balance.weights.min()) * len(balance.weights)
        self.add(conflicts=balance.conflicts, hurt=balance.hurt, hurt_by_mean=balance.hurt_by_mean)
        self.add(norm_ratio=balance.norm_ratio, least_weight=least, negative_weight=least < 0)

    def add(self, **values: float) -> None:
        """What one step showed."""
        for name, value in values.items():
            self.seen.setdefault(name, []).append(float(value))

    def note(self, run: RunContext) -> None:
        """Write the means into the notes of `run`."""
        for name, values in self.seen.items():
            run.note(name, float(np.median(values) if name == "norm_ratio" else np.mean(values)))
