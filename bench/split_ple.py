"""The published PLE with a module for each task's part: what a library that takes one backward pass for each loss is fastest on."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class SplitPLE(nn.Module):
    """Embeddings of 16, experts 256-128-64, towers 65-32-16-1, dropout .2; logits as a list."""

    def __init__(self, fields: tuple[int, ...], tasks: int) -> None:
        super().__init__()
        width = 16 * len(fields)
        self.table = nn.Parameter(torch.randn(sum(fields), 16) * 0.01)
        self.common = _layers(width, 256, 128, 64)
        self.own = nn.ModuleList(_layers(width, 256, 128, 64) for _ in range(tasks))
        self.gates = nn.ModuleList(nn.Linear(width, 2, bias=False) for _ in range(tasks))
        self.towers = nn.ModuleList(_layers(65, 32, 16).append(nn.Linear(16, 1)) for _ in range(tasks))

    def forward(self, e: Tensor) -> list[Tensor]:
        x, fm = e.flatten(1), 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1, keepdim=True)
        common, logits = self.common(x), list[Tensor]()
        for own, gate, tower in zip(self.own, self.gates, self.towers, strict=True):
            weight = gate(x).softmax(1)
            logits.append(tower(torch.cat([fm, weight[:, :1] * own(x) + weight[:, 1:] * common], 1)).squeeze(1))
        return logits

    def private(self) -> list[nn.Parameter]:
        return [each for part in (self.own, self.gates, self.towers) for each in part.parameters()]


def _layers(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*(each for i, o in pairwise(sizes) for each in (nn.Linear(i, o), nn.ReLU(), nn.Dropout(0.2))))
