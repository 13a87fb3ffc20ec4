"""What each removal request takes, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.task import Interactions
from craftbench.datasets.requests import RequestSpec, flip_labels, one_item, random_rows, sequence, whole_users


@pytest.fixture
def train() -> Interactions:
    rng = np.random.default_rng(0)
    pair = rng.permutation(40 * 30)[:600]
    return Interactions(pair // 30, pair % 30, rng.integers(0, 2, 600).astype(np.float32), 40, 30)


def test_flips_are_the_last_rows_and_nothing_else(train: Interactions) -> None:
    mask, label = flip_labels(train.label, 0.02)
    assert np.flatnonzero(mask).tolist() == list(range(588, 600))
    assert (label[mask] == 1 - train.label[mask]).all()
    assert (label[~mask] == train.label[~mask]).all()
    assert label.dtype == np.float32


def test_smaller_flip_is_part_of_the_larger(train: Interactions) -> None:
    small, large = flip_labels(train.label, 0.01)[0], flip_labels(train.label, 0.02)[0]
    assert small.sum() == 6
    assert large.sum() == 12
    assert (large | ~small).all()


def test_random_rows_have_the_share(train: Interactions) -> None:
    assert random_rows(train, 0.1, np.random.default_rng(1)).sum() == 60


def test_whole_users_leave_completely(train: Interactions) -> None:
    mask = whole_users(train, 0.1, np.random.default_rng(1))
    assert 0 < mask.sum() <= 60
    assert not set(train.user[mask]) & set(train.user[~mask])


def test_one_user_leaves_even_if_larger_than_the_share(train: Interactions) -> None:
    mask = whole_users(train, 1e-6, np.random.default_rng(1))
    assert len(set(train.user[mask])) == 1


def test_one_item_leaves_completely(train: Interactions) -> None:
    mask = one_item(train, np.random.default_rng(1))
    assert len(set(train.item[mask])) == 1
    assert not set(train.item[mask]) & set(train.item[~mask])


def test_sequence_is_disjoint_and_adds_up(train: Interactions) -> None:
    masks = sequence(train, 0.1, 7, np.random.default_rng(1))
    assert len(masks) == 7
    assert (np.sum(masks, axis=0) <= 1).all()
    assert np.sum(masks) == 60


@pytest.mark.parametrize("kind", ["rows", "users", "item", "sequence"])
def test_clean_requests_keep_labels_and_repeat(train: Interactions, kind: str) -> None:
    spec = RequestSpec(kind, 0.1, requests=3 if kind == "sequence" else 1)
    first, second = (spec.apply(train, np.random.default_rng(5)) for _ in range(2))
    assert (first.step == second.step).all()
    assert (first.label == train.label).all()
    assert first.step.max() == spec.requests


def test_names_are_distinct() -> None:
    specs = [RequestSpec(), RequestSpec(share=0.1), RequestSpec("rows"), RequestSpec("item"), RequestSpec("sequence", 0.02, 10)]
    assert [spec.name for spec in specs] == ["flipped-0.02", "flipped-0.1", "rows-0.02", "item", "sequence-0.02-in-10"]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_share(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        RequestSpec("flipped", share)


def test_empty_and_total_requests_are_refused(train: Interactions) -> None:
    with pytest.raises(UsageError, match="takes no row of 600"):
        RequestSpec("rows", 1e-4).apply(train, np.random.default_rng(0))
    alone = Interactions(train.user, np.zeros_like(train.item), train.label, 40, 1)
    with pytest.raises(UsageError, match="takes every row of 600"):
        RequestSpec("item").apply(alone, np.random.default_rng(0))


def test_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'flipped'"):
        RequestSpec("fliped")


def test_sequence_length_is_bounded() -> None:
    with pytest.raises(UsageError, match="1 to 1000"):
        RequestSpec("sequence", 0.1, 0)
