"""Completeness of unlearning: distances and ranks against SciPy and by hand, attacks against worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.metrics.unlearning import (
    grouped_membership_auc,
    grouped_rank_correlation,
    grouped_score_distance,
    membership_auc,
    rank_correlation,
    score_distance,
    shadow_z,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

GROUPS = 6
RNG = np.random.default_rng(5)
RETRAINED, ORIGINAL, NOISE = RNG.normal(size=(3, 400))
LABEL, MEMBER, GROUP = RNG.integers(0, 2, 400), RNG.integers(0, 2, 400), RNG.integers(0, GROUPS, 400)


def by_hand(metric, *columns):
    """The metric of the rows outside each group."""
    return [metric(*(column[g != GROUP] for column in columns)) for g in range(GROUPS)]


def test_distance_runs_from_retrain_to_original():
    assert score_distance(RETRAINED, RETRAINED, ORIGINAL) == 0.0
    assert score_distance(ORIGINAL, RETRAINED, ORIGINAL) == 1.0
    halfway = (RETRAINED + ORIGINAL) / 2
    assert score_distance(halfway, RETRAINED, ORIGINAL) == pytest.approx(0.5)
    assert score_distance(1.3 * RETRAINED, RETRAINED) == pytest.approx(0.3)


def test_distance_is_undefined_where_original_is_retrain():
    assert np.isnan(score_distance(ORIGINAL, RETRAINED, RETRAINED))
    assert np.isnan(score_distance(ORIGINAL, np.zeros(400)))


@given(scale=st.floats(0.1, 10.0), offset=st.floats(-3.0, 3.0))
def test_distance_to_retrain_ignores_scale_and_offset_of_all_three(scale, offset):
    here = score_distance(scale * NOISE + offset, scale * RETRAINED + offset, scale * ORIGINAL + offset)
    assert here == pytest.approx(score_distance(NOISE, RETRAINED, ORIGINAL))


def test_grouped_distance_drops_each_group():
    value, leave_out = grouped_score_distance(NOISE, RETRAINED, GROUP, GROUPS, ORIGINAL)
    assert value == pytest.approx(score_distance(NOISE, RETRAINED, ORIGINAL))
    np.testing.assert_allclose(leave_out, by_hand(score_distance, NOISE, RETRAINED, ORIGINAL))
    value, leave_out = grouped_score_distance(NOISE, RETRAINED, GROUP, GROUPS)
    assert value == pytest.approx(np.linalg.norm(NOISE - RETRAINED) / np.linalg.norm(RETRAINED))
    np.testing.assert_allclose(leave_out, by_hand(score_distance, NOISE, RETRAINED))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_equals_scipy(table):
    a, b = np.array(table).T
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(rank_correlation(a, b))
    else:
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_grouped_rank_correlation_drops_each_group():
    close, coarse = RETRAINED + 0.3 * NOISE, np.round(RETRAINED, 1)
    value, leave_out = grouped_rank_correlation(close, coarse, GROUP, GROUPS)
    assert value == pytest.approx(spearmanr(close, coarse).statistic, abs=1e-12)
    np.testing.assert_allclose(leave_out, by_hand(lambda a, b: spearmanr(a, b).statistic, close, coarse))


def test_membership_shows_what_was_memorised():
    sign = 2 * LABEL - 1
    assert membership_auc(sign * (MEMBER + 0.0), LABEL, MEMBER) == 1.0, "surer of every row it was trained on"
    assert membership_auc(np.zeros(400), LABEL, MEMBER) == 0.5
    value, leave_out = grouped_membership_auc(NOISE + 0.5 * sign * MEMBER, LABEL, MEMBER, GROUP, GROUPS)
    assert 0.55 < value < 0.8
    np.testing.assert_allclose(leave_out, by_hand(membership_auc, NOISE + 0.5 * sign * MEMBER, LABEL, MEMBER))


def test_shadows_remove_what_is_not_memory():
    """Removed rows are easier than unseen ones; only against shadows does a model that never saw them look innocent."""
    rng = np.random.default_rng(0)
    label, member = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    easy = (2 * label - 1) * 1.5 * member + rng.normal(size=4000)
    shadows = easy + 0.5 * rng.normal(size=(16, 4000))
    innocent = easy + 0.5 * rng.normal(size=4000)
    guilty = innocent + 0.5 * (2 * label - 1) * member
    assert membership_auc(innocent, label, member) > 0.8
    assert membership_auc(shadow_z(innocent, shadows), label, member) == pytest.approx(0.5, abs=0.03)
    assert membership_auc(shadow_z(guilty, shadows), label, member) > 0.7


def test_shadow_z_is_the_z_score_and_survives_agreeing_shadows():
    shadows = np.array([[1.0, 2.0, 2.0], [3.0, 2.0, 2.0]])
    np.testing.assert_allclose(shadow_z([4.0, 2.0, 3.0], shadows), [2 / np.sqrt(2), 0.0, np.inf])


def test_bad_shapes_are_named():
    with pytest.raises(UsageError, match="cannot be compared"):
        score_distance([1.0, 2.0], [1.0])
    with pytest.raises(UsageError, match="at least 2 models"):
        shadow_z([1.0, 2.0], [[1.0, 2.0]])
