"""A driver or a worker killed at any instant: nothing lost, nothing run twice, the same digits, no orphan."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from craftbench.benchmarks.benchmark import Row
from toybench import Descent, Lines, Shrink, Trouble, toy
from toyhouse import Process, drive, of, recorded, records, results, wait_until

PROFILE = {"seeds": 2, "trials": 4}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("uninterrupted") / "store"
    assert drive(toy(**PROFILE), root, jobs=1).failed == 0
    return results(root)


def test_two_workers_give_the_digits_of_one(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    drive(toy(**PROFILE), tmp_path / "store", jobs=2)
    assert results(tmp_path / "store") == uninterrupted


def kill_again_and_again(root: Path, kills: int, seed: int, uninterrupted: dict[str, Any]) -> None:
    """Kill drivers at random instants, each store until it is whole, then begin another store."""
    rng, done, number = random.Random(seed), 0, 0
    while done < kills:
        store, number, before = root / f"store-{number}", number + 1, {}
        finished = False
        while not finished:
            jobs = rng.choice((1, 2))
            arguments = ["run", "toy", "--profile", "smoke", "--store", store, "--jobs", jobs]
            with Process(arguments, PROFILE) as driver:
                if done < kills:
                    _wait_for_the_instant(driver, store, rng)
                else:
                    driver.process.wait(60)
                finished = driver.process.poll() == 0
                driver.process.kill()
                driver.process.wait()
                done += not finished
                assert wait_until(lambda: not driver.offspring()), f"orphans: {driver.offspring()}"
            after = {path: (store / path / "record.json").read_bytes() for path in records(store)}
            assert before.items() <= after.items(), "a finished cell ran again"
            before = after
        assert results(store) == uninterrupted
        assert not list((store / "damaged").glob("**/record.json"))


def _wait_for_the_instant(driver: Process, store: Path, rng: random.Random) -> None:
    """A third of the kills fall anywhere in a start; the others a moment after some records were written."""
    if rng.random() < 1 / 3:
        time.sleep(rng.uniform(0, 1.5))
        return
    goal = recorded(store) + rng.randint(0, 12)
    wait_until(lambda: recorded(store) >= goal or driver.process.poll() is not None)
    time.sleep(rng.uniform(0, 0.03))


@pytest.mark.slow
def test_a_driver_killed_at_twenty_instants_loses_and_repeats_nothing(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 20, seed=1, uninterrupted=uninterrupted)


@pytest.mark.soak
def test_a_driver_killed_at_two_hundred_instants(uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 200, seed=2, uninterrupted=uninterrupted)


@pytest.mark.soak
def test_ifru_killed_again_and_again_gives_the_digits_of_one_run(tmp_path: Path) -> None:
    program, rng = ("-m", "craftbench"), random.Random(3)
    with Process(["data", "get", "sim-ratings"], program=program) as get:
        get.process.wait(60)
    whole, store = tmp_path / "whole", tmp_path / "store"
    with Process(["run", "ifru", "--profile", "smoke", "--store", whole, "--jobs", 1], program=program) as driver:
        assert driver.process.wait(600) == 0
    for _ in range(20):
        with Process(["run", "ifru", "--profile", "smoke", "--store", store, "--jobs", 2], program=program) as driver:
            goal = recorded(store) + rng.randint(0, 10)
            wait_until(lambda: recorded(store) >= goal or driver.process.poll() is not None)  # noqa: B023
            time.sleep(rng.uniform(0, 0.3))
            finished = driver.process.poll() == 0
            driver.process.kill()
            driver.process.wait()
            assert wait_until(lambda: not driver.offspring())
        if finished:
            break
    with Process(["run", "ifru", "--profile", "smoke", "--store", store], program=program) as driver:
        assert driver.process.wait(600) == 0
    assert results(store) == results(whole)


def test_a_worker_killed_once_is_run_once_more_alone(tmp_path: Path) -> None:
    (marks := tmp_path / "marks").mkdir()
    killed = Row(Trouble, pinned={"how": "killed_once", "where": str(marks), "level": 1.0})
    others = Row(Trouble, key="others", pinned={"how": "", "where": str(marks), "level": 0.5})
    tally = drive(toy([killed, others], [Lines()], seeds=4), tmp_path / "store")
    assert (tally.done, tally.failed) == (8, 0)
    attempts = [record["provenance"]["attempts"] for record in of(tmp_path / "store", "trouble")]
    assert sorted(attempts) == [1] * 7 + [2]
    log = [line.split(" ") for line in (marks / "fits").read_text().splitlines()]
    began = [float(at) for how, at in log if how == "killed_once"]
    ended = min(float(at) for how, at in log if how == "end")
    again = next(at for at in began if at > began[0])
    assert not [at for _, at in log if again < float(at) < ended], "something ran beside the second try"


def test_a_worker_killed_twice_is_a_failed_record_and_the_rest_goes_on(tmp_path: Path) -> None:
    (marks := tmp_path / "marks").mkdir()
    rows = [Row(Trouble, pinned={"how": "killed_always", "where": str(marks), "level": 1.0}), Row(Descent)]
    tally = drive(toy(rows, [Lines()], seeds=1, trials=1), tmp_path / "store")
    assert (tally.done, tally.failed) == (2, 1)
    (record,) = of(tmp_path / "store", "trouble")
    assert record["result"]["status"] == "failed"
    assert "SIGKILL" in record["result"]["reason"]
    assert record["provenance"]["attempts"] == 2


def test_what_a_runner_starts_ends_with_its_cell(tmp_path: Path) -> None:
    (marks := tmp_path / "marks").mkdir()
    before = set(psutil.pids())
    rows = [Row(Trouble, pinned={"how": "begets", "where": str(marks), "level": 1.0})]
    drive(toy(rows, [Lines()], seeds=1), tmp_path / "store", jobs=1)

    def begotten() -> list[int]:
        return [pid for pid in set(psutil.pids()) - before if _says(pid, "time.sleep(600)")]

    assert wait_until(lambda: not begotten(), 10)


def _says(pid: int, text: str) -> bool:
    try:
        return text in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def test_an_error_in_the_driver_leaves_no_worker(tmp_path: Path) -> None:
    from craftbench.benchmarks.backends.local import LocalBackend

    backend = LocalBackend(2, 6000)

    def listener(tally: Any, line: str) -> None:
        if len(tally.running) == 2:
            raise RuntimeError("the screen is gone")

    rows = [Row(Shrink), Row(Descent, pinned={"nap": 2.0, "rate": 0.1, "momentum": 0.0, "rounds": 6})]
    with pytest.raises(RuntimeError, match="the screen is gone"):
        drive(toy(rows, [Lines()]), tmp_path / "store", backend=backend, listener=listener)
    assert not backend._workers
