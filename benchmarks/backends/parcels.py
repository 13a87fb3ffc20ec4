"""Folders on their way to another machine: cut into parcels of bounded size, kept there once under a hash of their content."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from ...core.errors import UsageError

SIZE = 32 * 2**20  # bytes of a parcel at most
KEPT = 4 * 2**30  # bytes of folders that a machine keeps beside those in use

Parcel = list[tuple[str, bytes]]  # names of files and pieces of their content, in order


@dataclass(frozen=True)
class Content:
    """What a folder holds: a hash of its files' names and bytes, and their size together."""

    digest: str
    size: int


def content(folder: Path) -> Content:
    """Read a folder through once."""
    hashed, size = hashlib.sha256(), 0
    for file in _files(folder):
        name, length = file.relative_to(folder).as_posix(), file.stat().st_size
        hashed.update(f"{len(name)} {name} {length} ".encode())
        with file.open("rb") as opened:
            while piece := opened.read(SIZE):
                hashed.update(piece)
        size += length
    return Content(hashed.hexdigest(), size)


def of_folder(folder: Path) -> Iterator[Parcel]:
    """A folder's files as parcels, one in memory at a time."""
    return _parcels((file.relative_to(folder).as_posix(), file.open("rb")) for file in _files(folder))


def of_bytes(files: Mapping[str, bytes]) -> Iterator[Parcel]:
    """The same of files that are in memory."""
    return _parcels((name, BytesIO(data)) for name, data in files.items())


def joined(parcels: Iterable[Parcel]) -> dict[str, bytes]:
    """The files that parcels hold, in memory."""
    pieces: dict[str, list[bytes]] = {}
    for parcel in parcels:
        for name, piece in parcel:
            pieces.setdefault(name, []).append(piece)
    return {name: b"".join(found) for name, found in pieces.items()}


def _parcels(files: Iterable[tuple[str, IO[bytes]]]) -> Iterator[Parcel]:
    parcel: Parcel = []
    room = SIZE
    for name, opened in files:
        with opened:
            piece = opened.read(room)
            while True:
                parcel.append((name, piece))
                room -= len(piece)
                if not room:
                    yield parcel
                    parcel, room = [], SIZE
                if not (piece := opened.read(room)):
                    break
    if parcel:
        yield parcel


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


class Shelf:
    """Folders that came in parcels, each under its hash; shared by all workers of a machine and user, this run's and later ones'.

    Raises `UsageError` where the shelf belongs to somebody else.
    """

    def __init__(self, root: Path | None = None, kept: int = KEPT) -> None:
        self.root, self.kept = root or Path(tempfile.gettempdir()) / f"craftbench-{os.getuid()}", kept
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.root.stat().st_uid != os.getuid():
            raise UsageError(f"the folder {self.root} belongs to another user; remove it, or set TMPDIR on that node")
        self._added = 0  # bytes since room was made

    @contextlib.contextmanager
    def holding(self, wanted: Content, fetch: Callable[[], Iterable[Parcel]]) -> Iterator[Path]:
        """The folder with that content, fetched unless it is there; nobody throws it away while the context lasts."""
        folder = self.root / wanted.digest
        while (handle := _held(folder, wanted.size)) is None:
            self._unpack(folder, fetch())
            self._added += wanted.size
        try:
            os.utime(folder)
            if self._added > self.kept // 16:
                self._added = 0
                self._make_room()
            yield folder
        finally:
            os.close(handle)

    def _unpack(self, folder: Path, parcels: Iterable[Parcel]) -> None:
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".") as made:
            building = Path(made) / "folder"
            building.mkdir()
            for parcel in parcels:
                for name, piece in parcel:
                    (building / name).parent.mkdir(parents=True, exist_ok=True)
                    with (building / name).open("ab") as file:
                        file.write(piece)
            if content(building).digest != folder.name:
                raise OSError(f"a folder arrived with another content than was sent ({folder.name[:12]})")
            try:
                building.rename(folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another worker was quicker
                    raise

    def _make_room(self) -> None:
        """Throw away what was used longest ago and is in nobody's hands, until the rest is small enough."""
        sizes: dict[Path, int] = {}
        used: dict[Path, float] = {}
        for folder in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another worker makes room, too
                if folder.name[0] != ".":
                    sizes[folder], used[folder] = _size(folder), folder.stat().st_mtime
        total = sum(sizes.values())
        for folder in sorted(used, key=used.__getitem__):
            if total <= self.kept:
                return
            total -= sizes[folder] if _thrown_away(folder) else 0


def _held(folder: Path, size: int) -> int | None:
    """A handle with a shared lock on a whole folder of that name; None where there is none."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), os.stat(folder)) and _size(folder) == size:
            return handle
    os.close(handle)
    _remove(folder)  # somebody has tidied up inside; it serves nobody
    return None


def _thrown_away(folder: Path) -> bool:
    """Remove a folder that nobody holds; False where somebody does."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _remove(folder: Path) -> None:
    """Out of sight at once, then gone."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as aside, contextlib.suppress(FileNotFoundError):
        folder.rename(Path(aside) / "folder")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in _files(folder))
