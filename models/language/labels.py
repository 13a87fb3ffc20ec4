"""Logits where a response is learned and nowhere else: its tokens are few beside those of its prompt, and the head is wide."""

from __future__ import annotations

from collections.abc import Sequence

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
    found: list[Tensor] = []
    places: list[Tensor] = []
    for bucket in buckets([len(row) for row in rows]):
        ids, lengths = model.padded([rows[row] for row in bucket])
        back = torch.cat([torch.arange(-len(responses[row]), 0) for row in bucket])
        which = torch.arange(len(bucket)).repeat_interleave(counts[bucket])
        found.append(model.hidden(ids, lengths)[which, back])
        places.append(torch.cat([torch.arange(len(responses[row])) + int(counts[:row].sum()) for row in bucket]))
    hidden = torch.cat(found)[torch.cat(places).argsort().to(model.device)]
    logits = model.head(hidden)
    row = torch.arange(len(rows)).repeat_interleave(counts)
    position = torch.cat([torch.arange(len(response)) for response in responses])
    _check_finite(logits, row)
    return logits, row.to(model.device), position.to(model.device)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups whose padded size is the least, each group counted as `FORWARD` tokens more."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    least, start_of = [0.0], [0]
    for end in range(1, len(order) + 1):
        width = lengths[order[end - 1]]
        costs = [least[start] + (end - start) * width + FORWARD for start in range(end)]
        least.append(min(costs))
        start_of.append(costs.index(least[-1]))
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
