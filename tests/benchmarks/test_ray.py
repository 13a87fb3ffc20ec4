"""Cells on a Ray cluster of two nodes and three workers on this machine: the records and failures of the local backend."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks.backends import ray as backend
from craftbench.benchmarks.backends.parcels import content
from craftbench.benchmarks.backends.ray import RayBackend
from craftbench.benchmarks.benchmark import Row
from craftbench.core.errors import UsageError
from toybench import Descent, Lines, OnDevice, Shrink, Trouble, Zero, toy
from toycluster import Cluster
from toyhouse import Process, drive, of, recorded, records, results, wait_until

HERE = importlib.util.find_spec("ray") is not None  # not imported yet: Ray asks for the token's mode when it is
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HERE, reason="Ray is not installed; with it: pip install 'craftbench[ray]'"),
]

MANY = {"seeds": 6, "trials": 4}


@pytest.fixture(autouse=True, scope="module")
def _a_token_of_our_own() -> Iterator[None]:
    """So that Ray writes none into the user's home, and nobody else's cluster is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(_a_token_of_our_own: None) -> Iterator[Cluster]:
    with Cluster(gpus=1) as started:
        yield started


def test_a_driver_a_slot_and_the_whole_cluster_are_killed_and_the_digits_stay(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Cluster() as cluster:
        arguments = ["run", "toy", "--profile", "smoke", "--store", store, "--backend", "ray", "--address", cluster.address]
        with Process(arguments, MANY) as driver:
            assert wait_until(lambda: recorded(store) > 10)
            driver.process.kill()
            driver.process.wait()
            assert wait_until(lambda: not cluster.slots()), "slots outlive their driver"
        before = {path: (store / path / "record.json").read_bytes() for path in records(store)}
        with Process(arguments, MANY) as driver:
            assert wait_until(lambda: len(cluster.slots()) == 3)
            assert wait_until(lambda: bool(cluster.slots("begin")))
            for slot in cluster.slots("begin")[:1]:
                slot.kill()
            goal = recorded(store) + 10
            assert wait_until(lambda: recorded(store) > goal)
            cluster.kill()
            assert driver.finish()[0] != 0
        cluster.start()
        with Process(arguments, MANY) as driver:
            code, said = driver.finish()
        assert code == 0, said
        held = {content(store / path / "fitted").digest for path in records(store) if (store / path / "fitted").exists()}
        held |= {content(each).digest for each in (store / "tasks").iterdir() if each.is_dir()}
        assert {each.name for each in cluster.shelf.iterdir()} & held, "folders reach the nodes as parcels"
    after = {path: (store / path / "record.json").read_bytes() for path in records(store)}
    assert before.items() <= after.items(), "a finished cell ran again"
    drive(toy(**MANY), tmp_path / "other")
    assert results(store) == results(tmp_path / "other")


def trouble(how: str, where: Path | str = "") -> Row:
    return Row(Trouble, key=how, pinned={"how": how, "where": str(where), "level": 1.0})


def test_what_goes_wrong_goes_wrong_as_it_does_locally(cluster: Cluster, tmp_path: Path) -> None:
    """An exception, a silent fit past its deadline, memory, an exit, signals; and never more cells than places."""

    def judged(name: str, **how: Any) -> dict[str, Any]:
        (marks := tmp_path / f"marks-{name}").mkdir()
        rows = [trouble(each) for each in ("leaves", "raises", "begets", "prints", "late", "hangs", "eats")]
        rows += [trouble(each, marks) for each in ("killed_once", "killed_always")]
        drive(toy([*rows, Row(Zero)], [Lines()], seeds=1, deadline=4.0), tmp_path / name, memory=700, **how)
        found: dict[str, Any] = {}
        for record in records(tmp_path / name).values():
            reason = re.sub(r"took \d+ MB", "took MB", record["result"]["reason"])
            key = record["cell"]["params"].get("how", "zero")
            found[key] = record["result"]["status"], reason, record["provenance"]["attempts"], record["provenance"].get("log")
        return found

    running: list[int] = []
    on_ray = judged(
        "ray", backend=RayBackend(cluster.address, None, 700), listener=lambda tally, line: running.append(len(tally.running))
    )
    assert 1 < max(running) <= 3
    assert on_ray == judged("local")
    assert on_ray["killed_once"][:3] == ("ok", "", 2)
    assert "SIGKILL" in on_ray["killed_always"][1]


def test_a_gpu_is_claimed_by_who_says_so(cluster: Cluster, tmp_path: Path) -> None:
    rows = [Row(OnDevice), Row(Descent, pinned={"rate": 0.1, "momentum": 0.0, "rounds": 3})]
    running: list[int] = []

    def listen(tally: Any, line: str) -> None:
        running.append(sum("on_device" in path for path in tally.running))

    tally = drive(
        toy(rows, [Lines()], seeds=4), tmp_path / "store", backend=RayBackend(cluster.address, None, 6000), listener=listen
    )
    assert (tally.done, tally.failed) == (8, 0)
    assert [record["result"]["notes"]["device"] for record in of(tmp_path / "store", "on_device")] == [0.0] * 4
    assert max(running) == 1, "there is one GPU"


def test_jobs_is_the_most_at_a_time_and_folders_travel_in_many_parcels(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.parcels, "SIZE", 1000)
    running: list[int] = []
    paper = toy([Row(Descent), Row(Shrink)], [Lines()])
    drive(
        paper,
        tmp_path / "store",
        backend=RayBackend(cluster.address, 2, 6000),
        listener=lambda tally, line: running.append(len(tally.running)),
    )
    assert max(running) == 2
    drive(paper, tmp_path / "other")
    assert results(tmp_path / "store") == results(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "found", "sentence"),
    [
        ("versions", {"torch": "0.0"}, "has another numpy than this machine"),
        ("closure", {"toybench": "0000"}, "has another craftbench.benchmarks than this machine"),
    ],
)
def test_a_node_with_other_code_ends_the_run(
    name: str, found: dict[str, str], sentence: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, name, lambda *_: found)
    with pytest.raises(UsageError, match=f"^node .* of the Ray cluster {sentence}"):
        drive(toy(), tmp_path / "store", backend=RayBackend(cluster.address, None, 6000))
    assert not records(tmp_path / "store")


def test_a_cluster_without_a_free_place_is_given_up_in_the_end(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_PATIENCE", 5.0)
    holder = ["run", "toy", "--profile", "smoke", "--store", tmp_path / "held", "--backend", "ray", "--address", cluster.address]
    with Process(holder, {"seeds": 1000}):
        assert wait_until(lambda: len(cluster.slots()) == 3)
        with pytest.raises(UsageError, match="no free CPU for 0 minutes; nothing recorded is lost"):
            drive(toy(), tmp_path / "store", backend=RayBackend(cluster.address, None, 6000))


def test_a_runner_that_no_node_has_ends_the_run(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "away.py").write_text("from toybench import Zero\n\n\nclass Away(Zero):\n    name = 'away'\n")
    there = RayBackend(cluster.address, None, 6000)  # before the module is found here, or Ray would say where
    monkeypatch.syspath_prepend(tmp_path)
    paper = toy([Row(importlib.import_module("away").Away)], [Lines()])
    with pytest.raises(UsageError, match=r"cannot run these cells \(.*No module named 'away'\); install the same packages"):
        drive(paper, tmp_path / "store", backend=there)
