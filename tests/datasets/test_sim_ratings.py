"""The simulated world keeps what its docstring promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.sim_ratings import LARGE, SHARES, SMALL, World, simulate

WORLDS = [SMALL, World(users=12, items=11, rows=66), World(users=20, items=20, rows=200), World(users=30, items=400, rows=3_000)]


@pytest.mark.parametrize("world", WORLDS)
def test_sizes_distinct_pairs_and_least_degree(world: World) -> None:
    ratings = simulate(world).ratings
    assert len(ratings) == world.rows
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    for side, count in (("user_id", world.users), ("item_id", world.items)):
        assert ratings[side].nunique() == count
        assert ratings[side].value_counts().min() >= world.least


def test_same_world_same_digits_other_seed_other_world() -> None:
    assert simulate(SMALL).fingerprint == simulate(SMALL).fingerprint
    assert simulate(replace(SMALL, seed=1)).fingerprint != simulate(SMALL).fingerprint


def test_ratings_have_the_shares_and_follow_the_truth() -> None:
    dataset = simulate(SMALL)
    shares = dataset.ratings["rating"].value_counts(normalize=True).sort_index()
    assert shares.to_numpy() == pytest.approx(SHARES, abs=1e-3)
    truth = dataset.tables["truth"]
    assert (truth[["user_id", "item_id"]] == dataset.ratings[["user_id", "item_id"]]).all(axis=None)
    assert truth["match"].var() == pytest.approx(1, abs=0.4)
    assert np.corrcoef(truth["match"], dataset.ratings["rating"])[0, 1] > 0.8
    assert dataset.provenance.scope == "simulated"


def test_without_noise_the_rating_is_a_step_function_of_the_match() -> None:
    dataset = simulate(replace(SMALL, noise=0.0))
    order = np.argsort(dataset.tables["truth"]["match"].to_numpy())
    assert (np.diff(dataset.ratings["rating"].to_numpy()[order]) >= 0).all()


@pytest.mark.parametrize("rows", [0, 1_000, 40_000])
def test_impossible_world(rows: int) -> None:
    with pytest.raises(UsageError, match="300 x 200 holds 1500 to 30000 ratings"):
        replace(SMALL, rows=rows)


@pytest.mark.slow
def test_the_large_world() -> None:
    ratings = simulate(LARGE).ratings
    assert len(ratings) == 1_689_188
    assert (ratings["user_id"].nunique(), ratings["item_id"].nunique()) == (192_403, 63_001)
    assert int(len(ratings) * 0.6) == 1_013_512
