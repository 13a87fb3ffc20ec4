"""The two errors that a user of the command line can meet, and how they leave it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Bad usage or bad input: one sentence saying what was wrong, where, and what to do. Exit code 2, no traceback."""


class DataMissing(UsageError):
    """A dataset is not on this machine. `command` fills the hole."""

    def __init__(self, dataset: str, command: str) -> None:
        super().__init__(f"dataset {dataset!r} is not on this machine; run: {command}")
        self.dataset = dataset
        self.command = command


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An unknown name, with the nearest known one suggested."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def shown(text: str, most: int = 80) -> str:
    """A stranger's text in quotes inside a sentence, on one line and not longer than it need be."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}... ({len(text)} characters)"


def reason_of(error: BaseException, most: int = 300) -> str:
    """What an exception says, on one line and not longer than it need be."""
    return (" ".join(str(error).split()) or type(error).__name__)[:most]
