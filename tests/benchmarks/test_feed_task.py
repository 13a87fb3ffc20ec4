"""The feed benchmark task: what it declares and shows, its measures by hand, and the week that a simulated one plays."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.exercise import holds_any, reachable
from craftbench.benchmarks.feed_task import FeedSpec
from craftbench.benchmarks.simulated_week import week_of
from craftbench.core.errors import UsageError
from craftbench.core.metrics.groups import user_group
from craftbench.core.metrics.lists import overall
from craftbench.core.metrics.watch_time import xgauc
from craftbench.core.task import Feed
from craftbench.datasets import feeds
from craftbench.datasets.closed_loop import oracle, random_score
from craftbench.datasets.dataset import write
from craftbench.datasets.multitask import read_hidden
from craftbench.datasets.sim_video import generate
from scipy.stats import spearmanr

SIMULATED = FeedSpec("sim-video-small", "simulated", 3)
K = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("feed")
    (home / "task").mkdir()
    SIMULATED.prepare(home / "data", home / "task")
    return home / "task"


@pytest.fixture(scope="module")
def views(folder):
    return {view.name: view for view in SIMULATED.views(folder)}


def _score(rows, seed=0):
    return np.random.default_rng(seed).permutation(rows).astype(np.float32)  # no two alike


def _measured(folder, view, score, spec=SIMULATED):
    return {each.metric: each for each in spec.measure(folder, view, {"score": score})}


def test_declaration(tmp_path):
    assert (SIMULATED.key, SIMULATED.length) == ("sim-video-small/feed-3", 3)
    assert FeedSpec("sim-video", "simulated").key == "sim-video/feed"
    assert FeedSpec("kuairand-pure-slice", "real stand-in", 3).key == "kuairand-pure-slice/feed"
    assert FeedSpec("kuairand-pure-slice", "real stand-in").labels == {"dataset": "kuairand-pure-slice", "k": "3"}
    keys = [replace(SIMULATED, scope=scope, k=k).cache_key(tmp_path) for scope in ("simulated", "x") for k in (3, 4)]
    assert keys[0] == keys[2] != keys[1] == keys[3]


def test_what_a_runner_is_given(folder, views):
    task = SIMULATED.open(folder)
    assert isinstance(task, Feed)
    assert list(views) == ["valid", "test", "loop"]
    for view in views.values():
        assert set(view.columns) == {*task.fields, *task.dense, "history", "user", "seconds_long"}
        assert {len(column) for column in view.columns.values()} == {view.rows}
        assert view.columns["history"].shape == (view.rows, 50)
    for name, values in task.valid.inputs.items():
        assert np.array_equal(views["valid"].columns[name], values)
        assert all(view.columns[name].dtype == values.dtype for view in views.values())
    assert (SIMULATED.keeps("test"), SIMULATED.keeps("loop")) == (True, False)
    known = SIMULATED.known(folder, "test")
    assert known["duration"].tolist() == views["test"].columns["seconds_long"].tolist()
    assert known["user"].tolist() == views["test"].columns["user"].tolist()


def test_durations_of_the_lists_are_drawn(folder, views):
    score = _score(views["test"].rows)
    (curve,) = SIMULATED.draw(folder, {"test": {"score": score}}, {})
    rows = pd.DataFrame({"user": views["test"].columns["user"], "duration": views["test"].columns["seconds_long"], "score": score})
    enough = rows[rows.groupby("user")["user"].transform("size") >= 2 * K]
    best = enough.sort_values("score", ascending=False).groupby("user").head(K)
    counts = np.histogram(best["duration"], np.arange(0, 601, 50))[0]
    assert (curve.name, curve.series, curve.z) == ("durations", "", None)
    np.testing.assert_allclose(curve.y, counts / len(best))
    assert curve.y.max() < 1


def test_no_answer_is_within_reach(folder, views):
    hidden = [pd.read_parquet(path) for path in (folder / "hidden").glob("*.parquet")]
    assert {"watch_time", "satisfied", "match", "like"} <= set(hidden[0].columns)
    given = [SIMULATED.open(folder), *views.values()]
    assert not holds_any(hidden, views.values(), reachable(*given))
    assert holds_any(hidden, views.values(), reachable(*given, {"kept": hidden[0]["like"].to_numpy()}))


def test_the_objective_reads_nothing_hidden(folder, views, tmp_path):
    shutil.copytree(folder, tmp_path / "task", ignore=shutil.ignore_patterns("hidden"))
    score, valid = _score(views["valid"].rows), SIMULATED.open(folder).valid
    (found,) = SIMULATED.measure(tmp_path / "task", views["valid"], {"score": score})
    explicit = np.any([values > 0 for values in valid.label.values()], axis=0)
    expected = overall(score, valid.watch_time, explicit, valid.duration, views["valid"].columns["user"], K)
    assert (found.view, found.metric, found.value) == ("valid", "overall", expected)
    assert [view.rows for view in SIMULATED.views(tmp_path / "task")] == [view.rows for view in views.values()]


def _by_hand(table, kept):
    """The measures of the kept rows, user by user."""
    discount, rising = 1 / np.log2(np.arange(2, K + 2)), np.log2(np.arange(2, K + 2))
    rows: list[dict[str, float]] = []
    for _, own in table[kept].groupby("user"):
        if len(own) < 2 * K:
            continue
        best = own.sort_values("score", ascending=False).head(K)
        of = {name: (best[name].to_numpy(), np.sort(own[name])[::-1][:K]) for name in ("watch", "explicit")}
        each: dict[str, float] = {"rows": len(own), "ds": best["duration"].std(), "mean_duration": best["duration"].mean()}
        each |= {"short": (best["duration"] < 50).mean(), "satisfied": best["satisfied"].mean()}
        for name, column in (("nwtg", "watch"), ("neg", "explicit")):
            mine, ideal = of[column]
            zero = not ideal.any()
            each[name] = np.nan if zero else (mine * discount).sum() / (ideal * discount).sum()
            each[f"{name}_released"] = 1 if zero else (mine * rising).sum() / (ideal * rising).sum()
        rows.append({**each, "zero_share": float(not of["explicit"][1].any())})
    found = pd.DataFrame(rows)
    plain = found.mean().drop("rows").to_dict()
    weighted = {name: np.average(found[name], weights=found["rows"]) for name in ("nwtg_released", "neg_released", "zero_share")}
    return {**plain, **weighted}, found


def test_test_by_hand_with_everybody_and_without_a_group(folder, views):
    view, hidden = views["test"], read_hidden(folder)
    score, user = _score(view.rows), view.columns["user"]
    found, group = _measured(folder, view, score), user_group(user, 40)
    explicit = np.any([hidden.label[name] for name in ("like", "follow", "forward")], axis=0)
    table = pd.DataFrame(
        {"user": user, "score": score, "watch": hidden.watch_time.astype(float), "explicit": explicit.astype(float)}
    )
    table = table.assign(duration=view.columns["seconds_long"].astype(float), satisfied=hidden.label["satisfied"])
    dropped = int(np.bincount(group, minlength=40).argmax())
    (whole, each), (without, _) = _by_hand(table, group >= 0), _by_hand(table, group != dropped)
    assert set(found) == {*whole, "ds_largest", "xgauc", "score_match"}
    for name, value in whole.items():
        assert found[name].value == pytest.approx(value, rel=1e-6), name
        assert found[name].leave_out[dropped] == pytest.approx(without[name], rel=1e-6), name
    assert found["nwtg"].users == found["ds"].users == len(each) > found["neg"].users == each["neg"].notna().sum()
    enough = table.groupby("user")["score"].transform("size") >= 2 * K
    assert found["neg"].positives == found["neg_released"].positives == table["explicit"][enough].sum()
    assert found["satisfied"].positives == round(K * each["satisfied"].sum())
    assert found["ds"].positives == K * len(each)
    assert found["ds_largest"].value > found["ds"].value
    kept = group != dropped
    assert found["xgauc"].value == pytest.approx(xgauc(score, hidden.watch_time, user))
    assert found["xgauc"].leave_out[dropped] == pytest.approx(xgauc(score[kept], hidden.watch_time[kept], user[kept]))
    match = hidden.label["match"]
    assert found["score_match"].value == pytest.approx(spearmanr(score, match).statistic)
    assert found["score_match"].leave_out[dropped] == pytest.approx(spearmanr(score[kept], match[kept]).statistic)


def test_orders_that_know_the_answer(folder, views):
    view, hidden = views["test"], read_hidden(folder)
    by_watch, by_match = (_measured(folder, view, score) for score in (hidden.watch_time, hidden.label["match"]))
    chance = _measured(folder, view, _score(view.rows))
    assert (by_watch["nwtg"].value, by_watch["xgauc"].value) == (pytest.approx(1), 1)
    assert by_match["score_match"].value == pytest.approx(1)
    assert by_match["satisfied"].value > chance["satisfied"].value + 0.05
    shortest = _measured(folder, view, -view.columns["seconds_long"])
    assert shortest["short"].value > chance["short"].value
    assert shortest["mean_duration"].value < chance["mean_duration"].value
    constant = _measured(folder, view, np.zeros(view.rows, np.float32))
    assert constant["short"].value == pytest.approx(_list_free_mean(view), abs=1e-6)


def _list_free_mean(view):
    rows = pd.DataFrame({"user": view.columns["user"], "short": view.columns["seconds_long"] < 50})
    each = rows.groupby("user")["short"].agg(["size", "mean"])
    return each["mean"][each["size"] >= 2 * K].mean()


def test_the_oracles_order_plays_as_the_oracle_and_the_random_one_as_random(folder, views):
    week, facts = week_of("sim-video-small"), SIMULATED.facts(folder)
    assert views["loop"].columns["user"].tolist() == week.days.rows["user_id"].tolist()
    for policy, score, place in (("oracle", oracle(week.world, week.days), 1.0), ("random", random_score(week.days), 0.0)):
        found = _measured(folder, views["loop"], score)
        assert found["to_oracle"].value == pytest.approx(place, abs=1e-12)
        for name in ("watch_time", "satisfied", "retained"):
            assert found[name].value == facts[f"{policy}_{name}"]


def test_a_recorded_log_has_neither_a_week_nor_a_truth(tmp_path):
    small = generate("sim-video-small")
    tables = {"impressions": small.impressions.assign(tab=np.int8(1))}
    write(replace(small, name="kuairand-pure", tables=tables), tmp_path / "data")
    spec = FeedSpec("kuairand-pure", "real stand-in", 2)
    (tmp_path / "task").mkdir()
    spec.prepare(tmp_path / "data", tmp_path / "task")
    views = {view.name: view for view in spec.views(tmp_path / "task")}
    assert list(views) == ["valid", "test"]
    found = _measured(tmp_path / "task", views["test"], _score(views["test"].rows), spec)
    assert not {"satisfied", "score_match"} & set(found)
    assert {"nwtg", "neg", "ds"} <= set(found)
    assert not any(name.startswith("oracle") for name in spec.facts(tmp_path / "task"))


def test_tables_are_read_once_until_they_are_written_anew(tmp_path, folder, monkeypatch):
    reads = []
    read = feeds.read_open
    monkeypatch.setattr(feeds, "read_open", lambda place: (reads.append(place), read(place))[1])
    shutil.copytree(folder, tmp_path / "task")
    first, again = (SIMULATED.known(tmp_path / "task", "test") for _ in range(2))
    assert (len(reads), first["duration"] is again["duration"]) == (1, True)
    with pytest.raises(ValueError, match="read-only"):
        first["duration"][0] = 1.0
    (tmp_path / "task" / "manifest.json").touch()
    assert SIMULATED.known(tmp_path / "task", "test")["user"].tolist() == first["user"].tolist()
    assert len(reads) == 2
    with pytest.raises(UsageError, match="holds no"):
        SIMULATED.open(tmp_path)
