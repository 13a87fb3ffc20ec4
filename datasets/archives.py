"""Raw files out of a zip or a tar.gz that a stranger may have made, and single gzipped files.

Nothing is unpacked whose name leads out of its folder, no link is followed, and nothing unpacks to more than it may. What is
wanted lands in one folder under its own name, without the archive's folders.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self

from ..core.errors import UsageError
from .manifest import explain_write_errors
from .ratings_file import unpacking

CHUNK = 1 << 20
LARGEST = 4 << 30  # bytes that an archive may unpack to, where nobody said otherwise
HARMLESS, RATIO = 64 << 20, 100  # bytes that any gzipped file may unpack to, and how many bytes for one of its own beyond them
NAME = 1 << 20  # bytes that a tar may spend on the name of one member
END = 16 << 20  # bytes that may follow the end of a tar; whole blocks of zeros do
ZIPS = (".zip", ".whl")
TARS = (".tar.gz", ".tgz", ".tar")
# What zipfile says of an encrypted file, and of a compression that it does not know, are a RuntimeError and a kind of it.
DAMAGE: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OverflowError, RuntimeError),
)


def is_archive(path: Path) -> bool:
    """By its name."""
    return path.name.endswith(ZIPS + TARS)


def extract(archive: Path, names: Sequence[str], beside: Sequence[str], into: Path, largest: int = LARGEST) -> tuple[Path, ...]:
    """Unpack one file and its companions into `into`: (file, companion, ...).

    names: the files that would do, best first; beside: companions, taken where they lie in the same folder of the archive, in this
    order. Both are patterns matched from the end of the path: "u.data", "ml-100k/u.data", "log_*.csv". Raises UsageError for an
    archive that is damaged, could do harm, or holds none of `names`.
    """
    inside = members(archive, largest)
    found = [member for name in names for member in sorted(inside) if PurePosixPath(member).match(name)]
    if not found:
        raise UsageError(f"archive {archive} does not hold {' or '.join(names)}; fetch it again or give the file itself")
    folder = PurePosixPath(found[0]).parent
    near = [member for member in sorted(inside) if PurePosixPath(member).parent == folder]
    more = [member for name in beside for member in near if PurePosixPath(member).match(name)]
    wanted = list(dict.fromkeys((found[0], *more)))
    for member, stream in _streams(archive, frozenset(wanted)):
        target = into / PurePosixPath(member).name
        with explain_write_errors(into), target.open("wb") as file, _explain_damage(archive, member):
            shutil.copyfileobj(stream, file, CHUNK)
    return tuple(into / PurePosixPath(member).name for member in wanted)


def members(archive: Path, largest: int = LARGEST) -> list[str]:
    """The names of the plain files in an archive. Raises UsageError for a damaged one, and for one that could do harm:

    a name that leads out of the folder, a link, or more declared bytes than `largest`.
    """
    names: list[str] = []
    size = 0
    for name, kind, bytes_ in _listed(archive):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or kind == "link":
            raise UsageError(
                f"archive {archive} holds {name!r}, which is no plain file or leads out of its folder; it was not opened"
            )
        size += bytes_
        if size > largest:
            raise UsageError(f"archive {archive} declares more than {largest} bytes when unpacked; it was not opened")
        if kind == "file":
            names.append(name)
    return names


def _listed(archive: Path) -> Generator[tuple[str, str, int]]:
    """(name, "file" | "folder" | "link", declared bytes) of each entry."""
    with _explain_damage(archive):
        if archive.name.endswith(TARS):
            with _tar(archive) as opened:
                for entry in opened:
                    kind = "file" if entry.isfile() else "folder" if entry.isdir() else "link"
                    yield entry.name, kind, entry.size
        else:
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    with opened.open(entry):  # whose own header must say the name that the directory says
                        pass
                    link = stat.S_ISLNK(entry.external_attr >> 16)
                    yield entry.filename, "link" if link else "folder" if entry.is_dir() else "file", entry.file_size


def _streams(archive: Path, wanted: frozenset[str]) -> Generator[tuple[str, IO[bytes]]]:
    """The content of the wanted files, in the archive's order."""
    if archive.name.endswith(TARS):
        with _explain_damage(archive), _tar(archive) as opened:
            for entry in opened:
                if entry.name in wanted and (stream := opened.extractfile(entry)) is not None:
                    yield entry.name, stream
    else:
        with zipfile.ZipFile(archive) as opened:
            for member in sorted(wanted):
                with _explain_damage(archive, member), opened.open(member) as stream:
                    yield member, stream


@contextmanager
def _tar(archive: Path) -> Generator[tarfile.TarFile]:
    """A tar as a stream, read to its end in any case, so that gzip compares its checksum."""
    with archive.open("rb") if archive.suffix == ".tar" else gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as opened:
            yield opened
        left = 0
        while chunk := stream.read(CHUNK):
            left += len(chunk)
            if left > END:
                raise tarfile.ReadError("it goes on after its end")


class _Entry(tarfile.TarInfo):
    """A tar's entry. Where the standard library takes a damaged header for the end, and a name of any length, this raises."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            entry = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):  # the end as it should be
                raise
            raise tarfile.ReadError(str(error)) from None
        if (
            entry.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
            and entry.size > NAME
        ):
            raise tarfile.ReadError(f"a name of {entry.size} bytes")
        return entry


@contextmanager
def _explain_damage(archive: Path, member: str = "") -> Generator[None]:
    """One sentence for what the standard library says in eight ways."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, and not bz2's or a wild offset
            raise
        if member:
            raise UsageError(f"{member} in archive {archive} is damaged or encrypted ({error}); fetch it again") from error
        kind = "tar" if archive.name.endswith(TARS) else "zip"
        raise UsageError(f"{archive} is no whole {kind} archive (cut short or damaged: {error}); fetch it again") from error


def unpacked(path: Path) -> Generator[bytes]:
    """What a file says, piece by piece, unpacked where it is gzipped.

    Raises UsageError for a damaged gzip file, and for one that unpacks to far more than any text does.
    """
    most, done = max(HARMLESS, RATIO * path.stat().st_size), 0
    with unpacking(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            done += len(chunk)
            if done > most:
                raise UsageError(f"{path} unpacks to more than {RATIO} times its size, as no text does; it was not read")
            yield chunk
