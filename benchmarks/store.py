"""Where records live: one folder each, written under a temporary name, synced, renamed, and never edited.

    store/cells/<paper>/<task>/<runner>/<kind>-<seed>-<id>/record.json  metrics.parquet  predictions.safetensors  fitted/
    store/plans/<paper>.<profile>.json   store/tasks/<fingerprint>-<kind>/   store/damaged/   store/retired/   store/lock

`record.json` ends with its own sha256 and lists the size and sha256 of its siblings. Reading needs no lock; writing does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..core.errors import UsageError

FORMAT = 1
_RECORD = re.compile(r"(trial|final|timing)-.+-[0-9a-f]{12}")
_SEAL = ',\n "sha256": "'

# What an operating system says of a place that nothing can be written to.
_PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)

Record = dict[str, Any]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Read many records: what they are made of stays, and looking for garbage in it would take half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Damaged(Exception):
    """A record that is not what was written."""


def seal(record: Mapping[str, Any]) -> str:
    """The record as JSON text that ends with the sha256 of everything before it."""
    body = json.dumps(record, indent=1, sort_keys=False)[: -len("\n}")]
    return f'{body}{_SEAL}{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def unseal(text: str) -> Record:
    """The inverse of `seal`; raises `Damaged`."""
    body, mark, tail = text.rpartition(_SEAL)
    if not mark or tail != f'{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n':
        raise Damaged("record.json does not carry its own sha256")
    return json.loads(f"{body}\n}}")


class Store:
    """A folder of records. `with store.locked(command):` for whoever writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: set[str] = set()  # by this process
        self._seen: dict[str, Record] = {}

    def folder(self, path: str) -> Path:
        """The folder of a record, by its path relative to the store."""
        return self.root / path

    def read(self, path: str) -> Record | None:
        """The verified record at `path` (sizes of its siblings included), or None. A damaged one counts as absent."""
        if path in self._seen:
            return self._seen[path]
        try:
            record = self.verify(path, content=False)
        except (FileNotFoundError, NotADirectoryError, Damaged):
            return None
        self._seen[path] = record
        return record

    def verify(self, path: str, *, content: bool) -> Record:
        """Read a record and check its seal and its siblings' sizes, and with `content` their sha256 too. Raises `Damaged`."""
        folder = os.path.join(self.root, path)  # plain strings: a store of 10,000 records is read at each start
        try:
            with open(f"{folder}/record.json", encoding="utf-8", newline="") as file:
                record = unseal(file.read())
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise Damaged(f"record.json cannot be read: {error}") from None
        if record["format"] > FORMAT:
            raise UsageError(
                f"{folder} was written by a newer version (format {record['format']}, this one knows {FORMAT}); upgrade craftbench"
            )
        for name, expected in record["files"].items():
            sibling = f"{folder}/{name}"
            if not os.path.exists(sibling) or os.path.getsize(sibling) != expected["size"]:
                raise Damaged(f"{name} is missing or has another size")
            if content and hashlib.sha256(Path(sibling).read_bytes()).hexdigest() != expected["sha256"]:
                raise Damaged(f"{name} has another content")
        return record

    def sibling(self, path: str, name: str) -> bytes | None:
        """What a file of the record at `path` holds, None where it has none; `UsageError` when that is not what was written."""
        record = self.read(path)
        if record is None or name not in record["files"]:
            return None
        data = (self.folder(path) / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != record["files"][name]["sha256"]:
            mend = f"run: craftbench check --store {self.root}; then the command that made it"
            raise UsageError(f"{self.folder(path) / name} is damaged (its bytes differ from its record); {mend}")
        return data

    def plain(self, path: str) -> dict[str, Any] | None:
        """A small JSON file that is no record (a plan), or None where there is none. Raises `Damaged`."""
        try:
            found = json.loads((self.root / path).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{path} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise Damaged(f"{path} is no JSON object")
        return found

    def paths(self) -> Iterator[str]:
        """Every record folder that has a record.json, sound or not."""
        yield from (path for path in self._folders() if os.path.exists(f"{self.root}/{path}/record.json"))

    def sweep(self, *, content: bool = False) -> list[tuple[str, str]]:
        """Move every damaged record to `damaged/`; returns (path, what was wrong) of each. Needs the lock."""
        moved: list[tuple[str, str]] = []
        with without_collector():
            for path in list(self._folders()):
                try:
                    self._seen[path] = self.verify(path, content=content)
                except FileNotFoundError:
                    moved.append((path, "record.json is missing"))
                except Damaged as error:
                    moved.append((path, str(error)))
        for path, _ in moved:
            self.move(path, "damaged")
        return moved

    def _folders(self, under: str = "cells") -> Iterator[str]:
        """Every folder that is named like a record. What lies inside is part of it, and not looked at."""
        if not os.path.isdir(f"{self.root}/{under}"):
            return
        with os.scandir(f"{self.root}/{under}") as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
        for name in names:
            path = f"{under}/{name}"
            if _RECORD.fullmatch(name):
                yield path
            else:
                yield from self._folders(path)

    def move(self, path: str, where: str) -> None:
        """Put a record aside, under `damaged/` or `retired/`; nothing is deleted."""
        target = self.root / where / path
        number = 0
        while target.exists():
            number += 1
            target = self.root / where / f"{path}.{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        self.folder(path).rename(target)
        self._seen.pop(path, None)

    def write(self, path: str, record: Record, files: Mapping[str, bytes]) -> Record:
        """Write a record and its siblings so that it is there whole or not at all."""
        listed = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
        record = {"format": FORMAT, **record, "files": listed}
        target = self.folder(path)
        building = self.root / "tmp" / target.name
        if target.exists():  # damaged since the sweep: nothing else is ever written twice
            self.move(path, "damaged")
        try:
            building.mkdir(parents=True)
            _write_synced({building / name: data for name, data in {**files, "record.json": seal(record).encode()}.items()})
            target.parent.mkdir(parents=True, exist_ok=True)
            building.rename(target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._seen[path] = record
        self.written.add(path)
        return record

    def write_plain(self, path: str, text: str) -> None:
        """Replace a small file that is no record (a plan) in one step."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.with_name(f".{target.name}.tmp")
        try:
            _write_synced({building: text.encode()})
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one sentence why nothing can be written; what is recorded stays."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UsageError(f"no space left for the store {self.root}: free some and run the same command again") from None
            if error.errno in _PLACES:
                raise UsageError(f"cannot write to the store {self.root}: {error.strerror}; give another --store") from None
            raise

    def locked(self, command: str) -> _Lock:
        """The right to write. A second driver gets a `UsageError` that names the first."""
        return _Lock(self, command)


class _Lock:
    """`flock` on store/lock: released by the kernel however its holder ends."""

    def __init__(self, store: Store, command: str) -> None:
        self.store, self.root, self.command = store, store.root, command

    def __enter__(self) -> None:
        with self.store.writing():
            self.root.mkdir(parents=True, exist_ok=True)
            self._file = open(self.root / "lock", "a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise UsageError(f"the store {self.root} is in use by {holder}; wait for it, or give another --store") from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} ({self.command})")
        self._file.flush()
        shutil.rmtree(self.root / "tmp", ignore_errors=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._file.truncate(0)
        self._file.close()


def _write_synced(files: Mapping[Path, bytes]) -> None:
    """Write all, then wait for the disk: it takes them together."""
    with contextlib.ExitStack() as opened:
        handles: list[int] = []
        for file, data in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            out = opened.enter_context(open(file, "wb"))
            out.write(data)
            out.flush()
            handles.append(out.fileno())
        for handle in handles:
            os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
