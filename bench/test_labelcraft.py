"""A step of LabelCraft's labels without second-order backward, against backward through the step, `higher` and `torchopt`; the soft
top k against the released Sinkhorn; a whole step against one of plain DIN."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import higher
import numpy as np
import pytest
import torch
import torchopt
from craftbench.core.context import RunContext
from craftbench.core.task import Feed, Watched
from craftbench.methods.labelcraft import Craft, LabelCraftParams, LabelingModel, meta_gradient
from craftbench.models.din import DIN, FeedBatch
from craftbench.models.feed_training import FeedInputs, Lesson, answers_of, stepper
from craftbench.models.platform_objectives import Objective
from craftbench.models.soft_top_k import soft_top_k, sorted_sinkhorn
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.profiler import ProfilerActivity, profile

from .interleave import interleave

# A batch of 2048 rows against 2000 hold-out rows, lists of 10 of 40 candidates; histories of 50 plays, 250 k parameters.
BATCH, USERS, EACH, K, HISTORY, LR = 2048, 50, 40, 10, 50, 0.1
FIELDS = {"user_id": 1_000, "item_id": 20_000, "duration_bucket": 60, "item_tag": 60}
RATES = tuple(f"rate_{k}" for k in range(6))
SIZE = f"DIN, B = {BATCH}, {USERS * EACH} hold-out rows"


def impressions(rows, users, seed):
    rng = np.random.default_rng(seed)
    inputs = {name: rng.integers(1, size, rows) for name, size in FIELDS.items()}
    inputs["user_id"] = 1 + np.arange(rows) % users
    inputs["history"] = rng.integers(1, FIELDS["item_id"], (rows, HISTORY)).astype(np.int32)
    inputs |= {name: rng.random(rows).astype(np.float32) for name in RATES}
    duration = rng.lognormal(4, 1, rows).astype(np.float32)
    label = {"like": (rng.random(rows) < 0.1).astype(np.float32)}
    return Watched(inputs, label, duration * rng.random(rows).astype(np.float32), duration)


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(7)
    items = {name: rng.integers(1, FIELDS[name], FIELDS["item_id"]) for name in ("duration_bucket", "item_tag")}
    parts = impressions(BATCH, 999, 0), impressions(USERS * EACH, USERS, 1), impressions(2 * K, 1, 2)
    return Feed("bench", *parts, FIELDS, RATES, items, K)


def crafting(task, **settings):
    params = LabelCraftParams(
        lr=LR, l2=0.0, batch_size=BATCH, holdout_users=USERS, temperature_of="score", temperature=0.01, **settings
    )
    run = RunContext(0)
    network = FeedInputs.of(task, params).network(task, params, run)
    return Craft(network.train(), params.labeler(task.train, run.generator("labeler")), task, task.train, params, run)


class World(NamedTuple):
    """What `meta_gradient` takes."""

    network: DIN
    labeler: LabelingModel
    batch: FeedBatch
    z: Tensor
    holdout: FeedBatch
    objective: Callable[[Tensor], Tensor]


def world(task):
    craft = crafting(task)
    rows, candidates = craft.holdout.draw(USERS, EACH, torch.Generator().manual_seed(0))
    objective = Objective(K, 0.01)
    return World(
        craft.network, craft.labeler, craft.batch, craft.z, craft.meta[rows], lambda scores: objective(scores, candidates).value
    )


def ours(world, method):
    return lambda: list(meta_gradient(*world, LR, method=method).gradients.values())


def by_higher(world):
    """theta' as a copy of the module, whose step can be differentiated."""
    network, labeler, batch, z, holdout, objective = world
    optimiser = torch.optim.SGD(network.parameters(), LR)

    def step():
        with higher.innerloop_ctx(network, optimiser) as (ahead, differentiable):
            differentiable.step(mse_loss(ahead(batch).sigmoid(), labeler(z)))
            value = objective(ahead.eval()(holdout).sigmoid())
            return list(torch.autograd.grad(value, list(labeler.parameters())))

    return step


def by_torchopt(world):
    """theta' in the module itself, which gets theta back afterwards."""
    network, labeler, batch, z, holdout, objective = world
    optimiser = torchopt.MetaSGD(network, lr=LR)

    def step():
        before = [torchopt.extract_state_dict(each, by="reference") for each in (network, optimiser)]
        optimiser.step(mse_loss(network.train()(batch).sigmoid(), labeler(z)))
        value = objective(network.eval()(holdout).sigmoid())
        found = list(torch.autograd.grad(value, list(labeler.parameters())))
        for each, state in zip((network, optimiser), before, strict=True):
            torchopt.recover_state_dict(each, state)
        network.train()
        return found

    return step


def ways(task):
    """Each on a network of its own: some change theirs."""
    return {
        "one JVP": ours(world(task), "jvp"),
        "two forwards": ours(world(task), "two_forwards"),
        "one forward": ours(world(task), "one_forward"),
        "double backward": ours(world(task), "double_backward"),
        "higher": by_higher(world(task)),
        "torchopt": by_torchopt(world(task)),
    }


def test_equal_gradients_then_seconds(task, ledger):
    steps = ways(task)
    exact = flat(steps["double backward"]())
    for name, step in steps.items():
        difference = float((flat(step()) - exact).norm() / exact.norm())
        assert difference < {"two forwards": 1e-3, "one forward": 1e-2}.get(name, 1e-5), (name, difference)
    race = interleave(f"dM/dphi, {SIZE}", steps, rounds=15)
    for slow in ("double backward", "higher", "torchopt"):
        for fast in ("one JVP", "two forwards", "one forward"):
            ledger.add(race, slow, fast)
    ledger.note("seconds of dM/dphi by one JVP, over double backward's", race.ratio("one JVP", "double backward")[0], "x", 1.1)


def flat(found):
    return torch.cat([each.flatten() for each in found])


def test_peak_memory_of_the_labels_step(task, ledger):
    peaks = {name: peak_bytes(step) for name, step in ways(task).items()}
    for name, most in (("one JVP", 0.8), ("two forwards", 0.6), ("higher", None), ("torchopt", None)):
        ratio = peaks[name] / peaks["double backward"]
        ledger.note(f"peak memory of dM/dphi, {name}, {peaks[name] / 1e6:.0f} MB, over double backward's", ratio, "x", most)


def peak_bytes(step):
    """What one step holds at most, beyond what it found."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = [each for each in seen.profiler.kineto_results.events() if each.name() == "[memory]"]
    return max(accumulate(each.nbytes() for each in sorted(events, key=lambda each: each.start_ns())))


def test_seconds_of_the_soft_top_k(ledger):
    """450 users as one batch, against the released operator, which takes one user at a time; timed for 5 users, times 90."""
    scores = torch.rand(450, 200, generator=torch.Generator().manual_seed(0))
    steps = {
        "two anchors": lambda: soft_top_k(scores, K, 0.005),
        "sorted Sinkhorn, 45 of 450 users": lambda: sorted_sinkhorn(scores[:45], K),
        "sorted Sinkhorn by user, 5 of 450": lambda: [sorted_sinkhorn(scores[user : user + 1], K) for user in range(5)],
    }
    race = interleave("soft top 10 of 200, 450 users", steps, rounds=3, calls={"two anchors": 20})
    for name, times in (("sorted Sinkhorn, 45 of 450 users", 10), ("sorted Sinkhorn by user, 5 of 450", 90)):
        race.seconds[name][:] = [times * each for each in race.seconds[name]]
        ledger.add(race, name, "two anchors", target=20.0)


def test_seconds_of_a_whole_step(task, ledger):
    rows = torch.arange(BATCH)
    lesson = Lesson(np.random.default_rng(3).random(BATCH).astype(np.float32))
    plain, answers = crafting(task), answers_of(task.train, lesson)
    learn = stepper(plain.network, lesson, plain.params)
    ways = {
        "one JVP": crafting(task),
        "two forwards": crafting(task, product="two_forwards"),
        "one forward": crafting(task, product="one_forward"),
        "one JVP, every 2nd batch": crafting(task, meta_every=2),
    }
    steps = {f"LabelCraft, {name}": lambda craft=craft: craft.step(rows) for name, craft in ways.items()}
    race = interleave(
        f"training step, {SIZE}",
        {"plain DIN": lambda: learn(plain.batch[rows], answers[rows]), **steps},
        rounds=21,
        calls=dict.fromkeys(["plain DIN", *steps], 2),
    )
    for name in steps:
        promised = {"LabelCraft, one forward": 3.5}.get(name)
        ledger.note(f"step of {name}, {SIZE}, over plain DIN's", race.ratio(name, "plain DIN")[0], "x", promised)
