"""Removal requests: which rows of a train table must be forgotten.

The paper's request is corruption: the last share of the shuffled train rows gets its labels flipped, the Original learns them,
and they must be unlearned. The clean requests leave every label as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError, unknown
from ..core.task import Interactions

Mask = NDArray[np.bool_]


def flip_labels(label: NDArray[np.float32], share: float) -> tuple[Mask, NDArray[np.float32]]:
    """The last `share` of the rows, and all labels with those flipped (y -> 1 - y). A smaller share is a subset of a larger."""
    mask = np.arange(len(label)) >= int(len(label) * (1 - share))
    return mask, np.where(mask, 1 - label, label).astype(np.float32)


def random_rows(train: Interactions, share: float, rng: np.random.Generator) -> Mask:
    """A share of the rows, each as likely as any other."""
    mask = np.zeros(len(train), dtype=np.bool_)
    mask[rng.permutation(len(train))[: round(share * len(train))]] = True
    return mask


def whole_users(train: Interactions, share: float, rng: np.random.Generator) -> Mask:
    """All rows of random users, as many users as stay within `share` of the rows (one at least)."""
    order = rng.permutation(train.users)
    rows = np.cumsum(np.bincount(train.user, minlength=train.users)[order])
    leaving = np.zeros(train.users, dtype=np.bool_)
    leaving[order[: max(1, np.searchsorted(rows, share * len(train), side="right"))]] = True
    return leaving[train.user]


def one_item(train: Interactions, rng: np.random.Generator) -> Mask:
    """All rows of one item, drawn in proportion to its rows."""
    return train.item == train.item[rng.integers(len(train))]


def sequence(train: Interactions, share: float, requests: int, rng: np.random.Generator) -> list[Mask]:
    """`requests` disjoint sets of random rows that come one after the other and make up `share` together."""
    order = rng.permutation(len(train))[: round(share * len(train))]
    masks = [np.zeros(len(train), dtype=np.bool_) for _ in range(requests)]
    for mask, rows in zip(masks, np.array_split(order, requests), strict=True):
        mask[rows] = True
    return masks


@dataclass(frozen=True)
class Removal:
    """A request applied to a train table: labels as the Original sees them, and when each row leaves.

    step: int16 (N,), 0 for a row that stays, 1..k for a row of the k-th request.
    """

    label: NDArray[np.float32]
    step: NDArray[np.int16]


def _apply_flipped(train: Interactions, spec: RequestSpec, _rng: np.random.Generator) -> Removal:
    mask, label = flip_labels(train.label, spec.share)
    return Removal(label, mask.astype(np.int16))


def _apply_rows(train: Interactions, spec: RequestSpec, rng: np.random.Generator) -> Removal:
    return Removal(train.label, random_rows(train, spec.share, rng).astype(np.int16))


def _apply_users(train: Interactions, spec: RequestSpec, rng: np.random.Generator) -> Removal:
    return Removal(train.label, whole_users(train, spec.share, rng).astype(np.int16))


def _apply_item(train: Interactions, _spec: RequestSpec, rng: np.random.Generator) -> Removal:
    return Removal(train.label, one_item(train, rng).astype(np.int16))


def _apply_sequence(train: Interactions, spec: RequestSpec, rng: np.random.Generator) -> Removal:
    step = np.zeros(len(train), dtype=np.int16)
    for number, mask in enumerate(sequence(train, spec.share, spec.requests, rng), start=1):
        step[mask] = number
    return Removal(train.label, step)


KINDS: dict[str, Callable[[Interactions, RequestSpec, np.random.Generator], Removal]] = {
    "flipped": _apply_flipped,
    "rows": _apply_rows,
    "users": _apply_users,
    "item": _apply_item,
    "sequence": _apply_sequence,
}


@dataclass(frozen=True)
class RequestSpec:
    """A request before it meets a train table.

    kind: "flipped", "rows", "users", "item" or "sequence"; share: of the train rows (no meaning for "item");
    requests: how many, for "sequence".
    """

    kind: str = "flipped"
    share: float = 0.02
    requests: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("request", self.kind, KINDS)
        if not 0 < self.share < 1:
            raise UsageError(f"a request cannot remove a share of {self.share:g} of the rows; choose one between 0 and 1")
        if not 1 <= self.requests <= 1000:
            raise UsageError(f"a sequence of {self.requests} requests is out of range; choose 1 to 1000")

    @property
    def name(self) -> str:
        """Short and unique: "flipped-0.02", "item", "sequence-0.02-in-10"."""
        share = "" if self.kind == "item" else f"-{self.share:g}"
        return f"{self.kind}{share}" + (f"-in-{self.requests}" if self.kind == "sequence" else "")

    def apply(self, train: Interactions, rng: np.random.Generator) -> Removal:
        """Raises UsageError when the request would take no row, or all of them."""
        removal = KINDS[self.kind](train, self, rng)
        taken = int(np.count_nonzero(removal.step))
        if taken == 0 or taken == len(train):
            amount = "no row" if taken == 0 else "every row"
            raise UsageError(f"request {self.name!r} takes {amount} of {len(train)} train rows; choose another share")
        return removal
