"""What the machine could do at best: a step's operations and bytes, at the rates of a large product and a large copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

COPIED, SIDE = 1 << 26, 1_536  # float32 numbers; rows and columns of the factors


@dataclass(frozen=True)
class Work:
    """What a step cannot do without."""

    bytes: float = 0.0
    flops: float = 0.0

    def seconds(self) -> float:
        """At least, on this machine, with the threads of this session."""
        return max(self.bytes / bandwidth(), self.flops / arithmetic())


def products_of(step: Callable[[], object]) -> Work:
    """The matrix products of a step, counted while it runs."""
    with FlopCounterMode(display=False) as seen:
        step()
    return Work(flops=seen.get_total_flops())


@cache
def bandwidth() -> float:
    """Bytes a second, read or written."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    return 2 * 4 * COPIED / _least(lambda: target.copy_(source))


@cache
def arithmetic() -> float:
    """Floating-point operations a second."""
    left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    return 2 * SIDE**3 / _least(lambda: left @ right)


def _least(step: Callable[[], object]) -> float:
    step()
    seconds: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
