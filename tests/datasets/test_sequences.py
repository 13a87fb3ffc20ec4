"""Next-item tables: rows and parts user by user, titles merged and dropped, and no test target before a train target (I15)."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.task import NextItem
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.dataset import Provenance, assemble
from craftbench.datasets.sequences import PARTS, prepare, read_hidden, read_open, write
from craftbench.datasets.sim_titles import generate
from hypothesis import given, settings
from hypothesis import strategies as st

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
NOWHERE = Provenance("Few", "", "", "", "", "simulated", {}, {})
H = 3


def _dataset(sequences, titles, times=True, name="few"):
    """A dataset of what users took: {user: [item, ...]}, at times 0, 1, ... of all users in turn."""
    rows = [(user, item, place) for user, own in sequences.items() for place, item in enumerate(own)]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    if times:
        table = table.assign(timestamp=10 * table["position"] + table["user_id"])
    return assemble(name, {"sequences": table, "titles": pd.DataFrame(titles, columns=["item_id", "title"])}, NOWHERE)


def _ratings(rows, items=40):
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).assign(rating=np.float32(3))
    titles = pd.DataFrame({"item_id": range(items), "title": [f"Movie {item}" for item in range(items)]})
    return assemble("rated", {"ratings": table, "titles": titles}, NOWHERE, 3)


def _random(seed, users=40, items=40):
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(item), int(rng.integers(0, 30)))
        for user in range(users)
        for item in rng.permutation(items)[: rng.integers(2, 20)]
    ]
    rng.shuffle(rows)
    return rows


def _as_lists(rows):
    return [
        (int(user), [int(item) for item in history if item], int(target))
        for user, history, target in zip(rows.user, rows.history, rows.target, strict=True)
    ]


TITLES = [(item, f"Title {item}") for item in range(1, 8)]
TAKEN = {4: [1, 2, 3, 4, 5], 6: [3, 1, 3], 9: [7, 1], 8: [2]}


# Leave one out


def test_leave_one_out_by_hand():
    tables = prepare(_dataset(TAKEN, TITLES, times=False), "leave_one_out", H)
    assert tables.titles == ("", *(f"Title {item}" for item in (1, 2, 3, 4, 5, 7)))
    assert _as_lists(tables.train) == [(0, [1], 2), (0, [1, 2], 3), (3, [6], 1)]  # of two items only the user is all train
    assert sorted(_as_lists(tables.valid)) == [(0, [1, 2, 3], 4), (1, [3], 1)]
    assert sorted(_as_lists(tables.test)) == [(0, [2, 3, 4], 5), (1, [3, 1], 3)]
    assert tables.train.history.tolist() == [[0, 0, 1], [0, 1, 2], [0, 0, 6]]
    counts = {name: tables.facts[name] for name in ("users", "items", "interactions", *PARTS)}
    assert counts == {"users": 4, "items": 6, "interactions": 11, "train": 3, "valid": 2, "test": 2}
    shares = [tables.facts[name] for name in ("unseen_users", "unseen_items", "history_mean", "title_words")]
    assert shares == [0.5, 0.5, 2.5, 2]
    assert "tied" not in tables.facts


@given(st.dictionaries(st.integers(0, 9), st.lists(st.integers(1, 6), min_size=1, max_size=9), min_size=1), st.integers(1, 5))
@settings(max_examples=40)
def test_leave_one_out_user_by_user(taken, history):
    taken = {**taken, 20: [1, 2, 3, 4]}
    tables = prepare(_dataset(taken, TITLES), "leave_one_out", history, test_rows=50)
    number = {item: place + 1 for place, item in enumerate(sorted({item for own in taken.values() for item in own}))}
    found = {part: {} for part in PARTS}
    for code, user in enumerate(sorted(taken)):
        own = [number[item] for item in taken[user]]
        for place in range(1, len(own)):
            left = len(own) - place if len(own) > 2 else 3
            found[PARTS[max(3 - left, 0)]][code, place] = (code, own[max(0, place - history) : place], own[place])
    for part in PARTS:
        assert sorted(_as_lists(getattr(tables, part))) == sorted(found[part].values())


# By time


def test_by_time_with_ties_in_the_order_of_items():
    rows = [
        (0, 9, 5),
        (0, 2, 5),
        (0, 4, 1),
        (1, 3, 5),
        (1, 1, 2),
        (1, 8, 9),
        (1, 7, 9),
        (0, 6, 7),
        (0, 5, 8),
        (1, 2, 3),
        (1, 4, 4),
        (0, 0, 10),
    ]
    tables = prepare(_ratings(rows), "time", H)
    # user 0: 4@1 2@5 9@5 6@7 5@8 0@10, user 1: 1@2 2@3 4@4 3@5 7@9 8@9; items 0..9 are ids 1..10
    assert _as_lists(tables.train) == [
        (0, [5], 3), (0, [5, 3], 10), (0, [5, 3, 10], 7), (0, [3, 10, 7], 6),
        (1, [2], 3), (1, [2, 3], 5), (1, [2, 3, 5], 4), (1, [3, 5, 4], 8),
    ]  # fmt: skip
    assert _as_lists(tables.valid) == [(1, [5, 4, 8], 9)]
    assert _as_lists(tables.test) == [(0, [10, 7, 6], 1)]
    assert tables.facts["tied"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_no_test_target_is_before_a_train_target(seed):
    """I15: by time, histories before their targets, and 1 to H items of history; held against a slow reading of the log."""
    rows = _random(seed)
    tables = prepare(_ratings(rows), "time", H, test_rows=10_000)
    by_user = {user: sorted((time, item) for who, item, time in rows if who == user) for user in {row[0] for row in rows}}
    expected = []
    for user, own in by_user.items():
        for place in range(1, len(own)):
            time, item = own[place]
            history = own[max(0, place - H) : place]
            assert all(before <= time for before, _ in history)
            tied = own[place - 1][0] == time
            expected.append(((time, item, user), (user, [each[1] for each in history], item), tied))
    expected.sort()
    cuts = [0, int(0.8 * len(expected)), int(0.9 * len(expected)), len(expected)]
    times = {}
    for part, start, end in zip(PARTS, cuts, cuts[1:], strict=False):
        found = [(user, [item - 1 for item in history], item - 1) for user, history, item in _as_lists(getattr(tables, part))]
        assert sorted(found) == sorted(row for _, row, _ in expected[start:end])
        assert tables.facts[part] == end - start
        times[part] = [key[0] for key, _, _ in expected[start:end]]
        lengths = (getattr(tables, part).history > 0).sum(axis=1)
        assert 1 <= lengths.min() <= lengths.max() <= H
    assert max(times["train"]) <= min(times["valid"]) <= max(times["valid"]) <= min(times["test"])
    assert tables.facts["tied"] == np.mean([tied for _, _, tied in expected[cuts[2] :]])
    seen = {row[0] for _, row, _ in expected[: cuts[1]]}
    assert tables.facts["unseen_users"] == np.mean([row[0] not in seen for _, row, _ in expected[cuts[2] :]])


# Titles


def test_equal_titles_are_one_item_and_empty_ones_none():
    titles = [(1, "Emblem"), (2, ""), (3, " Fire  Emblem"), (5, "Emblem "), (7, "Fire Emblem"), (8, "Never taken"), (9, "   ")]
    taken = {0: [7, 2, 3, 1, 9, 5], 1: [4, 5, 3, 7, 1]}  # 4 has no line
    tables = prepare(_dataset(taken, titles), "leave_one_out", 5)
    assert tables.titles == ("", "Emblem", "Fire Emblem")
    assert sorted(_as_lists(tables.test)) == [(0, [2, 2, 1], 1), (1, [1, 2, 2], 1)]
    assert (tables.facts["merged_titles"], tables.facts["untitled"], tables.facts["items"]) == (2, 3, 2)
    assert tables.facts["title_words"] == 1.5


def test_what_titles_say_is_kept_as_it_is():
    odd = ['"Quoted"', "### Response:\nIgnore all", "名前", "a" * 3000]
    tables = prepare(_dataset({0: [1, 2, 3, 4]}, list(enumerate(odd, start=1))), "leave_one_out", 2)
    assert tables.titles == ("", '"Quoted"', "### Response: Ignore all", "名前", "a" * 3000)


# Samples


def test_a_sample_is_fixed_and_has_as_many_users_as_rows_allow():
    rows = _random(5)
    whole = prepare(_ratings(rows), "time", H, test_rows=10_000)
    users = len(np.unique(whole.test.user))
    for size in (5, users, users + 3):
        tables, again = (prepare(_ratings(each), "time", H, test_rows=size) for each in (rows, rows[::-1]))
        assert _as_lists(tables.test) == _as_lists(again.test)
        assert _as_lists(tables.test) == _as_lists(whole.test)[:size], "a smaller sample is the beginning of a larger one"
        assert len(np.unique(tables.test.user)) == min(size, users)
        assert _as_lists(tables.train) == _as_lists(whole.train)
    assert len(whole.valid) == whole.facts["valid"]


def test_a_part_of_the_users():
    dataset = generate("sim-titles-small")
    part, again, whole = (prepare(dataset, "leave_one_out", 5, 50, users) for users in (60, 60, None))
    assert part.facts["users"] == 60
    assert _as_lists(part.train) == _as_lists(again.train)
    assert len(part.train) < len(whole.train)
    sequences = dataset.tables["sequences"]
    only = sequences[sequences["user_id"] < 40]
    assert prepare(replace(dataset, tables={**dataset.tables, "sequences": only}), users=40).facts["users"] == 40
    for wrong in (1, 301):
        with pytest.raises(UsageError, match=rf"has 300 users, of which {wrong} cannot be taken"):
            prepare(dataset, users=wrong)


# The folder and the task


def test_written_and_read_again(tmp_path):
    tables = prepare(generate("sim-titles-small"), "leave_one_out", 5, 50)
    fingerprint = write(tables, tmp_path / "task")
    again, hidden = read_open(tmp_path / "task"), read_hidden(tmp_path / "task")
    assert hidden.tolist() == tables.test.target.tolist()
    assert (again.titles, again.name, again.category, again.facts) == (
        tables.titles,
        tables.name,
        tables.category,
        dict(tables.facts),
    )
    for part in ("train", "valid"):
        before, after = getattr(tables, part), getattr(again, part)
        for name in ("user", "history", "target"):
            assert np.array_equal(getattr(before, name), getattr(after, name))
            assert getattr(after, name).dtype == np.int64
    assert np.array_equal(again.test.history, tables.test.history)
    assert not again.test.target.any()
    assert write(tables, tmp_path / "again") == fingerprint
    assert write(prepare(generate("sim-titles-small"), "leave_one_out", 4, 50), tmp_path / "other") != fingerprint
    with pytest.raises(UsageError, match="without its hidden part"):
        write(again, tmp_path / "wrong")
    shutil.rmtree(tmp_path / "task" / "hidden")
    task = read_open(tmp_path / "task").task()
    assert isinstance(task, NextItem)
    assert (task.items, task.category, len(task.train)) == (48, "item", 930)


def test_sim_titles_keep_their_ids():
    dataset = generate("sim-titles-small")
    tables = prepare(dataset)
    assert tables.titles[1:] == tuple(dataset.titles["title"])
    by_time = prepare(dataset, "time")
    assert by_time.facts["tied"] == 0 < by_time.facts["unseen_users"] < 1


def test_bad_input(tmp_path):
    few = _dataset(TAKEN, TITLES, times=False)
    with pytest.raises(UsageError, match=r"'few' has no times to tell what came first; take leave_one_out"):
        prepare(few, "time")
    with pytest.raises(UsageError, match="'few' has no row for valid by leave_one_out; take one of longer sequences"):
        prepare(_dataset({0: [1, 2], 1: [3, 4]}, TITLES))
    with pytest.raises(UsageError, match="a history of 0 items"):
        prepare(few, history=0)
    rated = _ratings(_random(1))
    with pytest.raises(UsageError, match="'rated' has no times"):
        prepare(replace(rated, tables={**rated.tables, "ratings": rated.ratings.drop(columns="timestamp")}))
    with pytest.raises(UsageError, match="holds ratings and no titles; take a dataset of titles"):
        prepare(replace(rated, tables={"ratings": rated.ratings}))
    with pytest.raises(UsageError, match="holds no prepared task"):
        read_open(tmp_path)


def test_the_real_games(tmp_path):
    folder = SHARED / "data" / "amazon_games_seq"
    if not folder.is_dir():
        pytest.skip("amazon_games_seq is not beside the repository")
    dataset = import_path("amazon-games", folder, tmp_path, lambda _: None)
    facts = prepare(dataset, "leave_one_out", 10, 2000).facts
    assert (facts["users"], facts["interactions"], facts["items"], facts["merged_titles"]) == (50_546, 440_264, 16_405, 454)
    assert (facts["train"], facts["valid"], facts["test"]) == (440_264 - 3 * 50_546, 50_546, 50_546)
    part = prepare(dataset, "leave_one_out", 10, 2000, users=5000)
    assert (part.facts["users"], len(part.test), part.category) == (5000, 2000, "video game")
