"""Prepared task tables: written once into the store, keyed by what determines them, and found again by any later plan."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .benchmark import TaskSpec
from .identity import closure, digest
from .store import Store


@dataclass(frozen=True)
class Prepared:
    """A task's folder and the fingerprint of its content."""

    folder: Path
    fingerprint: str


def prepare(task: TaskSpec, data_home: Path, store: Store, say: Callable[[str], None]) -> Prepared:
    """The prepared tables of `task`, made now if they are not there. Raises `DataMissing`.

    Tasks with equal `cache_key` (two backbones on the same rows) share a folder. The key holds the code that prepares them and the
    fingerprint of the dataset. Cells are identified by the content's fingerprint: code that prepares the same tables changes nothing.
    """
    key = digest({**task.cache_key(data_home), "code": closure(type(task).__module__)})[:16]
    stamp = store.root / "tasks" / f"{key}.json"
    if not stamp.exists():
        say(f"preparing {task.key}")
        building = stamp.with_name(f".{key}.{os.getpid()}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        fingerprint = task.prepare(data_home, building)
        for view in task.views(building):
            pd.DataFrame(dict(view.columns)).to_parquet(building / f"{view.name}.parquet", index=False)
        if (stamp.parent / fingerprint).exists():
            shutil.rmtree(building)
        else:
            building.rename(stamp.parent / fingerprint)
        store.write_plain(f"tasks/{key}.json", json.dumps({"fingerprint": fingerprint, "task": task.key}))
    fingerprint = json.loads(stamp.read_text(encoding="utf-8"))["fingerprint"]
    return Prepared(stamp.parent / fingerprint, fingerprint)
