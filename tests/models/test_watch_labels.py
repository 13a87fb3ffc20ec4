"""Watch-time labels against closed forms, scipy and pandas; users, items, fall-backs, bad input."""

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.models.watch_labels import LABELS, WatchTimeLabels
from craftbench.models.watch_levels import Ranks, duration_bins, level_tops
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore, rankdata


def log(rows=6000, seed=0, users=40, items=60):
    """Plays whose watch time depends on duration and on taste, in tenths of a second, with heavy ties at the end of the video."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, items, rows)
    duration = np.round(5 + 100 * np.random.default_rng(99).beta(1, 3, items), 1)[item]
    watch = np.minimum(rng.lognormal(0, 1.2, rows) * duration**0.7, duration * 1.5)
    watch = np.where(rng.random(rows) < 0.15, duration, np.round(watch, 1))
    return pd.DataFrame({"watch_time": watch, "duration": duration, "user_id": rng.integers(0, users, rows), "item_id": item})


def no_ties(rows=20000, seconds=100):
    """One duration, every watch time a different tick."""
    watch = np.random.default_rng(1).permutation(rows) / 10 + 0.1
    return pd.DataFrame({"watch_time": watch, "duration": float(seconds)})


def fitted(table, **chosen):
    chosen = {"min_rows": 1, "sides": [] if "user_id" not in table else ["user_id", "item_id"], **chosen}
    return WatchTimeLabels(**chosen).fit(table)


def groups_of(labels, table):
    return labels.groups.of(table["duration"].to_numpy())


def ticks(table):
    return np.minimum(np.rint(table["watch_time"].to_numpy() * 10), 36000)


# 1.2: levels (check 1, 2)


@pytest.mark.parametrize("levels", [2, 20, 50, 100])
@pytest.mark.parametrize("decay", [1.0, 0.98, 0.95, 0.9])
def test_shares_of_the_levels(levels, decay):
    tops = level_tops(levels, decay)
    q = np.diff(tops, prepend=0)
    assert tops[-1] == 1
    assert q.sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(q) <= 1e-15).all()
    np.testing.assert_allclose(q[1:] / q[:-1], decay, rtol=1e-9)


@pytest.mark.parametrize("chosen", [{}, {"levels": 20, "decay": 1.0}, {"duration_bins": 1}, {"duration_bins": "per_second"}])
def test_labels_are_tops_and_reach_one(chosen):
    table = log()
    labels = fitted(table, **chosen)
    tops = level_tops(labels.levels, labels.decay).astype(np.float32)
    found = labels.transform(table)
    for name in ("wpr", "wpr_d"):
        assert np.isin(found[name], tops).all()
        assert found[name].min() >= tops[0]
    assert (found.groupby(groups_of(labels, table))["wpr_d"].max() == 1).all()
    assert list(found) == list(LABELS)


def brute(watch, tops):
    """The definition, play by play: sort, edges as observed values, cut by value, equal edges are one level."""
    ordered = np.sort(watch)
    edges = np.array([ordered[int(np.ceil(np.round(top * len(watch), 9))) - 1] for top in tops])
    below = np.array([(edges < y).sum() for y in watch])
    return np.array([tops[np.flatnonzero(edges == edges[n])[-1]] for n in below])


@given(st.data())
def test_labels_against_the_definition(data):
    rows = data.draw(st.integers(1, 60))
    watch = np.array(data.draw(st.lists(st.integers(0, 30), min_size=rows, max_size=rows))) / 10
    long = np.array(data.draw(st.lists(st.sampled_from([1.0, 7.0, 30.0]), min_size=rows, max_size=rows)))
    levels, decay = data.draw(st.sampled_from([2, 5, 20, 80])), data.draw(st.sampled_from([1.0, 0.95, 0.5]))
    table = pd.DataFrame({"watch_time": watch, "duration": long})
    labels = fitted(table, duration_bins="per_second", levels=levels, decay=decay)
    found = labels.transform(table)
    tops = level_tops(levels, decay)
    np.testing.assert_allclose(found["wpr"], brute(watch, tops), atol=1e-6)
    for d in np.unique(long):
        np.testing.assert_allclose(found["wpr_d"][long == d], brute(watch[long == d], tops), atol=1e-6)


def test_only_the_order_counts():
    """A strictly increasing map of the watch times, or another order of rows, changes no label of a row."""
    table = log()
    found = fitted(table).transform(table)
    squared = table.assign(watch_time=ticks(table) ** 2 / 1e4)  # whole ticks stay different
    squared["watch_time"] = rankdata(squared["watch_time"], method="dense") / 10
    pd.testing.assert_frame_equal(fitted(squared).transform(squared), found)
    shuffled = table.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(fitted(shuffled).transform(shuffled).loc[table.index], found)
    for _, part in found.assign(g=groups_of(fitted(table), table), y=table["watch_time"]).groupby("g"):
        ordered = part.sort_values("y")
        assert (ordered["wpr_d"].diff().dropna() >= 0).all()
        assert (ordered.groupby("y")["wpr_d"].nunique() == 1).all()


# Means and ranks (check 3, 4, 5, 10)


@pytest.mark.parametrize(("levels", "decay"), [(20, 1.0), (50, 0.95)])
def test_mean_of_labels_without_ties(levels, decay):
    table = no_ties()
    q = np.diff(level_tops(levels, decay), prepend=0)
    upper, mid = (
        fitted(table, levels=levels, decay=decay, edge=edge).transform(table)["wpr_d"].to_numpy() for edge in ("upper", "mid")
    )
    assert upper.mean(dtype=np.float64) == pytest.approx((1 + (q**2).sum()) / 2, abs=1 / len(table))
    if decay == 1:
        assert upper.mean(dtype=np.float64) == pytest.approx(0.525, abs=1e-7)
    assert mid.mean(dtype=np.float64) == pytest.approx(0.5, abs=1e-7)


def test_mid_labels_average_a_half_whatever_the_ties():
    table = log()
    for chosen in ({}, {"levels": 3}, {"levels": 20000, "decay": 1.0}):
        labels = fitted(table, edge="mid", **chosen)
        means = labels.transform(table).groupby(groups_of(labels, table))["wpr_d"].apply(lambda y: y.astype(np.float64).mean())
        np.testing.assert_allclose(means, 0.5, atol=1e-6)  # so no share of their variance lies between the bins


def test_many_equal_levels_are_the_exact_percentile_rank():
    """With decay 1 and N = n, D2Q's label: the share of the group's rows at or below; in the middle, the mid-rank."""
    table = log()
    y = pd.Series(ticks(table))
    one = fitted(table, levels=len(table), decay=1.0, duration_bins=1, sides=[])
    np.testing.assert_array_equal(one.transform(table)["wpr_d"], y.rank(method="max", pct=True).astype(np.float32))
    labels = fitted(table, levels=len(table), decay=1.0, sides=[])
    g = groups_of(labels, table)
    grouped = y.groupby(g)
    weak = grouped.rank(method="max", pct=True)
    assert (weak - labels.transform(table)["wpr_d"]).between(-1e-7, 1 / len(table)).all()  # N is no multiple of a bin's rows
    exact, mid = (Ranks(labels.groups.counts, None, edge).label[g, y.astype(int)] for edge in ("upper", "mid"))
    np.testing.assert_array_equal(exact, weak.astype(np.float32))
    np.testing.assert_allclose(mid, (grouped.rank(method="average") - 0.5) / grouped.transform("size"), atol=1e-7)
    np.testing.assert_array_equal(fitted(table, levels=9999, decay=1.0, edge="mid", sides=[]).transform(table)["wpr_d"], mid)
    tie = grouped.value_counts(normalize=True).groupby(level=0).apply(lambda share: (share**2).sum())
    np.testing.assert_allclose(weak.groupby(g).mean(), 0.5 + tie / 2)
    np.testing.assert_allclose(percentileofscore(y[g == 0], y[g == 0], kind="weak") / 100, exact[g == 0], atol=1e-7)


def test_uniform_within_bins_and_alike_across_them():
    table = log(rows=30000)
    labels = fitted(table, duration_bins=10)
    found, g, y = labels.transform(table)["wpr_d"], groups_of(labels, table), ticks(table)
    q, grid = np.diff(level_tops(50, 0.95), prepend=0), np.linspace(0, 1, 501)
    curves, worst = [], 0.0
    for k in range(len(labels.groups)):
        curves.append(np.searchsorted(np.sort(found[g == k]), grid, side="right") / (g == k).sum())
        tie = np.unique(y[g == k], return_counts=True)[1].max() / (g == k).sum()
        worst = max(worst, q.max() + tie)
        assert np.abs(curves[-1] - grid).max() <= q.max() + tie
    assert np.ptp(curves, axis=0).max() <= 2 * worst
    held_out = log(rows=30000, seed=5)
    other, h = labels.transform(held_out)["wpr_d"], groups_of(labels, held_out)
    for k in range(len(labels.groups)):
        curve = np.searchsorted(np.sort(other[h == k]), grid, side="right") / (h == k).sum()
        noise = sum(np.sqrt(np.log(2 / 1e-4) / (2 * n)) for n in ((g == k).sum(), (h == k).sum()))
        assert np.abs(curve - grid).max() <= worst + noise


def test_finer_bins_leave_less_of_the_duration():
    table = log(rows=30000, items=2000)
    left = []
    for bins in (1, 5, 30, "per_second"):
        found = fitted(table, duration_bins=bins, edge="mid", sides=[]).transform(table)
        left.append(abs(np.corrcoef(found["wpr_d"], table["duration"])[0, 1]))
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.2
    assert left[-1] < 0.005
    one = fitted(table, duration_bins=1).transform(table)
    np.testing.assert_array_equal(one["wpr_d"], one["wpr"])


def test_bins_are_whole_seconds_of_like_size():
    rows = np.array([0, 5, 5, 5, 90, 5, 5, 5, 0, 0])
    np.testing.assert_array_equal(duration_bins(rows, 3, 1), [4, 7])  # a heavy second is never split, so there are two
    np.testing.assert_array_equal(duration_bins(rows, "per_second", 1), [1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(duration_bins(rows, "per_second", 10), [3, 4, 7])  # the smallest to its lighter neighbour
    np.testing.assert_array_equal(duration_bins(rows, 1, 1000), [7])
    table = log(rows=30000)
    labels = fitted(table, duration_bins=12)
    assert labels.report()["duration_bins"] == len(labels.groups) <= 12 == labels.report()["duration_bins_asked"]
    assert np.bincount(groups_of(labels, table)).min() > 30000 / 12 / 2


# 1.4: effective and long views (check 6, 7)


def test_views_by_duration_group():
    table = log()
    labels = fitted(table)
    found, g, y = labels.transform(table), groups_of(labels, table), pd.Series(ticks(table))
    weak = y.groupby(g).rank(method="max", pct=True)
    np.testing.assert_array_equal(found["ev_d"], weak >= 0.5)
    np.testing.assert_array_equal(found["lv_d"], weak >= 0.75)
    for k in range(len(labels.groups)):
        for name, share in (("ev_d", 0.5), ("lv_d", 0.75)):
            cut = np.sort(y[g == k])[int(np.ceil(share * (g == k).sum())) - 1]
            assert 1 - share <= found[name][g == k].mean() <= 1 - share + (y[g == k] == cut).mean()
    for suffix in "duv":
        assert (found[f"lv_{suffix}"] <= found[f"ev_{suffix}"]).all()


def test_a_constant_group_is_all_positive_and_flagged():
    table = pd.DataFrame({"watch_time": [3.0] * 9 + [1.0, 2.0], "duration": [5.0] * 9 + [20.0, 20.0]})
    labels = fitted(table, duration_bins=2)
    assert labels.report()["constant_bins"] == [5]
    assert labels.transform(table)["ev_d"].to_list() == [1] * 11
    assert labels.transform(table)["lv_d"].to_list() == [1] * 9 + [0, 1]
    assert labels.transform(table)["wpr_d"].to_list()[:9] == [1] * 9


@pytest.mark.parametrize(("side", "suffix"), [("user_id", "u"), ("item_id", "v")])
def test_thresholds_of_users_and_items_against_pandas(side, suffix):
    """With levels as fine as the data, the formula itself: WPR^d >= (n median + m / 2) / (n + m)."""
    table = log(rows=1500)
    for m in (0.0, 20.0):
        labels = fitted(table, levels=200_000, decay=1.0, shrinkage=m, duration_bins=5)
        found, g = labels.transform(table), groups_of(labels, table)
        rank = pd.Series(ticks(table)).groupby(g).rank(method="max", pct=True)
        for view, share in (("ev", 0.5), ("lv", 0.75)):
            grouped = rank.groupby(table[side])
            own, n = grouped.transform(lambda r, s=share: np.quantile(r, s, method="inverted_cdf")), grouped.transform("size")
            least = own if m == 0 else (n * own + m * share) / (n + m)
            sure = np.abs(rank - least) >= (0 if m == 0 else 1e-5)  # one level
            assert sure.mean() > 0.98
            np.testing.assert_array_equal(found[f"{view}_{suffix}"][sure].astype(bool), (rank >= least)[sure])


def test_with_levels_the_own_quantile_is_a_level():
    """m = 0: positive from the level of the user's median on."""
    table = log()
    labels = fitted(table, shrinkage=0)
    found = labels.transform(table)
    for side, suffix in (("user_id", "u"), ("item_id", "v")):
        for view, share in (("ev", 0.5), ("lv", 0.75)):
            own = found["wpr_d"].groupby(table[side]).transform(lambda r, s=share: np.quantile(r, s, method="inverted_cdf"))
            np.testing.assert_array_equal(found[f"{view}_{suffix}"].astype(bool), found["wpr_d"] >= own)


def test_a_user_seen_once_and_the_ends_of_shrinkage():
    table = log()
    table.loc[7, "user_id"] = 1000
    found = fitted(table, shrinkage=0).transform(table)
    assert found.loc[7, "ev_u"] == found.loc[7, "lv_u"] == 1
    shrunk = fitted(table, shrinkage=np.inf).transform(table)
    for view in ("ev", "lv"):
        for suffix in "uv":
            np.testing.assert_array_equal(shrunk[f"{view}_{suffix}"], shrunk[f"{view}_d"])
    assert fitted(table).report()["user_id_seen_once"] == 1


def test_ids_are_only_names():
    table = log()
    found = fitted(table).transform(table)
    renamed = table.assign(user_id=(table["user_id"] * 7919 + 10**12), item_id="video " + table["item_id"].astype(str))
    pd.testing.assert_frame_equal(fitted(renamed).transform(renamed), found)


def test_unseen_users_and_items_fall_back_and_are_counted():
    table, labels = log(), fitted(log())
    new = table.head(10).assign(user_id=[999] * 4 + table["user_id"].to_list()[4:10], item_id=-5)
    found = labels.transform(new)
    assert labels.fallbacks == {"user_id": 4, "item_id": 10}
    np.testing.assert_array_equal(found["ev_v"], found["ev_d"])
    np.testing.assert_array_equal(found["lv_u"][:4], found["lv_d"][:4])
    labels.transform(table)
    assert labels.fallbacks == {"user_id": 0, "item_id": 0}


# Decoders (check 8)


@pytest.mark.parametrize("chosen", [{}, {"levels": 7, "decay": 0.6}, {"edge": "mid"}, {"levels": 700, "decay": 1.0}])
def test_inverse_goes_back_to_the_own_level(chosen):
    table = log()
    labels = fitted(table, sides=[], **chosen)
    back = labels.to_seconds(labels.transform(table)["wpr_d"], table["duration"])
    edges = labels.debiased.edges[groups_of(labels, table)] / 10
    y = ticks(table) / 10
    upper = np.where(edges >= y[:, None] - 1e-9, edges, np.inf).min(axis=1)
    lower = np.where(edges < y[:, None] - 1e-9, edges, 0.0).max(axis=1)
    assert (back <= upper + 1e-3).all()
    assert (back > lower - 1e-3).all()
    assert (np.abs(back - y) <= upper - lower + 1e-3).all()
    p = np.linspace(0, 1, 200)
    rising = labels.to_seconds(p, np.full(200, 33.0))
    assert (np.diff(rising) >= 0).all()
    assert rising[0] >= 0


def test_expected_of_one_level_is_its_mean_and_finer_levels_lose_less():
    table = log(rows=20000)
    lost = []
    for levels in (5, 10, 20, 40):
        labels = fitted(table, levels=levels, decay=1.0, sides=[])
        level, g = np.empty(len(table), dtype=np.int32), groups_of(labels, table)
        level[:] = labels.debiased.level[g, ticks(table).astype(int)]
        back = labels.to_seconds(np.eye(levels)[level], table["duration"], "expected")
        wanted = pd.Series(ticks(table) / 10).groupby([g, level]).transform("mean")
        np.testing.assert_allclose(back, wanted, rtol=1e-9)
        lost.append(((ticks(table) / 10 - back) ** 2).mean())
    assert lost == sorted(lost, reverse=True)
    even = labels.to_seconds(np.full((len(table), 40), 1 / 40), table["duration"], "expected")
    assert (even >= 0).all()
    pooled = labels.to_seconds(labels.transform(table)["wpr"], table["duration"], debiased=False)
    assert (np.diff(pooled[np.argsort(table["watch_time"], kind="stable")]) >= -1e-9).all()


# Train and test (check 11)


def test_labels_of_other_rows():
    train, labels = log(), fitted(log())
    before = labels.fingerprint, labels.debiased.edges.copy()
    rows = pd.DataFrame(
        {"watch_time": [0.0, 1e6, 5.0, 5.0], "duration": [40.0, 40.0, 0.4, 9000.0], "user_id": [-1] * 4, "item_id": [0] * 4}
    )
    found = labels.transform(rows)
    assert found["wpr_d"].between(0, 1, inclusive="right").all()
    assert found["wpr_d"][1] == found["wpr"][1] == 1
    assert found["wpr"][0] == labels.transform(train.assign(watch_time=0.0))["wpr"].min() <= labels.transform(train)["wpr"].min()
    assert found["ev_d"].to_list()[:2] == [0, 1]
    assert labels.fingerprint == before[0]
    np.testing.assert_array_equal(labels.debiased.edges, before[1])


def test_float32_and_whole_numbers_count_alike():
    table = log().assign(watch_time=lambda t: np.rint(t["watch_time"]), duration=lambda t: np.ceil(t["duration"]))
    found = fitted(table).transform(table)
    for kind in (np.float32, np.int64, np.int16):
        other = table.assign(watch_time=table["watch_time"].astype(kind), duration=table["duration"].astype(kind))
        pd.testing.assert_frame_equal(fitted(other).transform(other), found)


def outliers(rng, n):
    """A tenth of the plays and of the videos takes hours."""
    long = rng.choice([10.0, 7200.0], n, p=[0.9, 0.1])
    return np.where(rng.random(n) < 0.1, 9000.0, rng.exponential(20, n)), long


ADVERSARIAL = {
    "constant": lambda rng, n: (np.full(n, 4.2), np.full(n, 9.0)),
    "two values": lambda rng, n: (rng.choice([0.0, 7.0], n), rng.choice([3.0, 50.0], n)),
    "one-second videos": lambda rng, n: (rng.exponential(1.0, n), np.full(n, 1.0)),
    "outliers": outliers,
    "all long": lambda rng, n: (rng.integers(4000, 4300, n) / 10.0, rng.choice([200.0, 201.0], n)),
}


@pytest.mark.parametrize("kind", ADVERSARIAL)
@given(st.integers(1, 400), st.integers(0, 10**6), st.sampled_from([1, 7, "per_second"]), st.sampled_from([0.0, 20.0]))
@settings(max_examples=15)
def test_adversarial_logs(kind, rows, seed, bins, shrinkage):
    rng = np.random.default_rng(seed)
    watch, duration = ADVERSARIAL[kind](rng, rows)
    assume(kind != "outliers" or max(np.quantile([watch, duration], 0.5, axis=1, method="inverted_cdf")) < 300)
    table = pd.DataFrame({"watch_time": watch, "duration": duration, "user_id": rng.integers(0, 3, rows), "item_id": 1})
    labels = fitted(table, duration_bins=bins, shrinkage=shrinkage)
    found, g = labels.transform(table), groups_of(labels, table)
    grouped = pd.Series(ticks(table)).groupby(g)
    weak = grouped.rank(method="max", pct=True)
    np.testing.assert_array_equal(found["ev_d"], weak >= 0.5)
    assert (found.groupby(g)["wpr_d"].max() == 1).all()
    tie = grouped.transform(lambda y: y.value_counts(normalize=True).max())
    assert (np.abs(found["wpr_d"] - weak) <= np.diff(level_tops(50, 0.95), prepend=0).max() + tie).all()
    assert (labels.to_seconds(found["wpr_d"], duration) >= 0).all()
    assert (found["lv_v"] <= found["ev_v"]).all()
    halves = [WatchTimeLabels(**labels.settings).fit(part) for part in (table[: rows // 2], table[rows // 2 :]) if len(part)]
    merged = halves[0].merge(halves[1]) if len(halves) > 1 else halves[0]
    assert merged.fingerprint == labels.fingerprint
    pd.testing.assert_frame_equal(merged.transform(table), found)


# Bad input


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"watch_time": -1.0}, "watch_time is -1.0"),
        ({"watch_time": np.nan}, "watch_time is nan"),
        ({"watch_time": np.inf}, "watch_time is inf"),
        ({"duration": 0.0}, "duration is 0.0"),
        ({"duration": np.nan}, "duration is nan"),
        ({"user_id": 1.5}, "user_id"),
        ({"item_id": None}, "item_id"),
        ({"watch_time": "5"}, "watch_time holds"),
    ],
)
def test_wrong_values(change, said):
    table = log(rows=100)
    labels = fitted(table)
    for name, value in change.items():
        table = table.astype({name: object})
        table.loc[table.index[3], name] = value
        table[name] = table[name].infer_objects() if not isinstance(value, str) else table[name].astype(str)
    for use in (fitted, labels.transform):
        with pytest.raises(UsageError, match=said):
            use(table)


@pytest.mark.parametrize("columns", [["watch_time", "duration"], ["watch_time"]])
def test_milliseconds(columns):
    table = log()
    table[columns] *= 1000
    with pytest.raises(UsageError, match="milliseconds"):
        fitted(table)


def test_other_wrong_uses():
    table = log(rows=50)
    wrong_settings = ({"duration_bins": 0}, {"levels": 1}, {"decay": 0}, {"decay": 1.1}, {"edge": "low"}, {"shrinkage": -1})
    for chosen in (*wrong_settings, {"sides": ["u"]}, {"min_rows": 0}):
        with pytest.raises(UsageError):
            WatchTimeLabels(**chosen)
    for use in (lambda: WatchTimeLabels().transform(table), lambda: WatchTimeLabels().to_seconds([0.5], [3.0])):
        with pytest.raises(UsageError, match="not fitted"):
            use()
    for wrong in (table.drop(columns="item_id"), table.head(0), {**table, "duration": table["duration"].to_numpy()[:5]}, 7, [7]):
        with pytest.raises(UsageError):
            WatchTimeLabels(min_rows=1).fit(wrong)
    labels = fitted(table)
    with pytest.raises(UsageError, match="whole numbers"):
        labels.transform(table.assign(user_id=table["user_id"].astype(str)))
    with pytest.raises(UsageError, match="shape"):
        labels.to_seconds(np.zeros((50, 3)), table["duration"], "expected")
    with pytest.raises(UsageError, match="label"):
        labels.transform(table, ["wpr_x"])
