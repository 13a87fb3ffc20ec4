"""A folder of Parquet tables that counts only when its manifest, written last, exists.

    folder/manifest.json        {"format": 1, "fingerprint": ..., "files": {name: {"bytes", "sha256", "rows", "content"}}}
    folder/facts.json           what is known about the tables, for people and for the report
    folder/<table>.parquet      a table's name may hold one folder: "open/train"

The whole folder is written beside its place and renamed into it under a lock, so a killed writer leaves nothing that counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ..core.errors import UsageError

FORMAT = 1
MANIFEST = "manifest.json"
FACTS = "facts.json"


@contextmanager
def explain_write_errors(folder: Path) -> Generator[None]:
    """Turn an operating system's refusal to write (no permission, no space) into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write {error.filename or folder}: {reason}; free that place or choose another") from error


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the lock of `folder` (made if missing), so that only one process at a time changes what lies in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(table: pd.DataFrame) -> str:
    """SHA-256 of a table's logical content: column names, types and values, whatever wrote the file and however."""
    digest = hashlib.sha256(f"{len(table)} rows".encode())
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            values = np.ascontiguousarray(column.to_numpy())
            digest.update(f"\n{name}:{values.dtype.name}\n".encode())
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
        else:
            texts = cast(list[str], column.to_list())
            digest.update(f"\n{name}:text\n".encode())
            digest.update(np.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes())
            digest.update("".join(texts).encode())
    return digest.hexdigest()


def fingerprint(tables: Mapping[str, pd.DataFrame]) -> str:
    """One hash for a set of named tables, equal on every machine that holds the same values."""
    return _combine({name: content_hash(table) for name, table in tables.items()})


def _combine(contents: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, sorted(contents.items())]).encode()).hexdigest()


def write_folder(folder: Path, tables: Mapping[str, pd.DataFrame], facts: Mapping[str, Any]) -> str:
    """Write `tables` and `facts` to `folder`, replacing what was there, and return their fingerprint.

    Raises UsageError when the place cannot be written.
    """
    partial = folder.parent / f".{folder.name}.partial"
    old = folder.parent / f".{folder.name}.old"
    with explain_write_errors(folder), locked(folder.parent):
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        files: dict[str, dict[str, Any]] = {}
        for name, table in sorted(tables.items()):
            path = partial / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            table.to_parquet(path, index=False, compression="zstd")
            files[f"{name}.parquet"] = {**_seal(path), "rows": len(table), "content": content_hash(table)}
        (partial / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
        files[FACTS] = _seal(partial / FACTS)
        whole = _combine({name: files[f"{name}.parquet"]["content"] for name in tables})
        manifest = {"format": FORMAT, "fingerprint": whole, "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        _seal(partial / MANIFEST)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return whole


def _seal(path: Path) -> dict[str, Any]:
    """Bring a file to the disk and say what its bytes are."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


class Folder:
    """A written folder, opened by its manifest. Each read compares the file's bytes with the manifest first.

    repair: what to do about damage, as the end of a sentence ("run: craftbench data get ml-100k").
    """

    def __init__(self, folder: Path, repair: str) -> None:
        self.path = folder
        self.repair = repair
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            if (version := int(manifest["format"])) > FORMAT:
                newer = f"{folder} was written by a newer craftbench (format {version}, known {FORMAT})"
                raise UsageError(f"{newer}; upgrade craftbench")
            self.fingerprint: str = manifest["fingerprint"]
            self.files: dict[str, dict[str, Any]] = manifest["files"]
            contents = {name: str(self.files[f"{name}.parquet"]["content"]) for name in self.tables}
            sizes = [(int(file["bytes"]), str(file["sha256"])) for file in self.files.values()]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UsageError(f"{folder / MANIFEST} is damaged; {repair}") from None
        except OSError as error:
            raise UsageError(f"{folder / MANIFEST} cannot be read ({error.strerror}); {repair}") from None
        if not sizes or _combine(contents) != self.fingerprint:
            raise UsageError(f"{folder / MANIFEST} is damaged (it does not say what it was made of); {repair}")

    @staticmethod
    def exists(folder: Path) -> bool:
        """A folder without manifest does not count."""
        return (folder / MANIFEST).is_file()

    @property
    def tables(self) -> list[str]:
        return [name.removesuffix(".parquet") for name in self.files if name.endswith(".parquet")]

    def table(self, name: str) -> pd.DataFrame:
        """The named table."""
        return pd.read_parquet(self._verified(f"{name}.parquet"))

    def facts(self) -> dict[str, Any]:
        """What was written as facts."""
        return json.loads(self._verified(FACTS).read_text())

    def verify(self) -> None:
        """Compare every file with the manifest; raises UsageError at the first that differs."""
        for name in self.files:
            self._verified(name)

    def _verified(self, name: str) -> Path:
        path = self.path / name
        expected = self.files.get(name)
        if expected is None or not path.is_file():
            raise UsageError(f"{path} is missing; {self.repair}")
        if path.stat().st_size != expected["bytes"] or sha256_of(path) != expected["sha256"]:
            raise UsageError(f"{path} is damaged (its bytes differ from the manifest); {self.repair}")
        return path
