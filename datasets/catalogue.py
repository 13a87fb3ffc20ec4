"""The datasets that CraftBench knows, and how one gets onto this machine.

| name               | label 1 iff  | why this rule                                                                     |
| ------------------ | ------------ | --------------------------------------------------------------------------------- |
| ml-100k            | rating > 3   | four stars and more, the usual cut; not a dataset of the paper                    |
| ml-latest-small    | rating > 3.5 | the same, on a scale of halves                                                    |
| bookcrossing       | rating > 5   | as released; 0 ("no score given") is a negative                                   |
| bookcrossing-slice | rating > 5   | as bookcrossing                                                                   |
| amazon-electronics | rating > 4   | as released: only five stars                                                      |
| sim-ratings(-large)| rating > 3   | as ml-100k, whose rating histogram the simulator has                              |

The recorded short-video logs stand in `recorded_videos.py`, their labels in `multitask_rule.py`; what was taken in which order,
without ratings, in `recorded_sequences.py`; other packages add theirs (`entries.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import DataMissing, UsageError, unknown
from . import amazon, bookcrossing, movielens, recorded_sequences, recorded_videos, sim_ratings, sim_titles
from .dataset import Dataset, Provenance, assemble, data_home, main_table, read, write
from .entries import Recorded, Simulated, outside_datasets
from .manifest import Folder, sha256_of
from .sim_titles_worlds import TITLES as TITLE_TITLES
from .sim_titles_worlds import WORLDS as TITLE_WORLDS
from .sim_video_worlds import TITLES, WORLDS
from .sources import Address, LocalPath, Say, Source, WheelMember, unpacked_sha256


def _simulated_ratings(name: str, title: str, world: sim_ratings.World) -> Simulated:
    return Simulated(name, title, partial(sim_ratings.simulate, world), f"{world.rows} ratings")


def _simulated_videos(name: str) -> Dataset:
    from .sim_video import generate  # it needs scipy.stats, half a second that listing does not

    return generate(name)


_HARPER = "F. M. Harper, J. A. Konstan. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015, doi 10.1145/2827872"
_ZIEGLER = (
    "C.-N. Ziegler, S. M. McNee, J. A. Konstan, G. Lausen. Improving Recommendation Lists Through Topic Diversification. "
    "WWW 2005, doi 10.1145/1060745.1060754"
)
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_BOOKS: dict[str, Any] = {
    "licence": "research, with acknowledgement",
    "terms": "Freely available for research use when acknowledged with the citation below.",
    "citation": _ZIEGLER,
    "raw": ("BX-Book-Ratings.csv",),
    "read": bookcrossing.read,
    "positive_above": 5,
}

DATASETS: Mapping[str, Recorded | Simulated] = {
    entry.name: entry
    for entry in (
        Recorded(
            name="ml-100k",
            title="MovieLens 100K",
            licence="GroupLens: research, no redistribution",
            terms="Research use only: no redistribution without permission, no commercial use, no implied endorsement by GroupLens "
            "or the University of Minnesota; acknowledge the dataset in publications.",
            citation=_HARPER,
            page="https://grouplens.org/datasets/movielens/100k/",
            sources=(
                WheelMember(
                    package="recbole",
                    version="1.2.1",
                    wheel_sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                    member="recbole/dataset_example/ml-100k/ml-100k.inter",
                    sha256="4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                    beside=(("ml-100k.item", "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"),),
                ),
                Address(
                    f"{_GROUPLENS}/ml-100k.zip",
                    checksum="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                    member="ml-100k/u.data",
                    beside=("u.item",),
                    largest=5_000_000,
                ),
            ),
            raw=("u.data", "ml-100k.inter"),
            beside=("u.item", "ml-100k.item"),
            read=movielens.read_100k,
            positive_above=3,
            rows=100_000,
            tables=("ratings", "titles"),
        ),
        Recorded(
            name="ml-latest-small",
            title="MovieLens latest-small (September 2018)",
            licence="GroupLens: research, redistribution under the same terms",
            terms="Research use only: no commercial use without permission, no implied endorsement; redistribution under these "
            "same conditions; acknowledge the dataset in publications. GroupLens advises against shared results on this edition.",
            citation=_HARPER,
            page="https://grouplens.org/datasets/movielens/latest/",
            sources=(
                Address(
                    f"{_GROUPLENS}/ml-latest-small.zip",
                    checksum="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
                    member="ml-latest-small/ratings.csv",
                    largest=2_000_000,
                ),
            ),
            raw=("ratings.csv",),
            read=movielens.read_latest_small,
            positive_above=3.5,
            rows=100_836,
        ),
        Recorded(
            name="bookcrossing",
            title="Book-Crossing",
            page="http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
            rows=1_149_780,
            **_BOOKS,
        ),
        Recorded(
            name="bookcrossing-slice",
            title="Book-Crossing, a dense slice",
            page="https://github.com/sub1004/recosys (data/BX-Book-Ratings.csv)",
            rows=100_726,
            sha256="494be2b3bc47c67604e9b0a0fdc25320ce13e66d7b3bf31a2c47e3ee651930a0",
            scope="slice",
            **_BOOKS,
        ),
        Recorded(
            name="amazon-electronics",
            title="Amazon Electronics ratings",
            licence="research, with citation; no formal licence",
            terms="For research, with the citation below.",
            citation="J. McAuley, C. Targett, Q. Shi, A. van den Hengel. Image-Based Recommendations on Styles and Substitutes. "
            "SIGIR 2015 (release of 2014); J. Ni, J. Li, J. McAuley. Justifying Recommendations using Distantly-Labeled Reviews "
            "and Fine-Grained Aspects. EMNLP 2019 (release of 2018)",
            page="https://nijianmo.github.io/amazon/index.html",
            raw=("ratings_Electronics.csv", "Electronics.csv", "ratings_Electronics.csv.gz", "Electronics.csv.gz"),
            read=amazon.read,
            positive_above=4,
        ),
        *recorded_videos.ENTRIES,
        *recorded_sequences.ENTRIES,
        _simulated_ratings("sim-ratings", "Simulated ratings, small", sim_ratings.SMALL),
        _simulated_ratings(
            "sim-ratings-large", "Simulated ratings at the size of the Amazon-Electronics 5-core", sim_ratings.LARGE
        ),
        *(
            Simulated(name, TITLES[name], _simulated_videos, f"{world.users} users, {world.days} days")
            for name, world in WORLDS.items()
        ),
        *(
            Simulated(name, TITLE_TITLES[name], sim_titles.generate, f"{world.users} users, {world.items} titles")
            for name, world in TITLE_WORLDS.items()
        ),
    )
}


def known() -> Mapping[str, Recorded | Simulated]:
    """The datasets of this catalogue, and those of other packages; one whose name is taken is a UsageError."""
    outside = outside_datasets()
    if taken := sorted(set(outside) & set(DATASETS)):
        raise UsageError(f"a package declares a dataset by the name {taken[0]!r}, which is taken; choose another one there")
    return {**DATASETS, **outside}


def entry_of(name: str) -> Recorded | Simulated:
    """The catalogue's entry; an unknown name is a UsageError with the nearest known one."""
    if name in DATASETS:
        return DATASETS[name]
    found = known()
    if name not in found:
        raise unknown("dataset", name, found)
    return found[name]


def get(name: str, home: Path | None = None, say: Say = print) -> Dataset:
    """Bring a dataset onto this machine (download or generate) and return it; one that is there and whole is only read.

    One that was prepared from fewer files than its sources give is fetched anew, and kept where that fails. Raises UsageError,
    naming each source and what became of it, when none could give it.
    """
    entry, home, kept = entry_of(name), home or data_home(), None
    if Folder.exists(home / name):
        try:
            kept = _open(name, home)
        except UsageError as damage:
            say(f"{damage}; doing that now")
        else:
            lacking = [] if isinstance(entry, Simulated) else [table for table in entry.tables if table not in kept.tables]
            if not lacking:
                return kept
            say(f"{name} was prepared without {lacking[0]}; fetching it anew")
    if isinstance(entry, Simulated):
        say(f"generating {entry.title}: {entry.describe}")
        dataset = entry.generate(name)
        write(dataset, home)
        return dataset
    if not entry.sources:
        raise UsageError(f"{entry.title} must be fetched by hand from {entry.page}; then run: {entry.command}")
    say(f"{entry.title}. {entry.terms}\nCite: {entry.citation}")
    failures: list[str] = []
    for source in entry.sources:
        try:
            return _prepare(entry, source, home, say)
        except UsageError as failure:
            failures.append(str(failure))
            say(f"  failed: {failure}")
    if kept is not None:
        return kept
    hand = f"fetch {entry.page} by hand and run: craftbench data import {name} PATH"
    raise UsageError(f"could not get {name}: {'; '.join(failures)}; {hand}")


def import_path(name: str, path: Path, home: Path | None = None, say: Say = print) -> Dataset:
    """Prepare a dataset from a file, zip or folder on this machine. A known slice is imported under its own name, which is said."""
    entry = entry_of(name)
    if isinstance(entry, Simulated):
        raise UsageError(f"{name} is generated, not imported; run: {entry.command}")
    return _prepare(entry, LocalPath(path, entry.raw, entry.beside), home or data_home(), say)


def _prepare(entry: Recorded, source: Source, home: Path, say: Say) -> Dataset:
    with tempfile.TemporaryDirectory(prefix="craftbench-") as into:
        raw = source.fetch(Path(into), say)
        content, *_ = [unpacked_sha256(path) for path in raw if path is raw[0] or path.suffix == ".gz"]
        told = [other for other in DATASETS.values() if isinstance(other, Recorded) and other.sha256 == content]
        if told and told[0] is not entry:
            say(f"recognised {raw[0].name} by its SHA-256 as {told[0].title}; it is imported as {told[0].name}")
            entry = told[0]
        if entry.sha256 not in (None, content):
            raise UsageError(f"{raw[0]} is not the file that {entry.name} is made of (its SHA-256 differs); see {entry.page}")
        parsed = entry.read(*raw)
        files = {path.name: sha256_of(path) for path in raw}
    rows = {table: len(frame) for table, frame in parsed.tables.items()}
    main = main_table(rows)
    found = rows[main] if parsed.lines is None else parsed.lines
    if entry.rows not in (None, found):
        wrong = f"{', '.join(files)} holds {found} {main}, the whole {entry.title} {entry.rows}"
        raise UsageError(f"{wrong}: it is cut short or another edition; fetch it again from {entry.page}")
    provenance = Provenance(
        title=entry.title,
        source=source.place,
        licence=entry.licence,
        citation=entry.citation,
        terms=entry.terms,
        scope=entry.scope,
        files=files,
        rows=rows,
        notes=parsed.notes,
    )
    dataset = assemble(entry.name, parsed.tables, provenance, entry.positive_above)
    write(dataset, home)
    for note in parsed.notes:
        say(note)
    return dataset


def load(name: str, home: Path | None = None) -> Dataset:
    """A prepared dataset. A simulated one that is not there yet is generated; any other raises DataMissing with its command."""
    entry, home = entry_of(name), home or data_home()
    if Folder.exists(home / name):
        return _open(name, home)
    if isinstance(entry, Simulated):
        return get(name, home, say=lambda _: None)
    raise DataMissing(name, entry.command)


def _open(name: str, home: Path) -> Dataset:
    return read(Folder(home / name, repair=f"run: {entry_of(name).command}"))


def check(name: str, home: Path | None = None) -> dict[str, Any]:
    """Compare every file of a prepared dataset with its manifest.

    Raises DataMissing, or UsageError at the first difference; returns what is known about it: provenance, `rows` of each table,
    `main` (the name of the main one), `fingerprint`, `bytes`.
    """
    entry, home = entry_of(name), home or data_home()
    if not Folder.exists(home / name):
        raise DataMissing(name, entry.command)
    folder = Folder(home / name, repair=f"run: {entry.command}")
    folder.verify()
    size = sum(file["bytes"] for file in folder.files.values())
    return {**folder.facts(), "main": main_table(folder.tables), "fingerprint": folder.fingerprint, "bytes": size}


@dataclass(frozen=True)
class Status:
    """One line of `craftbench data list`; rows is None where the dataset is not on this machine."""

    name: str
    title: str
    present: bool
    rows: int | None
    licence: str
    command: str


def status(home: Path | None = None) -> list[Status]:
    """What there is, and what would bring the rest."""
    home = home or data_home()
    lines: list[Status] = []
    for name, entry in known().items():
        present = Folder.exists(home / name)
        folder = Folder(home / name, repair=f"run: {entry.command}") if present else None
        rows = folder.files[f"{main_table(folder.tables)}.parquet"]["rows"] if folder else None
        lines.append(Status(name, entry.title, present, rows, entry.licence, entry.command))
    return lines
