"""Where cells run: the few things a driver asks of a place with processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..cell import Job, Outcome


@dataclass(frozen=True)
class Event:
    """What became of a submitted job: progress, an outcome, or the end of its process without one.

    by_signal: its process was killed; lost: the place that it ran in went with it, and the job may not be to blame.
    """

    ticket: int
    kind: Literal["progress", "outcome", "died"]
    outcome: Outcome | None = None
    step: int = 0
    value: float | None = None
    reason: str = ""
    by_signal: bool = False
    lost: bool = False


class Backend(Protocol):
    """A place that runs jobs. The driver alone writes records, so no shared file system is needed."""

    def warm(self, modules: Sequence[str]) -> None:
        """Told before the first job which modules the jobs will need."""
        ...

    def has_room(self, job: Job) -> bool:
        """Whether a place that suits the job is free now."""
        ...

    def submit(self, ticket: int, job: Job) -> None:
        """Begin a job; only where there is room for it."""
        ...

    def wait(self, timeout: float) -> list[Event]: ...

    def close(self) -> None: ...
