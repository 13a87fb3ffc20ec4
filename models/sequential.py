"""Networks that read a history of item ids: SASRec, GRU4Rec and Caser.

Each turns a history (B, L), left-padded with 0, into states (B, P, d), what is known after each of the last P items, and scores an
item by <state, its output vector>. A network with P = L is trained on every position of a row at once; one with P = 1 on the last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention

from ..core.errors import UsageError
from .multitask import Dropout


class Layer(nn.Linear):
    """A linear layer whose first weights are left to its owner, where nn.Linear draws them from torch's global stream."""

    def reset_parameters(self) -> None:
        pass


class GRU(nn.GRU):
    """A GRU whose first weights are left to its owner."""

    def reset_parameters(self) -> None:
        pass


class SequenceNetwork(nn.Module, ABC):
    """An item table (items + 1, d), whose row 0 is no item and stays 0, below whatever a subclass puts over it.

    every_position: whether P = L; items: without id 0; length: L, the latest items that are looked at; dropout: share of units;
    noise: what dropout draws from.
    """

    every_position: ClassVar[bool] = True

    def __init__(self, items: int, *, dim: int, length: int, dropout: float, noise: torch.Generator | None) -> None:
        super().__init__()
        self.items, self.dim, self.length = items, dim, length
        self.table = nn.Parameter(torch.empty(items + 1, dim))
        self.dropout = Dropout(dropout, noise or torch.Generator())

    @torch.no_grad()
    def start(self, generator: torch.Generator | None) -> None:
        """Matrices Xavier-normal from `generator`, biases 0."""
        norms = {id(each.weight) for each in self.modules() if isinstance(each, nn.LayerNorm)}
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter, generator=generator)
            elif id(parameter) not in norms:
                parameter.zero_()
        self.table[0] = 0

    @abstractmethod
    def states(self, history: Tensor) -> Tensor:
        """(B, P, d) of a history (B, L)."""

    def logits(self, states: Tensor) -> Tensor:
        """(..., items + 1) of states (..., d); here the table scores what it embeds, and id 0 has the logit 0."""
        return states @ self.table.T

    def embedded(self, history: Tensor) -> Tensor:
        """(B, L, d), 0 where there is no item."""
        return embedding(history, self.table, padding_idx=0)  # through which row 0 does not learn

    def forward(self, history: Tensor) -> Tensor:
        """Logits (B, items + 1) of what comes next; all 0 behind a history without any item."""
        last = self.states(history)[:, -1]
        return self.logits(last) * (history[:, -1:] > 0)


class SASRec(SequenceNetwork):
    """Causal self-attention (Kang and McAuley, ICDM 2018), each sub-layer x + dropout(g(norm(x))) (section III.C).

    Positions count to the row's end; a padded one is attended to by itself alone.
    """

    def __init__(
        self,
        items: int,
        *,
        dim: int = 64,
        length: int = 10,
        blocks: int = 2,
        heads: int = 1,
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        if dim % heads:
            raise UsageError(f"SASRec's dim={dim} does not divide among heads={heads}; choose a multiple")
        super().__init__(items, dim=dim, length=length, dropout=dropout, noise=noise)
        self.heads = heads
        self.position = nn.Parameter(torch.empty(length, dim))
        self.before = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * blocks))
        self.projected = nn.ModuleList(Layer(dim, 3 * dim) for _ in range(blocks))  # to queries, keys and values
        self.mixed = nn.ModuleList(Layer(dim, dim) for _ in range(blocks))
        self.inner = nn.ModuleList(Layer(dim, dim) for _ in range(blocks))
        self.outer = nn.ModuleList(Layer(dim, dim) for _ in range(blocks))
        self.after = nn.LayerNorm(dim)
        self.start(generator)

    def states(self, history: Tensor) -> Tensor:
        known, length = history > 0, history.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool).tril()
        seen = (earlier & known[:, None]) | torch.eye(length, dtype=torch.bool)
        x = self.dropout(self.embedded(history) * self.dim**0.5 + self.position[-length:] * known[:, :, None])
        for block, (projected, mixed, inner, outer) in enumerate(
            zip(self.projected, self.mixed, self.inner, self.outer, strict=True)
        ):
            x = x + self.dropout(mixed(self._attended(projected(self.before[2 * block](x)), seen)))
            x = x + self.dropout(outer(inner(self.before[2 * block + 1](x)).relu()))
        return self.after(x)

    def _attended(self, projected: Tensor, seen: Tensor) -> Tensor:
        """(B, L, d) of queries, keys and values (B, L, 3 d), where `seen` (B, L, L) says whose key a query meets."""
        q, k, v = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in projected.chunk(3, dim=2))
        return scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None]).transpose(1, 2).flatten(2)


class Scored(SequenceNetwork):
    """Output vectors and biases of their own, as GRU4Rec and Caser have them."""

    def __init__(self, items: int, *, dim: int, length: int, dropout: float, noise: torch.Generator | None) -> None:
        super().__init__(items, dim=dim, length=length, dropout=dropout, noise=noise)
        self.output = Layer(dim, items + 1)

    def logits(self, states: Tensor) -> Tensor:
        return self.output(states)


class GRU4Rec(Scored):
    """A gated recurrent unit over the history (Hidasi et al., ICLR 2016), from the state 0 at its first item."""

    def __init__(
        self,
        items: int,
        *,
        dim: int = 64,
        length: int = 10,
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        super().__init__(items, dim=dim, length=length, dropout=dropout, noise=noise)
        self.gru = GRU(dim, dim, batch_first=True)
        self.start(generator)

    def states(self, history: Tensor) -> Tensor:
        length = history.shape[1]
        padded = (history == 0).sum(1, keepdim=True)
        places = torch.arange(length)
        front = (places + padded) % length  # items first, so that no padding comes before them
        found, _ = self.gru(self.dropout(self.embedded(history.gather(1, front))))
        back = (places - padded) % length
        return self.dropout(found.gather(1, back[:, :, None].expand_as(found)))


class Caser(Scored):
    """Convolutions over the history as an image (Tang and Wang, WSDM 2018), horizontal ones with a maximum over time.

    Without the paper's user vector: most users of a split by time are none of train's.
    """

    every_position = False

    def __init__(
        self,
        items: int,
        *,
        dim: int = 64,
        length: int = 10,
        horizontal: int = 16,
        vertical: int = 8,
        heights: tuple[int, ...] = (2, 3, 4),
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        super().__init__(items, dim=dim, length=length, dropout=dropout, noise=noise)
        self.heights = tuple(height for height in heights if height <= length)
        self.horizontal = nn.ModuleList(Layer(height * dim, horizontal) for height in self.heights)
        self.vertical = Layer(length, vertical)
        self.hidden = Layer(vertical * dim + horizontal * len(self.heights), dim)
        self.start(generator)

    def states(self, history: Tensor) -> Tensor:
        image = self.embedded(history)
        found = [self.vertical(image.transpose(1, 2)).flatten(1)]
        for height, layer in zip(self.heights, self.horizontal, strict=True):
            windows = image.unfold(1, height, 1).flatten(2)
            found.append(layer(windows).relu().amax(1))
        return self.hidden(self.dropout(torch.cat(found, dim=1))).relu()[:, None]


NETWORKS: Mapping[str, Any] = {"sasrec": SASRec, "gru4rec": GRU4Rec, "caser": Caser}
