"""Tuning a language model on (history, next title) rows: the one loop of every row that learns to generate titles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.context import RunContext
from ...core.training import Training, early_stopping
from .labels import label_logits, positions
from .model import LanguageModel
from .params import TuningParams
from .title_loss import TitleLoss
from .title_rows import TitleRows

VALID_ROWS = 256  # of a pass


def loss_parts(model: LanguageModel, rows: TitleRows, loss: TitleLoss, counterfactual: bool) -> tuple[Tensor, Tensor]:
    """(sum_t w_t l_t, sum_t w_t) over the rows' tokens; the short counterfactual rows are read in the same call.

    counterfactual: False reads no x_0 and gives the sum of the factual loss alone, as validation does.
    """
    prompts, responses, kept = list(rows.factual), list(rows.response), range(0)
    if counterfactual:
        shared = {(tuple(x_0), tuple(y)): k for k, (x_0, y) in enumerate(zip(rows.counterfactual, rows.response, strict=True))}
        kept = sorted(shared.values())  # rows with the same x_0 and title share one
        prompts += [rows.counterfactual[k] for k in kept]
        responses += [rows.response[k] for k in kept]
    logits, _, position = label_logits(model, prompts, responses)
    count = _lengths(rows.response)
    length = count.repeat_interleave(count)
    target = torch.tensor([token for y in rows.response for token in y])
    length, target = length.to(logits.device), target.to(logits.device)
    a, b = logits[: len(target)], None
    if counterfactual:
        b = logits[len(target) :][_places(rows, kept).to(logits.device)]
    w = loss.weights(position[: len(target)], length, target)
    return (w.to(a) * loss.each(a, b, target)).sum(), w.sum()


def _places(rows: TitleRows, kept: Sequence[int]) -> Tensor:
    """Where the tokens of each row stand among those of the rows that are read without a history."""
    first = dict[tuple[tuple[int, ...], tuple[int, ...]], int]()
    start = 0
    for k in kept:
        first[tuple(rows.counterfactual[k]), tuple(rows.response[k])] = start
        start += len(rows.response[k])
    starts = [first[tuple(x_0), tuple(y)] for x_0, y in zip(rows.counterfactual, rows.response, strict=True)]
    count = _lengths(rows.response)
    return torch.tensor(starts).repeat_interleave(count) + positions(count)


def _lengths(responses: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([len(response) for response in responses])


class Tuning:
    """AdamW on one loss. `epoch` takes the next pass over the rows, or what is left of `params.epochs`."""

    def __init__(self, model: LanguageModel, rows: TitleRows, loss: TitleLoss, params: TuningParams, run: RunContext) -> None:
        self.model, self.rows, self.loss, self.params = model, rows, loss, params
        self.trained = [each for each in model.network.parameters() if each.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, params.lr, weight_decay=params.weight_decay)
        self.shuffle = run.generator("batches")
        self.an_epoch = math.ceil(len(rows) / params.batch_size)
        self.steps = max(1, round(params.epochs * self.an_epoch))
        self.done = 0

    def epoch(self) -> None:
        self.model.network.train()
        for rows in torch.randperm(len(self.rows), generator=self.shuffle).split(self.params.batch_size):
            if self.done < self.steps:
                self.step(self.rows[rows.tolist()])
        self.model.network.eval()

    def step(self, rows: TitleRows) -> None:
        """One step of AdamW."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.params.lr * self._pace()
        self.optimiser.zero_grad()
        self.backward(rows)
        self.optimiser.step()
        self.done += 1

    def backward(self, rows: TitleRows) -> None:
        """Fill .grad with the gradient of the batch's loss, some rows at a time."""
        size = self.params.micro_batch or len(rows)
        parts = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        whole = self._weight(rows) if self.params.denominator == "batch" else None
        for part in parts:
            found, weight = loss_parts(self.model, rows[part], self.loss, self.loss.counterfactual)
            (found / (weight * len(parts) if whole is None else whole).to(found)).backward()

    def _weight(self, rows: TitleRows) -> Tensor:
        """sum_t w_t of all rows of a step."""
        count = _lengths(rows.response)
        target = torch.tensor([token for y in rows.response for token in y])
        return self.loss.weights(positions(count), count.repeat_interleave(count), target).sum()

    def _pace(self) -> float:
        """Up in a line through the warm-up, then down in a line to 0 behind the last step."""
        warmup = min(self.params.warmup, self.steps - 1)
        if self.done < warmup:
            return (self.done + 1) / (warmup + 1)
        return (self.steps - self.done) / (self.steps - warmup)


@torch.no_grad()
def factual_loss(model: LanguageModel, rows: TitleRows, loss: TitleLoss) -> float:
    """L_n of rows: the loss's weights on plain cross-entropy, whatever else it learns by (as released)."""
    total, weight = 0.0, 0.0
    for start in range(0, len(rows), VALID_ROWS):
        part = range(start, min(start + VALID_ROWS, len(rows)))
        found, of = loss_parts(model, rows[part], loss, counterfactual=False)
        total, weight = total + float(found), weight + float(of)
    return total / weight


def tune(
    model: LanguageModel, train: TitleRows, valid: TitleRows, loss: TitleLoss, params: TuningParams, run: RunContext
) -> Training:
    """Tune `model` in place, and leave it at its best epoch. Raises FloatingPointError where the loss leaves the numbers."""
    tuning = Tuning(model, train, loss, params, run)
    weights = dict(model.network.named_parameters())

    def snapshot() -> dict[str, Tensor]:
        return {name: each.detach().clone() for name, each in weights.items() if each.requires_grad}

    @torch.no_grad()
    def restore(state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            weights[name].copy_(value)

    training = early_stopping(
        tuning.epoch,
        lambda: -factual_loss(model, valid, loss),
        snapshot,
        restore,
        run,
        patience=params.patience,
        max_epochs=math.ceil(params.epochs),
    )
    run.note("best_epoch", training.best_epoch)
    run.note("epochs", training.epochs)
    run.note("valid_loss", -training.best_score)
    return training
