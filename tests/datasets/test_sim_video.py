"""The short-video worlds keep what they declare: marginals, switches, and the truth apart from the inputs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.dataset import read, write
from craftbench.datasets.impressions import validate
from craftbench.datasets.manifest import Folder
from craftbench.datasets.sim_video import date_of, generate, simulate
from craftbench.datasets.sim_video_behaviour import Noise, behaviour, diversity_of
from craftbench.datasets.sim_video_people import Exposure, population
from craftbench.datasets.sim_video_worlds import ENGAGEMENTS, TITLES, WORLDS, VideoWorld

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
SLICE = SHARED / "data/kuairand_pure_slice/log_standard_4_25_to_5_08_pure.csv.gz"
SMALL = replace(WORLDS["sim-video"], users=300, items=120)


@pytest.fixture(scope="module")
def logs():
    return {name: generate(name) for name in WORLDS if name != "sim-video-kuairand"}


# What it is made of


def test_same_world_same_digits_other_seed_other_world():
    assert simulate(SMALL).fingerprint == simulate(SMALL).fingerprint
    assert simulate(replace(SMALL, seed=1)).fingerprint != simulate(SMALL).fingerprint


def test_the_grid_is_whole():
    grid = {(world.duration_bias, np.sign(world.duration_taste)) for world in WORLDS.values()}
    assert grid == {(bias, sign) for bias in (True, False) for sign in (-1, 0, 1)}
    assert {world.diversity for world in WORLDS.values()} == {0.0, 0.75, 3.0}
    assert set(TITLES) == set(WORLDS)
    assert len(set(TITLES.values())) == len(set(WORLDS.values())) == len(WORLDS)


def test_the_log_is_a_valid_log_in_time_order(logs):
    for name, dataset in logs.items():
        log = dataset.impressions
        validate(log, name)
        assert log["time"].is_monotonic_increasing
        local = pd.to_datetime(log["time"] + 8 * 3600 * 1000, unit="ms").dt.strftime("%Y%m%d").astype(int)
        assert (local == log["date"]).all()
        assert sorted(log["date"].unique()) == [date_of(day) for day in range(14)]
        assert not log.duplicated().any()
        assert set(log["item_id"]) <= set(dataset.tables["items"]["item_id"])
        assert set(log["user_id"]) <= set(dataset.tables["users"]["user_id"])
        assert dataset.provenance.scope == "simulated"


def test_a_video_begins_when_the_one_before_has_ended(logs):
    log = logs["sim-video"].impressions.sort_values(["user_id", "date", "time"], kind="stable")
    same = (log["user_id"].diff() == 0) & (log["date"].diff() == 0)
    gap = log["time"].diff() - log["watch_time"].shift() * 1000
    assert gap[same].abs().max() <= 2  # milliseconds are whole


def test_no_truth_among_the_inputs(logs):
    tables = logs["sim-video"].tables
    inputs = {name: set(tables[name]) for name in ("impressions", "users", "items")}
    assert inputs["users"] == {"user_id", "active_degree", "age_group", "follow_range", "device"}
    assert inputs["items"] == {"item_id", "category", "author_id", "duration", "upload_age"}
    happened = {"watch_time", "click", "long_view", *ENGAGEMENTS}
    assert inputs["impressions"] == {"user_id", "item_id", "time", "date", "duration"} | happened
    people = population(WORLDS["sim-video"])
    for table, side in (("users", people.activity), ("items", people.quality)):
        for column in tables[table].columns[1:]:
            assert abs(np.corrcoef(tables[table][column], side)[0, 1]) < 0.9


def test_written_and_read_it_is_the_same(tmp_path):
    dataset = simulate(SMALL, "sim-video")
    assert dataset.tables["visits"]["diversity"].isna().any()
    write(dataset, tmp_path)
    folder = Folder(tmp_path / "sim-video", repair="")
    folder.verify()
    assert read(folder).fingerprint == dataset.fingerprint
    pd.testing.assert_frame_equal(read(folder).tables["visits"], dataset.tables["visits"])


# Marginals


@pytest.mark.parametrize(
    "name", [name for name in WORLDS if name not in ("sim-video-kuairand", "sim-video-long", "sim-video-small")]
)
def test_declared_marginals(logs, name):
    world, log = WORLDS[name], logs[name].impressions
    assert 36_000 < len(log) < 44_000
    for kind in ENGAGEMENTS:
        assert log[kind].mean() == pytest.approx(getattr(world, kind), rel=0.12)
        assert log[kind].sum() > 500
    assert 0.43 < log["click"].mean() < 0.52
    assert 0.29 < log["long_view"].mean() < 0.38
    assert 50 < log["duration"].median() < 90
    assert log["duration"].max() <= 1200
    ratio = log["watch_time"] / log["duration"]
    assert 0.12 < (ratio >= 1).mean() < 0.24
    assert (ratio > 2).mean() > 0.01  # repeat plays
    assert (log["click"] == (log["watch_time"] >= np.minimum(7, log["duration"]))).all()
    assert (log["long_view"] == (log["watch_time"] >= np.minimum(18, log["duration"]))).all()


@pytest.mark.slow
@pytest.mark.skipif(not SLICE.exists(), reason="the KuaiRand slice is not here")
def test_the_fitted_world_has_the_marginals_of_kuairand():
    real = pd.read_csv(SLICE)
    real = real[(real["tab"] == 1) & (real["duration_ms"] > 0)].drop_duplicates()
    simulated = generate("sim-video-kuairand").impressions
    assert len(simulated) == pytest.approx(len(real), rel=0.05)
    columns = {"watch_time": real["play_time_ms"] / 1000, "duration": real["duration_ms"] / 1000}
    for name, column in columns.items():
        for q in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
            assert simulated[name].quantile(q) == pytest.approx(column.quantile(q), rel=0.15), (name, q)
    names = {"click": "is_click", "long_view": "long_view", **{kind: f"is_{kind}" for kind in ENGAGEMENTS}}
    for ours, theirs in names.items():
        share = real[theirs].mean()
        assert simulated[ours].mean() == pytest.approx(share, abs=0.02 * share + 4 * (share / len(real)) ** 0.5), ours
    counts = simulated["user_id"].value_counts(), real["user_id"].value_counts()
    for q in (0.25, 0.5, 0.75, 0.9):
        assert counts[0].quantile(q) == pytest.approx(counts[1].quantile(q), abs=2)


# Switches


def test_duration_enters_watch_time_only_where_the_bias_is_on():
    view = np.linspace(-3, 3, 2_000, dtype=np.float32)
    noise = Noise.draw(len(view), np.random.default_rng(0))
    short, long = (np.full(len(view), seconds, dtype=np.float32) for seconds in (15, 150))
    off, on = behaviour(WORLDS["sim-video-nobias"]), behaviour(WORLDS["sim-video"])
    assert (off.watch(view, short, noise)[1] == off.watch(view, long, noise)[1]).all()
    assert on.watch(view, long, noise)[1].mean() > 2 * on.watch(view, short, noise)[1].mean()


def test_the_bias_shows_in_the_log(logs):
    def relation(name):
        log = logs[name].impressions
        return log["watch_time"].corr(log["duration"], method="spearman")

    assert abs(relation("sim-video-nobias")) < 0.04
    assert relation("sim-video") > 0.1


@pytest.mark.parametrize("bias", ["", "-nobias"])
def test_the_sign_of_the_duration_taste_correlation(logs, bias):
    def relation(suffix):
        dataset = logs[f"sim-video{bias}{suffix}"]
        return np.corrcoef(dataset.tables["truth"]["match"], np.log(dataset.impressions["duration"]))[0, 1]

    assert relation("-neg") < -0.25 < -0.06 < relation("") < 0.06 < 0.25 < relation("-pos")


def test_noise_hides_what_people_expected_to_watch(logs):
    def told(name):
        return logs[name].tables["truth"]["expected_watch"].corr(logs[name].impressions["watch_time"], method="spearman")

    assert told("sim-video-noisy") < told("sim-video") - 0.15


@pytest.mark.parametrize("name", ["sim-video", "sim-video-nobias", "sim-video-noisy", "sim-video-kuairand"])
def test_expected_watch_time_is_the_mean_of_many_draws(name):
    conduct = behaviour(WORLDS[name])
    for view, duration in ((-1.5, 8.0), (0.0, 30.0), (0.7, 75.0), (2.0, 14.0), (2.5, 400.0)):
        many = np.full(400_000, view, dtype=np.float32), np.full(400_000, duration, dtype=np.float32)
        drawn = conduct.watch(*many, Noise.draw(400_000, np.random.default_rng(3)))[1]
        error = float(drawn.std()) / len(drawn) ** 0.5
        expected = conduct.expected_watch(many[0][:1], many[1][:1])[0]
        assert expected == pytest.approx(float(drawn.mean()), rel=0.005, abs=3 * error), (view, duration)


def test_diversity_moves_return_only_where_it_is_declared():
    names = ("sim-video-nodiversity", "sim-video", "sim-video-diversity")
    user, here, half = np.zeros(3, dtype=np.int64), np.array([True, True, False]), np.full(3, 0.5, dtype=np.float32)
    diversity = np.array([0.2, 1.0, 1.0], dtype=np.float32)
    rise, away = [], []
    for name in names:
        uniform, diverse, absent = behaviour(WORLDS[name]).returning(user, here, half, diversity)
        rise.append(diverse - uniform)
        away.append(absent)
    assert rise[0] == 0 < rise[1] < rise[2] / 2
    assert away[0] == away[1] == away[2]


# Truth


def test_truth_is_row_by_row_that_of_the_log(logs):
    for dataset in logs.values():
        pairs = ["user_id", "item_id"]
        assert (dataset.tables["truth"][pairs] == dataset.impressions[pairs]).all(axis=None)
    truth = logs["sim-video"].tables["truth"]
    people = population(WORLDS["sim-video"])
    match = people.match(truth["user_id"].to_numpy(), truth["item_id"].to_numpy())
    np.testing.assert_allclose(match, truth["match"], atol=1e-5)
    for _, part in truth.groupby(pd.qcut(truth["satisfaction"], 5)):
        assert part["satisfied"].mean() == pytest.approx(part["satisfaction"].mean(), abs=0.025)


def test_visits_are_those_of_the_log_and_lead_to_the_next_ones(logs):
    dataset = logs["sim-video"]
    visits, log = dataset.tables["visits"], dataset.impressions
    count = log.groupby(["date", "user_id"]).size()
    assert (visits.set_index(["date", "user_id"])["videos"].sort_index() == count.sort_index()).all()
    wide = count.unstack(0).notna()
    for today, tomorrow in zip(wide.columns[:-1], wide.columns[1:], strict=True):
        returned = visits[visits["date"] == today].set_index("user_id")["returned"]
        assert (wide.loc[returned.index, tomorrow] == returned.astype(bool)).all()
    for _, part in visits.groupby(pd.qcut(visits["return_probability"], 4)):
        assert part["returned"].mean() == pytest.approx(part["return_probability"].mean(), abs=0.04)


def test_feedback_depends_on_match_at_a_given_watch_time(logs):
    dataset = logs["sim-video"]
    log, match = dataset.impressions, dataset.tables["truth"]["match"]
    for _, part in log.groupby(pd.qcut(log["watch_time"], 4)):
        matched = match[part.index] > match[part.index].median()
        assert part["like"][matched].mean() > 2 * part["like"][~matched].mean()


def test_viewing_and_engagement_pull_apart(logs):
    """Given the match, appeal makes people watch and keeps them from liking; and bait items are not the good ones."""
    dataset = logs["sim-video"]
    truth = dataset.tables["truth"]
    design = np.column_stack([truth["match"], truth["appeal"], np.ones(len(truth))])
    slope = {kind: np.linalg.lstsq(design, dataset.impressions[kind], rcond=None)[0] for kind in ("long_view", "like", "follow")}
    assert slope["long_view"][1] > 0.03
    assert max(slope["like"][1], slope["follow"][1]) < 0
    assert min(kind[0] for kind in slope.values()) > 0
    assert np.corrcoef(truth["match"], truth["appeal"])[0, 1] < -0.2


def test_propensities_are_the_policys_probabilities():
    world = replace(SMALL, items=60)
    exposure = Exposure(world, population(world))
    everything = np.arange(60)
    for user in (0, 7):
        told = exposure.propensity(np.full(60, user), everything).astype(float)
        assert told.sum() == pytest.approx(1, abs=1e-5)
        drawn = np.bincount(exposure.draw(np.full(200_000, user), np.random.default_rng(user)), minlength=60)
        z = (drawn - 200_000 * told) / np.sqrt(200_000 * told * (1 - told))
        assert np.abs(z).max() < 4.5


def test_diversity_of_is_the_share_of_unlike_pairs():
    user, category = np.array([0, 0, 0, 2, 3, 3]), np.array([1, 1, 2, 0, 4, 4])
    np.testing.assert_allclose(diversity_of(user, category, 4, 5), [2 / 3, np.nan, np.nan, 0])


# Size and bad input


def test_scaled_and_quick():
    world = WORLDS["sim-video"].scaled(2.5)
    assert (world.users, world.items) == (5_000, 1_265)
    started = time.process_time()
    assert 90_000 < len(simulate(world).impressions) < 110_000
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "wrong",
    [{"users": 0}, {"items": 5}, {"like": 1.5}, {"duration_taste": -2.0}, {"uniform": 0.6, "by_taste": 0.6}, {"depth": 0.5}],
)
def test_impossible_worlds(wrong):
    with pytest.raises(UsageError, match="video world"):
        VideoWorld(**wrong)


def test_unknown_world():
    with pytest.raises(UsageError, match="did you mean 'sim-video-pos'"):
        generate("sim-video-poss")
