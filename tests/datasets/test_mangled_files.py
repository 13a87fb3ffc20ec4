"""Every reader on files that something happened to: a right table or one sentence, no other exception, nothing half-made."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import catalogue
from craftbench.datasets.catalogue import DATASETS, import_path
from craftbench.datasets.dataset import Provenance, assemble, read, write
from craftbench.datasets.manifest import Folder
from craftbench.datasets.ratings_file import Parsed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangle import HARMLESS, harmed, mangled, refilled
from samples import SAMPLES, Sample, packed

PROVENANCE = Provenance("Invented", "made here", "", "", "", "whole", {}, {})
NAMES = [(name, file) for name, sample in SAMPLES.items() for file in sample.files]


def read_sample(sample: Sample, folder: Path, mangled_file: str = "", content: bytes = b"") -> Parsed:
    """What the reader says of the sample whose one file holds `content`, byte for byte."""
    for name in sample.files:
        (folder / name).write_bytes(content if name == mangled_file else packed(name, sample.content(name)))
    return sample.read(*(folder / name for name in sample.files))


def told(sample: Sample, folder: Path, file: str, content: bytes) -> Parsed | None:
    """The tables, held against what the documentation promises; None where the file was refused with a sentence."""
    try:
        parsed = read_sample(sample, folder, file, content)
    except UsageError as refusal:
        sentence = str(refusal)
        assert len(sentence.splitlines()) == 1
        assert len(sentence) < 1500
        assert any(name in sentence for name in sample.files), "it does not say which file"
        return None
    for name, table in parsed.tables.items():
        assert_sound(name, table)
    dataset = assemble("invented", parsed.tables, PROVENANCE)
    write(dataset, folder / "home")
    again = read(Folder(folder / "home" / "invented", "write it again"))
    assert assemble("invented", again.tables, PROVENANCE).fingerprint == dataset.fingerprint
    return parsed


def assert_sound(name: str, table: pd.DataFrame) -> None:
    """No gap, no number out of its range, no id that a float could not tell from its neighbour."""
    assert len(table)
    assert not table.isna().any().any()
    for column in table.columns.intersection(["user_id", "item_id"]):
        ids = table[column]
        assert ids.dtype == np.int64 or ids.map(type).eq(str).all()
        assert ids.dtype != np.int64 or ids.between(0, 10**18).all()
    for column in table.columns.intersection(["watch_time", "duration", "rating", "time", "timestamp", "date", "position"]):
        assert np.isfinite(table[column]).all()
        assert (table[column] >= 0).all()
    if name in ("ratings", "titles"):
        keys = ["user_id", "item_id"] if name == "ratings" else ["item_id"]
        assert not table.duplicated(keys).any()
    if name == "impressions":
        assert (table["duration"] > 0).all()


def same(one: Parsed, other: Parsed) -> bool:
    """Whether two readings gave the same tables."""
    return assemble("x", one.tables, PROVENANCE).fingerprint == assemble("x", other.tables, PROVENANCE).fingerprint


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_something_happened_to_as_a_whole(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    whole, file = read_sample(sample, tmp_path), next(iter(sample.files))
    for harm, content in harmed(sample.content(file), sample.separators[0].encode()):
        found = told(sample, tmp_path, file, packed(file, content))
        if harm in HARMLESS and not (harm == HARMLESS[0] and sample.encoding == "latin-1"):
            assert found is not None, harm
            assert same(found, whole), harm
        if harm in ("empty", "blanks", "utf-16", "pickle", "zip in zip", "first column twice"):
            assert found is None, harm


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), st.randoms(use_true_random=False), st.booleans())
def test_a_file_with_a_few_random_harms(tmp_path: Path, which: tuple[str, str], rng: random.Random, outside: bool) -> None:
    """outside: a gzipped file is harmed as it lies on the disk, not what it holds."""
    name, file = which
    content = SAMPLES[name].content(file)
    found = mangled(packed(file, content), rng) if outside else packed(file, mangled(content, rng))
    told(SAMPLES[name], tmp_path, file, found)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "file"), NAMES)
def test_every_harm_to_every_file(name: str, file: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    separator = sample.separators[list(sample.files).index(file)].encode()
    content = sample.content(file)
    for _, each in (*harmed(content, separator), *refilled(content, separator, most=8)):
        told(sample, tmp_path, file, packed(file, each))
    for seed in range(200):
        told(sample, tmp_path, file, packed(file, mangled(content, random.Random(seed))))
        if file.endswith(".gz"):
            told(sample, tmp_path, file, mangled(packed(file, content), random.Random(seed)))


# Numbers that a table could not hold, and names that would hide a line


@pytest.mark.parametrize("text", ["9007199254740993", "1e17", "1e19", "1e300", "9" * 30])
@pytest.mark.parametrize("column", [0, 1, 3])
def test_a_rating_file_holds_no_number_that_float64_would_round(text: str, column: int, tmp_path: Path) -> None:
    fields = ["1", "2", "3", "881250949"]
    fields[column] = text
    content = SAMPLES["movielens inter"].files["ml-100k.inter"] + "\t".join(fields) + "\n"
    with pytest.raises(UsageError, match=r"line 7, column \d .*is not a whole number from 0 to 9007199254740991"):
        read_sample(SAMPLES["movielens inter"], tmp_path, "ml-100k.inter", content.encode())


def test_a_quote_hides_no_line_in_a_name(tmp_path: Path) -> None:
    content = SAMPLES["bookcrossing slice"].files["BX-Book-Ratings.csv"] + '7,"12,3\n8,45",9\n'
    with pytest.raises(UsageError, match=r"column 2 \(item_id\): '12,3\\n8,45' is not a name of 1 to 64 characters"):
        read_sample(SAMPLES["bookcrossing slice"], tmp_path, "BX-Book-Ratings.csv", content.encode("latin-1"))


@pytest.mark.parametrize("column", ["asin", "reviewerID"])
def test_half_a_character_is_no_name(column: str, tmp_path: Path) -> None:
    line = {"asin": '"B1"', "reviewerID": '"U1"', column: '"\\ud800"'}
    broken = f'{{"asin": {line["asin"]}, "reviewerID": {line["reviewerID"]}, "unixReviewTime": 1514764800}}\n'
    content = SAMPLES["amazon category"].files["Video_Games.json.gz"] + broken
    with pytest.raises(UsageError, match=r"line 37: 'reviewerID' or 'asin' is no text"):
        read_sample(SAMPLES["amazon category"], tmp_path, "Video_Games.json.gz", packed(".gz", content.encode()))


# Through the catalogue


@pytest.mark.parametrize(("name", "file"), NAMES)
def test_a_file_that_is_refused_leaves_no_dataset(name: str, file: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    (raw := tmp_path / "raw").mkdir()
    for (each, _), separator in zip(sample.files.items(), sample.separators, strict=True):
        content = sample.content(each)
        cut = content.index(separator.encode(), len(content) // 2) + 1  # in the middle of a line
        (raw / each).write_bytes(packed(each, content[:cut] if each == file else content))
    with pytest.raises(UsageError):
        import_path(sample.entry, raw, tmp_path / "home", lambda _: None)
    assert not (tmp_path / "home" / sample.entry).exists()


def test_every_reader_of_the_catalogue_has_a_sample() -> None:
    readers = {entry.read for entry in DATASETS.values() if isinstance(entry, catalogue.Recorded)}
    assert readers == {getattr(sample.read, "func", sample.read) for sample in SAMPLES.values()}
