"""Training a watch-time network on a target: the same for every row, so that rows differ in their labels alone.

    loss = target.loss(watch, labels) + lam mean_k BCE(logit_k, y_k) - adversary duration_error + l2 theta^2;  one Adam step each

Stops early by the GAUC of the predicted seconds on valid. The looked-up rows of the table are a leaf of their own, added to the
table's gradient by one indexed sum: autograd's own gradient of a lookup costs as much as a third of a small network's step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..core.context import RunContext
from ..core.metrics.watch_time import xgauc
from ..core.params import Params, fixed, real
from ..core.task import Watched, WatchTime
from ..core.training import Training, early_stopping
from .optimisers import Adam
from .watch_network import BACKBONES, Heads, WatchNetwork, duration_error
from .watch_target import Target

LEAST_GAIN = 1e-5  # of valid GAUC: less is none
DURATION = "duration_bucket"  # the field that an adversary must not find among the inputs


class WatchTimeParams(Params):
    """Settings that every row shares. Ours throughout: the paper gives none of them."""

    lr: float = real(3e-3, low=1e-3, high=2e-2, log=True, minimum=0.0, help="Adam's learning rate")
    l2: float = real(1e-4, low=1e-6, high=1e-3, log=True, minimum=0.0, help="times the sum of squares of embeddings, weights")
    lam: float = real(1.0, low=0.1, high=3.0, log=True, minimum=0.0, help="weight of the mean of binary cross-entropies")
    batch_size: int = fixed(2048, minimum=1, help="rows in a step")
    backbone: str = fixed("mmoe", options=tuple(BACKBONES), help="the network")
    dim: int = fixed(16, minimum=1, help="size of an embedding")
    hidden: int = fixed(128, minimum=8, help="units of an expert's first layer; half as many in its second, and in a tower")
    dropout: float = fixed(0.0, minimum=0.0, maximum=0.9, help="after every hidden layer")
    max_epochs: int = fixed(100, minimum=1, help="epochs at most")
    patience: int = fixed(5, minimum=0, help="epochs in a row without a gain that are forgiven")


@dataclass(frozen=True)
class Inputs:
    """fields: categorical inputs with the size of their vocabulary; dense: numeric ones."""

    fields: Mapping[str, int]
    dense: tuple[str, ...]

    @classmethod
    def of(cls, task: WatchTime, target: Target) -> Inputs:
        """A task's, without the duration where the target has an adversary."""
        fields = {name: size for name, size in task.fields.items() if not (target.adversary and name == DURATION)}
        return cls(fields, task.dense)

    def tensors(self, columns: Mapping[str, Any], rows: int) -> tuple[Tensor, Tensor]:
        """ids (N, F) and dense inputs (N, D)."""
        ids = np.stack([columns[name] for name in self.fields], axis=1)
        dense = np.stack([columns[name] for name in self.dense], axis=1) if self.dense else np.zeros((rows, 0), dtype=np.float32)
        return torch.from_numpy(ids), torch.from_numpy(dense)


@dataclass(frozen=True)
class Learned:
    """What a step looks at: ids (N, F), dense (N, D), labels (N, L), binary (N, M), duration (N,) in train's standard units."""

    ids: Tensor
    dense: Tensor
    labels: Tensor
    binary: Tensor
    duration: Tensor

    @classmethod
    def of(cls, task: WatchTime, target: Target, inputs: Inputs) -> Learned:
        """The train rows of a task, labelled once."""
        rows = task.train
        feedback = [rows.label[name][:, None] for name in task.feedback]
        binary = np.concatenate([target.binary_labels(rows), *feedback], axis=1).astype(np.float32)
        duration = rows.duration.astype(np.float64)
        standard = ((duration - duration.mean()) / (duration.std() or 1.0)).astype(np.float32)
        return cls(*inputs.tensors(rows.inputs, len(rows)), *map(torch.tensor, (target.labels(rows), binary, standard)))

    def batches(self, order: Tensor, size: int) -> list[Learned]:
        """Every row once, in this order; one gather a column, for many small ones cost more than a step's arithmetic."""
        columns = [each[order].split(size) for each in (self.ids, self.dense, self.labels, self.binary, self.duration)]
        return [Learned(*each) for each in zip(*columns, strict=True)]


def fit_watch(task: WatchTime, target: Target, params: WatchTimeParams, run: RunContext) -> tuple[WatchNetwork, Training]:
    """A network for `target`, trained until its GAUC on valid stops growing; it ends in its best state.

    Notes best_epoch, epochs and rows_to_99: the train rows seen until valid's GAUC g had first made 99 % of its way from 1/2 to
    its best, linear within an epoch, from 1/2 before the first. Raises FloatingPointError where training diverges.
    """
    inputs = Inputs.of(task, target)
    learned = Learned.of(task, target, inputs)
    network = WatchNetwork(
        params.backbone,
        tuple(inputs.fields.values()),
        len(inputs.dense),
        target.outputs,
        learned.binary.shape[1],
        dim=params.dim,
        hidden=params.hidden,
        dropout=params.dropout,
        generator=run.generator("init"),
        noise=run.generator("dropout"),
    )
    network.expect(learned.binary.mean(0))
    step, shuffle = stepper(network, target, params), run.generator("batches")
    valid, known, curve = inputs.tensors(task.valid.inputs, len(task.valid)), known_users(task.valid), [0.5]

    def epoch() -> None:
        network.train()
        order = torch.randperm(len(learned.ids), generator=shuffle)
        for batch in learned.batches(order, params.batch_size):
            step(batch)

    def score() -> float:
        seconds = target.seconds(outputs_of(network, *valid)[0], task.valid.duration)
        if not np.isfinite(seconds).all():
            return float("nan")  # which ends the training, as diverged
        curve.append(xgauc(seconds[known], task.valid.watch_time[known], task.valid.inputs["user_id"][known]))
        return curve[-1]

    def snapshot() -> dict[str, Tensor]:
        return {name: value.clone() for name, value in network.state_dict().items()}

    training = early_stopping(
        *(epoch, score, snapshot, network.load_state_dict, run),
        patience=params.patience,
        max_epochs=params.max_epochs,
        least_gain=LEAST_GAIN,
    )
    run.note("best_epoch", training.best_epoch)
    run.note("epochs", training.epochs)
    run.note("rows_to_99", len(task.train) * epochs_to(0.99, curve))
    return network, training


def known_users(rows: Watched) -> NDArray[np.bool_]:
    """Rows of users that train has: the others share id 0, and are no group."""
    return rows.inputs["user_id"] > 0


def epochs_to(share: float, curve: list[float]) -> float:
    """When a curve that starts at 1/2 first makes this share of its way to its best, linear between epochs; 0 if it never rises."""
    aim = 0.5 + share * (max(curve) - 0.5)
    reached = next(epoch for epoch, value in enumerate(curve) if value >= aim)
    if reached == 0:
        return 0.0
    before, after = curve[reached - 1], curve[reached]
    return reached - 1 + (aim - before) / (after - before)


Step = Callable[[Learned], None]  # of a batch


def stepper(network: WatchNetwork, target: Target, params: WatchTimeParams) -> Step:
    """What one batch does to the network."""
    weights, biases = network.weights(), network.biases()
    decayed, free = Adam(weights, params.lr, 2 * params.l2), Adam(biases, params.lr)

    def step(batch: Learned) -> None:
        places = network.places(batch.ids)
        leaf = network.table.detach().index_select(0, places).requires_grad_()
        loss = loss_of(network.heads(leaf, batch.dense), batch, target, params.lam)
        at_leaf, *found = torch.autograd.grad(loss, [leaf, *weights[1:], *biases], materialize_grads=True)
        at_table = torch.zeros_like(network.table).index_add_(0, places, at_leaf)
        decayed.step([at_table, *found[: len(weights) - 1]])
        free.step(found[len(weights) - 1 :])

    return step


def loss_of(heads: Heads, batch: Learned, target: Target, lam: float) -> Tensor:
    """The loss of a batch, without the penalty."""
    loss = target.loss(heads.watch, batch.labels)
    if batch.binary.shape[1]:
        loss = loss + lam * binary_cross_entropy_with_logits(heads.logits, batch.binary)
    if target.adversary:
        loss = loss - target.adversary * duration_error(heads.hidden, batch.duration)
    return loss


@torch.no_grad()
def outputs_of(
    network: WatchNetwork, ids: Tensor, dense: Tensor, rows: int = 1 << 12
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The watch head's outputs (N, outputs) and the binary heads' logits (N, M), some rows at a time."""
    network.eval()
    parts = [network(*part) for part in zip(ids.split(rows), dense.split(rows), strict=True)]
    return torch.cat([part.watch for part in parts]).numpy(), torch.cat([part.logits for part in parts]).numpy()
