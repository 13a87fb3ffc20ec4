"""What SISA, RecEraser and UltraRE promise alike: deletion, determinism, the trip through a folder, inputs left alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning._sharded import ShardedFitted, train_shard, train_shards
from craftbench.baselines.unlearning.receraser import RecEraser
from craftbench.baselines.unlearning.sisa import SISA
from craftbench.baselines.unlearning.ultrare import UltraRE
from craftbench.core.context import DeadlineExceeded, RunContext
from craftbench.core.task import Interactions, UnlearningTask, View
from craftbench.models.pointwise import FactorParams, FittedFactors, build

USERS, ITEMS = 40, 30
SMALL = {"lr": 0.05, "init_std": 0.1, "batch_size": 64, "max_epochs": 4, "shard_epochs": 4, "patience": 2, "shards": 4}
ROWS = [(SISA, {}), (SISA, {"aggregate": "mean"}), (RecEraser, {}), (RecEraser, {"centroid": "as_released"}), (UltraRE, {})]


def interactions(rows, rng):
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    taste = np.random.default_rng(9).standard_normal((USERS + ITEMS, 2))
    label = ((taste[user] * taste[USERS + item]).sum(1) > 0).astype(np.float32)
    for column in (user, item, label):
        column.flags.writeable = False
    return Interactions(user, item, label, USERS, ITEMS)


def task(backbone="mf", removed=None):
    rng = np.random.default_rng(0)
    train = interactions(600, rng)
    mask = rng.random(600) < 0.1 if removed is None else removed
    mask.flags.writeable = False
    return UnlearningTask("small", train, mask, interactions(150, rng), backbone)


def context(given, root=3, **kwargs):
    params = FactorParams(init_std=0.5)
    original = build(given.backbone, given.train, params, torch.Generator().manual_seed(1))
    return RunContext(root, parents={"original": FittedFactors(original, params, given.backbone)}, **kwargs)


def view():
    rows = interactions(50, np.random.default_rng(7))
    return View("test", {"user": rows.user, "item": rows.item})


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
@pytest.mark.parametrize(("runner", "pinned"), ROWS)
def test_same_seed_same_digits_and_the_folder_keeps_them(runner, pinned, backbone, tmp_path):
    given = task(backbone)
    before = [column.copy() for column in (given.train.user, given.train.item, given.train.label, given.removed)]
    params = runner.Params(**SMALL, **pinned)
    run = context(given)
    fitted = runner().fit(given, params, run)
    score = fitted.predict(view())["score"]
    assert score.dtype == np.float32
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(score, runner().fit(given, params, context(given)).predict(view())["score"])
    assert not np.array_equal(score, runner().fit(given, params, context(given, root=4)).predict(view())["score"])
    fitted.save(tmp_path)
    back = runner.fitted.load(tmp_path)
    np.testing.assert_array_equal(score, back.predict(view())["score"])
    np.testing.assert_array_equal(fitted.partition, back.partition)
    assert run.notes["shards_retrained"] == 4
    assert {"partition", "shards", "aggregation"} <= set(run.clocks)
    for column, old in zip((given.train.user, given.train.item, given.train.label, given.removed), before, strict=True):
        np.testing.assert_array_equal(column, old)


def test_rows_differ_from_one_another():
    scores = [
        runner().fit(task(), runner.Params(**SMALL, **pinned), context(task())).predict(view())["score"] for runner, pinned in ROWS
    ]
    for k, score in enumerate(scores):
        assert not any(np.allclose(score, other) for other in scores[:k])


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_a_shard_that_the_request_spares_is_bitwise_the_one_from_before(backbone):
    partition = np.arange(600) % 4
    spared = partition != 2
    hit = task(backbone, removed=~spared & (np.arange(600) < 100))
    untouched = task(backbone, removed=np.zeros(600, dtype=np.bool_))
    params = SISA.Params(**SMALL)
    run_before, run_after = RunContext(0), RunContext(0)
    before = train_shards(untouched, partition, params, run_before)
    after = train_shards(hit, partition, params, run_after)
    for k in (0, 1, 3):
        assert torch.equal(before[k], after[k])
    assert not torch.equal(before[2], after[2])
    assert (run_before.notes["shards_retrained"], run_after.notes["shards_retrained"]) == (0, 1)
    assert "shards" not in run_before.clocks
    assert set(run_after.clocks) == {"before_request", "shards"}


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_removed_rows_leave_no_trace_in_the_sub_models(backbone):
    """Removing equals never having had the rows; their labels and even their users and items can be anything."""
    given = task(backbone)
    partition = np.arange(600) % 4
    params = SISA.Params(**SMALL)
    without = UnlearningTask("small", given.retained, np.zeros(len(given.retained), dtype=np.bool_), given.valid, backbone)
    rng = np.random.default_rng(1)
    other = interactions(600, rng)
    scrambled = Interactions(
        np.where(given.removed, other.user, given.train.user),
        np.where(given.removed, other.item, given.train.item),
        np.where(given.removed, 1 - given.train.label, given.train.label),
        USERS,
        ITEMS,
    )
    deleted = train_shards(given, partition, params, RunContext(0))
    assert torch.equal(deleted, train_shards(without, partition[~given.removed], params, RunContext(0)))
    assert torch.equal(deleted, train_shards(replace(given, train=scrambled), partition, params, RunContext(0)))


def test_sisa_as_a_whole_forgets_the_labels_of_the_removed_rows():
    given = task()
    flipped = np.where(given.removed, 1 - given.train.label, given.train.label)
    dirty = replace(given, train=replace(given.train, label=flipped))
    params = SISA.Params(**SMALL)
    one, other = (SISA().fit(t, params, RunContext(0)).predict(view())["score"] for t in (given, dirty))
    np.testing.assert_array_equal(one, other)


def test_a_shard_that_loses_every_row_keeps_its_start():
    given = task(removed=np.arange(600) % 4 == 1)
    params = SISA.Params(**SMALL)
    run = RunContext(0)
    tables = train_shards(given, np.arange(600) % 4, params, run)
    start = build("mf", given.train, params, run.generator("shard 1 init")).embeddings
    assert torch.equal(tables[1], start)


def test_the_epochs_of_sub_models_are_capped_apart():
    given, params = task(), SISA.Params(**{**SMALL, "shard_epochs": 1, "patience": 10})
    run = RunContext(0)
    SISA().fit(given, params, run)
    assert run.notes["shard_epochs"] == 4
    assert run.notes["aggregator_epochs"] == 4


def test_progress_tells_of_shards_first_and_judges_the_aggregate_only():
    heard = []
    given = task()
    SISA().fit(given, SISA.Params(**SMALL), RunContext(0, listener=lambda step, value: heard.append((step, value))))
    assert heard[:4] == [(1, None), (2, None), (3, None), (4, None)]
    assert [step for step, _ in heard[4:]] == list(range(5, 5 + len(heard[4:])))
    assert all(value is not None for _, value in heard[4:])


def test_a_passed_deadline_stops_the_fit():
    with pytest.raises(DeadlineExceeded):
        SISA().fit(task(), SISA.Params(**SMALL), RunContext(0, deadline=0.0))


@pytest.mark.parametrize("runner", [SISA, RecEraser, UltraRE])
def test_a_backbone_without_embeddings_to_combine_is_declined_with_the_reason(runner):
    assert runner().cannot(task("mf")) is None
    assert runner().cannot(task("lightgcn")) is None
    assert "neumf" in runner().cannot(task("neumf"))


def test_more_shards_than_rows_are_refused():
    from craftbench.core.errors import UsageError

    with pytest.raises(UsageError, match="600 rows into 601 shards"):
        SISA().fit(task(), SISA.Params(**{**SMALL, "shards": 601}), RunContext(0))


def test_one_sub_model_and_one_fit_agree():
    given = task()
    params = SISA.Params(**SMALL)
    partition = np.arange(600) % 4
    alone, _ = train_shard(3, given.train[(partition == 3) & ~given.removed], given, params, RunContext(0))
    assert torch.equal(alone, train_shards(given, partition, params, RunContext(0))[3])


def test_load_leaves_the_global_generator_alone(tmp_path):
    fitted = SISA().fit(task(), SISA.Params(**SMALL), RunContext(0))
    fitted.save(tmp_path)
    state = torch.get_rng_state()
    ShardedFitted.load(tmp_path)
    assert torch.equal(state, torch.get_rng_state())
