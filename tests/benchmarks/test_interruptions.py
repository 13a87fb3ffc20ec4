"""Ctrl-C, a full disk, a second driver, a store that is newer or cannot be written: one sentence, and nothing is lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks import store as store_module
from craftbench.benchmarks.backends.local import LocalBackend
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.store import FORMAT, Store, seal
from craftbench.core.errors import UsageError
from toybench import ROWS, Lines, Zero, tell_blocked, toy
from toyhouse import Process, drive, plan, recorded, records, results, wait_until


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_the_same_command_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ["run", "toy", "--profile", "smoke", "--store", store]
    with Process(arguments) as driver:
        assert wait_until(lambda: recorded(store) > 3)
        os.kill(driver.process.pid, number)
        code, said = driver.finish()
        assert wait_until(lambda: not driver.offspring())
    assert code == 130
    assert f"Go on with: craftbench run toy --profile smoke --store {store}" in said
    assert "Traceback" not in said
    before = {path: (store / path / "record.json").read_bytes() for path in records(store)}
    assert before
    with Process(arguments) as driver:
        assert driver.finish()[0] == 0
    after = {path: (store / path / "record.json").read_bytes() for path in records(store)}
    assert before.items() <= after.items()
    drive(toy(), tmp_path / "other")
    assert results(store) == results(tmp_path / "other")


def test_a_key_press_that_reaches_the_whole_group_ends_no_worker_early(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the driver and to what runs in its group."""
    store = tmp_path / "store"
    with Process(["run", "toy", "--profile", "smoke", "--store", store]) as driver:
        assert wait_until(lambda: recorded(store) > 1)
        os.killpg(driver.process.pid, signal.SIGINT)
        code, said = driver.finish()
    assert code == 130
    assert "Traceback" not in said
    assert all(record["provenance"]["attempts"] == 1 for record in records(store).values())


def test_a_worker_is_deaf_to_a_key_press_from_its_first_instruction() -> None:
    forkserver._forkserver._stop()  # one that another test left may have been started by another hand
    LocalBackend(1, 4000).warm(())
    context = multiprocessing.get_context("forkserver")
    hear, tell = context.Pipe(duplex=False)
    process = context.Process(target=tell_blocked, args=(tell,))
    process.start()
    tell.close()
    assert hear.recv()
    process.join()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """A disk that takes `after` more files."""
    left, real = after, os.fsync

    def fsync(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module.os, "fsync", fsync)
        yield


@pytest.mark.parametrize("after", [0, 1, 3, 10, 40, 77])
def test_a_full_disk_is_one_sentence_and_loses_nothing(after: int, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with (
        full_disk(after),
        pytest.raises(UsageError, match=r"no space left for the store .*: free some and run the same command again"),
    ):
        drive(toy(tasks=[Lines()]), store)
    before = records(store)
    drive(toy(tasks=[Lines()]), store)
    after_all = records(store)
    assert before.items() <= after_all.items()
    assert not list(store.glob("tmp/*"))
    drive(toy(tasks=[Lines()]), tmp_path / "other")
    assert results(store) == results(tmp_path / "other")


def test_a_second_driver_is_told_who_holds_the_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with (
        Store(store).locked("craftbench run toy"),
        pytest.raises(UsageError, match=rf"in use by process {os.getpid()} \(craftbench run toy\)"),
    ):
        drive(toy(), store)
    with Store(store).locked("the first"), Process(["run", "toy", "--profile", "smoke", "--store", store]) as second:
        code, said = second.finish()
    assert code == 2
    assert said.startswith(f"craftbench: the store {store} is in use by process {os.getpid()} (the first)")
    assert len(said.splitlines()) == 1


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Process(["run", "toy", "--profile", "smoke", "--store", store]) as driver:
        assert wait_until(lambda: recorded(store) > 0)
        driver.process.kill()
        driver.process.wait()
        drive(toy(), store)


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    drive(toy([Row(Zero)], [Lines()]), tmp_path / "store")
    with Store(tmp_path / "store").locked("another"):
        assert all(Store(tmp_path / "store").read(path) for path in records(tmp_path / "store"))


def test_a_record_of_a_newer_version_stops_the_run(tmp_path: Path) -> None:
    store = tmp_path / "store"
    drive(toy([Row(Zero)], [Lines()]), store)
    path = sorted(records(store))[0]
    record = json.loads((store / path / "record.json").read_text())
    del record["sha256"]
    (store / path / "record.json").write_text(seal({**record, "format": FORMAT + 1}))
    with pytest.raises(UsageError, match=rf"written by a newer version \(format {FORMAT + 1}.*upgrade craftbench"):
        drive(toy([Row(Zero)], [Lines()]), store)
    assert (store / path / "record.json").exists()


def test_a_store_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot write to the store .*; give another --store"):
        drive(toy(), tmp_path / "file")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tasks").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot write to the store .*; give another --store"):
        plan(toy(), tmp_path / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_without_permission_is_one_sentence(tmp_path: Path) -> None:
    (store := tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="Permission denied; give another --store"):
        drive(toy(), store)


def test_out_of_time_starts_nothing_more_and_says_so(tmp_path: Path) -> None:
    tally = drive(toy(), tmp_path / "store", within=0.0)
    assert tally.out_of_time
    assert tally.done == 0
    tally = drive(toy(), tmp_path / "store")
    assert not drive(toy(), tmp_path / "store", within=0.0).out_of_time, "nothing was left to start"


def test_the_plan_is_in_the_store_before_the_first_cell_is_done(tmp_path: Path) -> None:
    seen: list[bool] = []

    def listener(tally: Any, line: str) -> None:
        seen.append((tmp_path / "store" / "plans" / "toy.smoke.json").exists())

    drive(toy(ROWS[:1], [Lines()]), tmp_path / "store", listener=listener)
    assert seen[0]
