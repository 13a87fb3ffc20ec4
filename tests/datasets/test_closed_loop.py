"""A policy in a simulated world: what it is given is fixed, what it brings is a pure function of its ranking, and truth pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.closed_loop import (
    Candidates,
    candidates,
    fuse,
    fusion_grid,
    log_product,
    oracle,
    random_score,
    run,
    run_many,
    tune_fusion,
)
from craftbench.datasets.sim_video import date_of, generate
from craftbench.datasets.sim_video_behaviour import diversity_of
from craftbench.datasets.sim_video_people import population
from craftbench.datasets.sim_video_worlds import WORLDS

WORLD = WORLDS["sim-video"]


@pytest.fixture(scope="module")
def offered() -> Candidates:
    return candidates(WORLD, seed=5)


def _equal(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


# Candidates


def test_candidates_are_different_videos_of_the_days_after_the_log(offered):
    rows = offered.rows
    assert offered.shape == (7, 2_000, 50)
    assert len(rows) == 7 * 2_000 * 50
    assert not rows.duplicated(["day", "user_id", "item_id"]).any()
    assert (rows["user_id"].to_numpy().reshape(offered.shape) == offered.users[None, :, None]).all()
    assert sorted(rows["date"].unique()) == [date_of(14 + day) for day in range(7)]
    assert rows["time"].min() > generate("sim-video").impressions["time"].max()
    people = population(WORLD)
    assert (rows["duration"] == people.duration[rows["item_id"]]).all()
    assert set(rows) == {"user_id", "item_id", "time", "date", "duration", "day"}  # nothing that happened, no truth


def test_candidates_follow_their_seed():
    small = {name: candidates(WORLD, 2, 10, seed, users=50) for name, seed in (("one", 1), ("same", 1), ("two", 2))}
    assert small["one"].rows.equals(small["same"].rows)
    assert not small["one"].rows["item_id"].equals(small["two"].rows["item_id"])
    assert len(small["one"].users) == 50


def test_candidates_are_half_popular_half_uniform():
    """With one candidate each, the chance of an item is its weight."""
    world = replace(WORLD, users=40_000, items=40)
    drawn = candidates(world, days=2, per_user=1, seed=0).rows["item_id"]
    weight = 0.5 / 40 + 0.5 * population(world).popularity
    share = np.bincount(drawn, minlength=40) / len(drawn)
    assert np.abs((share - weight) / np.sqrt(weight / len(drawn))).max() < 4


# What a policy brings


def test_the_same_policy_twice_and_the_outcome_by_hand(offered):
    score = random_score(offered)
    outcome = run(WORLD, offered, score)
    assert _equal(outcome, run(WORLD, offered, score))
    assert _equal(outcome, run(WORLD, offered, np.argsort(np.argsort(score)).astype(float)))  # only the order counts
    rows = offered.rows.iloc[outcome.played]
    assert (rows.groupby("user_id").size().reindex(offered.users, fill_value=0) == outcome.views).all()
    visits = rows.groupby("user_id")["day"].nunique().reindex(offered.users, fill_value=0)
    assert (visits == outcome.visits).all()
    for (_, _), part in list(rows.groupby(["day", "user_id"]))[:50]:
        group = score.reshape(offered.shape)[part["day"].iloc[0], np.searchsorted(offered.users, part["user_id"].iloc[0])]
        assert (score[part.index] == np.sort(group)[::-1][: len(part)]).all()
        assert len(part) <= 10


def test_two_policies_meet_the_same_chance(offered):
    """Two rankings that agree on a user's every day bring this user the same, whatever they do elsewhere."""
    one, other = random_score(offered, 1), random_score(offered, 2)
    agree = np.arange(len(offered.users)) < 500
    mixed = np.where(agree[None, :, None], one.reshape(offered.shape), other.reshape(offered.shape)).ravel()
    first, second = run(WORLD, offered, one), run(WORLD, offered, mixed)
    for name in ("watch_time", "views", "likes", "shares", "satisfied", "visits", "retained"):
        assert (getattr(first, name)[agree] == getattr(second, name)[agree]).all()
        assert not np.array_equal(getattr(first, name)[~agree], getattr(second, name)[~agree])


def test_many_policies_at_once_are_each_alone(offered):
    scores = np.stack([random_score(offered, 3), offered.rows["duration"].to_numpy()])
    for alone, together in zip((run(WORLD, offered, score) for score in scores), run_many(WORLD, offered, scores), strict=True):
        assert _equal(alone, together)


def _lead(one, other, name):
    """The mean difference of a number in standard errors over users."""
    difference = getattr(one, name).astype(float) - getattr(other, name)
    return difference.mean() / (difference.std() / len(difference) ** 0.5)


@pytest.mark.parametrize("name", ["sim-video", "sim-video-nobias", "sim-video-noisy", "sim-video-kuairand"])
def test_each_oracle_beats_random_and_the_other_at_its_own_objective(name):
    world = WORLDS[name]
    offered = candidates(world, seed=1, users=1_000)
    blind, satisfying, watched = (
        run(world, offered, score)
        for score in (random_score(offered), oracle(world, offered), oracle(world, offered, "watch_time"))
    )
    assert min(_lead(satisfying, blind, what) for what in ("satisfied", "views", "visits", "likes", "watch_time")) > 3
    assert _lead(satisfying, blind, "retained") > 1
    assert _lead(watched, blind, "watch_time") > 8
    assert _lead(satisfying, watched, "satisfied") > 8
    assert _lead(watched, satisfying, "watch_time") > 3


def test_only_satisfaction_and_diversity_bring_people_back(offered):
    """Two policies with truly opposite watch time but nearly the same satisfaction keep nearly the same users."""
    long = run(WORLD, offered, offered.rows["duration"].to_numpy())
    short = run(WORLD, offered, -offered.rows["duration"].to_numpy())
    assert long.watch_time.mean() > 4 * short.watch_time.mean()
    assert abs(_lead(long, short, "retained")) < 3


def test_where_diversity_counts_a_monotonous_policy_loses_visits():
    lost = {}
    for name in ("sim-video-nodiversity", "sim-video", "sim-video-diversity"):
        world = replace(WORLDS[name], users=3_000, categories=6)
        people = population(world)
        offered = candidates(world, days=4, seed=2)
        category = people.category[offered.rows["item_id"].to_numpy()].reshape(-1, offered.per_user)
        monotonous = (category == category[:, :1]).ravel()
        dull, varied = (run(world, offered, score) for score in (monotonous.astype(float), random_score(offered)))
        shown = offered.rows.iloc[dull.played]
        one_day = shown["day"] == 0
        kinds = people.category[shown["item_id"][one_day].to_numpy()]
        assert np.nanmean(diversity_of(shown["user_id"][one_day].to_numpy(), kinds, world.users, 6)) < 0.2
        lost[name] = varied.visits.mean() - dull.visits.mean()
    assert abs(lost["sim-video-nodiversity"]) < 0.05
    assert lost["sim-video-nodiversity"] < lost["sim-video"] - 0.02 < lost["sim-video-diversity"] - 0.1


# Fusion


def test_fusion_is_a_weighted_sum_of_logs():
    p, w = np.array([[0.5, 0.1], [0.9, 0.0]]), np.array([[1.0, 0.0], [0.25, 0.75]])
    expected = [[np.log(0.5), np.log(0.9)], [0.25 * np.log(0.5) + 0.75 * np.log(0.1), 0.25 * np.log(0.9) + 0.75 * np.log(1e-7)]]
    np.testing.assert_allclose(fuse(p, w), expected)
    np.testing.assert_allclose(fuse(p, w[1]), expected[1])
    grid = fusion_grid(4, 20)
    assert grid.shape == (20, 4)
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert (grid[0] == 0.25).all()
    assert (grid >= 0).all()
    assert (fusion_grid(4, 20) == grid).all()


def test_tuning_finds_the_informative_prediction():
    tuning = candidates(WORLD, days=2, per_user=20, seed=9, users=1_000)
    useless = np.random.default_rng(0).random((len(tuning.rows), 2))
    probabilities = np.column_stack([useless[:, 0], oracle(WORLD, tuning), useless[:, 1]])
    tuned = tune_fusion(WORLD, tuning, probabilities, top=8, trials=24)
    assert tuned.weights.argmax() == 1
    assert tuned.weights[1] > 0.5
    assert (tuned.weights == tuned.grid[tuned.values.argmax()]).all()
    best = run(WORLD, tuning, fuse(probabilities, tuned.weights), top=8)
    assert log_product(best) == pytest.approx(tuned.values.max())
    assert (tune_fusion(WORLD, tuning, probabilities, top=8, trials=24).values == tuned.values).all()


# Bad input


def test_bad_scores_and_sizes():
    few = candidates(WORLD, days=1, per_user=5, seed=1, users=10)
    with pytest.raises(UsageError, match="50 candidates need as many scores"):
        run(WORLD, few, np.zeros(49))
    with pytest.raises(UsageError, match="1 of the candidates' scores are NaN"):
        run(WORLD, few, np.array([np.nan] + [0.0] * 49))
    with pytest.raises(UsageError, match="the best 6 of 5 candidates"):
        run(WORLD, few, np.zeros(50), top=6)
    with pytest.raises(UsageError, match="rows, tasks"):
        tune_fusion(WORLD, few, np.zeros(50))
    with pytest.raises(UsageError, match="no 7 days of 801 candidates"):
        candidates(WORLD, per_user=801)
