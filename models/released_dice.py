"""The network by which LabelCraft's released code judges a look-ahead: DIN's parameters, but another function of them.

    as trained     p x + alpha (1 - p) x,    p = sigmoid(x^),  x^ = BN(x)
    as judged      p x^ + alpha (1 - p) x^,  with the unbiased variance of the rows at hand in BN

Its forward pass is written by hand, and gates the normalised activation. The same rows get other scores, in another order.
"""

from __future__ import annotations

import copy

from torch import Tensor

from .din import BN_EPS, DIN, Dice


class ReleasedDice(Dice):
    """In the place of a `Dice`: the same parameters and buffers, by the same names."""

    def forward(self, x: Tensor) -> Tensor:
        normal = (x - x.mean(0)) / (x.var(0) + BN_EPS).sqrt() * self.weight + self.bias
        p = normal.sigmoid()
        return normal * (self.alpha + (1 - self.alpha) * p)


def as_judged(network: DIN) -> DIN:
    """A copy that takes the network's parameters and is that other function; statistics are of all hold-out rows of a step."""
    twin = copy.deepcopy(network)
    for name, part in list(twin.named_modules()):
        if isinstance(part, Dice):
            twin.set_submodule(name, ReleasedDice(len(part.alpha)))
    return twin
