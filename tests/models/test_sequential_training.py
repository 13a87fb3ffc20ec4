"""Training on next items: the losses against loops, the epochs, the early stop, and a world that can be learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.core.context import DeadlineExceeded, RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.ranking import mean_ndcg
from craftbench.core.task import NextItem, Sequences, View
from craftbench.models.sequential import NETWORKS
from craftbench.models.sequential_training import (
    FittedSequence,
    LoopParams,
    SequenceParams,
    SequenceRunner,
    next_items,
    rows_in_epoch,
    sequence_loss,
    train_rows,
    windows,
    worth,
)

ITEMS, L = 9, 4
FAST = {"lr": 1e-2, "dim": 8, "length": L, "batch_size": 16, "max_epochs": 4}


def rows(count, seed):
    """After item i comes i + 1, for the most part; read-only columns."""
    rng = np.random.default_rng(seed)
    first, known = rng.integers(0, ITEMS, count), rng.integers(1, L + 1, count)
    walk = 1 + (first[:, None] + np.arange(L + 1)) % ITEMS
    walk[:, -1] = np.where(rng.random(count) < 0.9, walk[:, -1], rng.integers(1, ITEMS + 1, count))
    history = np.where(np.arange(L) >= L - known[:, None], walk[:, :-1], 0)
    for column in (first, history, walk):
        column.flags.writeable = False
    return Sequences(first, history, walk[:, -1])


@pytest.fixture(scope="module")
def task():
    return NextItem("ring", rows(400, 0), rows(60, 1), ("", *map(str, range(1, ITEMS + 1))), "number")


class Short(SequenceRunner):
    name, title, network = "short_in_test", "Short", "gru4rec"


def test_the_latest_items():
    history = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32)
    assert windows(history, 2).tolist() == [[1, 2], [4, 5]]
    assert windows(history, 4).tolist() == [[0, 0, 1, 2], [0, 3, 4, 5]]
    assert windows(history, 2).dtype == torch.int64


def test_what_comes_after_each_position():
    history = torch.tensor([[0, 0, 5], [0, 2, 3], [0, 0, 0]])
    assert next_items(history, torch.tensor([7, 4, 6])).tolist() == [[0, 0, 7], [0, 3, 4], [0, 0, 0]]


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_cross_entropy_is_the_mean_over_positions(kind):
    network = NETWORKS[kind](ITEMS, dim=8, length=L, dropout=0.0, generator=torch.Generator().manual_seed(1)).double()
    history, target = torch.tensor([[0, 0, 3, 4], [1, 2, 5, 9], [0, 0, 0, 8]]), torch.tensor([5, 1, 2])
    logits = network.logits(network.states(history)).detach()
    losses = []
    for row in range(3):
        steps = [*history[row].tolist(), int(target[row])]
        for place in range(L) if network.every_position else (L - 1,):
            if steps[place]:
                among = logits[row, place if network.every_position else 0, 1:]
                losses.append(float(torch.logsumexp(among, 0) - among[steps[place + 1] - 1]))
    assert len(losses) == (7 if network.every_position else 3)
    assert sequence_loss(network, history, target).item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_one_negative_is_any_other_item_equally_often():
    class Told:
        """Logits that tell the ids of what was drawn: 2^id."""

        items, table = ITEMS, 2.0 ** torch.arange(ITEMS + 1, dtype=torch.float64)

        def states(self, history):
            return history.new_zeros((*history.shape, 1))

        def logits(self, states):
            return self.table.log().expand(len(states), -1)

    draws, rows_of = torch.Generator().manual_seed(2), 40_000
    history, target = torch.full((rows_of, 1), 4), torch.full((rows_of,), 6)
    found = sequence_loss(Told(), history, target, draws).item()
    s = np.arange(1, ITEMS + 1) * np.log(2)
    each = [np.log1p(np.exp(-s[5])) + np.log1p(np.exp(s[j])) for j in range(ITEMS) if j != 5]
    assert found == pytest.approx(np.mean(each), abs=4 * np.std(each) / rows_of**0.5)


def test_an_epoch_holds_a_target_for_each_row():
    history = torch.tensor([[0, 0, 1], [0, 1, 2], [1, 2, 3], [1, 2, 3]])
    assert rows_in_epoch(history, positions=False) == 4
    assert rows_in_epoch(history, positions=True) == round(4 / (9 / 4))
    assert rows_in_epoch(history[:1], positions=True) == 1


def test_every_row_comes_once_before_one_comes_twice(task):
    seen, weight = [], torch.nn.Linear(1, 1, bias=False)
    order = torch.arange(len(task.train))[:, None]

    def loss(past, target):
        seen.extend(past[:, 0].tolist())
        return weight.weight.sum()

    flat = np.zeros((len(task.valid), ITEMS + 1), dtype=np.float32)
    params = LoopParams(batch_size=7, max_epochs=5, patience=9)
    training = train_rows(weight, loss, lambda past: flat, task, order, params, RunContext(1), per_epoch=160)
    assert (training.epochs, len(seen)) == (5, 800)
    assert sorted(seen[:400]) == sorted(seen[400:]) == list(range(400))
    assert seen[:400] not in (seen[400:], list(range(400)))


def test_the_ring_is_learned(task):
    test = rows(200, 2)
    for kind in (Short, type("Attends", (Short,), {"network": "sasrec"}), type("Convolves", (Short,), {"network": "caser"})):
        fitted = kind().fit(task, SequenceParams(**{**FAST, "max_epochs": 12, "dropout": 0.2}), RunContext(1))
        score = fitted.predict(View("test", {"user": test.user, "history": test.history}))["score"]
        assert (score.dtype, score.shape) == (np.float32, (200, ITEMS + 1))
        assert mean_ndcg(score, test.target, 1) > 0.8
        assert np.isfinite(score).all()


def test_it_ends_in_the_best_epoch(task):
    told = []
    run = RunContext(1, listener=lambda step, value: told.append(value))
    fitted = Short().fit(task, SequenceParams(**{**FAST, "lr": 0.5, "max_epochs": 12, "patience": 3}), run)
    score = fitted.predict(View("valid", {"user": task.valid.user, "history": task.valid.history}))["score"]
    assert worth(score, task.valid) == max(told)
    assert run.notes == {"best_epoch": 1 + told.index(max(told)), "epochs": len(told)}
    assert len(told) == min(12, run.notes["best_epoch"] + 4)


def test_same_seed_same_digits_whatever_torch_s_global_stream(task):
    view = View("valid", {"user": task.valid.user, "history": task.valid.history})
    one = Short().fit(task, SequenceParams(**FAST), RunContext(1)).predict(view)["score"]
    torch.rand(3)
    np.testing.assert_array_equal(Short().fit(task, SequenceParams(**FAST), RunContext(1)).predict(view)["score"], one)
    assert (Short().fit(task, SequenceParams(**FAST), RunContext(2)).predict(view)["score"] != one).any()


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_saved_and_loaded(task, tmp_path, kind):
    network = NETWORKS[kind](ITEMS, dim=8, length=L, generator=torch.Generator().manual_seed(1))
    fitted = FittedSequence(network, kind, {"dim": 8, "length": L, "dropout": 0.2})
    fitted.save(tmp_path / "there")
    wide = np.pad(task.valid.history, ((0, 0), (2, 0)))
    for history in (task.valid.history, wide, wide.astype(np.int32), task.valid.history[:, 2:], np.zeros((3, L), dtype=np.int64)):
        view = View("valid", {"history": history})
        np.testing.assert_array_equal(FittedSequence.load(tmp_path / "there").predict(view)["score"], fitted.predict(view)["score"])
    padded, given = (fitted.predict(View("valid", {"history": each}))["score"] for each in (wide, task.valid.history))
    np.testing.assert_array_equal(padded, given)


def test_diverged_training_is_told(task):
    with pytest.raises((FloatingPointError, UsageError), match="diverged"):
        Short().fit(task, SequenceParams(**{**FAST, "lr": 1e30}), RunContext(1))


def test_a_deadline_is_kept(task):
    with pytest.raises(DeadlineExceeded):
        Short().fit(task, SequenceParams(**FAST), RunContext(1, deadline=0.0))


def test_one_row_is_enough_to_train_on(task):
    tiny = replace(task, train=task.train[np.array([0])])
    assert Short().fit(tiny, SequenceParams(**FAST), RunContext(1)).network.items == ITEMS
