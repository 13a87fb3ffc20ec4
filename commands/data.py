"""Commands that bring datasets onto this machine and verify them."""

from __future__ import annotations

from pathlib import Path

from .options import JsonOption


def list_(json: JsonOption = False) -> None:
    """Datasets, whether they are here, their licence, and the command that brings them."""
    from .. import listing

    listing.datasets(json)


def get(name: str) -> None:
    """Download or generate a dataset and verify it."""
    from ..datasets.catalogue import get

    dataset = get(name)
    print(f"{name}: {dataset.rows:,} rows of {dataset.main} are here")


def check(name: str) -> None:
    """Verify a dataset's manifest and hashes."""
    from ..datasets.catalogue import check as verify

    found = verify(name)
    print(
        f"{name} is whole: {found['rows'][found['main']]:,} rows of {found['main']}, {found['bytes']:,} bytes, "
        f"fingerprint {found['fingerprint'][:16]}"
    )


def import_(name: str, path: Path) -> None:
    """Prepare a dataset from a file, archive or folder of yours."""
    from ..datasets.catalogue import import_path

    dataset = import_path(name, path)
    print(f"{dataset.name}: {dataset.rows:,} rows of {dataset.main} are here")
