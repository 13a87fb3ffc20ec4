"""Getting, importing, loading and checking datasets, on small files and, where they lie beside the repository, on real slices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import DataMissing, UsageError
from craftbench.datasets import catalogue
from craftbench.datasets.catalogue import DATASETS, Recorded, Simulated, check, get, import_path, load, status
from craftbench.datasets.dataset import Dataset, Provenance, assemble, data_home
from craftbench.datasets.requests import RequestSpec
from craftbench.datasets.sim_ratings import SMALL, simulate
from craftbench.datasets.sources import LocalPath
from craftbench.datasets.unlearning import prepare

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))


@pytest.fixture
def said() -> list[str]:
    return []


def _u_data(folder: Path, rows: int = 60) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [f"{row % 6}\t{row // 6}\t{row % 5 + 1}\t{row}\n" for row in range(rows)]
    (folder / "u.data").write_text("".join(lines))
    return folder


def _catalogue(monkeypatch: pytest.MonkeyPatch, **entries: Recorded) -> None:
    known: Mapping[str, object] = {**DATASETS, **{entry.name: entry for entry in entries.values()}}
    monkeypatch.setattr(catalogue, "DATASETS", known)


def _recorded(name: str) -> Recorded:
    entry = DATASETS[name]
    assert isinstance(entry, Recorded)
    return entry


def test_get_shows_terms_prepares_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    source = LocalPath(_u_data(tmp_path / "raw"), ["u.data"])
    missing = LocalPath(tmp_path / "nowhere", ["u.data"])
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), sources=(missing, source), rows=60))
    with pytest.raises(DataMissing, match="run: craftbench data get ml-100k"):
        load("ml-100k", tmp_path / "home")
    dataset = get("ml-100k", tmp_path / "home", said.append)
    assert "no redistribution without permission" in said[0]
    assert any("nowhere does not exist" in line for line in said)
    again = load("ml-100k", tmp_path / "home")
    assert again.fingerprint == dataset.fingerprint
    assert again.provenance == dataset.provenance
    assert again.positive_above == 3
    assert again.ratings.equals(dataset.ratings)
    assert dataset.provenance.rows == {"ratings": 60}
    assert list(dataset.provenance.files) == ["u.data"]


def test_get_reads_what_is_there_and_mends_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    source = LocalPath(_u_data(tmp_path / "raw"), ["u.data"])
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), sources=(source,), rows=60, tables=("ratings",)))
    get("ml-100k", tmp_path / "home", said.append)
    said.clear()
    get("ml-100k", tmp_path / "home", said.append)
    assert said == []
    table = tmp_path / "home" / "ml-100k" / "ratings.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    for read in (load, check):
        with pytest.raises(UsageError, match=r"ratings.parquet is damaged .* run: craftbench data get ml-100k"):
            read("ml-100k", tmp_path / "home")
    get("ml-100k", tmp_path / "home", said.append)
    assert check("ml-100k", tmp_path / "home")["rows"] == {"ratings": 60}


def test_get_fetches_anew_what_was_prepared_from_fewer_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    raw = _u_data(tmp_path / "raw")
    source = LocalPath(raw, ["u.data"], ["u.item"])
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), rows=60))
    before = import_path("ml-100k", raw / "u.data", tmp_path / "home", said.append)
    assert list(before.tables) == ["ratings"]
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), sources=(LocalPath(tmp_path / "gone", ["u.data"]),), rows=60))
    assert get("ml-100k", tmp_path / "home", said.append).fingerprint == before.fingerprint, "kept where nothing better is reached"
    assert "gone does not exist" in said[-1]
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), sources=(source,), rows=60))
    (raw / "u.item").write_text("".join(f"{item}|Movie {item} (1990)|01-Jan-1990||{'|0' * 19}\n" for item in range(10)))
    said.clear()
    dataset = get("ml-100k", tmp_path / "home", said.append)
    assert said[0] == "ml-100k was prepared without titles; fetching it anew"
    assert dataset.titles["title"].tolist() == [f"Movie {item} (1990)" for item in range(10)]
    assert dataset.ratings.equals(before.ratings)
    tables = [prepare(each, RequestSpec("flipped", 0.1)) for each in (before, dataset)]
    assert tables[0].fingerprint == tables[1].fingerprint, "what is prepared of the ratings stays"
    said.clear()
    get("ml-100k", tmp_path / "home", said.append)
    assert said == []


def test_no_source_could_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    nowhere = tuple(LocalPath(tmp_path / name, ["u.data"]) for name in ("one", "two"))
    _catalogue(monkeypatch, ml=replace(_recorded("ml-100k"), sources=nowhere))
    with pytest.raises(UsageError) as caught:
        get("ml-100k", tmp_path / "home", said.append)
    for part in ("one does not exist", "two does not exist", "https://grouplens.org", "craftbench data import ml-100k PATH"):
        assert part in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_a_file_cut_at_a_line_is_told_by_its_rows(tmp_path: Path, said: list[str]) -> None:
    raw = _u_data(tmp_path / "raw")
    with pytest.raises(UsageError, match=r"u\.data holds 60 ratings, the whole MovieLens 100K 100000: it is cut short"):
        import_path("ml-100k", raw, tmp_path / "home", said.append)
    assert not (tmp_path / "home").exists()


def test_by_hand_only(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(UsageError, match=r"fetched by hand from http.* then run: craftbench data import bookcrossing PATH"):
        get("bookcrossing", tmp_path, said.append)
    with pytest.raises(DataMissing) as caught:
        load("amazon-electronics", tmp_path)
    assert caught.value.command == "craftbench data import amazon-electronics PATH"


def test_the_slice_is_only_the_slice(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "BX-Book-Ratings.csv").write_text("User-ID,ISBN,Book-Rating\n1,a,5\n2,a,6\n")
    with pytest.raises(UsageError, match="not the file that bookcrossing-slice is made of"):
        import_path("bookcrossing-slice", tmp_path, tmp_path / "home", said.append)


def test_amazon_import_says_which_release(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "ratings_Electronics.csv"
    path.write_text("".join(f"A{user:013d},B{item:09d},{user % 5 + 1}.0,{item}\n" for user in range(8) for item in range(8)))
    dataset = import_path("amazon-electronics", path, tmp_path / "home", said.append)
    assert said == ["recognised as the release of 2014 (user, item, ...)"]
    assert dataset.provenance.notes == tuple(said)
    tables = prepare(dataset, RequestSpec("flipped", 0.1))
    assert tables.facts["positives"] == (dataset.ratings["rating"] > 4).sum()


def test_simulated_data_is_never_missing(tmp_path: Path) -> None:
    dataset = load("sim-ratings", tmp_path)
    assert dataset.fingerprint == load("sim-ratings", tmp_path).fingerprint
    assert check("sim-ratings", tmp_path)["scope"] == "simulated"
    with pytest.raises(UsageError, match="is generated, not imported"):
        import_path("sim-ratings", tmp_path, tmp_path)


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    for call in (load, get, check):
        with pytest.raises(UsageError, match="unknown dataset 'ml-100'; did you mean 'ml-100k'"):
            call("ml-100", tmp_path)


def test_check_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="craftbench data get ml-100k"):
        check("ml-100k", tmp_path)


def test_status_lists_all(tmp_path: Path) -> None:
    load("sim-ratings", tmp_path)
    lines = {line.name: line for line in status(tmp_path)}
    assert lines.keys() == DATASETS.keys()
    assert (lines["sim-ratings"].present, lines["sim-ratings"].rows) == (True, 12_000)
    assert (lines["ml-100k"].present, lines["ml-100k"].rows) == (False, None)
    assert all(line.licence and line.command.startswith("craftbench data ") for line in lines.values())


def test_status_counts_the_main_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = pd.DataFrame({"user_id": [1, 2, 3], "item_id": 1, "date": 1, "watch_time": 1.0, "duration": 5.0})
    users = pd.DataFrame({"user_id": [1, 2]})

    def generate(name: str) -> Dataset:
        return assemble(
            name, {"impressions": log, "users": users}, Provenance("Few", "", "", "", "", "simulated", {}, {"impressions": 3})
        )

    monkeypatch.setattr(catalogue, "DATASETS", {**DATASETS, "few": Simulated("few", "Few", generate, "3 impressions")})
    said: list[str] = []
    dataset = get("few", tmp_path, said.append)
    assert said == ["generating Few: 3 impressions"]
    assert next(line.rows for line in status(tmp_path) if line.name == "few") == 3
    assert check("few", tmp_path)["main"] == "impressions"
    again = load("few", tmp_path)
    assert (again.main, again.rows, again.threshold, again.fingerprint) == ("impressions", 3, None, dataset.fingerprint)
    with pytest.raises(UsageError, match="'few' holds no ratings, so no rating counts as a positive"):
        _ = again.positive_above
    with pytest.raises(UsageError, match="'few' holds impressions, users and no ratings; take a dataset of ratings"):
        _ = again.ratings


def test_fingerprint_of_the_simulated_ratings_stays() -> None:
    """Its tables are what recorded runs were made of: another fingerprint would make every one of them unknown."""
    assert simulate(SMALL).fingerprint.startswith("8fc13b67c62ee032")


def test_recorded_videos_say_where_they_come_from() -> None:
    for name in ("kuairand-pure", "kuairand-1k", "kuairand-27k"):
        (source,) = _recorded(name).sources
        edition = {"kuairand-pure": "Pure"}.get(name, name.removeprefix("kuairand-").upper())
        assert source.place == f"https://zenodo.org/records/10439422/files/KuaiRand-{edition}.tar.gz"
        assert _recorded(name).command == f"craftbench data get {name}"
        patterns = (*_recorded(name).raw, *_recorded(name).beside)
        assert not any("statistic" in pattern for pattern in patterns)
        assert any("random" in pattern for pattern in patterns) == (name == "kuairand-pure")
    for name in ("kuairand-pure-slice", "kuairec", "wechat-2021"):
        with pytest.raises(DataMissing, match=f"run: craftbench data import {name} PATH"):
            load(name, Path("nowhere"))


def test_the_slice_of_kuairand_is_only_the_slice(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "log_standard_4_25_to_5_08_pure.csv").write_text("user_id\n1\n")
    with pytest.raises(UsageError, match="not the file that kuairand-pure-slice is made of"):
        import_path("kuairand-pure-slice", tmp_path, tmp_path / "home", said.append)


def test_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "chosen"))
    assert data_home() == tmp_path / "chosen"
    monkeypatch.delenv("CRAFTBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_home() == tmp_path / "craftbench" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_home() == tmp_path / ".cache" / "craftbench" / "data"


def test_a_loaded_dataset_has_no_table_to_replace(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        load("sim-ratings", tmp_path).tables["ratings"] = None  # pyright: ignore[reportIndexIssue]


def _slice(folder: str) -> Path:
    path = SHARED / "data" / folder
    if not path.is_dir():
        pytest.skip(f"{folder} is not beside the repository")
    return path


def test_real_movielens_latest_small(tmp_path: Path, said: list[str]) -> None:
    dataset = import_path("ml-latest-small", _slice("movielens_latest_small"), tmp_path, said.append)
    ratings = dataset.ratings
    assert (len(ratings), ratings["user_id"].nunique(), ratings["item_id"].nunique()) == (100_836, 610, 9_724)
    assert (ratings["timestamp"].min(), ratings["timestamp"].max()) == (828124615, 1537799250)
    assert ratings["rating"].mean() == pytest.approx(3.50, abs=0.005)
    assert dataset.provenance.files["ratings.csv"].startswith("aa289ca83157595d")


def test_real_bookcrossing_slice_is_recognised(tmp_path: Path, said: list[str]) -> None:
    dataset = import_path("bookcrossing", _slice("bookcrossing_slice"), tmp_path, said.append)
    assert "imported as bookcrossing-slice" in said[0]
    assert (dataset.name, dataset.provenance.scope) == ("bookcrossing-slice", "slice")
    ratings = dataset.ratings
    assert (len(ratings), ratings["user_id"].nunique(), ratings["item_id"].nunique()) == (100_726, 5_157, 44_133)
    assert int((ratings["rating"] > 0).sum()) == 35_522
    facts = prepare(dataset, RequestSpec()).facts
    assert (facts["interactions"], facts["users"], facts["items"]) == (33_520, 1_986, 2_789)
    assert np.isclose(facts["density"], 33_520 / (1_986 * 2_789))
