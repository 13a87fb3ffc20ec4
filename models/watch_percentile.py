"""Percentile ranks of watch time as what a head learns, and seconds from them (DML; losses and decoders are ours, it gives none).

mse         (sigmoid(z) - wpr)^2                       one output
bce         BCE(z, wpr)                                one output, soft label
softmax     -log softmax(z)_level                      N outputs
cumulative  mean_n BCE(z_n, 1[level > n])              N - 1 outputs

inverse     F_g^-1(E[wpr | x])                         quantile of the duration group g, like a median
expected    sum_n P(level n | x) mean(y | level n, g)  of softmax and cumulative
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..core.errors import UsageError
from ..core.task import Watched
from .watch_labels import WatchTimeLabels
from .watch_levels import level_tops
from .watch_target import Arrays, Target

LOSSES = ("mse", "bce", "softmax", "cumulative")
DECODERS = ("inverse", "expected")
TRIOS: dict[str, tuple[str, ...]] = {
    "none": (),
    "ev": ("ev_d", "ev_v", "ev_u"),
    "lv": ("lv_d", "lv_v", "lv_u"),
}  # as listed in the paper


class PercentileRank(Target):
    """wpr_d (or wpr where not `debiased`), and beside it the binary labels of a trio.

    labels: fitted on train; without sides where trio is "none". Raises UsageError for a decoder that the loss cannot serve.

    >>> ids, seconds = np.arange(4), np.array([1, 2, 10, 30], dtype=np.float32)  # two plays of short videos, two of long ones
    >>> rows = Watched({"user_id": ids, "item_id": ids}, {}, seconds, np.array([5, 5, 60, 60], dtype=np.float32))
    >>> labels = WatchTimeLabels(duration_bins=2, levels=2, decay=1.0, min_rows=1, sides=())
    >>> PercentileRank.fit(rows, labels).labels(rows).ravel().tolist()
    [0.5, 1.0, 0.5, 1.0]
    """

    name = "percentile_rank"

    def __init__(
        self, labels: WatchTimeLabels, loss: str = "mse", decoder: str = "inverse", debiased: bool = True, trio: str = "none"
    ) -> None:
        if decoder == "expected" and loss in ("mse", "bce"):
            raise UsageError(f"decoder 'expected' needs chances of levels, which loss {loss!r} has not; take softmax or cumulative")
        self.watch_labels, self.loss_name, self.decoder, self.debiased, self.trio = labels, loss, decoder, debiased, trio
        self.outputs = {"softmax": labels.levels, "cumulative": labels.levels - 1}.get(loss, 1)
        self.binary = TRIOS[trio]

    @classmethod
    def fit(cls, train: Watched, labels: WatchTimeLabels, **settings: Any) -> PercentileRank:
        """Of labels that are fitted here."""
        return cls(labels.fit(_table(train)), **settings)

    def labels(self, rows: Watched) -> NDArray[np.float32]:
        """(N, 1): the percentile rank; or the level, for losses on levels."""
        if self.outputs > 1:
            return self.watch_labels.level_of(_table(rows), self.debiased)[:, None].astype(np.float32)
        name = "wpr_d" if self.debiased else "wpr"
        return self.watch_labels.transform(_table(rows), [name]).to_numpy(copy=True)

    def binary_labels(self, rows: Watched) -> NDArray[np.float32]:
        if not self.binary:
            return super().binary_labels(rows)
        return self.watch_labels.transform(_table(rows), self.binary).to_numpy(dtype=np.float32)

    def loss(self, head: Tensor, labels: Tensor) -> Tensor:
        if self.loss_name == "mse":
            return (head[:, 0].sigmoid() - labels[:, 0]).square().mean()
        if self.loss_name == "bce":
            return binary_cross_entropy_with_logits(head[:, 0], labels[:, 0])
        if self.loss_name == "softmax":
            return cross_entropy(head, labels[:, 0].long())
        above = labels > torch.arange(self.outputs, device=labels.device)
        return binary_cross_entropy_with_logits(head, above.to(head.dtype))

    def seconds(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        p = self._chances(head) if self.decoder == "expected" else self._rank(head)
        return self.watch_labels.to_seconds(p, duration, self.decoder, self.debiased).astype(np.float32)  # pyright: ignore[reportArgumentType]

    def score(self, head: NDArray[np.float32], duration: NDArray[np.float32]) -> NDArray[np.float32]:
        """E[wpr | x], as a logit where there is one output."""
        return head[:, 0] if self.outputs == 1 else self._rank(head).astype(np.float32)

    def _chances(self, head: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of each level (N, levels). From cumulative heads, which need not fall, one may be negative; the mean of rising values is
        within their range nevertheless."""
        wide = head.astype(np.float64)
        return softmax(wide, axis=1) if self.loss_name == "softmax" else -np.diff(expit(wide), axis=1, prepend=1, append=0)

    def _rank(self, head: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.outputs == 1:
            return expit(head[:, 0].astype(np.float64))
        return self._chances(head) @ level_tops(self.watch_labels.levels, self.watch_labels.decay)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        tables, settings = self.watch_labels.state()
        arrays = {f"{table}.{name}": column for table, columns in tables.items() for name, column in columns.items()}
        own = {"loss": self.loss_name, "decoder": self.decoder, "debiased": self.debiased, "trio": self.trio}
        return arrays, {"labels": settings, **own}

    @classmethod
    def restored(cls, arrays: Arrays, settings: Mapping[str, Any]) -> PercentileRank:
        tables: dict[str, dict[str, NDArray[Any]]] = {}
        for place, column in arrays.items():
            table, _, name = place.partition(".")
            tables.setdefault(table, {})[name] = column
        own = dict(settings)
        return cls(WatchTimeLabels.restored(tables, own.pop("labels")), **own)


def _table(rows: Watched) -> dict[str, NDArray[Any]]:
    columns = {name: rows.inputs[name] for name in ("user_id", "item_id")}
    return {"watch_time": rows.watch_time, "duration": rows.duration, **columns}
