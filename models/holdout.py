"""Hold-out rows, user by user, from which lists are drawn: prebuilt, so that a step indexes and does nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.task import Watched
from .feed_training import explicit_feedback
from .platform_objectives import Candidates, Scale


@dataclass(frozen=True)
class HoldOut:
    """Users with at least 2k rows: with fewer, the top k is nearly everything, and has no gradient.

    order: int64 (rows,), rows of the part, sorted by user; start, count: int64 (users,), where a user's lie in it. watch, explicit,
    duration: float32 (rows of the part,), scaled. left_out: users with fewer rows. Users that train does not have are nobody.
    """

    order: Tensor
    start: Tensor
    count: Tensor
    watch: Tensor
    explicit: Tensor
    duration: Tensor
    left_out: int

    @classmethod
    def of(cls, rows: Watched, k: int, watch: Scale, duration: Scale) -> HoldOut:
        """The users of a part, and what their rows are worth."""
        user = rows.inputs["user_id"]
        order = np.argsort(user, kind="stable")
        ids, start, count = np.unique(user[order], return_index=True, return_counts=True)
        enough, known = count >= 2 * k, ids > 0
        return cls(
            torch.from_numpy(order),
            torch.from_numpy(start[enough & known]),
            torch.from_numpy(count[enough & known]),
            torch.from_numpy(watch(rows.watch_time)),
            torch.from_numpy(explicit_feedback(rows)),
            torch.from_numpy(duration(rows.duration)),
            int((known & ~enough).sum()),
        )

    @property
    def users(self) -> int:
        return len(self.start)

    def draw(self, users: int, most: int, generator: torch.Generator) -> tuple[Tensor, Candidates]:
        """Some users without replacement (all, where there are no more), and of each all rows or `most` of them at random.

        Returns the rows (R,) of the part, user by user, and what they are worth, (users, n).
        """
        chosen = torch.randperm(self.users, generator=generator)[:users]
        count, longest = self.count[chosen], int(self.count[chosen].max())
        place = torch.arange(longest).expand(len(chosen), -1)
        if longest > most:
            key = torch.rand(len(chosen), longest, generator=generator).masked_fill_(place >= count[:, None], 2.0)
            place = key.topk(most, dim=1, largest=False).indices
        mask = torch.arange(place.shape[1]) < count[:, None]
        rows = self.order[(self.start[chosen, None] + place)[mask]]
        return rows, Candidates.of(self.watch[rows], self.explicit[rows], self.duration[rows], mask)
