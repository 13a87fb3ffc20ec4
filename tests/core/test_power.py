"""Power by the noncentral t against simulation, an independent implementation, and its own inverses."""

import math

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.power import MOST_SEEDS, Spread, power, seeds_needed, visible
from craftbench.core.statistics import Estimate, summary, two_sided
from scipy import stats


def rejections(size, spread, seeds, draws=20_000):
    """How often a simulated study with these errors is significant, two-sided at 5 %, in the right direction."""
    rng = np.random.default_rng([seeds, spread.groups])
    noise = spread.users * rng.normal(size=draws)
    x = size + spread.seeds * rng.normal(size=(draws, seeds)) + noise[:, None]
    se_seeds = x.std(axis=1, ddof=1) / math.sqrt(seeds)
    se_users = spread.users * np.sqrt(rng.chisquare(max(1, spread.groups - 1), draws) / max(1, spread.groups - 1))
    found = [Estimate(mean, a, b, seeds, spread.groups) for mean, a, b in zip(x.mean(axis=1), se_seeds, se_users, strict=True)]
    return np.mean([each.mean > 0 and two_sided(each) <= 0.05 for each in found])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "seeds"),
    [(Spread(1.0, 0.0, 0), 3), (Spread(1.0, 0.0, 0), 12), (Spread(1.0, 0.3, 40), 6), (Spread(1.0, 0.6, 40), 10)],
    ids=["three seeds", "twelve seeds", "users too", "users above all"],
)
@pytest.mark.parametrize("wanted", [0.5, 0.8])
def test_power_is_what_a_simulation_gives(spread, seeds, wanted):
    size = visible(spread, seeds, wanted)
    assert rejections(size, spread, seeds) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("seeds", [2, 5, 30])
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_without_users_it_is_the_power_of_the_t_test(size, seeds):
    edge = stats.t.ppf(0.975, seeds - 1)
    expected = stats.nct.sf(edge, seeds - 1, size * math.sqrt(seeds))
    assert power(size, Spread(1.0, 0.0, 0), seeds) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_far_from_no_difference_it_goes_on_smoothly_to_one(seeds):
    far = np.array([power(size, Spread(1.0, 0.0, 0), seeds) for size in np.geomspace(20, 25, 30) / math.sqrt(seeds) * 1.4])
    assert (np.diff(far) > -1e-3).all()
    assert power(70.0, Spread(11.0, 0.001, 40), MOST_SEEDS) == 1.0
    assert seeds_needed(70.0, Spread(11.0, 0.9, 40)) == 3, "two need 12.7 standard errors of 8, three 4.3 of 6"


@pytest.mark.parametrize("spread", [Spread(1.0, 0.0, 0), Spread(0.02, 0.001, 40)])
@pytest.mark.parametrize("times", [0.3, 1.0, 4.0])
def test_the_seeds_needed_are_enough_and_one_fewer_is_not(spread, times):
    size = times * spread.seeds
    seeds = seeds_needed(size, spread)
    assert power(size, spread, seeds) >= 0.8
    assert seeds == 2 or power(size, spread, seeds - 1) < 0.8
    assert visible(spread, seeds) <= size * (1 + 1e-6)


def test_no_number_of_seeds_shows_what_the_test_users_hide():
    spread = Spread(seeds=0.01, users=0.01, groups=40)
    assert seeds_needed(0.02, spread) is None
    hidden = visible(spread, MOST_SEEDS)
    assert seeds_needed(1.01 * hidden, spread) is not None
    assert seeds_needed(0.02, Spread(0.01, 0.01 * 0.02 / hidden * 0.99, 40)) is not None, "that many times the users show it"


def test_rows_that_never_vary_need_two_seeds():
    assert seeds_needed(1e-9, Spread(0.0, 0.0, 0)) == 2
    assert visible(Spread(0.0, 0.0, 0), 5) == 0.0


def test_the_spread_of_a_pilot_is_that_of_its_estimate():
    rng = np.random.default_rng(0)
    pilot = summary(rng.normal(size=7), rng.normal(size=(7, 40)))
    again = Spread.of(pilot).at(7)
    assert (again.se_seeds, again.se_users, again.df) == pytest.approx((pilot.se_seeds, pilot.se_users, pilot.df))
    with pytest.raises(UsageError, match="run two or more"):
        Spread.of(summary([1.0]))
