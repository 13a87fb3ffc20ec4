"""Training DIN on a label of plays: the same for every row of a feed, so that rows differ in what they learn alone.

    loss  = l(f(x), y) + v l(g(x), e) - adversary duration_error + l2 theta^2      l: squared error, or cross-entropy
    score = f(x), or f(x) + w g(x) where a second tower g learns explicit feedback e

f and g are sigmoids, but for a label y that is any real number: then f is linear. Stops early by what valid's lists are worth,
`overall` of their watch time, explicit feedback and spread of durations, which also chooses w.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from ..core.context import RunContext
from ..core.errors import UsageError
from ..core.metrics.lists import overall
from ..core.params import Params, fixed, real
from ..core.task import Feed, Watched
from ..core.training import Training, early_stopping
from .din import DIN, FeedBatch
from .optimisers import Adam
from .watch_network import duration_error

LEAST_GAIN = 1e-4  # of `overall` on valid: less is none
FUSIONS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # w; ours
DURATION = "duration_bucket"  # the field that an adversary must not find among the inputs


class FeedParams(Params):
    """Settings that every row shares: sizes, batch and patience of LabelCraft's release, which has no Adam; the rest is ours."""

    lr: float = real(3e-3, low=1e-3, high=1e-1, log=True, minimum=0.0, grid=(1e-3, 1e-2, 1e-1), help="learning rate")
    l2: float = real(1e-6, low=1e-7, high=1e-3, log=True, minimum=0.0, help="times the sum of squares of embeddings, weights")
    loss: str = fixed("mse", options=("mse", "bce"), help="squared error, or cross-entropy of labels in [0, 1]")
    optimiser: str = fixed("adam", options=("adam", "sgd"), help="Adam, or plain steps as released")
    batch_size: int = fixed(4096, minimum=2, help="rows in a step")
    dim: int = fixed(12, minimum=1, help="size of an embedding")
    hidden: int = fixed(200, minimum=5, help="units of the first layer; two fifths as many in the second")
    history: int = fixed(100, minimum=1, help="latest plays of a user that are looked at")
    dropout: float = fixed(0.0, minimum=0.0, maximum=0.9, help="after both layers")
    max_epochs: int = fixed(1000, minimum=1, help="epochs at most")
    patience: int = fixed(5, minimum=0, help="epochs in a row without a gain that are forgiven")
    meta: bool = fixed(False, help="whether the meta rows are trained on, too")


@dataclass(frozen=True)
class Lesson:
    """What is learned of the training rows.

    label: float32 (N,), in [0, 1], or any real number where `linear`; explicit: v, the weight of a second tower that learns
    explicit feedback (0: there is none); adversary: weight of a linear head that predicts the duration from the network behind a
    gradient reversal (0: none), which also takes the duration from the inputs.
    """

    label: NDArray[np.float32]
    linear: bool = False
    explicit: float = 0.0
    adversary: float = 0.0


@dataclass(frozen=True)
class FeedInputs:
    """fields: categorical inputs with the size of their vocabulary; dense: numeric ones; history: how many latest plays."""

    fields: Mapping[str, int]
    dense: tuple[str, ...]
    history: int

    @classmethod
    def of(cls, task: Feed, params: FeedParams, *, duration: bool = True) -> FeedInputs:
        """A task's, with or without the duration."""
        fields = {name: size for name, size in task.fields.items() if duration or name != DURATION}
        return cls(fields, task.dense, params.history)

    def batch(self, columns: Mapping[str, Any]) -> FeedBatch:
        return FeedBatch.of(columns, tuple(self.fields), self.dense, self.history)

    def network(self, task: Feed, params: FeedParams, run: RunContext, towers: int = 1) -> DIN:
        """A DIN of these inputs, as it starts."""
        return DIN(
            self.fields,
            len(self.dense),
            task.item_fields,
            **sizes_of(params),
            towers=towers,
            generator=run.generator("init"),
            noise=run.generator("dropout"),
        )


def sizes_of(params: FeedParams) -> dict[str, Any]:
    """What a DIN is built of beside its inputs."""
    return {"dim": params.dim, "hidden": (params.hidden, max(2 * params.hidden // 5, 2)), "dropout": params.dropout}


def explicit_feedback(rows: Watched) -> NDArray[np.float32]:
    """(N,): 1 where there is any."""
    found = np.zeros(len(rows), dtype=np.bool_)
    for label in rows.label.values():
        found |= label > 0
    return found.astype(np.float32)


@dataclass(frozen=True)
class Judge:
    """What lists of a part are worth, from users that train has: the others share id 0, and are nobody."""

    known: NDArray[np.bool_]
    watch_time: NDArray[np.float32]
    explicit: NDArray[np.float32]
    duration: NDArray[np.float32]
    user: NDArray[np.int64]
    k: int

    @classmethod
    def of(cls, rows: Watched, k: int) -> Judge:
        user, explicit = rows.inputs["user_id"], explicit_feedback(rows)
        known = user > 0
        return cls(known, rows.watch_time[known], explicit[known], rows.duration[known], user[known], k)

    def __call__(self, score: NDArray[np.float32]) -> float:
        """`overall` of scores (N,) of the part's rows; NaN where one is not finite. Raises UsageError as that does."""
        if not np.isfinite(score).all():
            return float("nan")
        return overall(score[self.known], self.watch_time, self.explicit, self.duration, self.user, self.k)


def without_lists(task: Feed) -> str | None:
    """Why valid has nothing to stop by, or None."""
    try:
        Judge.of(task.valid, task.k)(np.zeros(len(task.valid), dtype=np.float32))
    except UsageError as error:
        return f"valid has no lists to stop by: {error}"
    return None


def fit_feed(
    task: Feed, rows: Watched, lesson: Lesson, inputs: FeedInputs, params: FeedParams, run: RunContext
) -> tuple[DIN, float, Training]:
    """A network for `lesson` on `rows`, and w; trained until `overall` on valid stops growing, both in their best state.

    Notes best_epoch, epochs and, with a second tower, fusion_weight. Raises UsageError for labels that are not what the lesson
    says, FloatingPointError where training diverges.
    """
    refuse_wrong(lesson, params)
    network = inputs.network(task, params, run, towers=2 if lesson.explicit else 1)
    batch, step, shuffle = inputs.batch(rows.inputs), stepper(network, lesson, params), run.generator("batches")
    answers = answers_of(rows, lesson)
    valid, judge = inputs.batch(task.valid.inputs), Judge.of(task.valid, task.k)
    fusion = [0.0]

    def epoch() -> None:
        network.train()
        for part in torch.randperm(len(batch), generator=shuffle).split(params.batch_size):
            if len(part) > 1:  # a batch of one has no statistics
                step(batch[part], answers[part])

    def score() -> float:
        outputs = outputs_of(network, valid, lesson.linear)
        worth = {w: judge(fused(outputs, w)) for w in (FUSIONS if lesson.explicit else (0.0,))}
        fusion[0] = max(worth, key=worth.__getitem__)
        return worth[fusion[0]]

    def snapshot() -> tuple[dict[str, Tensor], float]:
        return {name: value.clone() for name, value in network.state_dict().items()}, fusion[0]

    def restore(state: tuple[dict[str, Tensor], float]) -> None:
        network.load_state_dict(state[0])
        fusion[0] = state[1]

    training = early_stopping(
        *(epoch, score, snapshot, restore, run), patience=params.patience, max_epochs=params.max_epochs, least_gain=LEAST_GAIN
    )
    run.note("best_epoch", training.best_epoch)
    run.note("epochs", training.epochs)
    if lesson.explicit:
        run.note("fusion_weight", fusion[0])
    return network, fusion[0], training


def refuse_wrong(lesson: Lesson, params: FeedParams) -> None:
    """Raises UsageError for labels that are not what the lesson says, or that the loss cannot learn."""
    if not np.isfinite(lesson.label).all():
        raise UsageError(f"{int((~np.isfinite(lesson.label)).sum())} labels of the training rows are not finite; mend the label")
    if lesson.linear and params.loss == "bce":
        raise UsageError("loss='bce' learns labels in [0, 1], and these are any real numbers: take loss='mse'")
    low, high = float(lesson.label.min()), float(lesson.label.max())
    if not lesson.linear and not 0 <= low <= high <= 1:
        raise UsageError(f"labels range over {low:g}..{high:g}, but a sigmoid learns 0..1: scale them, or make the lesson linear")


def answers_of(rows: Watched, lesson: Lesson) -> Tensor:
    """(N, 3): label, explicit feedback, and the duration in these rows' standard units."""
    duration = rows.duration.astype(np.float64)
    standard = (duration - duration.mean()) / (duration.std() or 1.0)
    return torch.from_numpy(np.stack([lesson.label, explicit_feedback(rows), standard.astype(np.float32)], axis=1))


Step = Callable[[FeedBatch, Tensor], None]  # rows and their answers (B, 3)


class SGD:
    """theta -= lr (gradient + l2 theta), in place."""

    def __init__(self, parameters: Sequence[Tensor], lr: float, l2: float = 0.0) -> None:
        self.parameters, self.lr, self.l2 = [each.detach() for each in parameters], lr, l2

    def step(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.mul_(1 - self.lr * self.l2).sub_(gradient, alpha=self.lr)


def stepper(network: DIN, lesson: Lesson, params: FeedParams) -> Step:
    """What one batch does to the network."""
    kind = Adam if params.optimiser == "adam" else SGD
    weights, biases = network.weights(), network.biases()
    decayed, free = kind(weights, params.lr, 2 * params.l2), kind(biases, params.lr)

    def step(batch: FeedBatch, answers: Tensor) -> None:
        embeddings = network.table.index_select(0, network.places(batch))
        logits, hidden = network.heads(embeddings, batch)
        loss = loss_of(logits, answers, lesson, params.loss)
        if lesson.adversary:
            loss = loss - lesson.adversary * duration_error(hidden, answers[:, 2])
        found = torch.autograd.grad(loss, [*weights, *biases])
        decayed.step(found[: len(weights)])
        free.step(found[len(weights) :])

    return step


def loss_of(logits: Tensor, answers: Tensor, lesson: Lesson, loss: str) -> Tensor:
    """Of logits (B, towers), without adversary and penalty."""
    found = mse_loss(logits[:, 0], answers[:, 0]) if lesson.linear else squashed_loss(logits[:, 0], answers[:, 0], loss)
    return found + lesson.explicit * squashed_loss(logits[:, 1], answers[:, 1], loss) if lesson.explicit else found


def squashed_loss(logits: Tensor, label: Tensor, loss: str) -> Tensor:
    """The mean loss of sigmoid(logits) (B,) against labels in [0, 1]."""
    return mse_loss(logits.sigmoid(), label) if loss == "mse" else binary_cross_entropy_with_logits(logits, label)


@torch.no_grad()
def outputs_of(network: DIN, batch: FeedBatch, linear: bool, rows: int = 1 << 12) -> NDArray[np.float32]:
    """What each tower says, (N, towers): of a single one the logit, which ranks as its sigmoid does and is never saturated."""
    network.eval()
    logits = torch.cat([network(part).view(len(part), -1) for part in batch.split(rows)])
    if logits.shape[1] == 1:
        return logits.numpy()
    return torch.cat([logits[:, :1] if linear else logits[:, :1].sigmoid(), logits[:, 1:].sigmoid()], dim=1).numpy()


def fused(outputs: NDArray[np.float32], w: float) -> NDArray[np.float32]:
    """f + w g (N,), from (N, towers)."""
    first = outputs[:, 0]
    return (first + w * outputs[:, 1]).astype(np.float32) if outputs.shape[1] > 1 else first
