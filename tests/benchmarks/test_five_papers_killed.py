"""All five papers in one store, their driver killed at any instant and started again by the same command.

CRAFTBENCH_KILLS=15 makes it shorter.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from craftbench.benchmarks.catalogue import PAPERS
from craftbench.benchmarks.store import Store
from toyhouse import Process, recorded, records, results, wait_until

PROGRAM = ("-m", "craftbench")
KILLS = int(os.environ.get("CRAFTBENCH_KILLS", "200"))
PATIENT = 1800.0  # seconds that an undisturbed run of all papers may take


def started(store: Path, out: Path) -> Process:
    arguments = ["reproduce", "all", "--profile", "smoke", "--store", store, "--out", out, "--jobs", 2]
    return Process(arguments, program=PROGRAM, quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all papers that nobody disturbed."""
    place = tmp_path_factory.mktemp("whole")
    with started(place / "store", place / "out") as driver:
        assert driver.process.wait(PATIENT) == 0
    assert {path.split("/")[1] for path in records(place / "store")} == set(PAPERS)
    return place / "store"


def kill(driver: Process, store: Path, rng: random.Random) -> bool:
    """Wait for some instant and kill; whether the driver had come to its end before."""
    if rng.random() < 1 / 4:
        time.sleep(rng.uniform(0, 6))  # anywhere in a start: imports, planning, tables, the report
    else:
        goal = recorded(store) + rng.randint(0, 3)
        while driver.process.poll() is None and recorded(store) < goal:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 0.5))
    finished = driver.process.poll() == 0
    driver.process.kill()
    driver.process.wait()
    assert wait_until(lambda: not driver.offspring()), f"orphans: {driver.offspring()}"
    return finished


@pytest.mark.soak
def test_five_papers_killed_at_random_instants(whole: Path, tmp_path: Path) -> None:
    """Nothing recorded is lost or written again, no worker lives on, nothing is left over, and the digits are those of one run."""
    expected, rng, done, number = results(whole), random.Random(5), 0, 0
    while done < KILLS:
        store, out, number = tmp_path / f"store-{number}", tmp_path / f"out-{number}", number + 1
        before: dict[str, bytes] = {}
        finished = False
        while not finished:
            with started(store, out) as driver:
                if done < KILLS:
                    finished = kill(driver, store, rng)
                    done += not finished
                else:
                    assert driver.process.wait(PATIENT) == 0
                    finished = True
            after = {path: (store / path / "record.json").read_bytes() for path in Store(store).paths()}
            assert before.items() <= after.items(), "a record was lost or written again"
            before = after
        assert results(store) == expected
        assert (out / "report.html").exists()
        assert not list((store / "tmp").glob("*"))
        assert not list((store / "damaged").glob("**/record.json"))
        assert not [path for path in (store / "tasks").iterdir() if path.name.startswith(".") and path.is_dir()]
