"""What labels are for: the control that ascends the platform's objective in the recommender's parameters, without a label.

    theta = theta + lr (grad M(f_theta; users) - l2 theta)

Users and their rows are those that it is trained on, train's, and meta's too where `meta` is set.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ...core.context import RunContext
from ...core.params import fixed, real
from ...core.runner import Runner
from ...core.task import Feed
from ...core.training import early_stopping
from ...models.feed_runner import FittedFeed, joined
from ...models.feed_training import LEAST_GAIN, SGD, FeedInputs, Judge, outputs_of, sizes_of, without_lists
from ...models.holdout import HoldOut
from ...models.objective_params import ObjectiveParams
from ...models.optimisers import Adam
from ...models.platform_objectives import Scale


class DirectAscentParams(ObjectiveParams):
    """The objective's settings, a rate to ascend at, and as many rows as LabelCraft trains on."""

    lr: float = real(3e-3, low=1e-4, high=1e-1, log=True, minimum=0.0, help="learning rate")
    loss: str = fixed("mse", options=("mse",), help="none is used; there is no label")


class DirectAscent(Runner):
    """The objective, ascended without labels."""

    name = "direct_ascent"
    title = "Direct ascent"
    task = Feed
    Params = DirectAscentParams
    fitted = FittedFeed
    reference = "control of this house"

    def cannot(self, task: Feed) -> str | None:
        if (lacking := without_lists(task)) is not None:
            return lacking
        if not HoldOut.of(task.train, task.k, Scale(1.0, 1.0, 1.0), Scale(1.0, 1.0, 1.0)).users:
            return f"no user has {2 * task.k} rows in train, to make lists of"
        return None

    def fit(self, task: Feed, params: DirectAscentParams, run: RunContext) -> FittedFeed:
        rows = joined(task.train, task.meta) if params.meta else task.train
        inputs = FeedInputs.of(task, params)
        network, batch = inputs.network(task, params, run), inputs.batch(rows.inputs)
        objective = params.objective(task.k)
        holdout = HoldOut.of(rows, task.k, *params.scales(task.train, released=params.released_scale))
        weights, biases = network.weights(), network.biases()
        kind: Any = Adam if params.optimiser == "adam" else SGD
        decayed, free = kind(weights, params.lr, 2 * params.l2), kind(biases, params.lr)
        people, steps = run.generator("holdout"), math.ceil(len(batch) / params.batch_size)
        valid, judge = inputs.batch(task.valid.inputs), Judge.of(task.valid, task.k)

        def epoch() -> None:
            network.train()
            for _ in range(steps):
                shown, candidates = holdout.draw(params.holdout_users, params.holdout_rows, people)
                value = objective(network(batch[shown]).sigmoid(), candidates).value
                found = torch.autograd.grad(-value, [*weights, *biases])
                decayed.step(found[: len(weights)])
                free.step(found[len(weights) :])

        training = early_stopping(
            epoch,
            lambda: judge(outputs_of(network, valid, False)[:, 0]),
            lambda: {name: value.clone() for name, value in network.state_dict().items()},
            network.load_state_dict,
            run,
            patience=params.patience,
            max_epochs=params.max_epochs,
            least_gain=LEAST_GAIN,
        )
        run.note("best_epoch", training.best_epoch)
        run.note("epochs", training.epochs)
        run.note("holdout_users", holdout.users)
        return FittedFeed(network, inputs, sizes_of(params))
