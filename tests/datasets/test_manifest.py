"""A folder counts only when it is whole: hashes, damage, interruption, permissions."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import manifest
from craftbench.datasets.manifest import Folder, content_hash, fingerprint, write_folder
from mangle import mangled

TABLES = {
    "a": pd.DataFrame({"x": np.arange(5), "y": np.float32([0, 1, 2, 3, 4])}),
    "sub/b": pd.DataFrame({"text": ["NA", "", "é", "b", "ab"]}),
}


def _folder(path: Path) -> Folder:
    return Folder(path, repair="run: repair")


def test_round_trip(tmp_path: Path) -> None:
    written = write_folder(tmp_path / "d", TABLES, {"n": 1})
    opened = _folder(tmp_path / "d")
    assert opened.fingerprint == written == fingerprint(TABLES)
    assert sorted(opened.tables) == ["a", "sub/b"]
    for name, table in TABLES.items():
        pd.testing.assert_frame_equal(opened.table(name), table)
    assert opened.facts() == {"n": 1}
    opened.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "d"]


def test_writing_again_replaces(tmp_path: Path) -> None:
    write_folder(tmp_path / "d", TABLES, {})
    write_folder(tmp_path / "d", {"a": TABLES["a"].head(2)}, {})
    assert _folder(tmp_path / "d").tables == ["a"]
    assert len(_folder(tmp_path / "d").table("a")) == 2


def test_fingerprint_sees_values_types_names_and_order_only() -> None:
    table = TABLES["a"]
    assert content_hash(table) == content_hash(table.copy().set_index(np.arange(5) + 10))
    others = [
        table.assign(x=table["x"] + 1),
        table.astype({"x": np.int32}),
        table.rename(columns={"x": "z"}),
        table.iloc[::-1],
        table.head(4),
        table[["y", "x"]],
    ]
    assert len({content_hash(other) for other in [table, *others]}) == 7
    moved = pd.DataFrame({"text": ["a", "bc"]}), pd.DataFrame({"text": ["ab", "c"]})
    assert content_hash(moved[0]) != content_hash(moved[1])


@pytest.mark.parametrize("name", ["a.parquet", "sub/b.parquet", "facts.json"])
def test_flipped_cut_and_missing_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d" / name
    write_folder(tmp_path / "d", TABLES, {})
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:1] + bytes([whole[1] ^ 1]) + whole[2:]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=rf"{name} is damaged .* run: repair"):
            _folder(tmp_path / "d").verify()
    path.unlink()
    with pytest.raises(UsageError, match=f"{name} is missing; run: repair"):
        _folder(tmp_path / "d").verify()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": "x", "fingerprint": "", "files": {}}'])
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"manifest.json is damaged; run: repair"):
        _folder(tmp_path)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "d", TABLES, {})
    path = tmp_path / "d" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": manifest.FORMAT + 1}))
    with pytest.raises(UsageError, match="newer craftbench"):
        _folder(tmp_path / "d")


def test_a_writer_that_dies_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "d", TABLES, {"version": 1})
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "_combine", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_folder(tmp_path / "d", TABLES, {"version": 2})
    assert _folder(tmp_path / "d").facts() == {"version": 1}
    write_folder(tmp_path / "d", TABLES, {"version": 3})
    assert _folder(tmp_path / "d").facts() == {"version": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "d"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_folder_without_manifest_does_not_count(tmp_path: Path) -> None:
    write_folder(tmp_path / "d", TABLES, {})
    (tmp_path / "d" / "manifest.json").unlink()
    assert not Folder.exists(tmp_path / "d")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "a.parquet")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(UsageError, match=r"cannot write a.parquet: No space left on device"):
        write_folder(tmp_path / "d", TABLES, {})
    assert not Folder.exists(tmp_path / "d")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot write .*Permission denied"):
        write_folder(tmp_path / "deep" / "d", TABLES, {})


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*home"):
        write_folder(tmp_path / "home" / "d", TABLES, {})


def test_no_harm_to_any_file_goes_unseen(tmp_path: Path) -> None:
    """The manifest among them: it must say what it was made of."""
    write_folder(tmp_path / "d", TABLES, {"n": 1})
    for name in ("manifest.json", "facts.json", "a.parquet", "sub/b.parquet"):
        path = tmp_path / "d" / name
        whole = path.read_bytes()
        for seed in range(60):
            path.write_bytes(mangled(whole, random.Random(seed)))
            try:
                opened = _folder(tmp_path / "d")
                opened.verify()
            except UsageError:
                continue
            assert opened.fingerprint == fingerprint(TABLES)
            for table in opened.tables:
                pd.testing.assert_frame_equal(opened.table(table), TABLES[table])
        path.write_bytes(whole)
