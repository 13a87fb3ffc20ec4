"""Logits where a response is learned and nowhere else: its tokens are few beside those of its prompt, and the head is wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .model import LanguageModel

FORWARD = 256  # what a forward costs beside its tokens, in tokens


def label_logits(
    model: LanguageModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """What predicts each token of each response: (logits (M, V), row (M,), position (M,)), M the number of their tokens.

    In the order of rows, then of positions, which count from 0. Prompt and response are given apart, so a response is the same ids
    after every prompt; its last token is read by no one. Rows of like length go through the network together, left-padded: the
    short counterfactual rows of a batch are not computed at the width of the factual ones. Carries gradients to the weights.

    Raises UsageError for a row longer than the context, FloatingPointError naming the row of a logit that is not finite.
    """
    rows = [[*prompt, *response[:-1]] for prompt, response in zip(prompts, responses, strict=True)]
    model.check_length(torch.tensor([len(row) * bool(prompt) for row, prompt in zip(rows, prompts, strict=True)]))
    counts = torch.tensor([len(response) for response in responses])
    first = counts.cumsum(0) - counts
    found: list[Tensor] = []
    places: list[Tensor] = []
    for bucket in buckets([len(row) for row in rows]):
        ids, lengths = model.padded([rows[row] for row in bucket])
        own = counts[bucket]
        which, place = torch.arange(len(bucket)).repeat_interleave(own), positions(own)
        found.append(model.hidden(ids, lengths)[which, place - own[which]])
        places.append(first[bucket][which] + place)
    hidden = torch.cat(found)[torch.cat(places).argsort().to(model.device)]
    logits = model.head(hidden)
    row = torch.arange(len(rows)).repeat_interleave(counts)
    _check_finite(logits, row)
    return logits, row.to(model.device), positions(counts).to(model.device)


def positions(counts: Tensor) -> Tensor:
    """0, 1, ... of each run of `counts` (R,), one run after the other, (sum,)."""
    return torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups whose padded size is the least, each group counted as `FORWARD` tokens more."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    least, start_of = np.zeros(len(order) + 1, dtype=np.int64), [0]
    for end in range(1, len(order) + 1):
        costs = least[:end] + np.arange(end, 0, -1) * lengths[order[end - 1]]
        start_of.append(int(costs.argmin()))
        least[end] = costs[start_of[-1]] + FORWARD
    groups: list[list[int]] = []
    end = len(order)
    while end:
        groups.append(order[start_of[end] : end])
        end = start_of[end]
    return groups[::-1]


def _check_finite(logits: Tensor, row: Tensor) -> None:
    bad = (~logits.detach().isfinite().all(dim=1)).nonzero().flatten()
    if len(bad):
        raise FloatingPointError(
            f"a logit of row {int(row[int(bad[0])])} of the batch is not finite: training diverged, or its input is damaged"
        )
