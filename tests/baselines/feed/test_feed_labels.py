"""What each row of a feed learns of a play, against closed forms; the orders that learn nothing."""

import importlib
import inspect
import pkgutil
from dataclasses import replace

import craftbench.baselines.feed
import numpy as np
import pandas as pd
import pytest
from craftbench.baselines.feed.d2co import FeedD2Co
from craftbench.baselines.feed.d2q import FeedD2Q
from craftbench.baselines.feed.dvr import FeedDVR
from craftbench.baselines.feed.ef import EF
from craftbench.baselines.feed.mix import Mix
from craftbench.baselines.feed.orders import FittedAscending, FittedRandomOrder, RandomOrder, ShortFirst
from craftbench.baselines.feed.pc import PC
from craftbench.baselines.feed.pcr import PCR
from craftbench.baselines.feed.rule import Rule, RuleParams
from craftbench.baselines.feed.rule_search import GRAMMAR, RuleSearch, drawn
from craftbench.baselines.feed.two_towers import D2QEF, DVREF, WTEF
from craftbench.baselines.feed.wpr_d import FeedWPRD
from craftbench.baselines.feed.wt import WT
from craftbench.baselines.feed.wtg import FeedWTG
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.runner import Runner
from craftbench.core.task import Feed, View, Watched
from craftbench.models.feed_runner import FeedRunner, joined
from craftbench.models.feed_training import Judge
from craftbench.models.watch_levels import level_tops
from scipy.stats import rankdata

FIELDS = {"user_id": 21, "item_id": 16, "duration_bucket": 6}


def watched(rows, seed, capped=False):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, 21, rows), rng.integers(1, 16, rows)
    duration = (6 + 3 * item).astype(np.float32)
    watch_time = (duration * rng.gamma(2.0, 0.3, rows)).round(1).astype(np.float32)
    watch_time[::7] = duration[::7]
    if capped:
        watch_time = np.minimum(watch_time, duration)
    label = {"like": (rng.random(rows) < 0.1).astype(np.float32), "follow": (rng.random(rows) < 0.05).astype(np.float32)}
    inputs = {"user_id": user, "item_id": item, "duration_bucket": 1 + item // 4}
    inputs |= {"rate": rng.standard_normal(rows).astype(np.float32), "history": rng.integers(0, 16, (rows, 5)).astype(np.int32)}
    return Watched(inputs, label, watch_time, duration)


TRAIN, META, VALID = watched(1500, 0), watched(300, 1), watched(300, 2)
TASK = Feed("world", TRAIN, META, VALID, FIELDS, ("rate",), {"duration_bucket": np.append(0, 1 + np.arange(1, 16) // 4)}, 3)
Y, D, E = (each.astype(np.float64) for each in (META.watch_time, META.duration, (META.label["like"] + META.label["follow"]) > 0))
SMALL = {"dim": 4, "hidden": 10, "batch_size": 256, "max_epochs": 1, "history": 5}


def runners():
    """Every runner of the folder."""
    found = {}
    for module in pkgutil.iter_modules(craftbench.baselines.feed.__path__):
        for each in vars(importlib.import_module(f"craftbench.baselines.feed.{module.name}")).values():
            if isinstance(each, type) and issubclass(each, Runner) and not inspect.isabstract(each) and "name" in vars(each):
                found[each.name] = each
    return found


RUNNERS = runners()
TRAINED = {name: each for name, each in RUNNERS.items() if issubclass(each, FeedRunner)}


def lesson(kind, rows=META, train=TRAIN, **values):
    return kind().lesson(train, rows, kind.Params.resolve(values), RunContext(1))


def test_the_rows_and_their_names():
    assert set(RUNNERS) == {
        *("pc", "feed_pcr", "wt", "ef", "feed_d2q", "feed_dvr", "wt_ef", "d2q_ef", "dvr_ef"),
        *("feed_wtg", "feed_d2co", "feed_wpr_d", "mix", "rule", "rule_search", "random_order", "short_first", "direct_ascent"),
    }
    assert all(each.task is Feed for each in RUNNERS.values())


@pytest.mark.parametrize("kind", TRAINED.values(), ids=TRAINED)
def test_a_label_is_of_its_row_and_of_train_alone(kind):
    whole = lesson(kind, joined(TRAIN, META)).label
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole[-300:], lesson(kind).label)
    np.testing.assert_array_equal(lesson(kind, META[np.arange(5, 9)]).label, whole[1505:1509])


@pytest.mark.parametrize("kind", TRAINED.values(), ids=TRAINED)
@pytest.mark.parametrize("meta", [False, True])
def test_every_row_fits_and_predicts(kind, meta):
    params = kind.Params.resolve({**SMALL, "meta": meta})
    assert kind().cannot(TASK) is None
    score = kind().fit(TASK, params, RunContext(1)).predict(View("valid", VALID.inputs))["score"]
    assert (score.shape, score.dtype) == ((300,), np.float32)
    assert np.isfinite(score).all()
    assert len(np.unique(score)) > 200


def test_complete_plays():
    np.testing.assert_array_equal(lesson(PC).label, Y > D)
    np.testing.assert_array_equal(lesson(PC, strict=False).label, Y >= D)
    assert (Y == D).any()


def test_without_a_complete_play_there_is_no_pc():
    capped = watched(400, 3, capped=True)
    with pytest.raises(UsageError, match="strict=False"):
        lesson(PC, capped, capped)
    assert lesson(PC, capped, capped, strict=False).label.any()
    assert PC().cannot(replace(TASK, train=capped)) is None
    half = replace(capped, watch_time=capped.watch_time / 2)
    assert "to its end" in PC().cannot(replace(TASK, train=half))


def test_played_shares():
    np.testing.assert_allclose(lesson(PCR).label, np.minimum(Y / D, 1), rtol=1e-6)
    free = lesson(PCR, clipped=False)
    np.testing.assert_allclose(free.label, Y / D, rtol=1e-6)
    assert (free.linear, lesson(PCR).linear, free.label.max() > 1) == (True, False, True)


def scale(train, values, beta, at_knee):
    knee, top = np.quantile(train.astype(np.float64), [beta, 0.999])
    upper = 1 - (1 - at_knee) * (top - values) / (top - knee)
    return np.where(values <= knee, at_knee * values / knee, np.minimum(upper, 1))


def test_watch_time():
    top = np.quantile(TRAIN.watch_time.astype(np.float64), 0.999)
    np.testing.assert_allclose(lesson(WT).label, np.minimum(Y / top, 1), rtol=1e-6)
    found = lesson(WT, label="scaled", knee=0.8, knee_value=0.5)
    np.testing.assert_allclose(found.label, scale(TRAIN.watch_time, Y, 0.8, 0.5), rtol=1e-5)
    assert not found.linear


def test_constant_watch_time_is_a_label_still():
    still = replace(TRAIN, watch_time=np.full(1500, 7, dtype=np.float32))
    for label in ("share", "scaled"):
        assert lesson(WT, still, still, label=label).label.tolist() == [1.0] * 1500
    nothing = replace(TRAIN, watch_time=np.zeros(1500, dtype=np.float32))
    assert not lesson(WT, nothing, nothing).label.any()
    assert not lesson(FeedDVR, still, still).label.any()


def test_explicit_feedback():
    np.testing.assert_array_equal(lesson(EF).label, E)
    none = replace(TRAIN, label={name: np.zeros(1500, dtype=np.float32) for name in TRAIN.label})
    for kind in (EF, WTEF, D2QEF, DVREF):
        assert "0 of 1500 rows" in kind().cannot(replace(TASK, train=none))


def test_ranks_within_groups_of_equal_size():
    found = lesson(FeedD2Q, TRAIN, duration_bins=1).label
    np.testing.assert_allclose(found, rankdata(TRAIN.watch_time, "max") / 1500, rtol=1e-6)
    ranks = pd.Series(TRAIN.watch_time).groupby(TRAIN.duration).rank(method="max", pct=True)
    np.testing.assert_allclose(lesson(FeedD2Q, TRAIN, duration_bins=60).label, ranks, rtol=1e-6)


def test_levels_of_ranks():
    found = lesson(FeedWPRD, TRAIN, duration_bins=1, levels=20, decay=0.9).label
    tops, rank = level_tops(20, 0.9), rankdata(TRAIN.watch_time, "max") / 1500
    assert set(np.unique(found)) <= set(tops.astype(np.float32))
    order = np.argsort(TRAIN.watch_time)
    assert (np.diff(found[order]) >= 0).all()
    assert np.abs(found - rank).max() <= np.diff(tops, prepend=0).max() + 0.02  # up to ties and a level's width


def test_gains_over_the_group():
    found = lesson(FeedDVR, duration_bins=60, adversary=0.5)
    groups = pd.DataFrame({"d": TRAIN.duration, "y": TRAIN.watch_time.astype(np.float64)}).groupby("d")["y"]
    mean, sd = groups.mean(), groups.std(ddof=0)
    np.testing.assert_allclose(
        found.label, (Y - mean[META.duration].to_numpy()) / sd[META.duration].to_numpy(), rtol=1e-4, atol=1e-6
    )
    assert (found.linear, found.adversary) == (True, 0.5)
    whole = lesson(FeedDVR, TRAIN, duration_bins=1).label
    np.testing.assert_allclose(whole, (TRAIN.watch_time - TRAIN.watch_time.mean()) / TRAIN.watch_time.std(), rtol=1e-3, atol=1e-5)


def test_gains_over_the_second():
    w = np.minimum(np.rint(TRAIN.watch_time), TRAIN.duration)
    by_second = pd.Series(w).groupby(TRAIN.duration)
    expected = ((w - by_second.transform("mean")) / by_second.transform("std")).to_numpy()
    found = lesson(FeedWTG, TRAIN)
    np.testing.assert_allclose(found.label, expected, rtol=1e-4, atol=1e-5)
    assert (found.linear, found.adversary) == (True, 0.0)


def test_corrected_watch_rises_with_the_watch():
    found = lesson(FeedD2Co, TRAIN)
    assert not found.linear
    for d in np.unique(TRAIN.duration):
        rows = np.flatnonzero(TRAIN.duration == d)
        sorted_rows = rows[np.argsort(np.minimum(np.rint(TRAIN.watch_time[rows]), d))]
        assert (np.diff(found.label[sorted_rows]) >= 0).all()
    assert (found.label.min(), found.label.max()) == (0, 1)


@pytest.mark.parametrize(("kind", "alone"), [(WTEF, WT), (D2QEF, FeedD2Q), (DVREF, FeedDVR)])
def test_a_second_tower_leaves_the_first_its_label(kind, alone):
    both, one = lesson(kind, explicit=0.3), lesson(alone)
    np.testing.assert_array_equal(both.label, one.label)
    assert (both.explicit, one.explicit) == (0.3, 0.0)
    assert (both.linear, both.adversary) == (one.linear, one.adversary)
    assert set(alone.Params.model_fields) < set(kind.Params.model_fields)


def test_the_mix_of_three_numbers():
    found = lesson(Mix, a=0.7, b=0.2, c=-0.4, knee=0.8, knee_value=0.5)
    y, d = (scale(train, values, 0.8, 0.5) for train, values in ((TRAIN.watch_time, Y), (TRAIN.duration, D)))
    np.testing.assert_allclose(found.label, 0.7 * y + 0.2 * E - 0.4 * d, rtol=1e-4, atol=1e-6)
    assert found.linear
    assert {name for name in Mix.Params.spaces() if name not in WT.Params.spaces()} == {"a", "b", "c"}


def test_the_rule():
    values = {"watch": 0.5, "watch_at": 0.3, "ratio": 0.25, "ratio_at": 0.6, "flag": 0.9, "length": -0.3, "length_at": 0.8}
    t_y, t_d = np.quantile(TRAIN.watch_time, 0.3), np.quantile(TRAIN.duration, 0.8)
    expected = 0.5 * (t_y <= Y) + 0.25 * (META.watch_time >= 0.6 * META.duration) + 0.9 * E - 0.3 * (t_d <= D)
    np.testing.assert_allclose(lesson(Rule, **values).label, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(lesson(Rule).label, (Y >= D) * 1.0 + E)


def test_rules_tried_one_by_one():
    """The best on valid of rules each fitted as `Rule` fits it; more rules begin with the fewer ones, and are never worse there."""
    view, found = View("valid", VALID.inputs), {}
    for number in (1, 4):
        run = RunContext(5)
        fitted = RuleSearch().fit(TASK, RuleSearch.Params.resolve({**SMALL, "rules": number}), run)
        found[number] = fitted.predict(view)["score"], run.notes
    rules = list(drawn(4, RunContext(5).rng("rules")))
    assert rules[0] == RuleParams()
    assert rules[:2] == list(drawn(2, RunContext(5).rng("rules")))
    assert len({each.length_at for each in rules}) == 4
    assert all(low <= getattr(each, name) <= high for each in rules for name, (low, high) in GRAMMAR.items())
    assert len(GRAMMAR) == 7
    own = [{name: getattr(each, name) for name in GRAMMAR} for each in rules]
    alone = [Rule().fit(TASK, Rule.Params.resolve({**SMALL, **each}), RunContext(5)).predict(view)["score"] for each in own]
    worth = [Judge.of(VALID, TASK.k)(score) for score in alone]
    best = int(np.argmax(worth))
    assert best != 0
    np.testing.assert_array_equal(found[1][0], alone[0])
    np.testing.assert_array_equal(found[4][0], alone[best])
    assert found[4][1]["best_rule"] == best + 1
    assert {name: found[4][1][name] for name in GRAMMAR} == own[best]


def test_orders(tmp_path):
    view = View("test", {**VALID.inputs, "seconds_long": VALID.duration})
    short, drawn = (kind().fit(TASK, kind.Params(), RunContext(1)) for kind in (ShortFirst, RandomOrder))
    np.testing.assert_array_equal(
        np.argsort(-short.predict(view)["score"], kind="stable"), np.argsort(VALID.duration, kind="stable")
    )
    score = drawn.predict(view)["score"]
    assert (score.dtype, len(np.unique(score))) == (np.float32, 300)
    other_seed = RandomOrder().fit(TASK, RandomOrder.Params(), RunContext(2))
    assert all((each.predict(view)["score"] != score).any() for each in (other_seed, short))
    assert (drawn.predict(View("valid", view.columns))["score"] != score).any()
    for fitted, kind in ((short, FittedAscending), (drawn, FittedRandomOrder)):
        fitted.save(tmp_path / kind.__name__)
        loaded = kind.load(tmp_path / kind.__name__)
        np.testing.assert_array_equal(loaded.predict(view)["score"], fitted.predict(view)["score"])
