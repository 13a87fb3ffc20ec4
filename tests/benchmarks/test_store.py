"""A record is there whole or not at all; what was cut or flipped is put aside and computed again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.prepared import prepare
from craftbench.benchmarks.store import Damaged, Store, seal, unseal
from hypothesis import given, settings
from hypothesis import strategies as st
from toybench import Descent, Lines, Shrink, toy
from toyhouse import Process, drive, of, records, results

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=1))
def test_a_sealed_record_opens_again(record: dict[str, object]) -> None:
    assert unseal(seal(record)) == record


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(), st.text(), min_size=1), st.data())
def test_no_changed_or_cut_byte_goes_unseen(record: dict[str, str], data: st.DataObject) -> None:
    whole = seal(record).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises((Damaged, UnicodeDecodeError)):
        unseal(whole[:at].decode())
    flipped = bytes([*whole[:at], whole[at] ^ 1 << data.draw(st.integers(0, 7)), *whole[at + 1 :]])
    with pytest.raises((Damaged, UnicodeDecodeError)):
        unseal(flipped.decode())


def _cut(folder: Path) -> None:
    file = folder / "record.json"
    file.write_bytes(file.read_bytes()[:-40])


def _empty(folder: Path) -> None:
    (folder / "record.json").write_bytes(b"")


def _flip(folder: Path) -> None:
    file = folder / "record.json"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def _no_record(folder: Path) -> None:
    (folder / "record.json").unlink()


def _no_sibling(folder: Path) -> None:
    (folder / "metrics.parquet").unlink()


def _short_sibling(folder: Path) -> None:
    file = folder / "metrics.parquet"
    file.write_bytes(file.read_bytes()[:-1])


def _no_fitted(folder: Path) -> None:
    shutil.rmtree(folder / "fitted")


def _only_fitted(folder: Path) -> None:
    for file in folder.glob("*.*"):
        file.unlink()


@pytest.mark.parametrize("harm", [_cut, _empty, _flip, _no_record, _no_sibling, _short_sibling, _no_fitted, _only_fitted])
def test_a_damaged_record_is_put_aside_and_computed_again(harm: Callable[[Path], None], tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy([Row(Descent), Row(Shrink)], [Lines()], trials=1)
    drive(paper, store)
    whole = results(store)
    path = next(path for path in whole if "/descent/final-0" in path)
    harm(store / path)
    tally = drive(paper, store)
    assert (tally.done, tally.held) == (1, len(whole) - 1)
    assert results(store) == whole
    assert (store / "damaged" / path).is_dir()


def test_another_content_of_the_same_size_is_found_by_check(tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy([Row(Descent)], [Lines()], trials=1)
    drive(paper, store)
    path = sorted(records(store))[0]
    file = store / path / "predictions.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert Store(store).read(path) is not None, "planning reads sizes alone"
    with Process(["check", "--store", store]) as check:
        said, _ = check.process.communicate(timeout=60)
    assert check.process.returncode == 1
    assert f"damaged: {path}: predictions.safetensors has another content" in said
    assert drive(paper, store).done == 1


def test_a_record_damaged_while_a_driver_runs_does_not_stop_it(tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy([Row(Descent)], [Lines()], trials=1, seeds=1)
    drive(paper, store)
    path = next(path for path in records(store) if "final" in path)
    opened = Store(store)
    _no_sibling(store / path)
    record = json.loads((tmp_path / "store" / path / "record.json").read_text())
    opened.write(path, {"cell": record["cell"], "result": record["result"], "provenance": {}}, {"metrics.parquet": b"1234"})
    assert opened.verify(path, content=True)
    assert (store / "damaged" / path).is_dir()


def test_put_aside_twice_keeps_both(tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy([Row(Descent)], [Lines()], trials=1, seeds=1)
    for _ in range(2):
        drive(paper, store)
        _cut(store / next(path for path in records(store) if "final" in path))
    drive(paper, store)
    assert len(list((store / "damaged").glob("**/record.json"))) == 2


def test_a_record_can_be_found_by_hand(tmp_path: Path) -> None:
    store = tmp_path / "store"
    drive(toy([Row(Descent)], [Lines()]), store)
    assert all(re.fullmatch(r"cells/toy/lines/low/descent/(trial|final)-\d+-[0-9a-f]{12}", path) for path in records(store))
    record = of(store, "descent")[0]
    assert {"id", "params", "seed", "parents", "code", "versions", "threads"} <= record["cell"].keys()
    assert {"started", "seconds", "cpu_seconds", "peak_memory_mb", "machine", "commit", "attempts"} <= record["provenance"].keys()


def test_tables_left_by_a_killed_process_are_cleared(tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy([Row(Descent)], [Lines()], trials=1, seeds=1)
    drive(paper, store)
    key = next((store / "tasks").glob("*.json")).stem
    shutil.rmtree(next(each for each in (store / "tasks").iterdir() if each.is_dir()))
    (left := store / "tasks" / f".{key}.{2**22 + 1}").mkdir()
    assert drive(paper, store).held == 2
    assert not left.exists()


@dataclass(frozen=True)
class Squares(Lines):
    """Another question about the same rows, for which it needs a fact of its own."""

    key: str = "lines/squares"

    def prepare(self, data_home: Path, folder: Path) -> str:
        (folder / "squares.json").write_text("4")
        return super().prepare(data_home, folder)


def test_two_kinds_of_task_with_equal_tables_keep_their_own_facts(tmp_path: Path) -> None:
    one, other = (prepare(task, tmp_path, Store(tmp_path / "store"), lambda _: None) for task in (Lines(), Squares()))
    assert one.fingerprint == other.fingerprint
    assert (other.folder / "squares.json").exists()
    assert not (one.folder / "squares.json").exists()
