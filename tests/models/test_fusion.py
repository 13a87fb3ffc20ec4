"""Fusion: halves against brute force, rows that do not look at each other, no scale of a head that matters, weights that pay."""

import numpy as np
import pytest
from craftbench.models.fusion import BEST, KNOTS, TRIALS, Fusion, UpperHalf, logit_ranks, standardised, weight_grid
from hypothesis import given
from hypothesis import strategies as st


def world(rows=600, users=40, seed=0):
    """heads (N, 3): one knows the watch time well, one a little, one nothing; seconds; users."""
    rng = np.random.default_rng(seed)
    watch_time = rng.exponential(20, rows).astype(np.float32)
    noise = rng.standard_normal((rows, 3)) * [0.3, 2, 1]
    heads = np.log1p(watch_time)[:, None] * [1, 1, 0] + noise
    return heads.astype(np.float32), watch_time, rng.integers(1, users, rows)


def half_by_hand(score, watch_time, user):
    means = []
    for each in np.unique(user):
        s, y = score[user == each], watch_time[user == each].astype(float)
        places = len(s) // 2
        if not places:
            continue
        total = 0.0
        for value in sorted(set(s), reverse=True):
            tied = y[s == value]
            taken = min(places, len(tied))
            total, places = total + taken * tied.mean(), places - taken
        means.append(total / (len(s) // 2))
    return np.mean(means) if means else float("nan")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=40))
def test_upper_halves_are_as_by_hand_ties_included(rows):
    user, score, watch_time = (np.array(column) for column in zip(*rows, strict=True))
    found = UpperHalf(watch_time.astype(np.float32), user).watch_time(score.astype(float))
    assert found == pytest.approx(half_by_hand(score, watch_time, user), nan_ok=True)


def test_the_order_of_rows_plays_no_part():
    heads, watch_time, user = world()
    order = np.random.default_rng(1).permutation(len(user))
    a, b = Fusion.fit(heads, watch_time, user), Fusion.fit(heads[order], watch_time[order], user[order])
    np.testing.assert_allclose(a.weights, b.weights)
    np.testing.assert_array_equal(a.outputs, b.outputs)


def test_a_constant_score_collects_the_mean():
    _, watch_time, user = world()
    mean = np.mean([watch_time[user == each].mean(dtype=float) for each in np.unique(user)])
    assert UpperHalf(watch_time, user).watch_time(np.zeros(len(user))) == pytest.approx(mean)


def test_the_grid_leads_from_equal_weights_to_the_watch_head():
    grid = weight_grid(4)
    assert grid.shape == (TRIALS, 4)
    np.testing.assert_allclose(grid.sum(1), 1)
    np.testing.assert_allclose(grid[0], 0.25)
    np.testing.assert_array_equal(grid[-1], [1, 0, 0, 0])
    assert grid.min() >= 0
    np.testing.assert_allclose(weight_grid(1), 1)


def test_ranks_are_mid_ranks():
    values, logits = logit_ranks(np.array([3.0, 1.0, 3.0, 7.0]))
    assert sorted(set(values)) == [1.0, 3.0, 7.0]
    rank = 1 / (1 + np.exp(-logits))
    assert {round(each, 6) for each in rank} == {0.125, 0.5, 0.875}
    assert len(values) == KNOTS


def test_a_row_is_scored_without_looking_at_the_others():
    heads, watch_time, user = world()
    fusion, (fresh, *_) = Fusion.fit(heads, watch_time, user), world(seed=3)
    together = fusion(fresh)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[[7, 3, 90]], fusion(fresh[[7, 3, 90]]), rtol=1e-6)


def test_an_increasing_map_of_a_head_changes_no_score_that_valid_knew():
    heads, watch_time, user = world(rows=200)  # fewer values than knots, so each is a knot
    mapped = np.stack([heads[:, 0] ** 3, np.exp(heads[:, 1]), 5 * heads[:, 2] - 2], axis=1).astype(np.float64)
    a, b = Fusion.fit(heads.astype(np.float64), watch_time, user), Fusion.fit(mapped, watch_time, user)
    np.testing.assert_allclose(a.weights, b.weights)
    np.testing.assert_allclose(a(heads.astype(np.float64)), b(mapped), atol=1e-6)


def test_a_fused_score_grows_with_each_head():
    heads, watch_time, user = world()
    fusion = Fusion.fit(heads, watch_time, user)
    for head in range(3):
        more = heads.copy()
        more[:, head] += 0.5
        assert (fusion(more) >= fusion(heads)).all()
        assert fusion(more).mean() > fusion(heads).mean()


def test_weights_go_to_the_head_that_pays_and_are_the_mean_of_the_best():
    heads, watch_time, user = world()
    fusion = Fusion.fit(heads, watch_time, user)
    assert fusion.weights.sum() == pytest.approx(1)
    assert fusion.weights[0] > 0.6
    half, standard = UpperHalf(watch_time, user), standardised(heads, fusion.outputs, fusion.logits)
    value = [half.watch_time(standard @ each) for each in weight_grid(3)]
    best = np.argsort(value)[::-1][:BEST]
    np.testing.assert_allclose(fusion.weights, weight_grid(3)[best].mean(0))
    assert half.watch_time(standard @ fusion.weights) > half.watch_time(standard.mean(1))


def test_heads_that_know_different_things_are_used_together():
    rng = np.random.default_rng(5)
    parts, user = rng.standard_normal((4000, 2)), rng.integers(0, 300, 4000)
    fusion = Fusion.fit(parts, np.exp(parts.sum(1)), user)
    half, standard = UpperHalf(np.exp(parts.sum(1)), user), standardised(parts, fusion.outputs, fusion.logits)
    assert 0.35 < fusion.weights[0] < 0.65
    assert half.watch_time(standard @ fusion.weights) > 1.05 * half.watch_time(standard[:, 0])


def test_a_head_that_says_one_thing_is_borne():
    heads, watch_time, user = world()
    heads[:, 2] = 4.0
    found = Fusion.fit(heads, watch_time, user)(heads)
    assert np.isfinite(found).all()


def test_users_with_one_row_leave_equal_weights():
    heads, watch_time, _ = world()
    np.testing.assert_allclose(Fusion.fit(heads, watch_time, np.arange(len(heads))).weights, 1 / 3)


def test_arrays_bring_it_back():
    heads, watch_time, user = world()
    fusion = Fusion.fit(heads, watch_time, user)
    np.testing.assert_array_equal(Fusion.of(fusion.arrays())(heads), fusion(heads))
