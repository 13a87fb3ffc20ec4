"""The models that a pointwise task can train, by name, and the hyperparameters they share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..core.errors import unknown
from ..core.params import Params, choice, fixed, real
from ..core.task import Interactions
from .fm import FactorizationMachine
from .lightgcn import LightGCN, normalised_adjacency
from .matrix_factorization import MatrixFactorization
from .neumf import NeuMF


class FactorParams(Params):
    """Settings of a trained recommender: the published ones (dense Adam, batch 2048, patience 10) and the published grids.

    Objective: mean over rows of BCE(logit, label) + (l2 / 2) ||theta||^2, over all parameters (l2 = 0 as released).
    """

    lr: float = real(3e-3, low=1e-3, high=3e-2, log=True, minimum=0.0, grid=(1e-2, 1e-3, 1e-4), help="Adam's learning rate")
    dim: int = choice(32, 48, 64, also=(4, 8, 16, 128), grid=(32, 48, 64), help="size of an embedding")
    init_std: float = real(
        1e-2, low=1e-3, high=3e-2, log=True, minimum=0.0, grid=(1e-2, 1e-3, 1e-4), help="standard deviation of the first embeddings"
    )
    l2: float = real(
        3e-5, low=1e-6, high=1e-4, log=True, minimum=0.0, grid=(0.0,), help="weight of the L2 penalty, mean-loss scale"
    )
    batch_size: int = fixed(2048, minimum=1, help="rows in a step")
    max_epochs: int = fixed(5000, minimum=1, help="epochs at most")
    patience: int = fixed(10, minimum=0, help="epochs in a row without a gain that are forgiven")
    optimiser: str = fixed("adam", options=("adam", "row_sparse_adam"), help="dense Adam, or Adam on the touched rows only")
    layers: int = fixed(1, minimum=0, help="graph layers (lightgcn)")


def _lightgcn(data: Interactions, params: FactorParams, generator: torch.Generator) -> LightGCN:
    positive = data.label == 1
    graph = normalised_adjacency(data.user[positive], data.item[positive], data.users, data.items)
    return LightGCN(data.users, data.items, params.dim, graph, params.layers, params.init_std, generator)


Build = Callable[[Interactions, FactorParams, torch.Generator], nn.Module]

BACKBONES: dict[str, Build] = {
    "mf": lambda data, p, generator: MatrixFactorization(data.users, data.items, p.dim, p.init_std, generator),
    "lightgcn": _lightgcn,
    "neumf": lambda data, p, generator: NeuMF(data.users, data.items, p.dim, p.init_std, generator),
    "fm": lambda data, p, generator: FactorizationMachine(data.users, data.items, p.dim, p.init_std, generator),
}


def build(backbone: str, interactions: Interactions, params: FactorParams, generator: torch.Generator) -> nn.Module:
    """An untrained model for the users and items of `interactions`; a graph model's edges are its rows with label 1."""
    if backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    return BACKBONES[backbone](interactions, params, generator)
