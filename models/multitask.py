"""Networks that predict T kinds of feedback: shared bottom, MMoE (Ma et al., KDD 2018) and PLE (Tang et al., RecSys 2020).

    x        = [e_1; ...; e_F; dense]                                    embeddings of the F fields of an impression
    c_s      = expert_s(x)                                               the S experts that all tasks share
    m_k      = sum_j softmax(G_k x)_j expert_j(x)                        task k's mixture of the experts that it may use
    logit_k  = tower_k([fm; m_k]) + bias_k                               fm = 1/2 sum_d ((sum_f e_fd)^2 - sum_f e_fd^2)

PLE of one level, as in GradCraft's release: one expert that all tasks share and one of each task's own. What T tasks or S experts
have alike is one stacked parameter, with the task or expert as first axis: a step is a few dozen batched products instead of some
hundred small ones. Whatever a task's own part does first to x is one linear map z_k = x A_k, so all of them are one product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
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


class Stack(nn.Module):
    """`count` networks of equal shape side by side: linear layers of these `sizes`, with ReLU and dropout in between.

    From x (count, B, sizes[0]) to (count, B, sizes[-1]). last: whether ReLU and dropout follow the last layer too.
    """

    def __init__(self, count: int, sizes: Sequence[int], dropout: Dropout, *, last: bool) -> None:
        super().__init__()
        self.dropout, self.last = dropout, last
        self.weights = nn.ParameterList(torch.empty(count, inputs, outputs) for inputs, outputs in pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(count, 1, outputs) for outputs in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if self.last or place < len(self.weights) - 1:
                x = self.dropout(torch.relu(x))
        return x


class Body(nn.Module, ABC):
    """From x (B, width) to T logits, in two halves: what the tasks share, and what each has of its own.

    common: the S shared experts, width -> h -> h/2 -> h/4; entry (T, width, m): A, the tasks' first maps of x (None: they look at c
    alone); every other parameter is private too, with the task as its first axis.
    """

    entry: nn.Parameter | None

    def __init__(self, experts: int, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__()
        self.experts = experts
        self.register_parameter("entry", None)
        self.common = Stack(experts, (width, hidden, hidden // 2, hidden // 4), dropout, last=True)
        # At least 16 and 8 units: a ReLU with fewer dies.
        self.towers = Stack(tasks, (1 + hidden // 4, max(hidden // 8, 16), max(hidden // 16, 8), 1), dropout, last=False)

    @cached_property
    def shared(self) -> list[nn.Parameter]:
        """Parameters that several tasks use."""
        return list(self.common.parameters())

    @cached_property
    def private(self) -> list[nn.Parameter]:
        """Parameters (T, ...) of which each task uses its own part alone, `entry` first."""
        known = {id(each) for each in self.common.parameters()}
        return [each for each in self.parameters() if id(each) not in known]

    def meet(self, x: Tensor) -> Tensor:
        """c (S, B, h/4) of x (B, width)."""
        return self.common(x.expand(self.experts, -1, -1))

    def enter(self, x: Tensor) -> Tensor:
        """z (T, B, m) of x (B, width)."""
        if self.entry is None:
            return x.new_zeros(len(self.towers.weights[0]), len(x), 0)
        tasks, width, m = self.entry.shape
        return (x @ self.entry.transpose(0, 1).reshape(width, tasks * m)).view(-1, tasks, m).transpose(0, 1)

    @abstractmethod
    def part(self, z: Tensor, c: Tensor, fm: Tensor) -> Tensor:
        """Logits (T, B) from z (T, B, m), c (T, S, B, h/4) and fm (T, B, 1), of which task k reads its own [k] alone."""

    def _tower(self, fm: Tensor, mix: Tensor) -> Tensor:
        return self.towers(torch.cat([fm, mix], dim=2)).squeeze(2)


class SharedBottom(Body):
    """One expert for all tasks, no gates."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__(1, width, hidden, tasks, dropout)

    def part(self, z: Tensor, c: Tensor, fm: Tensor) -> Tensor:
        return self._tower(fm, c[:, 0])


class MMoE(Body):
    """As many experts as PLE has (T + 1), all shared; each task has a gate over them: m = T + 1."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__(tasks + 1, width, hidden, tasks, dropout)
        self.entry = nn.Parameter(torch.empty(tasks, width, tasks + 1))

    def part(self, z: Tensor, c: Tensor, fm: Tensor) -> Tensor:
        gate = z.softmax(2).transpose(1, 2).unsqueeze(3)  # (T, S, B, 1)
        return self._tower(fm, (gate * c).sum(1))


class PLE(Body):
    """One level: a shared expert, an expert of each task, and a gate of each task over these two: m = h + 2."""

    def __init__(self, width: int, hidden: int, tasks: int, dropout: Dropout) -> None:
        super().__init__(1, width, hidden, tasks, dropout)
        self.entry = nn.Parameter(torch.empty(tasks, width, hidden + 2))
        self.bias = nn.Parameter(torch.empty(tasks, 1, hidden))
        self.own = Stack(tasks, (hidden, hidden // 2, hidden // 4), dropout, last=True)

    def part(self, z: Tensor, c: Tensor, fm: Tensor) -> Tensor:
        first, *sides = z.split([z.shape[2] - 2, 1, 1], dim=2)
        gate = (sides[0] - sides[1]).sigmoid()  # the softmax of two
        own = self.own(self.own.dropout(torch.relu(first + self.bias)))
        return self._tower(fm, gate * own + (1 - gate) * c[:, 0])


BODIES: Mapping[str, type[SharedBottom] | type[MMoE] | type[PLE]] = {"ple": PLE, "mmoe": MMoE, "shared_bottom": SharedBottom}


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
        self.register_buffer("starts", torch.tensor([0, *fields[:-1]]).cumsum(0), persistent=False)
        self.table = nn.Parameter(torch.empty(sum(fields), dim).normal_(0.0, INIT_STD, generator=generator))
        self.body = BODIES[backbone](dim * len(fields) + dense, hidden, tasks, Dropout(dropout, noise or torch.Generator()))
        self._start(init, generator)

    @torch.no_grad()
    def _start(self, init: str, generator: torch.Generator | None) -> None:
        """Weights from N(0, .01^2) or N(0, 1 / inputs); biases at 0, for one that outweighs the signal kills its ReLU."""
        for weight in self.weights()[1:]:
            std = INIT_STD if init == "released" else weight.shape[1] ** -0.5
            weight.normal_(0.0, std, generator=generator)
        for bias in self.biases():
            bias.zero_()

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The table rows of ids (B, F): the distinct ones (U,), and each id's place among them (B, F)."""
        ids = ids + self.get_buffer("starts")
        seen = torch.zeros(len(self.table), dtype=torch.bool, device=ids.device).index_fill_(0, ids.flatten(), True)
        return seen.nonzero().squeeze(1), (seen.cumsum(0) - 1)[ids]

    def inputs(self, embeddings: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, width) and fm (B, 1) from embeddings (B, F, d) and dense inputs (B, D)."""
        fm = 0.5 * (embeddings.sum(1).square() - embeddings.square().sum(1)).sum(1, keepdim=True)
        return torch.cat([embeddings.flatten(1), dense], dim=1), fm

    def heads(self, embeddings: Tensor, dense: Tensor) -> Tensor:
        """Logits (T, B) from embeddings (B, F, d) and dense inputs (B, D)."""
        x, fm = self.inputs(embeddings, dense)
        c = self.body.meet(x)
        return self.body.part(self.body.enter(x), c.expand(self.tasks, *c.shape), fm.expand(self.tasks, *fm.shape))

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Logits (T, B) of impressions with ids (B, F) and dense inputs (B, D)."""
        return self.heads(self.table[ids + self.get_buffer("starts")], dense)

    def weights(self) -> list[nn.Parameter]:
        """What the L2 penalty is on: the embeddings and every weight, no bias."""
        entry = [] if self.body.entry is None else [self.body.entry]
        return [self.table, *entry, *(each for stack in self._stacks() for each in stack.weights)]

    def biases(self) -> list[nn.Parameter]:
        weights = {id(each) for each in self.weights()}
        return [each for each in self.parameters() if id(each) not in weights]

    def _stacks(self) -> list[Stack]:
        return [each for each in self.body.modules() if isinstance(each, Stack)]
