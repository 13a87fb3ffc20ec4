"""Folders that travel: parcels of bounded size, a shelf that knows what it has and throws away what nobody holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from craftbench.benchmarks.backends import parcels
from craftbench.benchmarks.backends.parcels import Parcel, Shelf, content, joined, of_bytes, of_folder
from craftbench.core.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st


def folder_of(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@given(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=40)), st.integers(1, 16))
def test_files_arrive_whole_in_parcels_of_bounded_size(files: dict[str, bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "SIZE", size)
        sent = list(of_bytes(files))
    assert joined(sent) == files
    assert all(0 <= sum(len(piece) for _, piece in parcel) <= size for parcel in sent)
    assert len(sent) <= sum(map(len, files.values())) // size + 1


def test_a_folder_is_known_by_names_and_bytes(tmp_path: Path) -> None:
    files = {"a/b": b"12", "c": b"3", "empty": b""}
    one, two = (folder_of(tmp_path / name, files) for name in ("one", "two"))
    assert content(one) == content(two)
    assert content(one).size == 3
    for other in ({"a/b": b"1", "c": b"23", "empty": b""}, {"a/c": b"12", "c": b"3", "empty": b""}, {"a/b": b"12", "c": b"3"}):
        assert content(folder_of(tmp_path / str(len(os.listdir(tmp_path))), other)).digest != content(one).digest


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[str, int], tuple[parcels.Content, Callable[[], Iterator[Parcel]]]]:
    """A folder of that many bytes, and how to fetch it; `fetched` counts."""

    def make(name: str, size: int) -> tuple[parcels.Content, Callable[[], Iterator[Parcel]]]:
        folder = folder_of(tmp_path / "sent" / name, {"table": name.encode() * size, "deep/er": b""})

        def fetch() -> Iterator[Parcel]:
            fetched.append(name)
            return of_folder(folder)

        return content(folder), fetch

    fetched: list[str] = []
    make.fetched = fetched  # pyright: ignore[reportFunctionMemberAccess]
    return make


def test_a_shelf_fetches_once(sent, tmp_path: Path) -> None:
    wanted, fetch = sent("a", 100)
    for _ in range(3):
        with Shelf(tmp_path / "shelf").holding(wanted, fetch) as folder:
            assert content(folder) == wanted
    assert sent.fetched == ["a"]
    assert os.listdir(tmp_path / "shelf") == [wanted.digest]


def test_two_workers_may_fetch_at_once(sent, tmp_path: Path) -> None:
    wanted, fetch = sent("a", 100)
    both = threading.Barrier(2)

    def slowly() -> Iterator[Parcel]:
        both.wait(10)
        return fetch()

    def work() -> None:
        with Shelf(tmp_path / "shelf").holding(wanted, slowly) as folder:
            found.append(content(folder))

    found: list[parcels.Content] = []
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [wanted, wanted]
    assert os.listdir(tmp_path / "shelf") == [wanted.digest]


def test_a_shelf_throws_away_what_was_used_longest_ago_and_nobody_holds(sent, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", kept=250)
    (a, fetch_a), (b, fetch_b), (c, fetch_c) = sent("a", 100), sent("b", 100), sent("c", 100)
    with shelf.holding(a, fetch_a) as held:
        with shelf.holding(b, fetch_b) as other:
            os.utime(held, (1, 1))
            os.utime(other, (2, 2))
        with shelf.holding(c, fetch_c):
            assert held.is_dir(), "held"
            assert not other.is_dir(), "the oldest that nobody holds"
    assert {each.name for each in shelf.root.iterdir()} == {a.digest, c.digest}


def test_a_folder_that_somebody_tidied_up_is_fetched_again(sent, tmp_path: Path) -> None:
    shelf, (wanted, fetch) = Shelf(tmp_path / "shelf"), sent("a", 100)
    with shelf.holding(wanted, fetch) as folder:
        pass
    (folder / "table").unlink()
    with shelf.holding(wanted, fetch) as folder:
        assert content(folder) == wanted
    assert sent.fetched == ["a", "a"]


def test_another_content_than_was_sent_is_refused(sent, tmp_path: Path) -> None:
    (wanted, _), (_, fetch) = sent("a", 100), sent("b", 100)
    with pytest.raises(OSError, match="arrived with another content"), Shelf(tmp_path / "shelf").holding(wanted, fetch):
        pass
    assert os.listdir(tmp_path / "shelf") == []


def test_a_shelf_of_another_user_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Shelf(tmp_path / "shelf")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UsageError, match="belongs to another user; remove it, or set TMPDIR"):
        Shelf(tmp_path / "shelf")
