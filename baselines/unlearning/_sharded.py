"""What SISA, RecEraser and UltraRE share: shards fixed before the request, one sub-model per shard, one combination of them.

The partition is made on D, the rows as they were before the request, removed ones included: it stands when the request comes. The
request then retrains, from scratch on their retained rows, the shards that hold a removed row; the others keep their sub-model.
That earlier sub-model is trained here too, but on the clock "before_request", which no request pays for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed, real
from ...core.runner import Runner
from ...core.task import Interactions, Predictions, UnlearningTask, View
from ...models.aggregation import AttentionAggregation, LogisticCombination, MeanOfShards
from ...models.matrix_factorization import MatrixFactorization
from ...models.pointwise import FactorParams, build, train
from ...models.shards import Partition, Side

Combination = AttentionAggregation | LogisticCombination | MeanOfShards
COMBINATIONS: dict[str, type[Combination]] = {
    kind.__name__: kind for kind in (AttentionAggregation, LogisticCombination, MeanOfShards)
}


class ShardParams(FactorParams):
    """The base model's settings, which every sub-model inherits, and the number of shards."""

    shards: int = fixed(10, minimum=1, help="shards K")
    shard_epochs: int = fixed(5000, minimum=1, help="epochs of a sub-model at most")


class AttentionParams(ShardParams):
    """Settings of the attention aggregation."""

    aggregator_lr: float = real(
        1.0, low=0.1, high=10.0, log=True, minimum=0.0, grid=(1.0,), help="aggregator's learning rate, as a multiple of lr"
    )
    aggregator_batch: int = fixed(2048, minimum=1, help="rows in a step of the aggregator")


class ShardRunner(Runner):
    """A row whose sub-models are factor models: their combination works on embeddings."""

    task = UnlearningTask

    def cannot(self, task: UnlearningTask) -> str | None:
        if task.backbone not in ("mf", "lightgcn"):
            return f"combines the embeddings of sub-models; {task.backbone} scores pairs otherwise"
        return None


def ends(original: MatrixFactorization, interactions: Interactions) -> list[Side]:
    """The rows' user and item ends on Original's embeddings, for clustering. They have seen the rows to be removed."""
    with torch.no_grad():
        table = original.propagate(original.embeddings).cpu().numpy()
    return [(table[: original.users], interactions.user), (table[original.users :], interactions.item)]


def train_shards(task: UnlearningTask, partition: Partition, params: ShardParams, run: RunContext) -> Tensor:
    """The sub-models after the request, as their scored embeddings (K, users + items, d).

    Notes: `shards_retrained`, and `shard_epochs` over all sub-models. Sub-model k draws from its own seed streams, and depends on
    the rows of shard k only.
    """
    hit = np.unique(partition[task.removed])
    tables: list[Tensor] = []
    epochs = 0
    for k in range(params.shards):
        rows = partition == k
        with run.clock("shards" if k in hit else "before_request"):
            table, trained = train_shard(k, task.train[rows & ~task.removed], task, params, run)
        tables.append(table)
        epochs += trained
        run.progress(k + 1)
    run.note("shards_retrained", len(hit))
    run.note("shard_epochs", epochs)
    return torch.stack(tables)


def train_shard(k: int, rows: Interactions, task: UnlearningTask, params: ShardParams, run: RunContext) -> tuple[Tensor, int]:
    """Sub-model k on `rows` alone, stopped early on all of valid: its scored embeddings, and the epochs it took.

    A shard that lost every row keeps its untrained embeddings.
    """
    model = build(task.backbone, rows, params, run.generator(f"shard {k} init"))
    assert isinstance(model, MatrixFactorization)  # by `cannot`
    capped = params.model_copy(update={"max_epochs": params.shard_epochs})
    quiet = replace(run, listener=_unheard)
    epochs = train(model, rows, task.valid, capped, quiet, stream=f"shard {k} batches").epochs if len(rows) else 0
    with torch.no_grad():
        return model.propagate(model.embeddings).clone(), epochs


def _unheard(step: int, value: float | None) -> None:
    """A sub-model's AUC is not the row's: nobody should judge the row by it."""


def aggregate(tables: Tensor, task: UnlearningTask, params: AttentionParams, run: RunContext) -> AttentionAggregation:
    """The attention aggregation, trained on the retained rows with the sub-models frozen and stopped early."""
    combination = AttentionAggregation(tables, task.train.users, run.generator("aggregator init"))
    settings = FactorParams(
        lr=params.lr * params.aggregator_lr,
        l2=0.0,
        batch_size=params.aggregator_batch,
        max_epochs=params.max_epochs,
        patience=params.patience,
    )
    after_shards = replace(run, listener=lambda step, value: run.listener(params.shards + step, value))
    training = train(combination, task.retained, task.valid, settings, after_shards, stream="aggregator batches")
    run.note("aggregator_epochs", training.epochs)
    return combination


class ShardedFitted:
    """Sub-models and their combination; scores are logits."""

    def __init__(self, combination: Combination, partition: Partition) -> None:
        self.combination, self.partition = combination, partition

    def predict(self, view: View) -> Predictions:
        """{"score": float32 (rows,)} for the view's columns "user" and "item"."""
        device = self.combination.tables.device
        with torch.no_grad():
            score = self.combination(_tensor(view.columns["user"], device), _tensor(view.columns["item"], device))
        return {"score": score.float().cpu().numpy()}

    def save(self, folder: Path) -> None:
        """Write `shards.safetensors` (sub-models, combination, partition) and `shards.json` (which combination)."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"combination.{name}": value.contiguous() for name, value in self.combination.state_dict().items()}
        state |= {"tables": self.combination.tables.contiguous(), "partition": torch.tensor(self.partition)}
        save_file(state, folder / "shards.safetensors")
        config = {"combination": type(self.combination).__name__, "users": self.combination.users}
        (folder / "shards.json").write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ShardedFitted:
        """The inverse of `save`: equal predictions, bit for bit."""
        config: dict[str, Any] = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
        state = load_file(folder / "shards.safetensors")
        combination = COMBINATIONS[config["combination"]](state.pop("tables"), config["users"])
        partition = state.pop("partition").numpy()
        combination.load_state_dict({name.removeprefix("combination."): value for name, value in state.items()})
        return cls(combination, partition)


def _tensor(column: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.tensor(column, device=device)
