"""One unlearning task's tables: what is in them, and that the open part never touches the hidden one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.task import Interactions
from craftbench.datasets.dataset import Dataset, Provenance, assemble
from craftbench.datasets.requests import RequestSpec
from craftbench.datasets.sim_ratings import SMALL, World, simulate
from craftbench.datasets.unlearning import UnlearningTables, prepare, read_hidden, read_open, write


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return simulate(SMALL)


@pytest.fixture(scope="module")
def tables(dataset: Dataset) -> UnlearningTables:
    return prepare(dataset, RequestSpec("flipped", 0.02))


def _pairs(*parts: Interactions) -> set[tuple[int, int]]:
    return {pair for part in parts for pair in zip(part.user.tolist(), part.item.tolist(), strict=True)}


def test_counts_agree_with_the_tables(tables: UnlearningTables) -> None:
    facts = tables.facts
    assert facts["interactions"] == SMALL.rows
    assert facts["train"] == len(tables.train) == int(SMALL.rows * 0.6)
    assert facts["train"] + facts["valid"] + facts["test"] + facts["dropped_valid"] + facts["dropped_test"] == SMALL.rows
    assert facts["density"] == pytest.approx(0.2)
    assert facts["removed"] == tables.removed.sum() == len(tables.train) - int(len(tables.train) * 0.98)
    assert facts["scope"] == "simulated"


def test_labels_are_the_rule_and_flipped_where_removed(dataset: Dataset, tables: UnlearningTables) -> None:
    clean = prepare(dataset, RequestSpec("rows", 0.02))
    assert (clean.train.user == tables.train.user).all()
    assert ((clean.train.label != tables.train.label) == tables.removed).all()
    assert tables.test_label is not None
    assert tables.test_label.tolist() == clean.test_label.tolist()  # pyright: ignore[reportOptionalMemberAccess]
    positives = clean.train.label.sum() + clean.valid.label.sum() + tables.test_label.sum()
    assert positives == tables.facts["positives"] == (dataset.ratings["rating"] > 3).sum()


def test_splits_share_no_pair_and_never_seen_is_in_none(tables: UnlearningTables) -> None:
    test = Interactions(tables.test.user, tables.test.item, np.zeros(0, np.float32), tables.train.users, tables.train.items)
    fresh = list(zip(tables.never_seen.user.tolist(), tables.never_seen.item.tolist(), strict=True))
    assert len(_pairs(tables.train, tables.valid, test)) == len(tables.train) + len(tables.valid) + len(tables.test)
    assert len(set(fresh)) == len(fresh) == tables.removed.sum()
    assert not set(fresh) & _pairs(tables.train, tables.valid, test)


def test_never_seen_pairs_are_as_popular_as_rows() -> None:
    tables = prepare(simulate(World(users=2_000, items=500, rows=20_000)), RequestSpec("rows", 0.2))
    degree = np.bincount(tables.train.item)
    even, rows, fresh = degree.mean(), degree[tables.train.item].mean(), degree[tables.never_seen.item].mean()
    assert fresh > even + 0.5 * (rows - even)


def test_same_arguments_same_fingerprint_and_others_differ(dataset: Dataset, tables: UnlearningTables) -> None:
    assert prepare(dataset, RequestSpec("flipped", 0.02)).fingerprint == tables.fingerprint
    others = [
        prepare(dataset, RequestSpec("flipped", 0.1)),
        prepare(dataset, RequestSpec("rows", 0.02)),
        prepare(dataset, RequestSpec("flipped", 0.02), split=1),
        prepare(dataset, RequestSpec("flipped", 0.02), split=2),
    ]
    assert len({tables.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert len({tables.name, *(other.name for other in others)}) == 5


def test_round_trip(tables: UnlearningTables, tmp_path: Path) -> None:
    assert write(tables, tmp_path / "task") == tables.fingerprint
    read = read_open(tmp_path / "task")
    assert (read.name, read.facts, read.fingerprint, read.test_label) == (tables.name, tables.facts, tables.fingerprint, None)
    for part in ("train", "valid"):
        mine, theirs = getattr(read, part), getattr(tables, part)
        assert (mine.users, mine.items) == (theirs.users, theirs.items)
        for column in ("user", "item", "label"):
            assert getattr(mine, column).dtype == getattr(theirs, column).dtype
            assert getattr(mine, column).tolist() == getattr(theirs, column).tolist()
    assert read.step.tolist() == tables.step.tolist()
    assert read.test.item.tolist() == tables.test.item.tolist()
    assert read.never_seen.user.tolist() == tables.never_seen.user.tolist()
    assert read_hidden(tmp_path / "task").tolist() == tables.test_label.tolist()  # pyright: ignore[reportOptionalMemberAccess]
    task = read.task("mf")
    assert (task.backbone, len(task.retained)) == ("mf", len(tables.train) - tables.removed.sum())
    assert set(read.test.view("test").columns) == {"user", "item"}


def test_the_open_part_is_enough_to_read_open(tables: UnlearningTables, tmp_path: Path) -> None:
    write(tables, tmp_path / "task")
    shutil.rmtree(tmp_path / "task" / "hidden")
    assert read_open(tmp_path / "task").fingerprint == tables.fingerprint
    with pytest.raises(UsageError, match=r"test_labels.parquet is missing"):
        read_hidden(tmp_path / "task")


def test_no_open_file_holds_a_test_label(tables: UnlearningTables, tmp_path: Path) -> None:
    write(tables, tmp_path / "task")
    columns = {path.stem: set(pd.read_parquet(path).columns) for path in (tmp_path / "task" / "open").iterdir()}
    assert columns["test_pairs"] == columns["never_seen"] == {"user", "item"}
    assert set(columns) == {"train", "valid", "test_pairs", "never_seen"}


def test_what_was_read_open_cannot_be_written_as_whole(tables: UnlearningTables, tmp_path: Path) -> None:
    write(tables, tmp_path / "task")
    with pytest.raises(UsageError, match="without its hidden part"):
        write(read_open(tmp_path / "task"), tmp_path / "other")


def test_unfinished_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no prepared task"):
        read_open(tmp_path)


def test_sequence_keeps_its_order_on_disk(dataset: Dataset, tmp_path: Path) -> None:
    tables = prepare(dataset, RequestSpec("sequence", 0.02, 4))
    write(tables, tmp_path / "task")
    assert np.bincount(read_open(tmp_path / "task").step)[1:].tolist() == [36, 36, 36, 36]
    assert tables.facts["requests"] == 4


@pytest.mark.parametrize("users", [0, 1])
def test_too_little_to_learn_from(users: int) -> None:
    ratings = pd.DataFrame({"user_id": [7] * 6 * users, "item_id": range(6 * users), "rating": np.float32(4)})
    provenance = Provenance("Tiny", "made here", "", "", "", "whole", {}, {"ratings": len(ratings)})
    tiny = assemble("tiny", {"ratings": ratings}, provenance, positive_above=3)
    with pytest.raises(UsageError, match=r"dataset 'tiny' leaves 0 users and 0 items with at least 5 ratings"):
        prepare(tiny, RequestSpec())
    with pytest.raises(UsageError, match=f"leaves {users} users and"):
        prepare(tiny, RequestSpec(), k=1)
