"""Every file of a store harmed, and clocks that jump: the same results after the same command, or one sentence."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from craftbench.benchmarks.benchmark import Benchmark, Row
from craftbench.benchmarks.document import added_after_looking
from craftbench.benchmarks.prepared import sweep_tables
from craftbench.benchmarks.store import Damaged, Store
from craftbench.core.errors import UsageError
from craftbench.datasets.manifest import write_folder
from craftbench.report.findings import findings
from mangle import mangled
from toybench import Descent, Lines, Shrink, toy
from toyhouse import drive, plan, records, results

PAPER = {"rows": [Row(Descent), Row(Shrink)], "tasks": [Lines()], "trials": 1}


def paper() -> Benchmark:
    return toy(**PAPER)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished store, and its results."""
    root = tmp_path_factory.mktemp("made") / "store"
    drive(paper(), root)
    return root, results(root)


def kinds(root: Path) -> list[Path]:
    """One file of each kind that lies in a store."""
    found: dict[tuple[str, str, int], Path] = {}
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root)
        if file.is_file() and path.name != "lock":
            found.setdefault((path.parts[0], path.name if len(path.parts) > 2 else path.suffix, len(path.parts)), path)
    return list(found.values())


def harms(content: bytes) -> Iterator[tuple[str, bytes | None]]:
    middle = len(content) // 2
    yield from (("gone", None), ("empty", b""), ("cut", content[:middle]), ("zeros", bytes(len(content))))
    yield "flipped", content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
    yield from ((f"seed {seed}", mangled(content, random.Random(seed))) for seed in range(3))


def test_every_kind_of_file_is_there(made: tuple[Path, dict[str, Any]]) -> None:
    names = {path.name if path.parts[0] == "cells" else path.parts[0] for path in kinds(made[0])}
    assert {"record.json", "metrics.parquet", "predictions.safetensors", "plans", "tasks"} <= names


@pytest.mark.slow
def test_the_same_command_mends_what_happened_to_any_file(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, whole = made
    store = tmp_path / "store"
    for path in kinds(root):
        for harm, content in harms((root / path).read_bytes()):
            shutil.rmtree(store, ignore_errors=True)
            shutil.copytree(root, store)
            if content is None:
                (store / path).unlink()
            else:
                (store / path).write_bytes(content)
            with Store(store).locked("check"):
                Store(store).sweep(content=True)
            tally = drive(paper(), store)
            assert tally.failed == 0, (path, harm)
            assert results(store) == whole, (path, harm)


def test_a_report_of_a_harmed_store_is_a_report_or_one_sentence(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, _ = made
    store, refused = tmp_path / "store", set()
    shutil.copytree(root, store)
    for path in kinds(root):
        whole = (root / path).read_bytes()
        for harm, content in harms(whole):
            if content is None:
                (store / path).unlink()
            else:
                (store / path).write_bytes(content)
            try:
                findings(paper(), Store(store), "smoke")
            except UsageError as error:
                refused.add((path.parts[0], harm, str(error)))
            (store / path).write_bytes(whole)
    said = "plans/toy.smoke.json cannot be read"
    assert {harm for place, harm, sentence in refused if place == "plans" and said in sentence} >= {"empty", "cut", "zeros"}


@pytest.mark.parametrize("name", ["metrics.parquet", "predictions.safetensors"])
def test_no_report_uses_a_file_that_is_not_what_was_written(name: str, made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, _ = made
    shutil.copytree(root, tmp_path / "store")
    path = next(path for path in records(root) if "/descent/final-0" in path)
    file = tmp_path / "store" / path / name
    content = file.read_bytes()
    assert Store(tmp_path / "store").sibling(path, name) == content
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match=rf"{name} is damaged .* run: craftbench check --store .*store; then the command"):
        Store(tmp_path / "store").sibling(path, name)


def test_a_plan_that_cannot_be_read_is_written_again(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, _ = made
    shutil.copytree(root, tmp_path / "store")
    file = tmp_path / "store" / "plans" / "toy.smoke.json"
    whole = file.read_text()
    for text in ("", "[1]", "[" * 50_000, whole[:-9]):
        file.write_text(text)
        with pytest.raises(Damaged):
            Store(tmp_path / "store").plain("plans/toy.smoke.json")
        assert not added_after_looking(plan(paper(), tmp_path / "store"))
    drive(paper(), tmp_path / "store")
    assert file.read_text().startswith("{")


# Clocks


@pytest.mark.parametrize("jump", [-40 * 365 * 86400, 40 * 365 * 86400], ids=["past", "future"])
def test_times_of_files_mean_nothing(jump: int, made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, whole = made
    store = tmp_path / "store"
    shutil.copytree(root, store)
    for file in store.rglob("*"):
        os.utime(file, (time.time() + jump, time.time() + jump))
    tally = drive(paper(), store)
    assert (tally.done, tally.held) == (0, len(whole))


def test_a_clock_that_jumps_to_and_fro_during_a_run_changes_no_result(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock of the driver; what it waits for and measures goes by the monotonic one."""
    real, rng, heard = time.time, random.Random(0), 0

    def jumping() -> float:
        nonlocal heard
        heard += 1
        return real() + rng.choice((-1, 1)) * rng.uniform(0, 40 * 365 * 86400)

    monkeypatch.setattr(time, "time", jumping)
    tally = drive(paper(), tmp_path / "store", within=600.0)
    assert not tally.out_of_time
    assert results(tmp_path / "store") == made[1]
    assert all(record["provenance"]["seconds"] >= 0 for record in records(tmp_path / "store").values())


def test_damaged_tables_of_a_task_are_put_aside_by_check(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("sound", "flipped"):
        write_folder(tmp_path / "tasks" / name / "deep", {"a": pd.DataFrame({"x": [1, 2]})}, {})
    file = tmp_path / "tasks" / "flipped" / "deep" / "a.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    (moved,) = sweep_tables(store)
    assert moved[0] == "tasks/flipped"
    assert "a.parquet is damaged" in moved[1]
    assert (tmp_path / "damaged" / "tasks" / "flipped").is_dir()
    assert (tmp_path / "tasks" / "sound").is_dir()
    assert sweep_tables(store) == []
