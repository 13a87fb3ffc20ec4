"""Readers: three rows of each form as it really looks, and a sentence with file, line and column for what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import amazon, bookcrossing, movielens

U_DATA = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA
RATINGS_CSV = b"userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,3,4.5,964981247\r\n2,6,0.5,964982224\r\n"
OFFICIAL = (
    b'"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n"276727";"\xe9 1, 2";"10"\r\n'
)
SLICE = b"User-ID,ISBN,Book-Rating\n276762,3404122879,0\n276762,0404182928,8\n159390,NA,10\n"
AMAZON_2014 = b"AKM1MP6P0OYPR,0132793040,5.0,1365811200\nA2CX7LUOHB2NDG,0321732944,5.0,1341100800\nA3,0439886341,1.0,1367193600\n"
AMAZON_2018 = b"0060009810,A1N4O8VOJZTDVB,3.0,1383004800\n0060009810,AMZUF6MVQ6M7G,5.0,1367107200\nB000000001,A3,4.0,1\n"


def _file(tmp_path: Path, content: bytes, name: str = "raw.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_both_forms_of_movielens_100k(tmp_path: Path) -> None:
    one, other = (movielens.read_100k(_file(tmp_path, content)).tables["ratings"] for content in (U_DATA, INTER))
    assert one.equals(other)
    assert one["user_id"].tolist() == [196, 186, 22]
    assert one["timestamp"].tolist() == [881250949, 891717742, 878887116]
    assert [str(kind) for kind in one.dtypes] == ["int64", "int64", "float32", "int64"]


def test_movielens_latest_small(tmp_path: Path) -> None:
    ratings = movielens.read_latest_small(_file(tmp_path, RATINGS_CSV)).tables["ratings"]
    assert ratings["rating"].tolist() == [4.0, 4.5, 0.5]


def test_both_forms_of_bookcrossing(tmp_path: Path) -> None:
    official = bookcrossing.read(_file(tmp_path, OFFICIAL)).tables["ratings"]
    assert official["item_id"].tolist() == ["034545104X", "0155061224", "é 1, 2"]
    assert official["rating"].tolist() == [0, 5, 10]
    piece = bookcrossing.read(_file(tmp_path, SLICE)).tables["ratings"]
    assert piece["item_id"].tolist() == ["3404122879", "0404182928", "NA"]
    assert piece.columns.tolist() == ["user_id", "item_id", "rating"]


@pytest.mark.parametrize(("content", "release"), [(AMAZON_2014, "2014"), (AMAZON_2018, "2018")])
@pytest.mark.parametrize("zipped", [False, True])
def test_both_releases_of_amazon(tmp_path: Path, content: bytes, release: str, zipped: bool) -> None:
    path = _file(tmp_path, gzip.compress(content) if zipped else content, "ratings.csv.gz" if zipped else "ratings.csv")
    parsed = amazon.read(path)
    ratings = parsed.tables["ratings"]
    assert len(ratings) == 3  # no row is lost to a header that is not there
    assert parsed.notes[0].startswith(f"recognised as the release of {release}")
    assert ratings["user_id"].iloc[2] == "A3"
    assert ratings["item_id"].str.len().tolist() == [10, 10, 10]


def test_amazon_that_fits_neither_release(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither of the first two columns"):
        amazon.read(_file(tmp_path, b"1,2,3.0,4\n5,6,3.0,4\n"))


def test_repeated_pairs_keep_the_latest_row(tmp_path: Path) -> None:
    later = b"1\t1\t5\t200\n2\t1\t3\t50\n1\t1\t2\t100\n"
    parsed = movielens.read_100k(_file(tmp_path, later))
    assert parsed.tables["ratings"]["rating"].tolist() == [5, 3]
    assert parsed.notes == ("dropped 1 earlier rows of repeated (user, item) pairs",)
    without_time = b"User-ID,ISBN,Book-Rating\n1,a,4\n2,a,5\n1,a,6\n"
    assert bookcrossing.read(_file(tmp_path, without_time)).tables["ratings"]["rating"].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (U_DATA.replace(b"302\t3", b"302\t6"), r"line 2, column 3 \(rating\): '6' is not a rating from 1 to 5"),
        (INTER.replace(b"377\t1", b"377\t0"), r"line 4, column 3 \(rating\): '0' is not a rating from 1 to 5"),
        (U_DATA.replace(b"242\t3", b"242\tgood"), r"line 1, column 3 \(rating\): 'good' is not a rating"),
        (U_DATA.replace(b"242\t3", b"242\tnan"), r"line 1, column 3 \(rating\): 'nan' is not a rating"),
        (U_DATA.replace(b"186", b"-1"), r"line 2, column 1 \(user_id\): '-1' is not a whole number"),
        (U_DATA.replace(b"302", b"30.2"), r"line 2, column 2 \(item_id\): '30.2' is not a whole number"),
        (U_DATA[:-12], r"line 3, column 3 \(rating\): nothing is not a rating"),
        (U_DATA[:-10], r"line 3, column 4 \(timestamp\): nothing is not a whole number"),
        (U_DATA.replace(b"\n186", b"\n\n186"), r"line 2, column 1 \(user_id\): nothing is not a whole number"),
        (U_DATA.replace(b"891717742", b"891717742\t1"), r"line 2: 5 columns instead of 4"),
        (U_DATA.replace(b"\t", b","), r"line 1: 1 columns instead of 4 \(user_id, item_id, rating, timestamp\)"),
        (U_DATA.replace(b"302", b"\xff"), r"line 2, byte 5: not utf-8; save it as utf-8"),
        (INTER.decode().encode("utf-16"), r"line 1: the file is UTF-16"),
        (b"", "holds no ratings"),
        (b"7\t1\t3\t1\n7\t2\t3\t1\n", "holds the ratings of one user only"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = _file(tmp_path, content, "u.data")
    with pytest.raises(UsageError, match=rf"u\.data.*{sentence}") as caught:
        movielens.read_100k(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read", [movielens.read_latest_small, bookcrossing.read])
def test_a_file_that_lost_its_header_loses_no_row(tmp_path: Path, read: object) -> None:
    headless = (RATINGS_CSV if read is movielens.read_latest_small else OFFICIAL).split(b"\n", 1)[1]
    with pytest.raises(UsageError, match=r"line 1: expected the header .* put that header above the ratings"):
        read(_file(tmp_path, headless))  # pyright: ignore[reportCallIssue]


def test_lines_after_a_header_are_counted_from_the_top(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 3: 5 columns instead of 4"):
        movielens.read_latest_small(_file(tmp_path, RATINGS_CSV.replace(b"4.5,", b"4,5,")))
    with pytest.raises(UsageError, match=r"line 2: 3 columns instead of 4"):
        movielens.read_latest_small(_file(tmp_path, b"userId,movieId,rating,timestamp\n1,1,4\n"))


@pytest.mark.parametrize("cut", [5, 40, -4])
def test_gzip_cut_short(tmp_path: Path, cut: int) -> None:
    rng = np.random.default_rng(0)
    rows = b"".join(b"A%013d,%010d,5.0,1\n" % (user, user) for user in rng.integers(0, 10**9, 5000))
    path = _file(tmp_path, gzip.compress(rows)[:cut], "ratings.csv.gz")
    with pytest.raises(UsageError, match="no whole gzip file"):
        amazon.read(path)
