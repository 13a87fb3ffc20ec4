"""Networks that predict T kinds of feedback: shared bottom, MMoE (Ma et al., KDD 2018) and PLE (Tang et al., RecSys 2020).

    x        = [e_1; ...; e_F; dense]                                    embeddings of the F fields of an impression
    m_k      = sum_j softmax(G_k x)_j expert_j(x)                        task k's mixture of the experts that it may use
    logit_k  = tower_k([fm; m_k]) + bias_k                               fm = 1/2 sum_d ((sum_f e_fd)^2 - sum_f e_fd^2)

PLE of one level, as in GradCraft's release: one expert that all tasks share and one of each task's own. Outputs are a list, one
tensor for each task, so that the gradient of one loss never walks through another task's part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..core.errors import unknown

INIT_STD = 0.01  # of embeddings, and of weights as released


class Dropout(nn.Module):
    """Dropout of a `share` of the units that draws from a generator of its own, never from the global stream."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.share, generator=self.generator)
        return x * kept.div_(1 - self.share)


class Body(nn.Module, ABC):
    """From x (B, width) and fm (B, 1) to T logits (B,) each. `shared` and `private` are disjoint and hold every parameter."""

    @abstractmethod
    def forward(self, x: Tensor, fm: Tensor) -> list[Tensor]: ...

    @abstractmethod
    def shared(self) -> list[nn.Parameter]:
        """Parameters that several tasks use."""

    @abstractmethod
    def private(self, task: int) -> list[nn.Parameter]:
        """Parameters that only this task uses."""


class SharedBottom(Body):
    """One expert for all tasks, no gates."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__()
        self.bottom = expert(width, hidden, dropout)
        self.towers = nn.ModuleList(tower(hidden, dropout) for _ in range(tasks))

    def forward(self, x: Tensor, fm: Tensor) -> list[Tensor]:
        mixed = torch.cat([fm, self.bottom(x)], dim=1)
        return [each(mixed).squeeze(1) for each in self.towers]

    def shared(self) -> list[nn.Parameter]:
        return list(self.bottom.parameters())

    def private(self, task: int) -> list[nn.Parameter]:
        return list(self.towers[task].parameters())


class MMoE(Body):
    """As many experts as PLE has (T + 1), all shared; each task has a gate over them."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__()
        self.experts = nn.ModuleList(expert(width, hidden, dropout) for _ in range(tasks + 1))
        self.gates = nn.ModuleList(nn.Linear(width, tasks + 1, bias=False) for _ in range(tasks))
        self.towers = nn.ModuleList(tower(hidden, dropout) for _ in range(tasks))

    def forward(self, x: Tensor, fm: Tensor) -> list[Tensor]:
        found = torch.stack([each(x) for each in self.experts], dim=1)
        mixed = ((gate(x).softmax(1).unsqueeze(1) @ found).squeeze(1) for gate in self.gates)
        return [each(torch.cat([fm, mix], dim=1)).squeeze(1) for each, mix in zip(self.towers, mixed, strict=True)]

    def shared(self) -> list[nn.Parameter]:
        return list(self.experts.parameters())

    def private(self, task: int) -> list[nn.Parameter]:
        return [*self.gates[task].parameters(), *self.towers[task].parameters()]


class PLE(Body):
    """One level: a shared expert, an expert of each task, and a gate of each task over these two."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__()
        self.common = expert(width, hidden, dropout)
        self.experts = nn.ModuleList(expert(width, hidden, dropout) for _ in range(tasks))
        self.gates = nn.ModuleList(nn.Linear(width, 2, bias=False) for _ in range(tasks))
        self.towers = nn.ModuleList(tower(hidden, dropout) for _ in range(tasks))

    def forward(self, x: Tensor, fm: Tensor) -> list[Tensor]:
        common = self.common(x)
        logits: list[Tensor] = []
        for own, gate, each in zip(self.experts, self.gates, self.towers, strict=True):
            weight = gate(x).softmax(1)
            mix = weight[:, :1] * own(x) + weight[:, 1:] * common
            logits.append(each(torch.cat([fm, mix], dim=1)).squeeze(1))
        return logits

    def shared(self) -> list[nn.Parameter]:
        return list(self.common.parameters())

    def private(self, task: int) -> list[nn.Parameter]:
        return [*self.experts[task].parameters(), *self.gates[task].parameters(), *self.towers[task].parameters()]


def expert(width: int, hidden: int, dropout: Dropout) -> nn.Sequential:
    """width -> h -> h/2 -> h/4, each with ReLU and dropout."""
    return _layers((width, hidden, hidden // 2, hidden // 4), dropout)


def tower(hidden: int, dropout: Dropout) -> nn.Sequential:
    """1 + h/4 -> h/8 -> h/16 -> 1, at least 16 and 8 units, for a ReLU with few units dies; the last layer's bias is the task's."""
    first, second = max(hidden // 8, 16), max(hidden // 16, 8)
    return _layers((1 + hidden // 4, first, second), dropout).append(nn.Linear(second, 1))


def _layers(sizes: Sequence[int], dropout: Dropout) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), dropout]
    return nn.Sequential(*layers)


BODIES: Mapping[str, type[Body]] = {"ple": PLE, "mmoe": MMoE, "shared_bottom": SharedBottom}


class MultiTaskModel(nn.Module):
    """Embeddings of the fields, in one table, and a body.

    fields: vocabulary sizes; dense: how many numeric inputs; hidden: units of an expert's first layer; init: "released", where
    a network much smaller than the paper's does not learn its rare tasks, or "fan_in"; generator: of the first weights; noise: of
    dropout.
    """

    def __init__(
        self,
        backbone: str,
        fields: Sequence[int],
        dense: int,
        tasks: int,
        *,
        dim: int = 16,
        hidden: int = 256,
        dropout: float = 0.2,
        init: str = "released",
        generator: torch.Generator | None = None,
        noise: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if backbone not in BODIES:
            raise unknown("backbone", backbone, BODIES)
        self.tasks = tasks
        starts = torch.tensor([0, *fields[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        with torch.device("meta"):  # the usual start would draw from the global stream
            body = BODIES[backbone](dim * len(fields) + dense, hidden, tasks, Dropout(dropout, noise or torch.Generator()))
        self.body = body.to_empty(device="cpu")
        self.table = nn.Parameter(torch.empty(sum(fields), dim).normal_(0.0, INIT_STD, generator=generator))
        self._start(init, generator)

    def _start(self, init: str, generator: torch.Generator | None) -> None:
        """Weights from N(0, .01^2), or uniform in +-1/sqrt(inputs) as biases are; a task's bias at 0."""
        for layer in self.body.modules():
            if isinstance(layer, nn.Linear):
                reach = layer.in_features**-0.5
                if init == "released":
                    nn.init.normal_(layer.weight, 0.0, INIT_STD, generator=generator)
                else:
                    nn.init.uniform_(layer.weight, -reach, reach, generator=generator)
                if layer.bias is not None:
                    nn.init.uniform_(layer.bias, -reach, reach, generator=generator)
                    layer.bias.data *= layer.out_features > 1

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The table rows of ids (B, F): the distinct ones (U,), and each id's place among them (B, F)."""
        ids = ids + self.get_buffer("starts")
        seen = torch.zeros(len(self.table), dtype=torch.bool, device=ids.device).index_fill_(0, ids.flatten(), True)
        return seen.nonzero().squeeze(1), (seen.cumsum(0) - 1)[ids]

    def heads(self, embeddings: Tensor, dense: Tensor) -> list[Tensor]:
        """Logits from embeddings (B, F, d) and dense inputs (B, D)."""
        fm = 0.5 * (embeddings.sum(1).square() - embeddings.square().sum(1)).sum(1, keepdim=True)
        return self.body(torch.cat([embeddings.flatten(1), dense], dim=1), fm)

    def forward(self, ids: Tensor, dense: Tensor) -> list[Tensor]:
        """T logits (B,) of impressions with ids (B, F) and dense inputs (B, D)."""
        return self.heads(self.table[ids + self.get_buffer("starts")], dense)

    def weights(self) -> list[nn.Parameter]:
        """What the L2 penalty is on: the embeddings and every weight, no bias."""
        return [each for each in self.parameters() if each.dim() > 1]
