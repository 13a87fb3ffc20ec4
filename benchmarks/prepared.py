"""Prepared task tables: written once into the store, keyed by what determines them, and found again by any later plan."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow
import pyarrow.parquet

from ..core.errors import UsageError
from ..datasets.manifest import MANIFEST, Folder
from .benchmark import TaskSpec
from .identity import closure, digest
from .store import Damaged, Store


@dataclass(frozen=True)
class Prepared:
    """A task's folder and the fingerprint of its content."""

    folder: Path
    fingerprint: str


def prepare(task: TaskSpec, data_home: Path, store: Store, say: Callable[[str], None]) -> Prepared:
    """The prepared tables of `task`, made now if they are not there. Raises `DataMissing`.

    Tasks with equal `cache_key` (two backbones on the same rows) share a folder. The key holds the preparing code and the
    dataset's fingerprint. Cells are identified by the content's fingerprint: code that prepares the same tables changes nothing.
    Folders are named by it and by the kind of task, as two kinds may have equal tables and different facts.
    """
    key = digest({**task.cache_key(data_home), "code": closure(type(task).__module__)})[:16]
    stamp = store.folder(f"tasks/{key}.json")
    with contextlib.suppress(Damaged):  # then it is made anew
        made = store.plain(f"tasks/{key}.json") or {}
        fingerprint = made.get("fingerprint")
        if isinstance(fingerprint, str) and _folder(task, stamp, fingerprint).is_dir():
            return Prepared(_folder(task, stamp, fingerprint), fingerprint)
    say(f"preparing {task.key}")
    with store.writing():
        fingerprint = _prepare(task, data_home, stamp)
        store.write_plain(f"tasks/{key}.json", json.dumps({"fingerprint": fingerprint, "task": task.key}))
    return Prepared(_folder(task, stamp, fingerprint), fingerprint)


def _folder(task: TaskSpec, stamp: Path, fingerprint: str) -> Path:
    return stamp.with_name(f"{fingerprint}-{type(task).__name__}")


def _prepare(task: TaskSpec, data_home: Path, stamp: Path) -> str:
    """Write the tables beside the stamp, under a temporary name until they are whole."""
    for left in stamp.parent.glob(f".{stamp.stem}.*"):  # by a process that was killed
        if not psutil.pid_exists(int(left.suffix[1:])):
            shutil.rmtree(left, ignore_errors=True)
    building = stamp.with_name(f".{stamp.stem}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        fingerprint = task.prepare(data_home, building)
        for view in task.views(building):
            flat = {name: column for name, column in view.columns.items() if column.ndim == 1}
            pyarrow.parquet.write_table(pyarrow.table(flat), building / f"{view.name}.parquet")
        if not _folder(task, stamp, fingerprint).exists():
            building.rename(_folder(task, stamp, fingerprint))
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return fingerprint


def sweep_tables(store: Store) -> list[tuple[str, str]]:
    """Move task tables that are not what was written to `damaged/`; returns (path, what was wrong) of each. Needs the lock."""
    moved: list[tuple[str, str]] = []
    for manifest in sorted(store.root.glob(f"tasks/*/**/{MANIFEST}")):
        path = "/".join(manifest.relative_to(store.root).parts[:2])
        try:
            Folder(manifest.parent, "it will be prepared again").verify()
        except UsageError as error:
            if store.folder(path).exists():
                store.move(path, "damaged")
                moved.append((path, str(error)))
    return moved
