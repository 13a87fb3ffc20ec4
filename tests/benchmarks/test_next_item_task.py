"""The next-item benchmark task: what it declares and shows, and its measures by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.exercise import holds_any, reachable
from craftbench.benchmarks.next_item_task import CUTS, NextItemSpec
from craftbench.core.errors import UsageError
from craftbench.core.metrics.groups import user_group
from craftbench.core.task import NextItem
from craftbench.datasets.dataset import Provenance, assemble, write
from craftbench.datasets.sequences import read_hidden, read_open
from craftbench.datasets.sim_titles import truth
from craftbench.datasets.sim_titles_worlds import WORLDS

SPEC = NextItemSpec("sim-titles-small", "simulated", history=6, test_rows=120, decoders=("trie_beam",))
WORLD = WORLDS["sim-titles-small"]
VARIANTS = ["test-emptied", "test-shuffled", "test-replaced"]


def _prepared(spec, home):
    folder = home / "task"
    folder.mkdir()
    spec.prepare(home / "data", folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _prepared(SPEC, tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="module")
def views(folder):
    return {view.name: view for view in SPEC.views(folder)}


def _score(rows, items=48, seed=0):
    return {"score": np.random.default_rng(seed).integers(0, 20, (rows, items + 1)).astype(np.float32)}


def _measured(folder, view, predictions, spec=SPEC):
    return {each.metric: each for each in spec.measure(folder, view, predictions)}


def test_declaration(tmp_path):
    assert SPEC.key == "sim-titles-small/leave-one-out"
    assert NextItemSpec("amazon-games", "real stand-in", users=5000).key == "amazon-games/leave-one-out/5000-users"
    assert NextItemSpec("ml-100k", "real stand-in", "time").key == "ml-100k/time"
    assert SPEC.labels == {"dataset": "sim-titles-small", "protocol": "leave one out", "history": "6"}
    changed = [SPEC, replace(SPEC, protocol="time"), replace(SPEC, history=5), replace(SPEC, test_rows=99), replace(SPEC, users=50)]
    keys = [str(each.cache_key(tmp_path)) for each in [*changed, replace(SPEC, decoders=())]]
    assert len(set(keys)) == 6
    assert str(replace(SPEC, scope="x").cache_key(tmp_path)) == keys[0]
    found = [each.prepare(tmp_path, tmp_path / str(place)) for place, each in enumerate((SPEC, SPEC, replace(SPEC, decoders=())))]
    assert found[0] == found[1] != found[2], "another decoder is another view"


def test_what_a_runner_is_given(folder, views):
    task = SPEC.open(folder)
    assert isinstance(task, NextItem)
    assert list(views) == ["valid", "test", *VARIANTS, "tokens", "tokens-emptied", "test-trie_beam"]
    assert {name: view.rows for name, view in views.items()} == dict.fromkeys(views, 120) | {"tokens": 100, "tokens-emptied": 100}
    assert {view.decoder for view in views.values()} == {"exhaustive", "trie_beam"}
    assert views["test-trie_beam"].decoder == "trie_beam"
    assert all(set(view.columns) == {"user", "history"} for view in views.values())
    test = views["test"].columns["history"]
    assert np.array_equal(views["valid"].columns["history"], task.valid.history[:120])
    assert len(task.valid) == 300
    assert np.array_equal(views["test-trie_beam"].columns["history"], test)
    assert np.array_equal(views["tokens"].columns["history"], test[:100])
    assert not views["test-emptied"].columns["history"].any()
    assert not views["tokens-emptied"].columns["history"].any()
    known = SPEC.known(folder, "test")
    assert known["user"].tolist() == views["test"].columns["user"].tolist()
    assert known["length"].tolist() == (test > 0).sum(axis=1).tolist()


def test_no_answer_is_within_reach(folder, views):
    hidden = [pd.read_parquet(path) for path in (folder / "hidden").glob("*.parquet")]
    assert [list(table) for table in hidden] == [["target"]]
    given = [SPEC.open(folder), *views.values()]
    assert not holds_any(hidden, views.values(), reachable(*given))
    assert holds_any(hidden, views.values(), reachable(*given, {"kept": hidden[0]["target"].to_numpy()}))


def test_the_objective_reads_nothing_hidden(folder, views, tmp_path):
    shutil.copytree(folder, tmp_path / "task", ignore=shutil.ignore_patterns("hidden"))
    task, predictions = SPEC.open(tmp_path / "task"), _score(120)
    found = _measured(tmp_path / "task", views["valid"], predictions)
    assert list(found) == ["ndcg_10"]
    assert found["ndcg_10"].value == pytest.approx(_by_hand(predictions["score"], task.valid.target[:120])["ndcg_10"].mean())
    assert [view.rows for view in SPEC.views(tmp_path / "task")] == [view.rows for view in views.values()]


def _by_hand(score, target):
    """hr_K and ndcg_K of each row, tied items in all places that they may have."""
    found = {}
    for row, (own, y) in enumerate(zip(score[:, 1:], target, strict=True)):
        value = own[y - 1]
        places = np.arange((own > value).sum(), (own >= value).sum())
        for k in CUTS:
            found.setdefault(f"hr_{k}", []).append((row, (places < k).mean()))
            found.setdefault(f"ndcg_{k}", []).append((row, ((places < k) / np.log2(places + 2)).mean()))
    return {name: np.array([value for _, value in values]) for name, values in found.items()}


@pytest.mark.parametrize("name", ["test", *VARIANTS, "test-trie_beam"])
def test_test_by_hand_with_everybody_and_without_a_group(folder, views, name):
    view, target, predictions = views[name], read_hidden(folder), _score(120, seed=1)
    found, each = _measured(folder, view, predictions), _by_hand(predictions["score"], target)
    group = user_group(view.columns["user"], 40)
    dropped = int(np.bincount(group, minlength=40).argmax())
    for metric, values in each.items():
        assert found[metric].value == pytest.approx(values.mean()), metric
        assert found[metric].leave_out[dropped] == pytest.approx(values[group != dropped].mean()), metric
        assert (found[metric].users, found[metric].positives, found[metric].view) == (120, 120, name)
    popular = {metric for metric in found if metric.startswith("popular")}
    assert set(found) - popular == set(each)
    assert len(popular) == (25 if name == "test" else 0), "of 48 items there are no best 50"


def test_nothing_is_measured_on_tokens(folder, views):
    assert not SPEC.measure(folder, views["tokens"], _score(100))


def test_shares_of_popularity(folder, views):
    tables = read_open(folder)
    count = np.bincount(tables.train.target, minlength=49)
    rarest_first = np.argsort(count[1:], kind="stable")
    found = _measured(folder, views["test"], {"score": np.tile(count, (120, 1)).astype(np.float32)})
    assert found["popular_5_5"].value == pytest.approx(1)
    for k in (1, 3, 5, 10, 20):
        assert sum(found[f"popular_{place}_{k}"].value for place in range(1, 6)) == pytest.approx(1)
    assert found["popular_4_20"].value == pytest.approx(9.6 / 20, abs=0.02)
    facts = SPEC.facts(folder)
    assert sum(facts[f"history_bin_{place}"] for place in range(1, 6)) == pytest.approx(1)
    taken = tables.test.history[tables.test.history > 0]
    assert facts["history_bin_1"] == pytest.approx(np.isin(taken - 1, rarest_first[:10]).mean(), abs=0.06)
    assert facts["history_bin_5"] > 2 * facts["history_bin_1"]


def test_of_several_rows_of_a_user_the_mean(tmp_path):
    spec = replace(SPEC, protocol="time", test_rows=150)
    folder = _prepared(spec, tmp_path)
    view, target = spec.views(folder)[1], read_hidden(folder)
    predictions = _score(view.rows)
    rows = pd.DataFrame({"user": view.columns["user"], "hit": _by_hand(predictions["score"], target)["hr_5"]})
    assert rows["user"].nunique() < len(rows)
    found = _measured(folder, view, predictions, spec)["hr_5"]
    assert found.value == pytest.approx(rows.groupby("user")["hit"].mean().mean())
    assert (found.users, found.rows) == (rows["user"].nunique(), len(rows))


def test_the_truth_reaches_its_ceiling(folder, views):
    view, facts = views["test"], SPEC.facts(folder)
    score = truth(WORLD, view.columns["history"])
    score[:, 0] = 0
    found = _measured(folder, view, {"score": score})
    for k in (1, 10):
        assert found[f"hr_{k}"].value == pytest.approx(facts[f"truth_hr_{k}"])
        assert found[f"ndcg_{k}"].value == pytest.approx(facts[f"truth_ndcg_{k}"])
    assert facts["truth_ndcg_10"] > 0.25
    assert all(isinstance(value, int | float) for value in facts.values())
    assert {"users", "items", "merged_titles", "untitled", "unseen_users", "tied", "title_words", "truth_kl"} <= set(facts)


def test_what_a_record_keeps(folder, views):
    assert [name for name in views if SPEC.keeps(name)] == ["test", *VARIANTS, "test-trie_beam"]
    predictions = _score(120)
    kept, target = SPEC.kept(folder, views["test"], predictions), read_hidden(folder)
    own = predictions["score"][np.arange(120), target][:, None]
    assert kept["better"].tolist() == (predictions["score"][:, 1:] > own).sum(axis=1).tolist()
    assert kept["tied"].tolist() == ((predictions["score"][:, 1:] == own).sum(axis=1) - 1).tolist()
    assert {each.dtype for each in kept.values()} == {np.dtype(np.int32)}


def test_a_dataset_that_was_prepared_without_titles(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"user_id": np.repeat(np.arange(30), 12), "item_id": np.tile(np.arange(12), 30)})
    ratings = rows.assign(rating=np.float32(3), timestamp=rng.integers(0, 99, len(rows)))
    provenance = Provenance("MovieLens 100K", "", "", "", "", "whole", {}, {})
    write(assemble("ml-100k", {"ratings": ratings}, provenance, 3), tmp_path / "data")
    spec = NextItemSpec("ml-100k", "real stand-in", "time", test_rows=20)
    for call in (lambda: spec.prepare(tmp_path / "data", tmp_path / "task"), lambda: spec.cache_key(tmp_path / "data")):
        with pytest.raises(UsageError, match=r"'ml-100k' was prepared without titles.*; run: craftbench data get ml-100k"):
            call()
    titles = pd.DataFrame({"item_id": range(12), "title": [f"Movie {item}" for item in range(12)]})
    write(assemble("ml-100k", {"ratings": ratings, "titles": titles}, provenance, 3), tmp_path / "data")
    folder = _prepared(spec, tmp_path)
    assert spec.open(folder).category == "movie"
    assert not any(name.startswith("truth") for name in spec.facts(folder))
    predictions = {view.name: _score(view.rows, 12) for view in spec.views(folder)}
    assert {each.metric for each in spec.compare(folder, predictions)} == {"kl", "drop_emptied", "drop_shuffled", "drop_replaced"}
