"""AlphaRec: a small map of frozen title vectors, averaged over the graph of who took what; no item has an embedding of its own.

    z_i = f(t_i),  z_u = f(mean of t_i over u's items)        f: linear, leaky ReLU, linear
    e = mean_{k=0..2} A^k z                                   A = D^-1/2 (user-item graph) D^-1/2, LightGCN's
    loss = -log( exp(cos(e_u, e_y) / tau) / (exp(cos(e_u, e_y) / tau) + sum over 256 drawn j of exp(cos(e_u, e_j) / tau)) )

A row's user is a node of its own, whose items are those of the row's history: so train and test are treated alike, and a user whom
train does not know is scored like any other. The paper's vectors come from a large language model; ours are hashed words and letter
trigrams (title_vectors.py), since no encoder can be counted on to be at hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from ...core.context import RunContext
from ...core.params import choice, fixed
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, Sequences, View
from ...models.sequential import Layer
from ...models.sequential_training import LoopParams, train_rows, windows
from .histories import taken
from .title_vectors import title_vectors

AT_ONCE = 1024  # rows that are scored together


class AlphaRecParams(LoopParams):
    """Layers, tau and negatives of its paper."""

    tau: float = choice(0.15, 0.2, grid=(0.15, 0.2), help="temperature")
    negatives: int = fixed(256, minimum=1, help="items drawn for a row")
    dim: int = fixed(64, minimum=1, help="of an embedding")
    words: int = fixed(64, minimum=1, help="dimensions of a title's vector")
    layers: int = fixed(2, minimum=0, help="averages over the graph")
    length: int = fixed(10, minimum=1, help="latest items of a history that are looked at")
    batch_size: int = fixed(256, minimum=1, help="rows in a step")


@dataclass(frozen=True)
class Graph:
    """Users of train and items: to_user sums over a user's items (U, I + 1), to_item over an item's users; edge 1 / sqrt(d_u d_i).

    scale: 1 / sqrt(d_i), (I + 1,), 0 for an item without users; taste: mean title vector of each user, (U, words).
    """

    to_user: Tensor
    to_item: Tensor
    scale: Tensor
    taste: Tensor

    @classmethod
    def of(cls, rows: Sequences, titles: NDArray[np.float32]) -> Graph:
        found = taken(rows, len(titles) - 1)
        users, items = (np.asarray(found.sum(axis=axis)).ravel() for axis in (1, 0))
        scale = np.where(items > 0, np.maximum(items, 1) ** -0.5, 0.0)
        edges = csr_array(found.multiply(users[:, None] ** -0.5).multiply(scale[None]))
        taste = (found @ titles) / users[:, None]
        return cls(
            sparse(edges), sparse(csr_array(edges.T)), *(torch.from_numpy(each.astype(np.float32)) for each in (scale, taste))
        )


def sparse(matrix: csr_array) -> Tensor:
    """As a torch tensor that a dense one can be multiplied with, forwards and backwards.

    >>> (sparse(csr_array([[0.0, 2.0]])) @ torch.ones(2, 1)).tolist()
    [[2.0]]
    """
    whole = matrix.tocoo()
    places = torch.from_numpy(np.stack([whole.row, whole.col]).astype(np.int64))
    values = torch.from_numpy(whole.data.astype(np.float32))
    return torch.sparse_coo_tensor(places, values, matrix.shape, check_invariants=False).coalesce()


class TitleMap(nn.Module):
    """f, from title vectors (..., words) to (..., dim)."""

    def __init__(self, words: int, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.first, self.second = Layer(words, dim), Layer(dim, dim)
        with torch.no_grad():
            for layer in (self.first, self.second):
                nn.init.xavier_normal_(layer.weight, generator=generator)
                layer.bias.zero_()

    def forward(self, titles: Tensor) -> Tensor:
        return self.second(leaky_relu(self.first(titles)))


def item_layers(network: TitleMap, titles: Tensor, graph: Graph, layers: int) -> list[Tensor]:
    """A^k z at the items, (I + 1, dim) for k = 0..layers.

    >>> titles = torch.eye(2)
    >>> graph = Graph(taste=titles, to_item=sparse(csr_array(np.eye(2))), to_user=sparse(csr_array(np.eye(2))), scale=torch.ones(2))
    >>> [layer.tolist() for layer in item_layers(nn.Identity(), titles, graph, layers=1)]
    [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]
    """
    user, found = network(graph.taste), [network(titles)]
    for _ in range(layers):
        item = torch.sparse.mm(graph.to_item, user)
        user = torch.sparse.mm(graph.to_user, found[-1])
        found.append(item)
    return found


def row_users(network: TitleMap, titles: Tensor, scale: Tensor, found: list[Tensor], history: Tensor) -> Tensor:
    """e of the users (B, dim) whose items are those of histories (B, L).

    >>> titles = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # of no item, and of items 1 and 2
    >>> row_users(nn.Identity(), titles, torch.ones(3), [titles], torch.tensor([[0, 1], [1, 2]])).tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    known = (history > 0).float()
    count = known.sum(1, keepdim=True).clamp(min=1)
    taste = (titles[history] * known[:, :, None]).sum(1) / count
    edge = known * scale[history] / count.sqrt()
    below = torch.stack(found[:-1]).sum(0) if len(found) > 1 else torch.zeros_like(found[0])
    return (network(taste) + (edge[:, :, None] * below[history]).sum(1)) / len(found)


@dataclass(frozen=True)
class FittedAlphaRec:
    """network: f; titles: (I + 1, words); scale: 1 / sqrt(d_i), (I + 1,); found: A^k z at the items."""

    network: TitleMap
    titles: Tensor
    scale: Tensor
    found: list[Tensor]
    length: int

    @torch.no_grad()
    def scores(self, history: NDArray[Any]) -> NDArray[np.float32]:
        """Cosines (N, items + 1) for histories (N, H); 0 behind a history without any item."""
        items, parts = normalize(torch.stack(self.found).mean(0)), []
        for part in windows(history, self.length).split(AT_ONCE):
            users = normalize(row_users(self.network, self.titles, self.scale, self.found, part))
            parts.append((users @ items.T) * (part[:, -1:] > 0))
        return torch.cat(parts).numpy()

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}, cosines."""
        return {"score": self.scores(view.columns["history"])}

    def save(self, folder: Path) -> None:
        """Write `alpha_rec.safetensors` and `alpha_rec.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"titles": self.titles, "scale": self.scale, "found": torch.stack(self.found), **self.network.state_dict()}
        save_file(arrays, folder / "alpha_rec.safetensors")
        (folder / "alpha_rec.json").write_text(json.dumps({"length": self.length}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedAlphaRec:
        """The inverse of `save`: equal predictions, bit for bit."""
        arrays = load_file(folder / "alpha_rec.safetensors")
        titles, scale, found = (arrays.pop(name) for name in ("titles", "scale", "found"))
        network = TitleMap(titles.shape[1], found.shape[2])
        network.load_state_dict(arrays)
        length = json.loads((folder / "alpha_rec.json").read_text(encoding="utf-8"))["length"]
        return cls(network, titles, scale, [each.clone() for each in found], length)


class AlphaRec(Runner):
    """Titles and a graph."""

    name = "alpha_rec"
    title = "AlphaRec"
    task = NextItem
    Params = AlphaRecParams
    fitted = FittedAlphaRec
    reference = "Sheng et al., Language Representations Can be What Recommenders Need, ICLR 2025, arXiv 2407.05441"

    def fit(self, task: NextItem, params: AlphaRecParams, run: RunContext) -> FittedAlphaRec:
        vectors = title_vectors(task.titles, params.words)
        graph, titles = Graph.of(task.train, vectors), torch.from_numpy(vectors)
        network = TitleMap(titles.shape[1], params.dim, run.generator("init"))
        draws, history = run.generator("negatives"), windows(task.train.history, params.length)

        def loss(past: Tensor, target: Tensor) -> Tensor:
            found = item_layers(network, titles, graph, params.layers)
            users = normalize(row_users(network, titles, graph.scale, found, past))
            cosine = users @ normalize(torch.stack(found).mean(0)).T
            drawn = torch.randint(1, task.items + 1, (len(past), params.negatives), generator=draws)
            return info_nce(cosine, target, drawn, params.tau)

        @torch.no_grad()
        def fitted() -> FittedAlphaRec:
            return FittedAlphaRec(network, titles, graph.scale, item_layers(network, titles, graph, params.layers), params.length)

        train_rows(network, loss, lambda past: fitted().scores(past), task, history, params, run, per_epoch=len(history))
        return fitted()


def info_nce(cosine: Tensor, target: Tensor, drawn: Tensor, tau: float) -> Tensor:
    """Mean loss of cosines (B, I + 1) with targets (B,) against drawn items (B, M); a target that is drawn counts.

    >>> cosine = torch.tensor([[0.0, 1.0, -1.0]])
    >>> right, wrong = (info_nce(cosine, torch.tensor([item]), torch.tensor([[3 - item]]), tau=0.5) for item in (1, 2))
    >>> round(float(right), 3), round(float(wrong), 3)
    (0.018, 4.018)
    """
    logits = cosine.gather(1, torch.cat([target[:, None], drawn], dim=1)) / tau
    return (logits.logsumexp(1) - logits[:, 0]).mean()
