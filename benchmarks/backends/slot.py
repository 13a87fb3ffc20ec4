"""One place for a cell on a node of a Ray cluster: an actor with a fork server of its own, as the local backend has one.

So a cell lives as it does locally: in a fresh process, its memory and deadline watched, ended with whatever it has started. It ends
with its actor, and the actor with its driver.
"""

from __future__ import annotations

import contextlib
import importlib
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ..cell import Job
from ..identity import closure, versions
from . import parcels
from .backend import Event
from .local import LocalBackend

_LISTEN_SECONDS = 1.0  # how long a slot waits for news before it answers that there is none


@dataclass(frozen=True)
class Sent:
    """A folder as it travels: what it holds, and references to its parcels in Ray's object store."""

    content: parcels.Content
    parcels: tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """A job, and each folder that it names, as sent. code: what its digits depend on; empty where the slot has compared it."""

    ticket: int
    job: Job
    folders: Mapping[Path, Sent]
    code: Mapping[str, str]


@dataclass(frozen=True)
class News:
    """What a slot has heard of its cell, if anything; an outcome comes without its files. parcels: how many of them to fetch."""

    event: Event | None = None
    parcels: int = 0


def code_of(job: Job) -> tuple[str, ...]:
    """The modules that a job's digits depend on."""
    first = job.timing.measure.partition(":")[0] if job.runner is None and job.timing else (job.runner or Job).__module__
    return first, type(job.task).__module__, Job.__module__


class Slot:
    """Runs one cell at a time. A call that takes long answers after a second, and is made again."""

    def __init__(self, memory_mb: int, modules: Sequence[str]) -> None:
        self._local = LocalBackend(1, memory_mb)
        self._local.warm(modules)
        self._shelf = parcels.Shelf()
        self._held = contextlib.ExitStack()
        self._parcels: list[parcels.Parcel] = []

    def hello(self, expected: Mapping[str, str]) -> str:
        """The node's name, once the versions that decide digits are found to be those of the driver."""
        _compare(expected, versions())
        return platform.node()

    def begin(self, order: Order) -> News:
        """Start a cell, with its folders brought here."""
        if order.code:
            _compare(order.code, closure(*code_of(order.job)))
        job = order.job
        with contextlib.ExitStack() as held:
            here = {
                folder: held.enter_context(self._shelf.holding(sent.content, partial(_fetch, sent)))
                for folder, sent in order.folders.items()
            }
            parents = {name: (kind, here[folder]) for name, (kind, folder) in job.parents.items()}
            self._local.submit(order.ticket, replace(job, folder=here[job.folder], parents=parents))
            self._held = held.pop_all()
        return self.listen()

    def listen(self) -> News:
        """What has become of the cell: the newest progress, or its end as soon as that comes."""
        until, progress = time.monotonic() + _LISTEN_SECONDS, None
        while time.monotonic() < until:
            for event in self._local.wait(until - time.monotonic()):
                if event.kind != "progress":
                    self._held.close()
                    return self._ended(event)
                progress = event
        return News(progress)

    def _ended(self, event: Event) -> News:
        if event.outcome is None:
            return News(event)
        self._parcels = list(parcels.of_bytes(event.outcome.files))[::-1]
        return News(replace(event, outcome=replace(event.outcome, files={})), len(self._parcels))

    def next_parcel(self) -> parcels.Parcel:
        """The outcome's files, one parcel a call."""
        return self._parcels.pop()


def _fetch(sent: Sent) -> Iterator[parcels.Parcel]:
    ray = importlib.import_module("ray")
    for reference in sent.parcels:
        yield ray.get(reference)


def _compare(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            theirs, ours = found.get(name, "none"), expected.get(name, "none")
            raise UsageError(
                f"node {platform.node()} of the Ray cluster has another {name} than this machine ({theirs} instead of {ours}); "
                "install the same versions on every node"
            )
