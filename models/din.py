"""DIN, the network of every row of a feed: a user's history is looked at through the video to be scored (Zhou et al., KDD 2018).

    q        = [item; duration bucket; category; ...]           embeddings of what is known of the candidate, and h_t likewise of
                                                                the t-th video of the history, from the same tables
    a_t      = w'(W [q; h_t; q - h_t; q * h_t] + b) + b_0       no softmax; 0 where there is no video
    pooled   = sum_t a_t h_t
    x        = [q; pooled; user; other fields; dense]
    logit    = tower(Dice(A x + b))                             a layer, Dice, a linear output; for more than one label, more towers
    Dice(x)  = p x + alpha (1 - p) x,  p = sigmoid(BN(x))

As released with LabelCraft (Bai et al., WSDM 2024), whose embeddings have 12 numbers each, whose layers have 200 and 80 units, and
whose attention has no activation between W and w. So a_t is bilinear in q and h_t, exactly: with [v_1; v_2; v_3; v_4] = W'w it is

    a_t = (v_1 + v_3)'q + w'b + b_0 + h_t'(v_2 - v_3 + v_4 * q)

and no [q; h_t; q - h_t; q * h_t] ever comes to be. Histories are packed: what is not there costs nothing.

`other fields` and `dense` are ours: the paper's network knows user, video and history alone. Without the rates of users and videos
trained rows lie below a floor that has no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from .multitask import Dropout

ITEM = "item_id"
BN_EPS = 1e-8
BN_MOMENTUM = 0.1


@dataclass(frozen=True)
class FeedBatch:
    """Rows to be scored: ids (B, F) int64, dense (B, D) float32, history (B, H), encoded item ids, int32 or int64, 0 for none."""

    ids: Tensor
    dense: Tensor
    history: Tensor

    @classmethod
    def of(
        cls, columns: Mapping[str, NDArray[Any]], fields: Sequence[str], dense: Sequence[str], history: int | None = None
    ) -> FeedBatch:
        """Copies of the named columns and of the latest `history` videos of column `history` (None: all)."""
        past = columns["history"]
        past = past[:, past.shape[1] - min(history, past.shape[1]) :] if history is not None else past
        ids = np.stack([columns[name] for name in fields], axis=1)
        numbers = np.stack([columns[name] for name in dense], axis=1) if dense else np.zeros((len(past), 0))
        return cls(torch.from_numpy(ids), torch.tensor(numbers, dtype=torch.float32), torch.tensor(past))

    @cached_property
    def past(self) -> tuple[Tensor, Tensor]:
        """The videos of all histories (P,), and the row that has each (P,)."""
        flat = self.history.flatten()
        place = flat.nonzero().squeeze(1)
        return flat.index_select(0, place), place.div(self.history.shape[1], rounding_mode="floor")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Tensor) -> FeedBatch:
        """The rows at these places, in their order."""
        return FeedBatch(*(each.index_select(0, rows) for each in (self.ids, self.dense, self.history)))

    def split(self, rows: int) -> list[FeedBatch]:
        """Some rows at a time, in their order."""
        parts = zip(*(each.split(rows) for each in (self.ids, self.dense, self.history)), strict=True)
        return [FeedBatch(*part) for part in parts]


class Dice(nn.Module):
    """A smooth switch between x and alpha x for each of `units`, set by where x lies among those of its batch.

    While training, the batch's statistics are used and the running ones take a step by assignment, never in place: under
    `torch.func.functional_call` with parameters and buffers given, the module's own stay as they are.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(units))
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = (self.mean.clone(), self.variance.clone()) if self.training else (self.mean, self.variance)
        p = batch_norm(x, mean, variance, self.weight, self.bias, self.training, BN_MOMENTUM, BN_EPS).sigmoid()
        if self.training:
            self.mean, self.variance = mean, variance
        return x * (self.alpha + (1 - self.alpha) * p)


class Layer(nn.Linear):
    """A linear layer whose first weights are left to its owner, where nn.Linear draws them from torch's global stream."""

    def reset_parameters(self) -> None:
        pass


class DIN(nn.Module):
    """From a `FeedBatch` to logits (B,); (B, towers) where there are more towers than one.

    fields: categorical inputs with the size of their vocabulary, in the order of `FeedBatch.ids`, `item_id` among them; dense: how
    many numeric inputs; item_fields: int64 (items,), what is known of an item by its encoded id, for those of `fields` that
    describe a video; dim: of an embedding; hidden: units of the two layers; generator: of the first weights; noise: of dropout,
    after both layers.
    """

    def __init__(
        self,
        fields: Mapping[str, int],
        dense: int,
        item_fields: Mapping[str, NDArray[np.int64]],
        *,
        dim: int = 12,
        hidden: tuple[int, int] = (200, 80),
        towers: int = 1,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        names = list(fields)
        self.item_fields = [name for name in item_fields if name in fields]
        item = [ITEM, *self.item_fields]
        self.item, self.rest = [names.index(each) for each in item], [k for k, name in enumerate(names) if name not in item]
        starts = torch.tensor([0, *fields.values()]).cumsum(0)[:-1]
        known = [np.arange(fields[ITEM]), *(item_fields[name] for name in self.item_fields)]
        self.starts, self.ends = starts, starts + torch.tensor(list(fields.values()))
        # Rows of the table. No buffer: it never changes, and whoever swaps the buffers of a step would copy it.
        self.catalogue = torch.from_numpy(np.stack(known, axis=1)) + starts[self.item]
        n = dim * len(item)
        self.table = nn.Parameter(torch.empty(sum(fields.values()), dim))
        self.attention, self.attended = Layer(4 * n, n), Layer(n, 1)
        self.first, self.first_dice = Layer(2 * n + dim * len(self.rest) + dense, hidden[0]), Dice(hidden[0])
        self.second = nn.ModuleList(Layer(*hidden) for _ in range(towers))
        self.second_dice = nn.ModuleList(Dice(hidden[1]) for _ in range(towers))
        self.output = nn.ModuleList(Layer(hidden[1], 1) for _ in range(towers))
        self.dropout = Dropout(dropout, noise or torch.Generator())
        self._start(generator)

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        """Weights Xavier-normal, those of each field's embeddings by its own table; biases 0."""
        tables = [self.table[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]
        for weight in [*tables, *self.weights()[1:]]:
            nn.init.xavier_normal_(weight, generator=generator)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.bias.zero_()

    def places(self, batch: FeedBatch) -> Tensor:
        """The rows of the table that a batch looks up, (B F + P I,) with P videos in its histories and I fields of an item."""
        past = self.catalogue.index_select(0, batch.past[0])
        return torch.cat([(batch.ids + self.starts).flatten(), past.flatten()])

    def heads(self, embeddings: Tensor, batch: FeedBatch) -> tuple[Tensor, Tensor]:
        """Logits (B, towers), and what the first of them is linear in, (B, hidden[1]), from the embeddings at `places`."""
        own, past = embeddings.split([batch.ids.numel(), len(embeddings) - batch.ids.numel()])
        own, h = own.view(*batch.ids.shape, -1), past.view(-1, self.catalogue.shape[1] * past.shape[1])
        q = own[:, self.item].flatten(1)
        pooled = self._pooled(q, h, batch.past[1])
        x = torch.cat([q, pooled, own[:, self.rest].flatten(1), batch.dense], dim=1)
        x = self.dropout(self.first_dice(self.first(x)))
        hidden = [self.dropout(dice(layer(x))) for layer, dice in zip(self.second, self.second_dice, strict=True)]
        logits = [output(each) for output, each in zip(self.output, hidden, strict=True)]
        return torch.cat(logits, dim=1), hidden[0]

    def _pooled(self, q: Tensor, h: Tensor, row: Tensor) -> Tensor:
        """sum_t a_t h_t (B, n) from q (B, n) and h (P, n), where row (P,) says whose history a video is in."""
        w = self.attended.weight[0]
        v1, v2, v3, v4 = (w @ self.attention.weight).chunk(4)
        constant, along = q @ (v1 + v3) + w @ self.attention.bias + self.attended.bias, v2 - v3 + v4 * q
        a = (along.index_select(0, row) * h).sum(1) + constant.index_select(0, row)
        return torch.zeros_like(q).index_add(0, row, a[:, None] * h)

    def forward(self, batch: FeedBatch) -> Tensor:
        logits, _ = self.heads(self.table.index_select(0, self.places(batch)), batch)
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    def weights(self) -> list[nn.Parameter]:
        """What the L2 penalty is on: the embeddings, first, and every weight of a linear layer; no bias, and nothing of Dice."""
        return [each for name, each in self.named_parameters() if name == "table" or (name.endswith("weight") and each.dim() == 2)]

    def biases(self) -> list[nn.Parameter]:
        """Every other parameter."""
        weights = {id(each) for each in self.weights()}
        return [each for each in self.parameters() if id(each) not in weights]
