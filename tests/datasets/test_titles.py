"""Readers of titles and sequences: a few lines of each form as it really looks, and a sentence for what is wrong."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import amazon_2018
from craftbench.datasets.amazon_sequences import INTER, ITEM, OFFICE, read_games, read_office
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.movielens import read_100k

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
RECBOLE = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tToy Story\t1995\tAnimation\n"
    "59\tPostino, Il\t1994\tDrama\n267\tunkonwn\tunkonwn\tunknown\n1412\tLand Before Time III: (1995)\tV\tAnimation\n"
)
GROUPLENS = "".join(
    f"{item}|{title}|01-Jan-1995||http://us.imdb.com/M/title-exact?x{'|0' * 19}\n"
    for item, title in ((1, "Toy Story (1995)"), (59, "Mis\xe9rables,  Les (1995)"), (267, "unknown"))
)
GAMES = {
    "games_sequences.inter": f'{INTER}\n0\t0 1 2\t3\n7\t3\t"x\n'.replace('"x', "1"),
    "games_items.item": f'{ITEM}\n0\tFire Emblem\n1\t6" Case\n2\tA  B\n3\t\n',
}


def _files(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> list[Path]:
    for name, content in files.items():
        (folder / name).write_bytes(gzip.compress(content.encode(encoding)) if name.endswith(".gz") else content.encode(encoding))
    return [folder / name for name in files]


# MovieLens


def test_titles_of_both_forms_of_movielens_100k(tmp_path):
    (ratings,) = _files(tmp_path, {"u.data": U_DATA})
    (recbole,) = _files(tmp_path, {"ml-100k.item": RECBOLE})
    (official,) = _files(tmp_path, {"u.item": GROUPLENS}, "latin-1")
    found = read_100k(ratings, recbole).tables["titles"]
    assert found["title"].tolist() == ["Toy Story (1995)", "Postino, Il (1994)", "", "Land Before Time III: (1995)"]
    assert found["item_id"].tolist() == [1, 59, 267, 1412]
    parsed = read_100k(ratings, official, recbole)
    assert parsed.tables["titles"]["title"].tolist() == ["Toy Story (1995)", "Misérables, Les (1995)", ""]
    assert parsed.tables["ratings"].equals(read_100k(ratings).tables["ratings"])
    assert list(read_100k(ratings).tables) == ["ratings"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (RECBOLE.replace("\t1995\t", "\t"), "line 2: 3 columns instead of 4"),
        (RECBOLE.replace("59\t", "x59\t"), r"line 3, column 1 \(item_id\): 'x59' is not a whole number"),
        (RECBOLE.replace("59\t", "1\t"), r"line 3, column 1 \(item_id\): '1' stands in line 2 already"),
        (RECBOLE.split("\n")[0] + "\n", "holds no titles"),
        ("", "holds no titles"),
    ],
)
def test_what_is_wrong_with_titles(tmp_path, content, sentence):
    ratings, items = _files(tmp_path, {"u.data": U_DATA, "ml-100k.item": content})
    with pytest.raises(UsageError, match=rf"ml-100k\.item.*{sentence}"):
        read_100k(ratings, items)


# Sequences of two repositories


def test_games(tmp_path):
    parsed = read_games(*_files(tmp_path, GAMES))
    sequences = parsed.tables["sequences"]
    assert sequences.to_numpy().tolist() == [[0, 0, 0], [0, 1, 1], [0, 2, 2], [0, 3, 3], [7, 3, 0], [7, 1, 1]]
    assert sequences.columns.tolist() == ["user_id", "item_id", "position"]
    assert parsed.tables["titles"]["title"].tolist() == ["Fire Emblem", '6" Case', "A B", ""]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("0 1 2\t3", "0 1 x\t3", "line 2: not a user, the items taken, and the last one"),
        ("0 1 2\t3", "0 1 2 3", "line 2: not a user"),
        ("0 1 2\t3", "\t3", "line 2: not a user"),
        ("7\t3", "0\t3", "line 3: user 0 has a line already"),
        ("0 1 2\t3", "0 1 2\t9", "names item 9, which the file of titles lacks"),
        (INTER, "a\tb\tc", "line 1: expected the header"),
        ("7\t3\t1\n", "", "holds what 1 users took"),
    ],
)
def test_what_is_wrong_with_games(tmp_path, old, new, sentence):
    inter, items = GAMES.values()
    files = _files(tmp_path, dict(zip(GAMES, (inter.replace(old, new), items), strict=True)))
    with pytest.raises(UsageError, match=rf"games_sequences\.inter.*{sentence}"):
        read_games(*files)
    with pytest.raises(UsageError, match=r"\*\.item does not lie beside it"):
        read_games(files[0])


def _office(rows):
    lines = [f'{user},"[\'x\']",t,"{history}",{item},"[\'<a>\']",<b>' for user, history, item in rows]
    return "\n".join([",".join(OFFICE), *lines, ""])


def _office_files(folder, valid, test):
    items = "".join(f"<a>\tItem {item}\t{item}\n" for item in range(20))
    return _files(folder, {"office_valid.csv.gz": _office(valid), "office_test.csv.gz": _office(test), "office_items.txt": items})


def test_office_sequences_are_put_together(tmp_path):
    long = list(range(10))
    valid = [("A", [3, 1], 4), ("B", [5], 6), ("A", [3, 1, 4], 1), ("C", long, 10)]
    parsed = read_office(*_office_files(tmp_path, valid, [("C", [*long[1:], 10], 0), ("B", [5, 6], 5)]))
    found = parsed.tables["sequences"].groupby("user_id")["item_id"].agg(list).to_dict()
    assert found == {"A": [3, 1, 4, 1], "B": [5, 6, 5], "C": [*long, 10, 0]}
    assert parsed.tables["sequences"]["position"].tolist() == [*range(4), *range(3), *range(12)]
    assert parsed.notes[0].startswith("6 rows of valid and test put together to 3 sequences")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("A", [9, 4], 1), "line 2: the history of 'A' does not end what that user took before"),
        (("A", "[__import__('os')]", 1), "line 2: not a user, a list of items and an item"),
        (("", [3], 1), "line 2: not a user"),
        (("A", [3, 1, 4], "1,1"), "line 2: 8 columns instead of 7"),
    ],
)
def test_what_is_wrong_with_office(tmp_path, row, sentence):
    files = _office_files(tmp_path, [("A", [3, 1], 4)], [row])
    with pytest.raises(UsageError, match=rf"office_test\.csv\.gz, {sentence}"):
        read_office(*files)
    files[0].write_bytes(files[0].read_bytes()[:-9])
    with pytest.raises(UsageError, match=r"office_valid\.csv\.gz is no whole gzip file"):
        read_office(*files)


# The release of 2018


def _day(year, month=10, day=1):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def _review(user, asin, time):
    return {"overall": 5.0, "reviewerID": user, "asin": asin, "unixReviewTime": time}


def _category(folder, reviews, titles, zipped=True):
    end = ".json.gz" if zipped else ".json"
    lines = ["".join(json.dumps(each) + "\n" for each in table) for table in (reviews, titles)]
    return _files(folder, {f"Games{end}": lines[0], f"meta_Games{end}": lines[1]})


def _dense(users, items, time):
    return [_review(f"U{user}", f"B{item}", time + 86_400 * item) for user in range(users) for item in range(items)]


@pytest.mark.parametrize("zipped", [True, False])
def test_amazon_2018(tmp_path, zipped):
    titles = [{"asin": f"B{item}", "title": f"Game {item} &amp; &quot;more&quot;"} for item in range(8)]
    reviews = _dense(6, 6, _day(2018))
    reviews += [_review(f"U{user}", "B6", _day(2018)) for user in range(4)]  # one too few
    reviews += [_review(f"U{user}", "B7", _day(2018, 11, 2)) for user in range(6)]  # too late
    reviews += [_review("rare", f"B{item}", _day(2018)) for item in range(4)]
    parsed = amazon_2018.read(*_category(tmp_path, reviews, titles, zipped), items=6)
    sequences, found = parsed.tables["sequences"], parsed.tables["titles"]
    assert len(sequences) == 36
    assert sequences.columns.tolist() == ["user_id", "item_id", "position", "timestamp"]
    assert found["title"].tolist() == [f'Game {item} & "more"' for item in range(6)]
    for _, own in sequences.groupby("user_id"):
        assert own["item_id"].tolist() == [f"B{item}" for item in range(6)]
        assert own["position"].tolist() == list(range(6))
        assert own["timestamp"].is_monotonic_increasing
    assert parsed.notes == ("reviews from October 2017 to November 2018, 5-core: 6 users, 6 items",)


def test_the_window_moves_back_until_there_are_enough_items(tmp_path):
    titles = [{"asin": f"B{item}", "title": "A title"} for item in range(9)]
    early = [_review(f"V{user}", f"B{item}", _day(2015)) for user in range(5) for item in range(4, 9)]
    files = _category(tmp_path, [*_dense(5, 5, _day(2018)), *early], titles)
    for items, year, rows in ((5, 2017, 25), (6, 2015, 50), (99, 1996, 50)):
        parsed = amazon_2018.read(*files, items=items)
        assert f"October {year} to November 2018" in parsed.notes[0]
        assert len(parsed.tables["sequences"]) == rows


def _release_core(rows):
    """Users and items with fewer than five rows are found in one pass and leave together, until there are none."""
    while True:
        few = [set(rows.groupby(side).size().loc[lambda size: size < 5].index) for side in ("user_id", "item_id")]
        if not any(few):
            return rows
        rows = rows[~rows["user_id"].isin(few[0]) & ~rows["item_id"].isin(few[1])]


@pytest.mark.parametrize("seed", range(4))
def test_both_removal_sets_of_a_pass_end_at_the_same_core(tmp_path, seed):
    rng = np.random.default_rng(seed)
    users, items = np.minimum(rng.geometric(0.06, 500), 40), np.minimum(rng.geometric(0.06, 500), 40)
    pairs = pd.DataFrame({"user_id": [f"U{user}" for user in users], "item_id": [f"B{item}" for item in items]})
    reviews = [_review(user, item, _day(2018) + place) for place, (user, item) in enumerate(pairs.to_numpy().tolist())]
    files = _category(tmp_path, reviews, [{"asin": f"B{item}", "title": f"Game {item}"} for item in range(41)])
    found = amazon_2018.read(*files, items=1).tables["sequences"]
    expected = _release_core(pairs)
    assert 0 < len(expected) < len(pairs)
    count = expected.value_counts(["user_id", "item_id"]).sort_index()
    assert found.value_counts(["user_id", "item_id"]).sort_index().to_dict() == count.to_dict()


def test_which_titles_count():
    kept = {"Ab": "Ab", " a  b ": "a b", "Tom &amp; Jerry": "Tom & Jerry", " ".join(["w"] * 20): " ".join(["w"] * 20)}
    assert {title: amazon_2018.cleaned(title) for title in kept} == kept
    assert not any(map(amazon_2018.cleaned, ("A", "", "&amp;", '<span id="x">Title</span>', " ".join(["w"] * 21))))


def test_what_is_wrong_with_amazon_2018(tmp_path):
    titles, reviews = [{"asin": "B0", "title": "Title"}], [_review("U", "B0", _day(2018))]
    files = _category(tmp_path, reviews, titles)
    with pytest.raises(UsageError, match="holds no users and items with 5 reviews each"):
        amazon_2018.read(*files)
    with pytest.raises(UsageError, match=r"meta_Games\.json\.gz does not lie beside it"):
        amazon_2018.read(files[0])
    with pytest.raises(UsageError, match=r"Games\.json\.gz, line 2: 'reviewerID' or 'asin' is no text"):
        amazon_2018.read(*_category(tmp_path, [*reviews, {"asin": "B0"}], titles))
    with pytest.raises(UsageError, match=r"meta_Games\.json\.gz, line 1: 'asin' or 'title' is no text"):
        amazon_2018.read(*_category(tmp_path, reviews, [{"asin": "B0", "title": ["x"]}]))
    files[1].write_bytes(gzip.compress(b"{'asin': 'B0'}\n"))
    with pytest.raises(UsageError, match=r"meta_Games\.json\.gz, line 1: not a JSON object"):
        amazon_2018.read(*files)
    files[1].write_bytes(gzip.compress(np.random.default_rng(0).bytes(5000))[:-20])
    with pytest.raises(UsageError, match=r"no whole gzip file|not a JSON object"):
        amazon_2018.read(*files)


# The real files


def _real(folder):
    path = SHARED / "data" / folder
    if not path.is_dir():
        pytest.skip(f"{folder} is not beside the repository")
    return path


def test_real_games(tmp_path):
    dataset = import_path("amazon-games", _real("amazon_games_seq"), tmp_path, lambda _: None)
    sequences = dataset.tables["sequences"]
    assert (dataset.main, len(sequences), sequences["user_id"].nunique()) == ("sequences", 440_264, 50_546)
    assert (len(dataset.titles), sequences["item_id"].nunique()) == (16_859, 16_859)
    assert len(dataset.titles) - dataset.titles["title"].nunique() == 454
    length = sequences.groupby("user_id").size()
    assert (length.min(), length.median(), length.max()) == (5, 6, 50)


def test_real_office(tmp_path):
    dataset = import_path("amazon-office", _real("amazon_office_seq"), tmp_path, lambda _: None)
    assert (dataset.rows, dataset.provenance.scope) == (22_447, "slice")
    assert "9732 rows of valid and test put together to 3231 sequences" in dataset.provenance.notes[0]
    assert len(dataset.titles) == 3_459
