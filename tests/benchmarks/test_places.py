"""Places that are wide, that come and go: the digits stay, a lost cell runs again, and nothing waits for what is there."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks.backends.backend import Event
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.cell import Job, compute
from craftbench.benchmarks.driver import LOSSES
from craftbench.benchmarks.search import BATCH
from toybench import Descent, Lines, OnDevice, Shrink, Zero, toy
from toyhouse import drive, of, records, results

ROWS = (Row(Descent), Row(Shrink, role="method"), Row(Zero, role="floor"))


class Places:
    """A backend in this process with `room` places, of which the cells that began last end first.

    lose: how many cells are lost; times: how often; empty: for how many asks there is no place at all.
    """

    def __init__(self, room: int, lose: int = 0, times: int = 1, empty: int = 0) -> None:
        self.room, self.lose, self.times, self.empty = room, lose, times, empty
        self.lost: Counter[int] = Counter()
        self.jobs: dict[int, Job] = {}
        self.most, self.alike = 0, 0

    def warm(self, modules: Any) -> None: ...

    def has_room(self, job: Job) -> bool:
        return self.empty <= 0 and len(self.jobs) < self.room

    def submit(self, ticket: int, job: Job) -> None:
        assert self.has_room(job)
        self.jobs[ticket] = job
        self.most = max(self.most, len(self.jobs))
        trials = Counter((each.task.key, each.runner) for each in self.jobs.values() if each.kind == "trial")
        self.alike = max(self.alike, *trials.values(), 0)

    def wait(self, timeout: float) -> list[Event]:
        self.empty -= 1
        if not self.jobs:
            time.sleep(0.001)
            return []
        ticket, job = self.jobs.popitem()
        if id(job) in self.lost or len(self.lost) < self.lose:
            self.lost[id(job)] += 1
        if 0 < self.lost[id(job)] <= self.times:
            return [Event(ticket, "died", reason="its place is gone", lost=True)]
        return [Event(ticket, "outcome", outcome=compute(job, lambda step, value: None))]

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("one") / "store"
    drive(toy(ROWS), root, backend=Places(1))
    return results(root)


def test_fifty_places_give_the_digits_of_one(one_by_one: dict[str, Any], tmp_path: Path) -> None:
    backend = Places(50)
    drive(toy(ROWS), tmp_path / "store", backend=backend)
    assert results(tmp_path / "store") == one_by_one
    assert backend.most > 4
    assert backend.alike == BATCH, "a study asks for as many trials as it would with one place"


def test_lost_cells_run_again_beside_others(one_by_one: dict[str, Any], tmp_path: Path) -> None:
    backend = Places(4, lose=3)
    assert drive(toy(ROWS), tmp_path / "store", backend=backend).failed == 0
    assert results(tmp_path / "store") == one_by_one
    attempts = Counter(record["provenance"]["attempts"] for record in records(tmp_path / "store").values())
    assert attempts == {1: len(one_by_one) - 3, 2: 3}
    assert backend.most == 4


def test_a_cell_that_is_lost_again_and_again_has_failed(tmp_path: Path) -> None:
    tally = drive(toy([Row(Zero)], [Lines()], seeds=1), tmp_path / "store", backend=Places(1, lose=1, times=LOSSES + 1))
    assert (tally.done, tally.failed) == (0, 1)
    (record,) = of(tmp_path / "store", "zero")
    assert (record["result"]["reason"], record["provenance"]["attempts"]) == ("its place is gone", LOSSES + 1)


def test_a_lost_timing_cell_runs_again_alone(tmp_path: Path) -> None:
    backend = Places(1, lose=3)
    tally = drive(toy([Row(Zero)], [Lines()], seeds=2, timings="ticks"), tmp_path / "store", backend=backend)
    assert (tally.done, tally.failed) == (3, 0)
    (timing,) = [each for each in records(tmp_path / "store").values() if each["cell"]["kind"] == "timing"]
    assert timing["provenance"]["attempts"] == 2


def test_a_driver_waits_for_places(tmp_path: Path) -> None:
    tally = drive(toy([Row(Zero)], [Lines()], timings="ticks"), tmp_path / "store", backend=Places(2, empty=20))
    assert (tally.done, tally.failed) == (3, 0)


def test_what_needs_a_device_does_not_keep_others_waiting(tmp_path: Path) -> None:
    """Cells for a device stand first in the line; there is one device, and it is busy."""

    class OneDevice(Places):
        order: list[str] = []

        def has_room(self, job: Job) -> bool:
            accelerated = job.runner is not None and job.runner.accelerated
            on_device = [each for each in self.jobs.values() if each.runner is not None and each.runner.accelerated]
            return super().has_room(job) and not (accelerated and on_device)

        def submit(self, ticket: int, job: Job) -> None:
            self.order.append(job.runner.name if job.runner else "")
            super().submit(ticket, job)

    backend = OneDevice(3)
    tally = drive(
        toy([Row(OnDevice), Row(Descent, pinned={"rate": 0.1, "momentum": 0.0, "rounds": 3})], [Lines()], seeds=3),
        tmp_path / "store",
        backend=backend,
    )
    assert tally.done == 6
    assert backend.order[:3] == ["on_device", "descent", "descent"]
