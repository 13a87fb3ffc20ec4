"""Training on a target: steps as plain Adam takes them, what is learned and noted, the duration that an adversary takes away."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.metrics.watch_time import xgauc
from craftbench.models.watch_network import BACKBONES, WatchNetwork
from craftbench.models.watch_target import Target
from craftbench.models.watch_training import Inputs, Learned, WatchTimeParams, epochs_to, fit_watch, loss_of, outputs_of, stepper
from torch.nn.functional import binary_cross_entropy_with_logits, embedding, mse_loss

SMALL = {"dim": 4, "hidden": 16, "batch_size": 128, "lr": 1e-2, "l2": 1e-5, "patience": 3, "max_epochs": 10}


@dataclass(frozen=True)
class Share(Target):
    """The share of the duration that is watched, and as a binary label whether it is over a half."""

    name = "share_of_the_tests"
    binary = ("half",)
    adversary: float = 0.0
    poisoned: bool = False

    def labels(self, rows):
        return (rows.watch_time / rows.duration)[:, None]

    def binary_labels(self, rows):
        return (self.labels(rows) > 0.5).astype(np.float32)

    def loss(self, head, labels):
        return mse_loss(head * float("nan") if self.poisoned else head, labels)

    def seconds(self, head, duration):
        return np.maximum(head[:, 0], 0) * duration

    def state(self):
        return {}, {"adversary": self.adversary}

    @classmethod
    def restored(cls, arrays, settings):
        return cls(**arrays, **settings)


class Length(Share):
    """The watch time itself, which is longer for longer videos."""

    def labels(self, rows):
        return rows.watch_time[:, None] / 20

    def seconds(self, head, duration):
        return np.maximum(head[:, 0], 0) * 20


def params(**values):
    return WatchTimeParams.resolve({**SMALL, **values})


def fit(task, target=None, root=0, **values):
    run = RunContext(root)
    network, training = fit_watch(task, target or Share(), params(**values), run)
    return network, training, run


def seconds_of(network, task, rows, target=None):
    target = target or Share()
    head, _ = outputs_of(network, *Inputs.of(task, target).tensors(rows.inputs, len(rows)))
    return target.seconds(head, rows.duration)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_learns_and_repeats_its_digits(watch_task, watch_test, backbone):
    rows, _ = watch_test
    network, training, run = fit(watch_task, backbone=backbone, dropout=0.1)
    again, *_ = fit(watch_task, backbone=backbone, dropout=0.1)
    seconds = seconds_of(network, watch_task, rows)
    assert xgauc(seconds, rows.watch_time, rows.inputs["user_id"]) > 0.75
    assert training.best_score > 0.75
    np.testing.assert_array_equal(seconds, seconds_of(again, watch_task, rows))
    assert run.notes.keys() == {"best_epoch", "epochs", "rows_to_99"}
    assert 0 < run.notes["rows_to_99"] <= len(watch_task.train) * training.best_epoch


def test_another_seed_gives_another_network(watch_task, watch_test):
    a, b = (fit(watch_task, root=root, max_epochs=1)[0] for root in (0, 1))
    assert not np.array_equal(seconds_of(a, watch_task, watch_test[0]), seconds_of(b, watch_task, watch_test[0]))


def test_the_watch_head_and_the_others_learn_together(watch_task, watch_test):
    network, *_ = fit(watch_task)
    rows, _ = watch_test
    _, logits = outputs_of(network, *Inputs.of(watch_task, Share()).tensors(rows.inputs, len(rows)))
    truth = np.column_stack([Share().binary_labels(rows), rows.label["like"]])
    for k in range(2):
        positive, negative = logits[truth[:, k] == 1, k], logits[truth[:, k] == 0, k]
        assert (positive[:, None] > negative).mean() > 0.75


def test_training_leaves_the_global_stream_alone(watch_task):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(watch_task, dropout=0.5, max_epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_step_is_one_of_adam_on_the_whole_loss(watch_task):
    """Against autograd through the table itself and torch's own optimiser."""
    target, settings, inputs = Share(), params(l2=1e-2, lam=0.7), Inputs.of(watch_task, Share())
    learned = Learned.of(watch_task, target, inputs)
    fields, dense = tuple(inputs.fields.values()), len(inputs.dense)
    ours, plain = (
        WatchNetwork("mmoe", fields, dense, 1, 2, dim=4, hidden=16, generator=torch.Generator().manual_seed(1)) for _ in "ab"
    )
    groups = [{"params": plain.weights(), "weight_decay": 2e-2}, {"params": plain.biases()}]
    optimiser, step = torch.optim.Adam(groups, lr=1e-2), stepper(ours, target, settings)
    for batch in learned.batches(torch.arange(len(learned.ids)), 64)[:4]:
        step(batch)
        heads = plain.heads(embedding(plain.places(batch.ids), plain.table), batch.dense)
        loss = mse_loss(heads.watch, batch.labels)
        loss = loss + 0.7 * sum(binary_cross_entropy_with_logits(heads.logits[:, k], batch.binary[:, k]) for k in range(2)) / 2
        torch.testing.assert_close(loss_of(heads, batch, target, 0.7), loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-4)


def test_without_any_binary_head_the_watch_head_trains_alone(watch_task, watch_test):
    alone = replace(watch_task, feedback=())
    target = Share()
    object.__setattr__(target, "binary_labels", lambda rows: np.zeros((len(rows), 0), dtype=np.float32))
    network, training, _ = fit(alone, target)
    assert training.best_score > 0.75
    assert outputs_of(network, *Inputs.of(alone, target).tensors(watch_test[0].inputs, 400))[1].shape == (400, 0)


def test_each_row_is_seen_once_an_epoch(watch_task):
    learned = Learned.of(watch_task, Share(), Inputs.of(watch_task, Share()))
    order = torch.randperm(len(learned.ids), generator=torch.Generator().manual_seed(0))
    batches = learned.batches(order, 128)
    assert [len(each.ids) for each in batches] == [128] * 11 + [92]
    for name, column in vars(learned).items():
        torch.testing.assert_close(torch.cat([getattr(each, name) for each in batches]), column[order])


def test_an_adversary_takes_the_duration_from_the_inputs_and_from_what_is_learned(watch_task, watch_test):
    rows, _ = watch_test
    heard, unheard = Inputs.of(watch_task, Share()), Inputs.of(watch_task, Share(adversary=1.0))
    assert list(heard.fields) == ["duration_bucket", "item_id", "user_id"]
    assert list(unheard.fields) == ["item_id", "user_id"]

    def told(adversary):
        """How well a line through the watch head's last layer tells the duration: R^2 on other rows."""
        target = Length(adversary=adversary)
        network, *_ = fit(watch_task, target, root=1, max_epochs=10, patience=10)
        parts = [network(*unheard.tensors(each.inputs, len(each))).hidden for each in (watch_task.train, rows)]
        known, fresh = (np.column_stack([part.detach().numpy(), np.ones(len(part))]) for part in parts)
        slope, *_ = np.linalg.lstsq(known, watch_task.train.duration, rcond=None)
        return 1 - (rows.duration - fresh @ slope).var() / rows.duration.var()

    assert told(1.0) < told(1e-9) - 0.3


def test_labels_of_valid_are_never_asked_for(watch_task):
    asked = []

    class Watching(Share):
        def labels(self, rows):
            asked.append(len(rows))
            return super().labels(rows)

        def binary_labels(self, rows):
            return Share().binary_labels(rows)

    fit(watch_task, Watching(), max_epochs=2)
    assert asked == [len(watch_task.train)]


def test_training_that_diverges_is_an_error(watch_task):
    with pytest.raises(FloatingPointError, match="diverged"):
        fit(watch_task, Share(poisoned=True))


def test_when_a_curve_has_made_its_way():
    assert epochs_to(0.99, [0.5, 0.6]) == pytest.approx(0.99)
    assert epochs_to(0.5, [0.5, 0.52, 0.58, 0.6, 0.59]) == pytest.approx(1 + 0.03 / 0.06)
    assert epochs_to(1.0, [0.5, 0.6, 0.7, 0.65]) == 2
    assert epochs_to(0.99, [0.5, 0.45, 0.4]) == 0
