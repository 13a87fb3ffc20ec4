"""Training a multi-task model under a balancer, and the fitted model that comes of it.

    per batch: losses l_k = BCE(logit_k, y_k); gradients as the balancer combines them, plus 2 l2 theta; one Adam step

The looked-up rows of the embedding table are leaves of their own: gradients have the size of what a batch touches. Adam is dense.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core.context import RunContext
from ..core.metrics.classification import auc
from ..core.params import Params, fixed, real
from ..core.task import Impressions, MultiTask, Predictions, View
from ..core.training import Training, early_stopping
from .gradients import Balance, Balancer, balance_gradients, gram_of, refuse_poison, undone
from .multitask import MultiTaskModel
from .multitask_gradients import Batch, losses_of, task_gradients, weighted_gradients
from .optimisers import Adam


class MultiTaskParams(Params):
    """Settings that every row shares: GradCraft's published network and protocol (1.6, 1.7 of its release) and grids."""

    lr: float = real(1e-3, low=1e-3, high=2e-2, log=True, minimum=0.0, grid=(1e-4, 5e-4, 1e-3), help="Adam's learning rate")
    l2: float = real(
        1e-5, low=1e-5, high=3e-4, log=True, minimum=0.0, grid=(1e-6, 1e-5), help="times the sum of squares of embeddings, weights"
    )
    batch_size: int = fixed(2048, minimum=1, help="rows in a step")
    backbone: str = fixed("ple", options=("ple", "mmoe", "shared_bottom"), help="the network")
    dim: int = fixed(16, minimum=1, help="size of an embedding")
    hidden: int = fixed(256, minimum=16, help="units of an expert's first layer; halved twice, towers from an eighth")
    dropout: float = fixed(0.2, minimum=0.0, maximum=0.9, help="after every hidden layer")
    init: str = fixed("released", options=("released", "fan_in"), help="first weights: N(0, .01^2), or N(0, 1 / a layer's inputs)")
    max_epochs: int = fixed(200, minimum=1, help="epochs at most")
    patience: int = fixed(9, minimum=0, help="epochs in a row without a gain that are forgiven")
    adam_steps: str = fixed("one", options=("one", "two"), help="a batch; or a second one for the penalty (released)")
    scope: str = fixed("shared", options=("shared", "all"), help="whose gradients are balanced; all, as released")
    specific: str = fixed("own", options=("own", "weighted"), help="gradient of a task's own parameters; weighted, as released")


Watch = Callable[[Balance], None]
LEAST_GAIN = 1e-5  # of validation AUC: less is none


@dataclass(frozen=True)
class Rows:
    """Impressions as tensors: ids (N, F), dense (N, D), label (N, T)."""

    ids: Tensor
    dense: Tensor
    label: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.ids[rows], self.dense[rows], self.label[rows]


def tensors(columns: Mapping[str, Any], fields: Sequence[str], dense: Sequence[str], rows: int) -> tuple[Tensor, Tensor]:
    """ids (N, F) and dense inputs (N, D) of the named columns."""
    ids = np.stack([columns[name] for name in fields], axis=1)
    numbers = np.stack([columns[name] for name in dense], axis=1) if dense else np.zeros((rows, 0), dtype=np.float32)
    return torch.from_numpy(ids), torch.from_numpy(numbers)


def rows_of(impressions: Impressions, task: MultiTask, tasks: Sequence[str]) -> Rows:
    """The tables of a task for some of its labels."""
    ids, dense = tensors(impressions.inputs, tuple(task.fields), task.dense, len(impressions))
    return Rows(ids, dense, torch.from_numpy(np.stack([impressions.label[name] for name in tasks], axis=1)))


def fit_tasks(
    task: MultiTask, tasks: Sequence[str], params: MultiTaskParams, run: RunContext, balancer: Balancer, watch: Watch | None = None
) -> tuple[MultiTaskModel, Training]:
    """A model for `tasks`, trained until their mean validation AUC stops growing; it ends in its best state.

    watch: is told how each epoch's first batch was balanced.
    """
    model = MultiTaskModel(
        params.backbone,
        tuple(task.fields.values()),
        len(task.dense),
        len(tasks),
        dim=params.dim,
        hidden=params.hidden,
        dropout=params.dropout,
        init=params.init,
        generator=run.generator("init"),
        noise=run.generator("dropout"),
    )
    train, valid = rows_of(task.train, task, tasks), rows_of(task.valid, task, tasks)
    step, shuffle = stepper(model, params, balancer), run.generator("batches")

    def epoch() -> None:
        model.train()
        balancer.new_epoch()
        for number, rows in enumerate(torch.randperm(len(train.ids), generator=shuffle).split(params.batch_size)):
            watched = watch is not None and number == 0
            balance = step(*train.batch(rows), watched)
            if watch is not None and watched:
                watch(balance)

    def score() -> float:
        logits = predict_logits(model, valid.ids, valid.dense).numpy()
        found = [auc(logits[:, k], valid.label[:, k].numpy()) for k in range(len(tasks))]
        return float(np.nanmean(found))  # a task without a positive has no AUC

    def snapshot() -> dict[str, Tensor]:
        return {name: value.clone() for name, value in model.state_dict().items()}

    training = early_stopping(
        *(epoch, score, snapshot, model.load_state_dict, run),
        patience=params.patience,
        max_epochs=params.max_epochs,
        least_gain=LEAST_GAIN,
    )
    return model, training


Step = Callable[[Tensor, Tensor, Tensor, bool], Balance]  # ids (B, F), dense (B, D), label (B, T), whether to look at gradients


def stepper(model: MultiTaskModel, params: MultiTaskParams, balancer: Balancer) -> Step:
    """What one batch does to `model`."""
    decayed, free = model.weights(), model.biases()
    penalty = 0.0 if params.adam_steps == "two" else 2 * params.l2
    optimisers = [(decayed, Adam(decayed, params.lr, penalty)), (free, Adam(free, params.lr))]

    def step(ids: Tensor, dense: Tensor, label: Tensor, look: bool) -> Balance:
        rows, place = model.rows(ids)
        batch = Batch(model.table.detach()[rows], place, dense, label)
        balance, found = balanced(model, batch, balancer, params, look)
        found[model.table] = torch.zeros_like(model.table).index_copy_(0, rows, found[model.table])
        for parameters, optimiser in optimisers:
            optimiser.step([found[each] for each in parameters])
        if params.adam_steps == "two":
            optimisers[0][1].step([2 * params.l2 * each.detach() for each in decayed])
        if balancer.after_step is not None:
            with torch.no_grad():
                after = losses_of(model.heads(model.table[rows][place], dense), label)
            balancer.after_step(after.double())
        return balance

    return step


Gradients = dict[nn.Parameter, Tensor]  # by parameter; of the table, that of the looked-up rows (U, d)


def balanced(
    model: MultiTaskModel, batch: Batch, balancer: Balancer, params: MultiTaskParams, look: bool = False
) -> tuple[Balance, Gradients]:
    """How one step is balanced, and the gradients that come of it.

    look: a balancer that weighs losses has no use for the gradients of single tasks; they are then computed to be looked at.
    """
    reused = balancer.reused() if balancer.needs_gram else None
    if balancer.needs_gram and reused is None:
        return _by_gradients(model, batch, balancer, params)
    gram = gram_of(task_gradients(model, batch).J) if look else None
    leaf = batch.rows.clone().requires_grad_()
    losses = losses_of(model.heads(leaf[batch.place], batch.dense), batch.label)
    values = losses.detach().double()
    refuse_poison("loss", values)
    w = balancer.weigh(values, None) if reused is None else reused
    found = dict(zip(_parameters(model), weighted_gradients(model, losses, leaf, w), strict=True))
    if reused is not None:
        factor = undone(w, params.specific)
        found |= {each: _along_tasks(found[each], factor) for each in model.body.private}
    return Balance(w, None, gram), found


def _by_gradients(model: MultiTaskModel, batch: Batch, balancer: Balancer, params: MultiTaskParams) -> tuple[Balance, Gradients]:
    found, shared = task_gradients(model, batch), model.body.shared
    balance = balance_gradients(balancer, found.losses.double(), found.J, found.own_norms(), params.scope)
    w = balance.weights
    pieces = (w.to(found.J) @ found.J).split([batch.rows.numel(), *(each.numel() for each in shared)])
    combined = [piece.view_as(like) for piece, like in zip(pieces, [batch.rows, *shared], strict=True)]
    own = found.own if params.specific == "own" else [_along_tasks(each, model.tasks * w) for each in found.own]
    return balance, dict(zip(_parameters(model), [*combined, *own], strict=True))


def _parameters(model: MultiTaskModel) -> list[nn.Parameter]:
    return [model.table, *model.body.shared, *model.body.private]


def _along_tasks(gradient: Tensor, factor: Tensor) -> Tensor:
    """Each task's part (T, ...) times its factor (T,)."""
    return gradient * factor.to(gradient).view(-1, *[1] * (gradient.dim() - 1))


@torch.no_grad()
def predict_logits(model: MultiTaskModel, ids: Tensor, dense: Tensor, rows: int = 1 << 14) -> Tensor:
    """Logits (N, T), some rows at a time."""
    model.eval()
    parts = zip(ids.split(rows), dense.split(rows), strict=True)
    return torch.cat([model(*part).T for part in parts])


class FittedMultiTask:
    """Trained models, each for some of the tasks; probabilities by task."""

    def __init__(self, models: Mapping[tuple[str, ...], MultiTaskModel], inputs: Mapping[str, Any]) -> None:
        self.models, self.inputs = dict(models), dict(inputs)

    @classmethod
    def of(cls, models: Mapping[tuple[str, ...], MultiTaskModel], task: MultiTask, params: MultiTaskParams) -> FittedMultiTask:
        built = {name: getattr(params, name) for name in ("backbone", "dim", "hidden", "dropout")}
        return cls(models, {"fields": dict(task.fields), "dense": list(task.dense), **built})

    def predict(self, view: View) -> Predictions:
        """{task: float32 (rows,) probability}."""
        ids, dense = tensors(view.columns, tuple(self.inputs["fields"]), self.inputs["dense"], view.rows)
        found: dict[str, Any] = {}
        for tasks, model in self.models.items():
            chance = predict_logits(model, ids, dense).sigmoid().numpy()
            found |= {name: np.ascontiguousarray(chance[:, k]) for k, name in enumerate(tasks)}
        return found

    def save(self, folder: Path) -> None:
        """Write `models.safetensors` and `models.json` (what to build them into)."""
        folder.mkdir(parents=True, exist_ok=True)
        states = [model.state_dict() for model in self.models.values()]
        named = {f"{k}.{name}": value for k, state in enumerate(states) for name, value in state.items()}
        save_file(named, folder / "models.safetensors")
        (folder / "models.json").write_text(json.dumps({**self.inputs, "tasks": list(self.models)}, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedMultiTask:
        """The inverse of `save`: equal predictions, bit for bit."""
        inputs: dict[str, Any] = json.loads((folder / "models.json").read_text(encoding="utf-8"))
        tasks, tensors_by_name = [tuple(each) for each in inputs.pop("tasks")], load_file(folder / "models.safetensors")
        sizes, settings = tuple(inputs["fields"].values()), {name: inputs[name] for name in ("dim", "hidden", "dropout")}
        models: dict[tuple[str, ...], MultiTaskModel] = {}
        for k, names in enumerate(tasks):
            model = MultiTaskModel(inputs["backbone"], sizes, len(inputs["dense"]), len(names), **settings)
            state = {name.partition(".")[2]: value for name, value in tensors_by_name.items() if name.startswith(f"{k}.")}
            model.load_state_dict(state, assign=True)
            models[names] = model
        return cls(models, inputs)
