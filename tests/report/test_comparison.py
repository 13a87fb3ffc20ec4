"""Two runs against each other: equal digits, broken promises, differences beyond noise, and what one side lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from craftbench.report.comparison import compared
from craftbench.report.draw import standing_alone
from craftbench.report.evidence import Evidence
from craftbench.report.gathering import gathered
from craftbench.report.recorded import Fit, Recorded, read, write

RNG = np.random.default_rng(11)
ALONE = {"p": {"test/auc"}}


def fit(row: str, values: list[float], record: str = "a", **more) -> Fit:
    n = len(values)
    made = {"test/auc": tuple(values)}
    return Fit("t", row, {"lr": 0.1}, 0, tuple(f"{record}{seed}" for seed in range(n)), (1.0,) * n, made, {}, **more)


@pytest.fixture
def side(run_once):
    """A side with these fits."""
    origin = gathered(Evidence(run_once.benchmark, run_once.store, "quick")).origins[0]
    tasks = {"t": {"dataset": "d", "fingerprint": "f", "settings": {}}}
    return lambda *fits: [Recorded("p", "quick", (origin,), tasks, fits)]


def test_a_store_equals_its_own_file(run_once, tmp_path: Path) -> None:
    whole = gathered(Evidence(run_once.benchmark, run_once.store, "quick"))
    write(whole, tmp_path / "invented.json")
    alone = {"invented": standing_alone(run_once.benchmark)}
    found = compared([whole], [read(tmp_path / "invented.json")], alone)
    assert (found.broken, found.moved, found.unjudged, found.only_b) == ((), (), (), ())
    assert {key[2] for key in found.only_a} == {"popular", "shards"}, "rows without every seed are not written"
    assert found.equal == sum(len(each.records) for each in whole.whole().fits)


def test_equal_identity_with_other_digits_is_a_broken_promise(side) -> None:
    found = compared(side(fit("x", [0.7, 0.8])), side(fit("x", [0.7, 0.8000001])), ALONE)
    assert [(each.row, each.seed, each.a, each.b) for each in found.broken] == [("x", 1, 0.8, 0.8000001)]
    assert found.equal == 1
    assert found.moved == ()
    assert compared(side(fit("x", [0.7, 0.8])), side(fit("x", [0.7, 0.8000001])), {"p": set()}).broken == (), "of other rows"


def test_differences_beyond_noise_and_within(side) -> None:
    noise = RNG.normal(0, 0.01, (4, 10))
    a = side(fit("near", list(0.7 + noise[0])), fit("far", list(0.7 + noise[1])))
    b = side(fit("near", list(0.7 + noise[2]), "b"), fit("far", list(0.75 + noise[3]), "b"))
    found = compared(a, b, ALONE)
    assert {each.row: each.beyond_noise for each in found.moved} == {"near": False, "far": True}
    (far,) = found.beyond_noise
    low, high = far.interval
    assert low < 0.05 < high
    assert far.otherwise == "parents", "nothing of its own differs"
    changed = replace(b[0].fits[1], params={"lr": 0.2})
    (far,) = compared(a, side(changed), ALONE).beyond_noise
    assert far.otherwise == "lr"


def test_equal_sides_are_seldom_called_different(side) -> None:
    alarms = 0
    for _ in range(200):
        rows = [(f"r{row}", RNG.normal(size=(2, 5))) for row in range(10)]
        a = side(*(fit(row, list(values[0])) for row, values in rows))
        b = side(*(fit(row, list(values[1]), "b") for row, values in rows))
        alarms += bool(compared(a, b, ALONE).beyond_noise)
    assert alarms <= 20, "5 % of 200 are expected, whatever the number of rows"


def test_the_noise_of_the_test_users_counts(side) -> None:
    """Paired where both know each group's part; as if they were other users where a file does not."""
    values, shift = 0.7 + RNG.normal(0, 0.001, 8), 0.004
    groups = RNG.normal(0, 0.0004, 40)
    known = {"users": {"test/auc": (0.01, 40)}}
    plain = compared(side(fit("x", list(values), **known)), side(fit("x", list(values + shift), "b", **known)), ALONE)
    assert plain.beyond_noise == (), "each side's users move it by more than that"
    noise = values[:, None] + groups
    a = fit("x", list(values), without={"test/auc": noise}, **known)
    b = fit("x", list(values + shift), "b", without={"test/auc": noise + shift}, **known)
    paired = compared(side(a), side(b), ALONE)
    assert len(paired.beyond_noise) == 1, "the same users on both sides"


def test_one_seed_is_not_judged_and_absent_rows_are_named(side) -> None:
    found = compared(side(fit("x", [0.7]), fit("y", [0.7, 0.8])), side(fit("x", [0.9], "b"), fit("z", [0.7, 0.8])), ALONE)
    assert found.unjudged == (("p", "t", "x"),)
    assert (found.only_a, found.only_b) == ((("p", "t", "y"),), (("p", "t", "z"),))
