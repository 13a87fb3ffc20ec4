"""Training on labelled (user, item) rows, and the fitted model that comes of it.

    theta = argmin (1/N) sum over rows of BCE(s_ui, y) + (l2 / 2) ||theta||^2, early-stopped on validation AUC

Factor models (the score is <p_u, q_i> on embeddings that `propagate` maps linearly) take their gradient in closed form; any other
module goes through autograd.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..core.context import RunContext
from ..core.errors import UsageError
from ..core.metrics.classification import auc
from ..core.task import Interactions, Predictions, View
from ..core.training import Training, early_stopping
from .backbones import FactorParams, build
from .matrix_factorization import MatrixFactorization
from .optimisers import Adam, RowSparseAdam

__all__ = ["FactorParams", "FittedFactors", "Training", "build", "fit_factors", "stepper", "train"]

Step = Callable[[Tensor, Tensor, Tensor], None]  # user (B,), item (B,), label (B,)


def train(
    model: nn.Module,
    interactions: Interactions,
    valid: Interactions,
    params: FactorParams,
    run: RunContext,
    stream: str = "batches",
) -> Training:
    """Train `model` in place on `interactions` until validation AUC stops growing; it ends in its best state.

    Rows are shuffled anew every epoch, from the seed stream `stream`.
    """
    if not len(interactions) or not len(valid):
        raise UsageError(f"training needs rows to learn from and to validate on: got {len(interactions)} and {len(valid)}")
    device = torch.device(run.device)
    model.to(device)
    user, item = _tensor(interactions.user, device), _tensor(interactions.item, device)
    label = _tensor(interactions.label, device)
    valid_user, valid_item = _tensor(valid.user, device), _tensor(valid.item, device)
    generator = run.generator(stream)
    step = stepper(model, params)

    def epoch() -> None:
        order = torch.randperm(len(interactions), generator=generator).to(device)
        shuffled = (column[order].split(params.batch_size) for column in (user, item, label))
        for batch in zip(*shuffled, strict=True):
            step(*batch)

    def score() -> float:
        with torch.no_grad():
            scores = model(valid_user, valid_item).cpu().numpy()
        if not np.isfinite(scores).all():
            raise FloatingPointError("training diverged: a validation score is not finite; lower lr")
        return auc(scores, valid.label)

    def snapshot() -> dict[str, Tensor]:
        return {name: value.clone() for name, value in model.state_dict().items()}

    return early_stopping(
        epoch, score, snapshot, model.load_state_dict, run, patience=params.patience, max_epochs=params.max_epochs
    )


def fit_factors(
    backbone: str, interactions: Interactions, valid: Interactions, params: FactorParams, run: RunContext
) -> tuple[FittedFactors, Training]:
    """Build and train from scratch, on the seed streams "init" and "batches"; a graph is made of these `interactions` alone."""
    model = build(backbone, interactions, params, run.generator("init"))
    training = train(model, interactions, valid, params, run)
    return FittedFactors(model, params, backbone), training


def stepper(model: nn.Module, params: FactorParams) -> Step:
    """What one batch does to `model`."""
    if params.optimiser == "row_sparse_adam":
        if type(model) is not MatrixFactorization:
            raise UsageError(
                "optimiser='row_sparse_adam' needs the backbone mf: a batch touches every parameter of the others; use 'adam'"
            )
        return _row_sparse_step(model, params)
    if isinstance(model, MatrixFactorization):
        return _closed_form_step(model, params)
    return _autograd_step(model, params)


def factor_gradients(final: Tensor, nodes: Tensor, label: Tensor) -> Tensor:
    """d mean BCE / d e_v for the two ends of each row, (2B, d), users first.

    final: (n, d) scored embeddings; nodes: (2B,), the B users, then the B items as nodes; label: (B,).
    """
    p, q = final.index_select(0, nodes).chunk(2)
    r = ((p * q).sum(1).sigmoid_() - label).div_(len(label)).unsqueeze(1)
    return torch.cat([r * q, r * p])


def _closed_form_step(model: MatrixFactorization, params: FactorParams) -> Step:
    """E <- Adam(P g(P E) + l2 E): P = `propagate` is symmetric, so it also takes the gradient back to the raw embeddings."""
    table = model.embeddings.data
    optimiser = Adam([table], params.lr, params.l2)

    @torch.no_grad()
    def step(user: Tensor, item: Tensor, label: Tensor) -> None:
        nodes = torch.cat([user, model.users + item])
        at_ends = factor_gradients(model.propagate(table), nodes, label)
        optimiser.step([model.propagate(torch.zeros_like(table).index_add_(0, nodes, at_ends))])

    return step


def _row_sparse_step(model: MatrixFactorization, params: FactorParams) -> Step:
    """The same gradient, gathered and applied at the rows of the batch only: a step's cost does not grow with the table."""
    table = model.embeddings.data
    optimiser = RowSparseAdam(table, params.lr, params.l2)

    @torch.no_grad()
    def step(user: Tensor, item: Tensor, label: Tensor) -> None:
        nodes = torch.cat([user, model.users + item])
        rows, place = torch.unique(nodes, return_inverse=True)
        at_ends = factor_gradients(table, nodes, label)
        optimiser.step(rows, table.new_zeros(len(rows), table.shape[1]).index_add_(0, place, at_ends))

    return step


def _autograd_step(model: nn.Module, params: FactorParams) -> Step:
    parameters = list(model.parameters())
    optimiser = Adam(parameters, params.lr, params.l2)

    def step(user: Tensor, item: Tensor, label: Tensor) -> None:
        optimiser.step(torch.autograd.grad(binary_cross_entropy_with_logits(model(user, item), label), parameters))

    return step


def _tensor(column: NDArray[np.generic], device: torch.device | str = "cpu") -> Tensor:
    """A copy: the tables of a task are read-only, and torch has no read-only tensors."""
    return torch.tensor(column, device=device)


class FittedFactors:
    """A trained model of a named backbone; scores are logits. Saved with its graph, so `load` needs nothing else."""

    def __init__(self, model: nn.Module, params: FactorParams, backbone: str) -> None:
        self.model, self.params, self.backbone = model, params, backbone

    def predict(self, view: View) -> Predictions:
        """{"score": float32 (rows,)} for the view's columns "user" and "item"."""
        device = next(self.model.parameters()).device
        with torch.no_grad():
            score = self.model(_tensor(view.columns["user"], device), _tensor(view.columns["item"], device))
        return {"score": score.float().cpu().numpy()}

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` (parameters and buffers) and `model.json` (what to build them into)."""
        folder.mkdir(parents=True, exist_ok=True)
        params = {name: getattr(self.params, name) for name in FactorParams.model_fields}
        config = {"backbone": self.backbone, "users": self.model.users, "items": self.model.items, "params": params}
        save_file({name: value.detach().contiguous() for name, value in _tensors(self.model).items()}, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedFactors:
        """The inverse of `save`: equal predictions, bit for bit. Parameters come back as plain `FactorParams`."""
        config: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        params = FactorParams.resolve(config["params"])
        none = np.zeros(0, dtype=np.int64)
        empty = Interactions(none, none, none.astype(np.float32), config["users"], config["items"])
        model = build(config["backbone"], empty, params, torch.Generator())
        tensors = load_file(folder / "model.safetensors")
        for name, old in _tensors(model).items():
            # A clone, because matrix products round by how memory is aligned; not copied into place, for a graph has its own size.
            old.data = tensors[name].clone()
        return cls(model, params, config["backbone"])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, the graph's included (which is no part of `state_dict`)."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
