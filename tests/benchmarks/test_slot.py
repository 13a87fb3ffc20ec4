"""A slot of a Ray cluster, here without Ray: folders come from its shelf, outcomes leave in parcels."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks.backends import parcels
from craftbench.benchmarks.backends.ray import RayBackend
from craftbench.benchmarks.backends.slot import News, Order, Sent, Slot, code_of
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.cell import Job
from craftbench.benchmarks.identity import closure, versions
from craftbench.core.errors import UsageError
from toybench import Descent, Lines, Trouble, Zero, toy
from toyhouse import drive, plan


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slot]:
    """One whose shelf is of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Slot(6000, ())
    yield made
    made._local.close()


def job_of(row: Row, root: Path, **profile: Any) -> Job:
    return plan(toy([row], [Lines()], seeds=1, trials=1, **profile), root).advance()[0].job


def shelved(slot: Slot, job: Job) -> Order:
    """The job, its folder on the slot's shelf and gone from where it was."""
    held = parcels.content(job.folder)
    with slot._shelf.holding(held, lambda: parcels.of_folder(job.folder)):
        shutil.rmtree(job.folder)
    return Order(7, job, {job.folder: Sent(held, ())}, closure(*code_of(job)))


def end_of(slot: Slot, news: News) -> News:
    while news.event is None or news.event.kind == "progress":
        news = slot.listen()
    return news


def test_a_cell_needs_no_folder_of_its_driver(slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(Row(Zero), tmp_path / "store")
    order = shelved(slot, job)
    monkeypatch.setattr(parcels, "SIZE", 500)
    assert slot.hello(versions())
    news = end_of(slot, slot.begin(order))
    assert news.event is not None
    assert news.event.outcome is not None
    assert (news.event.ticket, news.event.outcome.result["status"], news.event.outcome.files) == (7, "ok", {})
    assert news.parcels > 2
    files = parcels.joined(slot.next_parcel() for _ in range(news.parcels))
    drive(toy([Row(Zero)], [Lines()], seeds=1), tmp_path / "other")
    (record,) = (tmp_path / "other" / "cells").rglob("record.json")
    assert files == {name: (record.parent / name).read_bytes() for name in files}
    assert set(files) == {"metrics.parquet", "predictions.safetensors"}


def test_a_silent_cell_is_heard_of_after_a_second(slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("craftbench.benchmarks.backends.slot._LISTEN_SECONDS", 0.3)
    job = job_of(Row(Trouble, pinned={"how": "late", "where": "", "level": 1.0}), tmp_path / "store", deadline=1.0)
    heard = [slot.begin(shelved(slot, job))]
    while heard[-1].event is None or heard[-1].event.kind == "progress":
        heard.append(slot.listen())
    assert len(heard) > 2
    last = heard[-1].event
    assert last is not None
    assert last.outcome is not None
    assert last.outcome.result["reason"] == "passed its deadline of 1 s"


def test_other_code_is_refused_by_name(slot: Slot, tmp_path: Path) -> None:
    job = job_of(Row(Descent), tmp_path / "store")
    order = shelved(slot, job)
    with pytest.raises(UsageError, match=r"has another toybench than this machine \(\w+ instead of 0000\)"):
        slot.begin(Order(1, job, order.folders, {**order.code, "toybench": "0000"}))
    with pytest.raises(UsageError, match="has another torch than this machine"):
        slot.hello({**versions(), "torch": "0.0"})


def test_ray_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"--backend ray needs the package 'ray'; run: pip install 'craftbench\[ray\]'"):
        RayBackend(None, None, 6000)


def test_no_cluster_is_one_sentence() -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    with pytest.raises(UsageError, match=r"nothing listens at the address '127.0.0.1:9' of a Ray cluster"):
        RayBackend("127.0.0.1:9", None, 6000)
