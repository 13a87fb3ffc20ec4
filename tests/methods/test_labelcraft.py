"""LabelCraft: the labeling model, Algorithm 1 to the bit, a world with a known answer, and what is refused."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from craftbench.baselines.feed.direct_ascent import DirectAscent
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.task import Feed, View, Watched
from craftbench.methods import labelcraft
from craftbench.methods.labelcraft import Craft, LabelCraft, LabelCraftParams, LabelingModel
from craftbench.models.din import FeedBatch
from craftbench.models.feed_training import SGD, FeedInputs, Lesson, answers_of, stepper
from craftbench.models.holdout import HoldOut
from craftbench.models.labeling import FittedLabels, plays
from craftbench.models.meta_gradient import LOSSES
from craftbench.models.platform_objectives import Scale
from craftbench.models.released_dice import as_judged

USERS, ITEMS, H, K = 20, 24, 4, 2
FIELDS = {"user_id": USERS + 1, "item_id": ITEMS + 1, "duration_bucket": 4}
BUCKET = np.concatenate([[0], 1 + np.arange(ITEMS) % 3])
FAST = {"lr": 0.3, "dim": 4, "hidden": 10, "history": H, "batch_size": 128, "max_epochs": 3, "holdout_users": 8, "width": 16}
TASTE = np.random.default_rng(9).standard_normal((USERS + 1, ITEMS + 1))


def watched(rows, seed):
    """What suits is liked more; how long is watched says nothing."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS + 1, rows), rng.integers(1, ITEMS + 1, rows)
    inputs = {"user_id": user, "item_id": item, "duration_bucket": BUCKET[item]}
    inputs |= {"rate": TASTE[user, item].astype(np.float32), "history": rng.integers(0, ITEMS + 1, (rows, H)).astype(np.int32)}
    duration = (10.0 * BUCKET[item] + rng.integers(0, 3, rows)).astype(np.float32)
    like = (rng.random(rows) < 1 / (1 + np.exp(-2 * TASTE[user, item]))).astype(np.float32)
    found = Watched(inputs, {"like": like}, rng.uniform(1, 60, rows).astype(np.float32), duration)
    for column in (*inputs.values(), like, found.watch_time, duration):
        column.flags.writeable = False
    return found


def world(**parts):
    known = {"train": watched(600, 0), "meta": watched(400, 1), "valid": watched(200, 2)}
    return Feed("world", **{**known, **parts}, fields=FIELDS, dense=("rate",), item_fields={"duration_bucket": BUCKET}, k=K)


TASK = world()
VIEW = View("test", {**watched(100, 3).inputs, "user": watched(100, 3).inputs["user_id"]})


def crafting(task=TASK, seed=1, **values):
    params = LabelCraftParams.resolve({**FAST, **values})
    run = RunContext(seed)
    network = FeedInputs.of(task, params).network(task, params, run)
    return Craft(network, params.labeler(task.train, run.generator("labeler")), task, task.train, params, run)


def same(one, other):
    return all(a.equal(b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


# 1.3


def test_labels_of_the_released_model():
    model = LabelingModel(None, bias=False, generator=torch.Generator().manual_seed(0))
    z = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([60.0, 90.0, 1.0])
    torch.testing.assert_close(model.logits(2 * z), 2 * model.logits(z))
    assert float(model(torch.zeros(1, 3)).detach()) == 0.5
    assert sum(each.numel() for each in model.parameters()) == 3 * 256 + 256 * 256 + 256


def test_labels_lie_between_0_and_1_and_see_what_they_may():
    z = plays(TASK.train)
    assert {0.0, 1.0} == set(z[:, 2].tolist())
    model = LabelingModel.of(z, generator=torch.Generator().manual_seed(0))
    labels = model(z).detach()
    assert 0 < float(labels.min()) < float(labels.max()) < 1
    assert float(labels.std()) > 1e-2  # so that there is something to ascend from
    standard = model.inputs(z)
    torch.testing.assert_close(standard.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(3))
    for column in range(3):
        looked_at = tuple(each != column for each in range(3))
        blind = LabelingModel.of(z, looked_at=looked_at, generator=torch.Generator().manual_seed(0))
        moved = z.clone()
        moved[:, column] = 1 - moved[:, column] if column == 2 else 5.0
        assert blind(moved).equal(blind(z))
        assert not model(moved).equal(model(z))


# Hold-out users


def test_hold_out_users_have_rows_enough():
    unit = Scale(100.0, 100.0, 1.0)
    meta = TASK.meta[np.argsort(TASK.meta.inputs["user_id"], kind="stable")[3:]]
    meta = replace(meta, inputs={**meta.inputs, "user_id": np.where(meta.inputs["user_id"] == 5, 0, meta.inputs["user_id"])})
    user = meta.inputs["user_id"]
    ids, count = np.unique(user[user > 0], return_counts=True)
    k = int(np.median(count)) // 2
    holdout = HoldOut.of(meta, k, unit, unit)
    assert holdout.users == (count >= 2 * k).sum() > 0
    assert holdout.left_out == (count < 2 * k).sum() > 0
    rows, candidates = holdout.draw(5, 10_000, torch.Generator().manual_seed(0))
    drawn = np.unique(user[rows.numpy()])
    assert len(drawn) == 5
    assert set(drawn) <= set(ids[count >= 2 * k])
    assert len(rows) == sum(count[ids == each][0] for each in drawn)
    np.testing.assert_allclose(candidates.watch[candidates.mask], meta.watch_time[rows.numpy()] / 100, rtol=1e-6)
    np.testing.assert_allclose(candidates.explicit[candidates.mask], meta.label["like"][rows.numpy()])
    few, capped = holdout.draw(5, 2 * k, torch.Generator().manual_seed(0))
    assert len(few) == len(set(few.tolist())) == 10 * k
    assert set(few.tolist()) < set(rows.tolist())
    assert capped.mask.all()


# Algorithm 1


def test_one_step_by_hand():
    """Look ahead, move phi, label the same batch anew, move theta: in plain autograd, against `Craft.step`."""
    craft = crafting(l2=1e-3, labeler_lr=30.0, product="jvp", holdout_rows=10_000)
    other = crafting(l2=1e-3, labeler_lr=30.0)
    rows = torch.arange(100)
    craft.network.train()
    craft.step(rows)
    net, g, z = other.network.train(), other.labeler, other.z[rows]
    theta, weights = list(net.parameters()), {id(each) for each in net.weights()}

    def gradient(labels, **options):
        loss = LOSSES["mse"].mean(net(other.batch[rows]), labels) + 1e-3 * sum(
            each.square().sum() for each in theta if id(each) in weights
        )
        return torch.autograd.grad(loss, theta, **options)

    before = [each.clone() for each in net.buffers()]
    ahead = dict(zip(dict(net.named_parameters()), theta, strict=True))
    moves = gradient(g(z), create_graph=True)
    ahead = {name: each - 0.3 * move for (name, each), move in zip(ahead.items(), moves, strict=True)}
    shown, candidates = other.holdout.draw(8, 10_000, other.people)
    scores = torch.func.functional_call(net.eval(), ahead, (other.meta[shown],)).sigmoid()
    found = torch.autograd.grad(other.objective(scores, candidates).value, list(g.parameters()))
    with torch.no_grad():
        for each, slope in zip(g.parameters(), found, strict=True):
            each += 30.0 * slope
    for buffer, old in zip(net.buffers(), before, strict=True):
        buffer.copy_(old)
    net.train()
    moves = gradient(g(z).detach())
    with torch.no_grad():
        for each, move in zip(theta, moves, strict=True):
            each -= 0.3 * move
    for one, by_hand in ((craft.labeler, g), (craft.network, net)):
        for name, each in one.state_dict().items():
            torch.testing.assert_close(each, by_hand.state_dict()[name], atol=2e-6, rtol=1e-4, msg=name)


class ByRow(torch.nn.Module):
    """Labels that do not depend on which rows are labelled together, as a matrix product's or a sigmoid's do in the last digit."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.015))

    def forward(self, z):
        return (self.slope * z[:, 0]).clip(0, 1)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_with_frozen_labels_it_is_plain_training(optimiser):
    """eta_2 = 0: three epochs of the step that every other row takes, on the labels as they are, bit for bit."""
    values = {"lr": 0.02, "labeler_lr": 0.0, "optimiser": optimiser, "l2": 0.0}
    craft, other = crafting(**values), crafting(**values)
    craft.labeler = ByRow()
    craft.craft = SGD(list(craft.labeler.parameters()), 0.0)
    lesson = Lesson(craft.labels().numpy())
    answers, plain = answers_of(TASK.train, lesson), stepper(other.network.train(), lesson, other.params)
    for _ in range(3):
        craft.epoch()
        for rows in torch.randperm(len(answers), generator=other.shuffle).split(128):
            plain(other.batch[rows], answers[rows])
    assert same(craft.network, other.network)


def test_labels_move_only_where_they_are_asked_to():
    craft = crafting(meta_every=3, labeler_lr=10.0)
    seen = [craft.labels()]
    craft.network.train()
    for _ in range(4):
        craft.step(torch.arange(64))
        seen.append(craft.labels())
    assert [not a.equal(b) for a, b in pairwise(seen)] == [True, False, False, True]


def test_a_known_answer():
    """Likes tell what suits and watch times are noise: labels rise with a like, more than with a whole minute."""
    params = LabelCraftParams.resolve({**FAST, "labeler_lr": 100.0, "max_epochs": 12, "patience": 12, "spread": False})
    fitted = LabelCraft().fit(TASK, params, RunContext(1))
    same_length = np.full(2, 30.0)
    by_like = np.diff(fitted.label(same_length, same_length, np.array([0.0, 1.0])))[0]
    by_watch = np.diff(fitted.label(np.array([10.0, 50.0]), same_length, np.zeros(2)))[0]
    assert by_like > 0.05
    assert by_like > abs(by_watch)
    truth = TASTE[TASK.train.inputs["user_id"], TASK.train.inputs["item_id"]]
    labels = fitted.label(TASK.train.watch_time, TASK.train.duration, TASK.train.label["like"])
    assert np.corrcoef(labels, truth)[0, 1] > 0.3
    shown = watched(400, 5)
    score = fitted.predict(View("v", shown.inputs))["score"]
    assert np.corrcoef(score, TASTE[shown.inputs["user_id"], shown.inputs["item_id"]])[0, 1] > 0.5


# The row


def test_same_seed_same_digits_and_kept(tmp_path):
    params, run = LabelCraftParams.resolve(FAST), RunContext(3)
    fitted = LabelCraft().fit(TASK, params, run)
    score = fitted.predict(VIEW)["score"]
    fitted.save(tmp_path)
    kept = FittedLabels.load(tmp_path)
    for each in (kept, LabelCraft().fit(TASK, params, RunContext(3))):
        np.testing.assert_array_equal(each.predict(VIEW)["score"], score)
        assert same(each.labeler, fitted.labeler)
        assert each.curves == fitted.curves
    assert not np.array_equal(LabelCraft().fit(TASK, params, RunContext(4)).predict(VIEW)["score"], score)
    assert {"label_mean", "label_sd", "label_extreme", "gradient", "usage", "weight_spread", "holdout_left_out"} <= set(run.notes)
    assert run.notes["weight_usage"] + run.notes["weight_engagement"] + run.notes["weight_spread"] == pytest.approx(1, abs=1e-5)
    assert {len(values) for values in fitted.curves.values()} == {3}
    assert json.loads((tmp_path / "labeler.json").read_text())["settings"]["width"] == 16


def test_what_is_drawn_is_what_was_learned():
    fitted = LabelCraft().fit(TASK, LabelCraftParams.resolve(FAST), RunContext(3))
    drawn = {(each.name, each.series): each for each in fitted.to_draw()}
    assert len(drawn) == 8
    for name in ("objectives", "weights"):
        spread = drawn[name, "M3, duration spread"]
        assert spread.x.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(spread.y, fitted.curves["spread" if name == "objectives" else "weight_spread"])
    for series, explicit in (("without feedback", 0.0), ("with feedback", 1.0)):
        surface = drawn["label", series]
        assert len({*zip(surface.x, surface.y, strict=True)}) == len(surface.z) == 31 * 30
        place = int(np.flatnonzero((surface.x == 20) & (surface.y == 60)).item())
        expected = fitted.label(np.array([20.0]), np.array([60.0]), np.array([explicit]))
        np.testing.assert_allclose(surface.z[place], expected.item(), rtol=1e-6)


SWITCHES = [
    {"released_scale": True},
    {"released_lookahead": True},
    {"released_spread": True},
    {"released_weights": True},
    {"released_sums": True},
    {"released_top_k": True, "holdout_users": 2, "max_epochs": 1},
    {"released_inputs": True, "labeler_lr": 10.0},
    {"optimiser": "adam", "lr": 0.01},
    {"labeler_optimiser": "adam", "labeler_lr": 1e-3},
    {"gradient": "literal"},
    {"product": "one_forward"},
    {"product": "two_forwards"},
    {"two_slopes": False},
    {"loss": "bce"},
    {"temperature": 0.01, "temperature_of": "score"},
    {"meta_every": 100},
    {"meta": True},
    {"watch_input": False},
    {"usage": False, "spread": False},
    {"tau": 0.0},
]


@pytest.mark.parametrize("values", SWITCHES, ids=lambda values: "-".join(values))
def test_every_switch_changes_the_labels(values):
    switched = crafting(**values)
    plain = crafting(**{name: value for name, value in values.items() if name in ("holdout_users", "labeler_lr")})
    rows = torch.arange(128)
    if "meta" in values:
        assert len(LabelCraft().fit(TASK, LabelCraftParams.resolve({**FAST, **values, "max_epochs": 1}), RunContext(1)).curves) == 8
        return
    for craft in (switched, plain):
        craft.network.train()
        for _ in range(2):
            craft.step(rows)
    assert torch.isfinite(switched.labels()).all()
    if "product" in values:
        torch.testing.assert_close(switched.labels(), plain.labels(), atol=1e-3, rtol=0)
    assert not switched.labels().equal(plain.labels())


def test_the_network_that_the_release_judges_by():
    """Equal parameters, other scores, in another order."""
    network = crafting().network
    twin = as_judged(network)
    assert list(dict(twin.named_parameters())) == list(dict(network.named_parameters()))
    assert list(dict(twin.named_buffers())) == list(dict(network.named_buffers()))
    batch = FeedBatch.of(TASK.meta.inputs, tuple(FIELDS), ("rate",), H)
    trained, judged = network.train()(batch).detach(), twin(batch).detach()
    assert float(judged.std()) > 1.5 * float(trained.std())
    assert float(torch.corrcoef(torch.stack([trained, judged]))[0, 1]) < 0.98


def test_what_meta_says_reaches_phi_alone_through_m():
    """Other feedback in meta: another objective, so other labels after a step; the same theta where phi is frozen."""
    meta = replace(TASK.meta, label={"like": 1 - TASK.meta.label["like"]})
    one, other = crafting(), crafting(world(meta=meta))
    for craft in (one, other):
        craft.network.train()
        craft.step(torch.arange(100))
    assert not one.labels().equal(other.labels())
    frozen = [crafting(task, labeler_lr=0.0) for task in (TASK, world(meta=meta))]
    for craft in frozen:
        craft.epoch()
    assert same(frozen[0].network, frozen[1].network)


# What is refused, and what is borne


def test_failures_have_names():
    with pytest.raises(FloatingPointError, match="labels collapsed in epoch 1"):
        crafting(labeler_lr=1e6, released_inputs=True).epoch()
    with pytest.raises(FloatingPointError, match=r"look-ahead of step \d exploded"):
        crafting(lr=1e30).epoch()
    silent = world(meta=replace(TASK.meta, label={"like": np.zeros(len(TASK.meta), np.float32)}))
    with pytest.raises(FloatingPointError, match="the objective was zero all through epoch 1"):
        crafting(silent, usage=False, spread=False).epoch()
    with pytest.raises(UsageError, match="all off"):
        crafting(usage=False, engagement=False, spread=False)
    with pytest.raises(UsageError, match="take at least 4"):
        crafting(holdout_rows=3)


def test_no_feedback_and_one_watch_time_are_borne():
    parts = {}
    for part in ("train", "meta", "valid"):
        rows = getattr(TASK, part)
        parts[part] = replace(rows, label={"like": np.zeros(len(rows), np.float32)}, watch_time=np.full(len(rows), 7.0, np.float32))
    run = RunContext(1)
    fitted = LabelCraft().fit(world(**parts), LabelCraftParams.resolve({**FAST, "labeler_lr": 10.0}), run)
    assert np.isfinite(fitted.predict(VIEW)["score"]).all()
    assert run.notes["engagement"] == 0


def test_a_task_without_hold_out_users_is_declined():
    for meta in (TASK.meta[np.arange(3)], TASK.meta[np.arange(0)]):
        assert "from which labels are learned" in LabelCraft().cannot(world(meta=meta))
    assert "no lists to stop by" in LabelCraft().cannot(world(valid=TASK.valid[np.arange(3)]))
    assert LabelCraft().cannot(TASK) is None
    assert DirectAscent().cannot(TASK) is None
    assert "to make lists of" in DirectAscent().cannot(world(train=TASK.train[np.arange(3)]))


def test_the_control_that_needs_no_labels():
    params = DirectAscent.Params.resolve({name: value for name, value in FAST.items() if name != "width"} | {"lr": 0.01})
    run = RunContext(1)
    fitted = DirectAscent().fit(TASK, params, run)
    shown = watched(400, 5)
    score = fitted.predict(View("v", shown.inputs))["score"]
    assert np.corrcoef(score, TASTE[shown.inputs["user_id"], shown.inputs["item_id"]])[0, 1] > 0.3
    np.testing.assert_array_equal(
        DirectAscent().fit(TASK, params, RunContext(1)).predict(VIEW)["score"], fitted.predict(VIEW)["score"]
    )


def test_the_library_is_found_here():
    assert {"LabelingModel", "meta_gradient", "soft_top_k"} <= set(labelcraft.__all__)


def test_a_step_is_a_step_of_din_too():
    """The look-ahead of a frozen labeler leaves `stepper`'s plain step as it is, L2 included."""
    craft, rows = crafting(labeler_lr=0.0, l2=1e-3), torch.arange(100)
    other = crafting(labeler_lr=0.0, l2=1e-3)
    labels = craft.labeler(craft.z).detach()
    plain = stepper(other.network.train(), Lesson(labels.numpy()), other.params)
    plain(other.batch[rows], answers_of(TASK.train, Lesson(labels.numpy()))[rows])
    craft.network.train()
    craft.step(rows)
    for name, each in craft.network.state_dict().items():
        torch.testing.assert_close(each, other.network.state_dict()[name], atol=1e-7, rtol=1e-6)
