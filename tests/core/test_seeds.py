"""Named seeds."""

from craftbench.core.seeds import derive
from hypothesis import given
from hypothesis import strategies as some

names = some.lists(some.one_of(some.integers(-(10**20), 10**20), some.text("abc/0123 ", max_size=5)), min_size=1, max_size=4)


def test_pinned():
    """These digits are part of every record's identity: a change makes all of them new."""
    assert derive("final", 0) == 403665516488961576
    assert derive("tuning", 0) == 3454279149709776321


@given(names)
def test_in_the_range_that_numpy_and_torch_take(parts):
    assert 0 <= derive(*parts) < 2**63


@given(names, names)
def test_other_names_other_seed(one, other):
    assert (derive(*one) == derive(*other)) == ([str(part) for part in one] == [str(part) for part in other])


def test_names_do_not_run_together():
    assert derive("a", "bc") != derive("ab", "c") != derive("abc")


def test_seeds_spread():
    seeds = [derive("final", index) for index in range(1000)]
    assert len(set(seeds)) == 1000
    assert abs(sum(seeds) / 1000 / 2**62 - 1) < 0.1
