"""Archives that mean harm, or that something happened to: refused with one sentence, nothing outside, no hang, no full memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import archives
from craftbench.datasets.archives import extract, members
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.sources import LocalPath, unpacked_sha256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangle import mangled
from samples import SAMPLES, packed

FILES = {"k/log_1.csv": b"1,2\n" * 300, "k/log_2.csv": b"3,4\n" * 300, "k/users.csv": b"5,6\n"}


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", change: Callable[[tarfile.TarInfo], None] = lambda entry: None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            change(entry)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


KINDS = {
    "a.zip": zipped(FILES),
    "b.zip": zipped(FILES, zipfile.ZIP_BZIP2),
    "l.zip": zipped(FILES, zipfile.ZIP_LZMA),
    "a.tar": tarred(FILES, "w"),
    "a.tar.gz": tarred(FILES),
}


def opened(folder: Path, name: str, content: bytes) -> list[bytes] | None:
    """What came out of an archive; None where it was refused. Nothing may lie anywhere but in the folder `into`."""
    (into := folder / "into").mkdir(exist_ok=True)
    for left in into.iterdir():
        left.unlink()
    (folder / name).write_bytes(content)
    try:
        found = [path.read_bytes() for path in extract(folder / name, ["log_1.csv"], ["log_*.csv", "users.csv"], into)]
    except UsageError as refusal:
        sentence = str(refusal)
    else:
        return found
    finally:
        assert {path.name for path in folder.iterdir()} <= {name, "into", *KINDS}
    assert len(sentence.splitlines()) == 1
    assert name in sentence
    return None


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(KINDS)), st.randoms(use_true_random=False))
def test_an_archive_with_a_few_random_harms(tmp_path: Path, name: str, rng: random.Random) -> None:
    opened(tmp_path, name, mangled(KINDS[name], rng))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(KINDS))
def test_many_random_harms_to_an_archive(name: str, tmp_path: Path) -> None:
    for seed in range(3000):
        opened(tmp_path, name, mangled(KINDS[name], random.Random(seed)))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_no_flipped_or_missing_byte_of_the_files_goes_unseen(name: str, tmp_path: Path) -> None:
    """A bit of every seventh byte is flipped: what comes out is all of the files, or nothing."""
    whole = opened(tmp_path, name, KINDS[name])
    assert whole == [FILES["k/log_1.csv"], FILES["k/log_2.csv"], FILES["k/users.csv"]]
    if name == "a.tar":  # it has no checksum of contents, of headers alone
        places = [at for at in range(len(KINDS[name])) if KINDS[name][at // 512 * 512 + 257 :][:5] == b"ustar"]
    else:
        places = list(range(len(KINDS[name])))
    for at in places[::7]:
        flipped = KINDS[name][:at] + bytes([KINDS[name][at] ^ 0x10]) + KINDS[name][at + 1 :]
        found = opened(tmp_path, name, flipped)
        assert found is None or found == whole, at


@pytest.mark.parametrize("cut", [600, 1024, 2048, 3584])
def test_a_tar_that_ends_between_two_members(cut: int, tmp_path: Path) -> None:
    assert opened(tmp_path, "a.tar", KINDS["a.tar"][:cut]) is None
    assert opened(tmp_path, "a.tar.gz", gzip.compress(KINDS["a.tar"][:cut])) is None


# Members


def _kind(kind: bytes, target: str = "/etc/passwd") -> Callable[[tarfile.TarInfo], None]:
    def change(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname = kind, target
        entry.size = 0

    return change


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE], ids=lambda kind: kind.decode()
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_no_link_pipe_or_device_comes_out_of_a_tar(kind: bytes, mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tar" if mode == "w" else "a.tgz")
    path.write_bytes(tarred({"k/log_1.csv": b""}, mode, _kind(kind)))
    with pytest.raises(UsageError, match=r"'k/log_1.csv', which is no plain file or leads out of its folder; it was not opened"):
        members(path)


@pytest.mark.parametrize("name", ["../log_1.csv", "/log_1.csv", "k/../../log_1.csv", "k/..", "..\\log_1.csv"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_no_name_leads_out(name: str, make: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    assert opened(tmp_path, "a.zip" if make is zipped else "a.tar.gz", make({name: b"1", "k/log_1.csv": b"1"})) is None


def test_a_symbolic_link_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("k/log_1.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert opened(tmp_path, "a.zip", (tmp_path / "a.zip").read_bytes()) is None


@pytest.mark.parametrize(
    "content", [pickle.dumps({"user_id": [1, 2]}), zipped({"u.data": b"1\t2\t3\t881250949\n"})], ids=["pickle", "zip"]
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_what_lies_inside_is_read_as_text_and_nothing_else(
    content: bytes, make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    path = tmp_path / ("a.zip" if make is zipped else "a.tar.gz")
    path.write_bytes(make({"u.data": content}))
    with pytest.raises(UsageError, match=r"u\.data"):
        import_path("ml-100k", path, tmp_path / "home", lambda _: None)
    assert not (tmp_path / "home" / "ml-100k").exists()


# Bombs


def test_a_bomb_of_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = bytes(8 << 20)
    for name, content in (("a.zip", zipped({"k/log_1.csv": zeros})), ("a.tar.gz", tarred({"k/log_1.csv": zeros}))):
        (tmp_path / name).write_bytes(content)
        assert len(content) < len(zeros) / 100
        with pytest.raises(UsageError, match="declares more than 1000000 bytes when unpacked; it was not opened"):
            extract(tmp_path / name, ["log_1.csv"], [], tmp_path, largest=1_000_000)
    assert not (tmp_path / "log_1.csv").exists()
    monkeypatch.setattr(archives, "HARMLESS", 1_000_000)
    (tmp_path / "log_1.csv.gz").write_bytes(gzip.compress(zeros))
    with pytest.raises(UsageError, match="unpacks to more than 100 times its size, as no text does; it was not read"):
        unpacked_sha256(tmp_path / "log_1.csv.gz")


@pytest.mark.parametrize("file", ["log_standard_4_22_to_5_08_pure.csv.gz", "log_standard_4_08_to_4_21_pure.csv.gz"])
def test_no_gzipped_file_of_a_dataset_is_a_bomb(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "HARMLESS", 1_000_000)
    sample = SAMPLES["kuairand"]
    for name in sample.files:
        (tmp_path / name).write_bytes(packed(name, sample.content(name)))
    (tmp_path / file).write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(UsageError, match=rf"{file} unpacks to more than 100 times its size"):
        import_path("kuairand-pure", tmp_path, tmp_path / "home", lambda _: None)


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """A member that holds more than it declares is cut there, and its checksum tells."""
    content = bytearray(zipped({"k/log_1.csv": bytes(1 << 20)}))
    size = (1 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    assert opened(tmp_path, "a.zip", bytes(content).replace(size, (10).to_bytes(4, "little"))) is None


def test_a_tar_that_goes_on_after_its_end(tmp_path: Path) -> None:
    assert opened(tmp_path, "a.tar.gz", gzip.compress(KINDS["a.tar"] + bytes(8 << 20))) is not None
    assert opened(tmp_path, "a.tar.gz", gzip.compress(KINDS["a.tar"] + bytes(32 << 20))) is None


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_tar_with_a_name_of_gigabytes_fills_no_memory(kind: bytes, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = kind, 3 << 30
    before = psutil.Process().memory_info().rss
    started = time.monotonic()
    assert opened(tmp_path, "a.tar.gz", gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))) is None
    assert psutil.Process().memory_info().rss - before < 48 << 20
    assert time.monotonic() - started < 30


# What is no archive and no plain file


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bz2", "xz"])
def test_a_file_is_unpacked_by_no_other_name(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    sample = SAMPLES["movielens small"]
    path = tmp_path / ("ratings.csv.bz2" if pack is bz2.compress else "ratings.csv.xz")
    path.write_bytes(pack(sample.content("ratings.csv")))
    with pytest.raises(UsageError, match="expected the header"):
        import_path("ml-latest-small", path, tmp_path / "home", lambda _: None)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "u.data")
    for given_path in (tmp_path, tmp_path / "u.data"):
        with pytest.raises(UsageError, match=r"u\.data is no plain file; give one that is"):
            import_path("ml-100k", given_path, tmp_path / "home", lambda _: None)
    with pytest.raises(UsageError, match=r"/dev/zero is no plain file"):
        import_path("ml-100k", Path("/dev/zero"), tmp_path / "home", lambda _: None)


def test_a_folder_of_the_wanted_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "u.data").mkdir()
    with pytest.raises(UsageError, match=r"holds none of u.data"):
        LocalPath(tmp_path, ["u.data"]).fetch(tmp_path, lambda _: None)
