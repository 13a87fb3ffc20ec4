"""Sources verify what they bring, and open archives as if a stranger had made them. No test here touches a network."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets.archives import extract, members
from craftbench.datasets.sources import Address, LocalPath, WheelMember

DATA = b"1\t2\t3\t4\n"


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _silent(_: str) -> None:
    pass


class _Answer(io.BytesIO):
    """What urlopen returns, as far as it is used."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content))


def _serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: _Answer(content))


def test_address_takes_the_member_out_of_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _zip(tmp_path / "source.zip", {"ml/u.data": DATA, "ml/README": b""}).read_bytes()
    _serve(monkeypatch, content)
    (path,) = Address("https://example.org/ml.zip", _sha256(content), "ml/u.data").fetch(tmp_path, _silent)
    assert path == tmp_path / "u.data"
    assert path.read_bytes() == DATA


def test_address_reports_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(33 << 20)
    _serve(monkeypatch, content)
    said: list[str] = []
    Address("https://example.org/large.csv", _sha256(content)).fetch(tmp_path, said.append)
    assert said == ["downloading https://example.org/large.csv", "  16.8 of 34.6 MB", "  33.6 of 34.6 MB"]


def test_wrong_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, DATA)
    with pytest.raises(UsageError, match=r"u.data has SHA-256 .* instead of 000000"):
        Address("https://example.org/u.data", "0" * 64).fetch(tmp_path, _silent)


def test_more_bytes_than_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, DATA)
    with pytest.raises(UsageError, match="more than the 4 bytes"):
        Address("https://example.org/u.data", _sha256(DATA), largest=4).fetch(tmp_path, _silent)


@pytest.mark.parametrize("failure", [urllib.error.URLError("no network"), TimeoutError("timed out"), ConnectionResetError("reset")])
def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(UsageError, match=r"https://example.org/u.data could not be reached \((no network|timed out|reset)\)"):
        Address("https://example.org/u.data", _sha256(DATA)).fetch(tmp_path, _silent)


def _pip(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, wheel: dict[str, bytes] | None = None) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-1] == "recbole==1.2.1"
        if wheel is not None:
            _zip(Path(command[command.index("--dest") + 1]) / "recbole-1.2.1-py3-none-any.whl", wheel)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)


def test_wheel_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = {"recbole/a/ml.inter": DATA, "recbole/__init__.py": b""}
    expected = _sha256(_zip(tmp_path / "expected.zip", wheel).read_bytes())
    _pip(monkeypatch, 0, "", wheel)
    into = tmp_path / "into"
    into.mkdir()
    (path,) = WheelMember("recbole", "1.2.1", expected, "recbole/a/ml.inter", _sha256(DATA)).fetch(into, _silent)
    assert path.read_bytes() == DATA


def test_wheel_members_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = {"recbole/a/ml.inter": DATA, "recbole/a/ml.item": b"titles", "recbole/b/ml.item": b"other"}
    expected = _sha256(_zip(tmp_path / "expected.zip", wheel).read_bytes())
    _pip(monkeypatch, 0, "", wheel)
    for name, sha256 in (("good", _sha256(b"titles")), ("bad", _sha256(b"other"))):
        (tmp_path / name).mkdir()
        source = WheelMember("recbole", "1.2.1", expected, "recbole/a/ml.inter", _sha256(DATA), (("ml.item", sha256),))
        if name == "good":
            assert [path.read_bytes() for path in source.fetch(tmp_path / name, _silent)] == [DATA, b"titles"]
        else:
            with pytest.raises(UsageError, match=r"ml\.item has SHA-256"):
                source.fetch(tmp_path / name, _silent)


@pytest.mark.parametrize(("wheel_sha256", "sha256", "name"), [("0" * 64, "", "recbole-1.2.1"), (None, "1" * 64, "ml.inter")])
def test_wheel_and_member_are_both_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel_sha256: str | None, sha256: str, name: str
) -> None:
    wheel = {"recbole/a/ml.inter": DATA}
    expected = wheel_sha256 or _sha256(_zip(tmp_path / "expected.zip", wheel).read_bytes())
    _pip(monkeypatch, 0, "", wheel)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(UsageError, match=f"{name}.* has SHA-256"):
        WheelMember("recbole", "1.2.1", expected, "recbole/a/ml.inter", sha256).fetch(into, _silent)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("/usr/bin/python: No module named pip\n", "this Python has no pip"),
        ("WARNING: Retrying\nERROR: No matching distribution found for recbole==1.2.1\n", "No matching distribution found"),
        ("", "no message"),
    ],
)
def test_pip_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, reason: str) -> None:
    _pip(monkeypatch, 1, stderr)
    with pytest.raises(UsageError, match=rf"pip could not download recbole==1.2.1 \({reason}"):
        WheelMember("recbole", "1.2.1", "", "m", "").fetch(tmp_path, _silent)


@pytest.mark.parametrize("name", ["../u.data", "a/../../u.data", "/etc/u.data", "..\\u.data"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "a.zip", {name: DATA})
    with pytest.raises(UsageError, match="leads out of its folder; it was not opened"):
        members(archive)


def test_symbolic_link(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("u.data")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="leads out of its folder"):
        LocalPath(tmp_path / "a.zip", ["u.data"]).fetch(tmp_path, _silent)


def test_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"u.data": bytes(1 << 20)})
    assert archive.stat().st_size < 3000
    with pytest.raises(UsageError, match="declares more than 1000 bytes"):
        members(archive, largest=1000)


def test_damaged_archives(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "a.zip", {"u.data": bytes(range(256)) * 40}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    with pytest.raises(UsageError, match="no whole zip archive"):
        members(tmp_path / "cut.zip")
    (tmp_path / "flipped.zip").write_bytes(whole[:60] + bytes(byte ^ 0x55 for byte in whole[60:80]) + whole[80:])
    with pytest.raises(UsageError, match=r"u\.data in archive .* is damaged"):
        extract(tmp_path / "flipped.zip", ["u.data"], [], tmp_path)
    with pytest.raises(UsageError, match="does not hold other"):
        extract(tmp_path / "a.zip", ["other"], [], tmp_path)


def test_local_file_folder_and_zip(tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / "u.data").write_bytes(DATA)
    archive = _zip(tmp_path / "a.zip", {"ml/u.data": DATA})
    into = tmp_path / "into"
    into.mkdir()
    for given in (folder / "u.data", tmp_path / "folder", archive):
        (path,) = LocalPath(given, ["ratings.csv", "u.data"]).fetch(into, _silent)
        assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("given", "sentence"), [("none", "does not exist"), ("empty", "holds none of u.data"), ("a.zip", "does not hold u.data")]
)
def test_local_path_without_the_file(tmp_path: Path, given: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    _zip(tmp_path / "a.zip", {"other": DATA})
    with pytest.raises(UsageError, match=sentence):
        LocalPath(tmp_path / given, ["u.data"]).fetch(tmp_path, _silent)


LOGS = {
    "K/data/log_1.csv": b"1",
    "K/data/log_2.csv": b"2",
    "K/data/users.csv": b"u",
    "K/data/big.csv": b"b",
    "K/other/users.csv": b"o",
}


def _tar(path: Path, files: dict[str, bytes], *links: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return path


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def test_several_files_of_one_place_in_the_wanted_order(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    given = [_tar(tmp_path / "a.tar.gz", LOGS), _zip(tmp_path / "a.zip", LOGS), _folder(tmp_path / "folder", LOGS)]
    for place in given:
        found = LocalPath(place, ["none.csv", "log_1*.csv"], ["users.csv", "log_*.csv", "absent.csv"]).fetch(into, _silent)
        assert [(path.name, path.read_bytes()) for path in found] == [("log_1.csv", b"1"), ("users.csv", b"u"), ("log_2.csv", b"2")]
    alone = tmp_path / "folder" / "K/data/log_1.csv"
    assert LocalPath(alone, ["log_1*.csv"], ["users.csv"]).fetch(into, _silent) == (alone,)
    assert sorted(path.name for path in into.iterdir()) == ["log_1.csv", "log_2.csv", "users.csv"]


def test_address_of_a_tar_with_an_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _tar(tmp_path / "source.tar.gz", LOGS).read_bytes()
    _serve(monkeypatch, content)
    md5 = hashlib.md5(content).hexdigest()
    found = Address("https://example.org/K.tar.gz", md5, "log_1.csv", ("users.csv",)).fetch(tmp_path, _silent)
    assert [path.read_bytes() for path in found] == [b"1", b"u"]
    with pytest.raises(UsageError, match=r"K.tar.gz has MD5 .* instead of 000000"):
        Address("https://example.org/K.tar.gz", "0" * 32, "log_1.csv").fetch(tmp_path, _silent)


@pytest.mark.parametrize("name", ["../u.data", "a/../../u.data", "/etc/u.data"])
def test_tar_names_that_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="leads out of its folder; it was not opened"):
        members(_tar(tmp_path / "a.tar.gz", {name: DATA}))


def test_tar_with_a_link_too_large_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leads out of its folder"):
        members(_tar(tmp_path / "a.tar.gz", {}, "u.data"))
    with pytest.raises(UsageError, match="declares more than 1000 bytes"):
        members(_tar(tmp_path / "b.tar.gz", {"u.data": bytes(1 << 20)}), largest=1000)
    whole = _tar(tmp_path / "c.tar.gz", {"u.data": b"".join(hashlib.sha512(bytes([n])).digest() for n in range(200))}).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        (tmp_path / "c.tar.gz").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"c.tar.gz is no whole tar archive"):
            extract(tmp_path / "c.tar.gz", ["u.data"], [], tmp_path)
