"""The network that every row of the watch-time comparison trains: MMoE, and as ablations a shared bottom and PLE.

    x       = [e_1; ...; e_F; dense]                            embeddings of the F fields of an impression
    c_j     = expert_j(x)                                       two layers, width -> h -> h/2
    t_k     = tower_k(sum_j softmax(G_k x)_j c_j)               over the experts that head k may use; one layer, h/2 -> h/2
    watch   = W t_0 + b                                         `outputs` numbers
    logit_k = w_k' t_k + b_k,  k = 1..M                         binary labels and explicit feedback

Head 0 is the watch time's. The three backbones differ in how many experts there are and in which of them a head may use, and in
nothing else. What experts, towers or heads have alike is one stacked parameter, all first layers and all gates are one product of
x, and the batch is the last axis throughout: a step of a small network is a few dozen calls on memory that lies in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.errors import unknown
from .multitask import INIT_STD, Dropout

EXPERTS = 4  # of MMoE
RIDGE = 1e-4

BACKBONES: Mapping[str, Callable[[int], Tensor]] = {  # which of E experts each of T heads may use; bool (T, E)
    "mmoe": lambda heads: torch.ones(heads, EXPERTS, dtype=torch.bool),
    "shared_bottom": lambda heads: torch.ones(heads, 1, dtype=torch.bool),
    "ple": lambda heads: torch.cat([torch.ones(heads, 1), torch.eye(heads)], dim=1).bool(),
}


class Heads(NamedTuple):
    """watch (B, outputs), before any squashing; logits (B, M); hidden (B, h/2): t_0, which `watch` is linear in."""

    watch: Tensor
    logits: Tensor
    hidden: Tensor


class WatchNetwork(nn.Module):
    """fields: vocabulary sizes; dense: how many numeric inputs; outputs: of the watch head; binary: M; hidden: h; generator: of the
    first weights; noise: of dropout.
    """

    def __init__(
        self,
        backbone: str,
        fields: Sequence[int],
        dense: int,
        outputs: int,
        binary: int,
        *,
        dim: int = 16,
        hidden: int = 128,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise unknown("backbone", backbone, BACKBONES)
        used = BACKBONES[backbone](1 + binary)
        (self.count, self.experts), self.hidden = used.shape, hidden
        width, half = dim * len(fields) + dense, hidden // 2
        self.dropout = Dropout(dropout, noise or torch.Generator())
        self.register_buffer("starts", torch.tensor([0, *fields[:-1]]).cumsum(0), persistent=False)
        self.register_buffer("barred", torch.zeros(used.shape).masked_fill(~used, -torch.inf)[:, :, None, None], persistent=False)
        self.table = nn.Parameter(torch.empty(sum(fields), dim))
        self.entry = nn.Parameter(torch.empty(self.experts * (hidden + self.count), width))  # first layers, then gates
        self.second = nn.Parameter(torch.empty(self.experts, half, hidden))
        self.tower = nn.Parameter(torch.empty(self.count, half, half))
        self.watch = nn.Parameter(torch.empty(outputs, half))
        self.binary = nn.Parameter(torch.empty(binary, half))
        self.entry_bias = nn.Parameter(torch.empty(self.experts, hidden, 1))
        self.second_bias = nn.Parameter(torch.empty(self.experts, half, 1))
        self.tower_bias = nn.Parameter(torch.empty(self.count, half, 1))
        self.watch_bias = nn.Parameter(torch.empty(outputs, 1))
        self.binary_bias = nn.Parameter(torch.empty(binary, 1))
        self._start(generator)

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        """Embeddings from N(0, .01^2), weights from N(0, 1 / inputs), biases 0."""
        table, *weights = self.weights()
        table.normal_(0.0, INIT_STD, generator=generator)
        for weight in weights:
            weight.normal_(0.0, weight.shape[-1] ** -0.5, generator=generator)
        for bias in self.biases():
            bias.zero_()

    @torch.no_grad()
    def expect(self, rates: Tensor) -> None:
        """Start the binary heads at these shares of positives (M,), so that the experts are not spent on unlearning a half."""
        self.binary_bias.copy_(torch.logit(rates, eps=1e-4)[:, None])

    def places(self, ids: Tensor) -> Tensor:
        """Rows of the table, (B * F,), of ids (B, F)."""
        return (ids + self.get_buffer("starts")).flatten()

    def heads(self, embeddings: Tensor, dense: Tensor) -> Heads:
        """From embeddings (B * F, d) and dense inputs (B, D)."""
        B, E, h = len(dense), self.experts, self.hidden
        x = torch.cat([embeddings.view(B, -1), dense], dim=1)
        first, gate = (self.entry @ x.T).split([E * h, E * self.count])
        c = self._layer(self.second, self.second_bias, self.dropout(torch.relu(first.view(E, h, B) + self.entry_bias)))
        g = (gate.view(self.count, E, 1, B) + self.get_buffer("barred")).softmax(1)
        t = self._layer(self.tower, self.tower_bias, (g * c).sum(1))  # (T, h/2, B)
        watch = torch.addmm(self.watch_bias, self.watch, t[0])
        logits = (t[1:] * self.binary.unsqueeze(2)).sum(1) + self.binary_bias
        return Heads(watch.T, logits.T, t[0].T)

    def _layer(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """(count, outputs, B) from weight (count, outputs, inputs), bias (count, outputs, 1) and x (count, inputs, B)."""
        return self.dropout(torch.relu(torch.baddbmm(bias, weight, x)))

    def forward(self, ids: Tensor, dense: Tensor) -> Heads:
        """Of impressions with ids (B, F) and dense inputs (B, D)."""
        return self.heads(self.table.index_select(0, self.places(ids)), dense)

    def weights(self) -> list[nn.Parameter]:
        """What the L2 penalty is on: the embeddings, first, and every weight, no bias."""
        return [self.table, self.entry, self.second, self.tower, self.watch, self.binary]

    def biases(self) -> list[nn.Parameter]:
        return [self.entry_bias, self.second_bias, self.tower_bias, self.watch_bias, self.binary_bias]


def duration_error(hidden: Tensor, duration: Tensor) -> Tensor:
    """The mean squared error of the best linear prediction of the duration (B,) from hidden (B, n).

    What a linear regressor behind a gradient reversal (Ganin & Lempitsky, ICML 2015) is after: the network gets the gradient of
    this error with its sign turned, past a regressor that is held fixed. Ours: the regressor is solved for in each batch. Trained
    beside the network, by the same Adam, it lags behind, and the network tells more of the duration in the end than without it.
    """
    x, y = hidden - hidden.mean(0), duration - duration.mean()
    fixed = x.detach()
    spread = fixed.T @ fixed
    ridge = RIDGE * spread.diagonal().mean() + 1e-12  # in the units' own scale, so that to shrink them hides nothing
    slope = torch.linalg.solve(spread + ridge * torch.eye(len(spread)), fixed.T @ y)
    return (x @ slope - y).square().mean()
