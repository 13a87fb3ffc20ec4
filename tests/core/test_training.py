"""Early stopping: which epoch is kept, when training ends, what is reported."""

import time

import pytest
from craftbench.core.context import DeadlineExceeded, RunContext
from craftbench.core.training import early_stopping
from hypothesis import given
from hypothesis import strategies as st


def scripted(scores, run=None, **limits):
    """Train a state that counts its epochs and scores as written; the training and the state it ended in."""
    state = {"epoch": 0}

    def epoch():
        state["epoch"] += 1

    training = early_stopping(
        epoch, lambda: scores[state["epoch"] - 1], lambda: state["epoch"], lambda best: state.update(epoch=best),
        run or RunContext(0), **{"max_epochs": len(scores), **limits},
    )  # fmt: skip
    return training, state["epoch"]


def test_patience_10_stops_at_the_11th_miss():
    training, state = scripted([0.5, 0.6, *[0.55] * 50], patience=10)
    assert (training.best_epoch, training.epochs, training.best_score, state) == (2, 13, 0.6, 2)


def test_a_tie_is_a_miss():
    training, _ = scripted([0.5] * 9, patience=3)
    assert (training.best_epoch, training.epochs) == (1, 5)


def test_the_last_epoch_can_be_the_best():
    training, state = scripted([0.1, 0.2, 0.3], patience=0)
    assert (training.best_epoch, training.epochs, state) == (3, 3, 3)
    assert 0 < training.seconds_to_best <= training.seconds_to_stop


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 6))
def test_it_keeps_the_first_best_of_the_epochs_that_it_ran(scores, patience):
    training, state = scripted(scores, patience=patience)
    ran = scores[: training.epochs]
    assert training.best_epoch == state == 1 + ran.index(max(ran))
    if training.epochs < len(scores):
        assert training.epochs - training.best_epoch == patience + 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_fails_the_fit(bad):
    with pytest.raises(FloatingPointError, match="epoch 2"):
        scripted([0.5, bad, 0.7])


def test_every_epoch_is_reported():
    seen = []
    scripted([0.3, 0.1, 0.2], run=RunContext(0, listener=lambda *report: seen.append(report)))
    assert seen == [(1, 0.3), (2, 0.1), (3, 0.2)]


def test_a_deadline_ends_the_fit_instead_of_shortening_it():
    with pytest.raises(DeadlineExceeded):
        scripted([0.3, 0.4], run=RunContext(0, deadline=time.monotonic() - 1))
