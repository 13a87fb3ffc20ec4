"""Training on (history, next item) rows, stopped early by NDCG@10 on valid: one loop for every row that learns by gradients.

    ce     -log softmax(s)[y] over all items                        (GRU4Rec's and ours for SASRec)
    bce    -log sigma(s_y) - log sigma(-s_j), one item j != y       (SASRec, Eq. (6))

The mean is over every position of a batch's rows behind which an item comes: a row (h_1 .. h_L, y) teaches h_1 -> h_2 up to
h_1 .. h_L -> y at once. So an epoch is as many rows as hold, at all their positions, one target for each row of train.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from ..core.context import RunContext
from ..core.metrics.ranking import mean_ndcg
from ..core.params import Params, choice, fixed, real
from ..core.runner import Runner
from ..core.task import NextItem, Predictions, Sequences, View
from ..core.training import Training, early_stopping
from .optimisers import Adam
from .sequential import NETWORKS, SequenceNetwork

VALID_ROWS = 2000  # the first rows of valid, which stop the training
AT_ONCE = 512  # rows that are scored together


class LoopParams(Params):
    """What the loop itself needs."""

    lr: float = real(3e-3, low=1e-4, high=1e-2, log=True, minimum=0.0, grid=(1e-4, 1e-3, 1e-2), help="Adam's learning rate")
    l2: float = real(1e-6, low=1e-6, high=1e-3, log=True, minimum=0.0, grid=(1e-6, 1e-5, 1e-4, 1e-3), help="weight decay")
    batch_size: int = fixed(64, minimum=1, help="rows in a step")
    max_epochs: int = fixed(10, minimum=1, help="epochs at most")
    patience: int = fixed(1, minimum=0, help="epochs in a row without a gain that are forgiven")


class SequenceParams(LoopParams):
    """Settings that SASRec, GRU4Rec and Caser share."""

    dropout: float = choice(0.2, 0.3, 0.4, 0.5, grid=(0.2, 0.3, 0.4, 0.5), help="share of units")
    dim: int = fixed(64, minimum=1, help="size of an embedding")
    length: int = fixed(10, minimum=1, help="latest items of a history that are looked at")


def windows(history: NDArray[Any], length: int) -> Tensor:
    """int64 (N, length): the latest items, behind zeros where there are fewer."""
    wide = np.pad(history.astype(np.int64), ((0, 0), (max(length - history.shape[1], 0), 0)))
    return torch.from_numpy(np.ascontiguousarray(wide[:, wide.shape[1] - length :]))


def next_items(history: Tensor, target: Tensor) -> Tensor:
    """int64 (B, L): what comes after each position of a history (B, L); 0 behind none."""
    return torch.cat([history[:, 1:], target[:, None]], dim=1) * (history > 0)


def sequence_loss(network: SequenceNetwork, history: Tensor, target: Tensor, negatives: torch.Generator | None = None) -> Tensor:
    """Mean ce over the positions that the network has states for; bce where there is a stream of negatives."""
    states = network.states(history)
    known = next_items(history, target)[:, history.shape[1] - states.shape[1] :]
    taught = known > 0
    logits, known = network.logits(states[taught])[:, 1:], known[taught] - 1
    if negatives is None:
        return cross_entropy(logits, known)
    drawn = torch.randint(max(network.items - 1, 1), known.shape, generator=negatives)
    other = drawn + (drawn >= known)  # every item but the known one, equally often
    pair = logits.gather(1, torch.stack([known, other % network.items], dim=1))
    return -(logsigmoid(pair[:, 0]) + logsigmoid(-pair[:, 1])).mean()


Scorer = Callable[[NDArray[Any]], NDArray[np.float32]]  # of histories (N, H): (N, items + 1)


def rows_in_epoch(history: Tensor, positions: bool) -> int:
    """How many rows of histories (N, L) hold N targets; N where only a row's last position is trained on."""
    rows = len(history)
    return max(1, round(rows * rows / max(int((history > 0).sum()), 1))) if positions else rows


def train_rows(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    score: Scorer,
    task: NextItem,
    history: Tensor,
    params: LoopParams,
    run: RunContext,
    *,
    per_epoch: int,
) -> Training:
    """Adam on `loss(history, target)` of batches of train until NDCG@10 of `score` on valid stops growing; ends in the best state.

    history: of train, (N, L), as `loss` takes it; per_epoch: rows of one, drawn in turns so that none comes twice before all
    have come once. Notes best_epoch and epochs. Raises FloatingPointError where training diverges.
    """
    parameters = list(network.parameters())
    adam, target, shuffle = Adam(parameters, params.lr, params.l2), torch.tensor(task.train.target), run.generator("batches")
    valid, waiting = task.valid[np.arange(min(len(task.valid), VALID_ROWS))], torch.empty(0, dtype=torch.int64)

    def epoch() -> None:
        nonlocal waiting
        network.train()
        while len(waiting) < per_epoch:
            waiting = torch.cat([waiting, torch.randperm(len(target), generator=shuffle)])
        rows, waiting = waiting[:per_epoch], waiting[per_epoch:]
        for batch in rows.split(params.batch_size):
            found = torch.autograd.grad(loss(history[batch], target[batch]), parameters, materialize_grads=True)
            adam.step(found)

    def snapshot() -> dict[str, Tensor]:
        return {name: value.clone() for name, value in network.state_dict().items()}

    training = early_stopping(
        *(epoch, lambda: worth(score(valid.history), valid), snapshot, network.load_state_dict, run),
        patience=params.patience,
        max_epochs=params.max_epochs,
    )
    run.note("best_epoch", training.best_epoch)
    run.note("epochs", training.epochs)
    return training


def worth(score: NDArray[np.float32], rows: Sequences) -> float:
    """Mean NDCG@10 of scores (N, items + 1); NaN where one is not finite."""
    return mean_ndcg(score, rows.target) if np.isfinite(score).all() else float("nan")


@torch.no_grad()
def scores_of(network: SequenceNetwork, history: NDArray[Any]) -> NDArray[np.float32]:
    """Logits (N, items + 1) of histories (N, H), some rows at a time."""
    network.eval()
    parts = [network(part) for part in windows(history, network.length).split(AT_ONCE)]
    return torch.cat(parts).numpy()


@dataclass(frozen=True)
class FittedSequence:
    """A trained network; kind: its name in NETWORKS; sizes: what it is built of."""

    network: SequenceNetwork
    kind: str
    sizes: dict[str, Any]

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}, logits."""
        return {"score": scores_of(self.network, view.columns["history"])}

    def save(self, folder: Path) -> None:
        """Write `sequential.safetensors` and `sequential.json` (what to build it into)."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(arrays, folder / "sequential.safetensors")
        described = {"kind": self.kind, "items": self.network.items, "sizes": self.sizes}
        (folder / "sequential.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedSequence:
        """The inverse of `save`: equal predictions, bit for bit."""
        told: dict[str, Any] = json.loads((folder / "sequential.json").read_text(encoding="utf-8"))
        network = NETWORKS[told["kind"]](told["items"], **told["sizes"])
        network.load_state_dict(load_file(folder / "sequential.safetensors"))
        return cls(network, told["kind"], told["sizes"])


class SequenceRunner(Runner):
    """Trains the network that a subclass names; sizes: the parameters, beside those that all share, that it is built of."""

    task = NextItem
    Params = SequenceParams
    fitted = FittedSequence
    network: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]] = ()

    def negatives(self, params: Any, run: RunContext) -> torch.Generator | None:
        """The stream of drawn items where the loss is bce; None for ce."""
        return None

    def fit(self, task: NextItem, params: SequenceParams, run: RunContext) -> FittedSequence:
        sizes = {name: getattr(params, name) for name in ("dim", "length", "dropout", *self.sizes)}
        streams = {"generator": run.generator("init"), "noise": run.generator("dropout")}
        network: SequenceNetwork = NETWORKS[self.network](task.items, **sizes, **streams)
        history = windows(task.train.history, params.length)
        negatives = self.negatives(params, run)
        train_rows(
            network,
            lambda past, target: sequence_loss(network, past, target, negatives),
            lambda past: scores_of(network, past),
            *(task, history, params, run),
            per_epoch=rows_in_epoch(history, network.every_position),
        )
        return FittedSequence(network, self.network, sizes)
