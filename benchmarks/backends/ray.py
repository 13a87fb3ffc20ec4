"""Cells on a Ray cluster: the same fresh processes as the local backend's, in slots that this driver holds on the cluster's nodes.

A slot claims a CPU, or, for runners that say so, a GPU. What a cell needs travels as objects of bounded size, so no folder need be
shared; what it leaves comes back to the driver, which alone writes records.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...core.errors import UsageError
from ..cell import Job
from ..identity import closure, versions
from . import parcels
from .backend import Event
from .slot import News, Order, Sent, Slot, code_of

HELD = 2**30  # bytes of folders that the driver keeps in the object store, beside those that are on their way
_STAFF_SECONDS = 2.0
_HEAD_SECONDS = 45.0  # how long the cluster's head may be silent
_LOSS_SECONDS = 5.0  # between the loss of a slot and the next try of its cell
_PATIENCE = 600.0  # seconds without any place before the driver gives up

Kind = Literal["CPU", "GPU"]


@dataclass
class _Place:
    """A slot as the driver sees it: starting, idle, or busy with a ticket. call: what it has been asked and has not answered."""

    kind: Kind
    actor: Any
    call: Any
    node: str = ""  # none before its first answer
    ticket: int | None = None
    compared: set[tuple[str, ...]] = field(default_factory=set)  # code that is known to be the same there

    @property
    def idle(self) -> bool:
        return bool(self.node) and self.ticket is None


class RayBackend:
    """Up to `jobs` cells at a time (None: one for each CPU of the cluster); each may use `memory_mb` at most.

    address: HOST:PORT from a node of the cluster, ray://HOST:10001 from elsewhere; None: the cluster that runs on this machine, or
    one made for this run. Raises `UsageError` where there is no such cluster, or no Ray here.
    """

    def __init__(self, address: str | None, jobs: int | None, memory_mb: int) -> None:
        self._ray, self._head = _connected(address)
        self._reached = time.monotonic()  # when the head last answered
        self.jobs, self.memory_mb = jobs, memory_mb
        self._modules: tuple[str, ...] = ()
        self._places: list[_Place] = []
        self._sent: OrderedDict[Path, Sent] = OrderedDict()
        self._total: dict[Kind, int] = {"CPU": 0, "GPU": 0}
        self._wanted: dict[Kind, float] = {}  # kind -> since when there has been no place of it
        self._staffed = 0.0
        self._losses: deque[tuple[float, Event]] = deque()  # when each was seen, the oldest first

    def warm(self, modules: Sequence[str]) -> None:
        """Ask for slots, which import these once."""
        self._modules = tuple(modules)
        self._wanted["CPU"] = time.monotonic()
        self._staff()

    def has_room(self, job: Job) -> bool:
        """Whether a slot that suits the job is idle, and fewer than `jobs` are busy."""
        kind = self._kind(job)
        self._wanted.setdefault(kind, time.monotonic())
        busy = sum(place.ticket is not None for place in self._places)
        return (self.jobs is None or busy < self.jobs) and any(place.idle and place.kind == kind for place in self._places)

    def _kind(self, job: Job) -> Kind:
        return "GPU" if self._total["GPU"] and job.runner is not None and job.runner.accelerated else "CPU"

    def submit(self, ticket: int, job: Job) -> None:
        """Send a job to an idle slot; a timing cell, which has two threads, where most slots are."""
        kind, crowd = self._kind(job), Counter(place.node for place in self._places)
        idle = [place for place in self._places if place.idle and place.kind == kind]
        place = max(idle, key=lambda each: crowd[each.node]) if job.timing else idle[0]
        modules = code_of(job)
        code = {} if modules in place.compared else closure(*modules)
        place.compared.add(modules)
        folders = {folder: self._send(folder) for folder in (job.folder, *(folder for _, folder in job.parents.values()))}
        place.ticket = ticket
        place.call = place.actor.begin.remote(Order(ticket, job, folders, code))

    def _send(self, folder: Path) -> Sent:
        """A folder in the object store. Who still needs one that is forgotten here holds it himself."""
        if folder not in self._sent:
            held = parcels.content(folder)
            self._sent[folder] = Sent(held, tuple(self._ray.put(parcel) for parcel in parcels.of_folder(folder)))
        self._sent.move_to_end(folder)
        while len(self._sent) > 1 and sum(sent.content.size for sent in self._sent.values()) > HELD:
            self._sent.popitem(last=False)
        return self._sent[folder]

    def wait(self, timeout: float) -> list[Event]:
        """What has happened, at the latest after `timeout` seconds."""
        self._staff()
        calls = {place.call: place for place in self._places if place.call is not None}
        if not calls:
            time.sleep(timeout)
            return self._lost()
        first, _ = self._ray.wait(list(calls), timeout=timeout)
        answered, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0) if first else ([], [])
        return [event for call in answered if (event := self._heard(calls[call]))] + self._lost()

    def _lost(self) -> list[Event]:
        """Losses of some seconds ago, in a cluster that is still there: no cell goes from node to node while they all end."""
        if not self._losses or time.monotonic() - self._losses[0][0] < _LOSS_SECONDS or not _listens(self._head):
            return []
        return [self._losses.popleft()[1]]

    def _heard(self, place: _Place) -> Event | None:
        try:
            answer = self._answer(place)
        except self._ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise _unable(str(error).splitlines()[-1]) from None
            self._gone(place)
            return None
        except self._ray.exceptions.RayTaskError as error:
            return self._refused(place, error)
        if isinstance(answer, str):
            place.node, place.call = answer, None
            return None
        if answer.event is None or answer.event.kind == "progress":
            place.call = place.actor.listen.remote()
        else:
            place.ticket = place.call = None
        return answer.event

    def _answer(self, place: _Place) -> str | News:
        answer = self._ray.get(place.call)
        if isinstance(answer, News) and answer.event and answer.event.outcome:
            fetched = (self._ray.get(place.actor.next_parcel.remote()) for _ in range(answer.parcels))
            answer.event.outcome.files.update(parcels.joined(fetched))
        return answer

    def _gone(self, place: _Place) -> None:
        """A slot that died, or cannot be reached and so is ended; another takes its place."""
        self._places.remove(place)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(place.actor)
        if place.ticket is not None:
            reason = f"the worker died (its slot on node {place.node} was lost)"
            self._losses.append((time.monotonic(), Event(place.ticket, "died", reason=reason, lost=True)))

    def _refused(self, place: _Place, error: Any) -> Event:
        """A slot could not do what it was asked for: what is wrong with its node ends the run, anything else fails the cell."""
        cause = error.cause
        if isinstance(cause, UsageError):
            raise UsageError(str(cause)) from None
        if isinstance(cause, ImportError | self._ray.exceptions.RaySystemError) or place.ticket is None:
            raise _unable(str(cause).splitlines()[0]) from None
        ticket, place.ticket, place.call = place.ticket, None, None
        return Event(ticket, "died", reason=f"node {place.node} could not begin it ({type(cause).__name__}: {cause})")

    def _staff(self) -> None:
        """Ask for as many slots as the cluster has room for, now and then, for nodes come and go."""
        now = time.monotonic()
        if now - self._staffed < _STAFF_SECONDS:
            return
        self._staffed = now
        if not _listens(self._head):  # asking Ray would end this process after a minute
            if now - self._reached > _HEAD_SECONDS:
                raise UsageError(
                    f"the head of the Ray cluster ({self._head}) has not answered for {_HEAD_SECONDS:.0f} s; "
                    "nothing recorded is lost, run the same command again when it is there"
                )
            return
        self._reached = now
        resources = self._ray.cluster_resources()
        self._total = {"CPU": int(resources.get("CPU", 0)), "GPU": int(resources.get("GPU", 0))}
        for kind, since in self._wanted.items():
            places = [place for place in self._places if place.kind == kind]
            most = self._total[kind] if self.jobs is None else min(self.jobs, self._total[kind])
            self._places += [self._asked(kind) for _ in range(most - len(places))]
            if any(place.node for place in places) or (kind == "GPU" and not most):
                self._wanted[kind] = now
            elif now - since > _PATIENCE:
                raise UsageError(
                    f"the Ray cluster has had no free {kind} for {_PATIENCE / 60:.0f} minutes; nothing recorded is lost, "
                    "run the same command again when it has (`ray status` shows who holds them)"
                )

    def _asked(self, kind: Kind) -> _Place:
        claim = {"num_cpus": 1} if kind == "CPU" else {"num_cpus": 0, "num_gpus": 1}
        actor = self._ray.remote(Slot).options(**claim, scheduling_strategy="SPREAD").remote(self.memory_mb, self._modules)
        return _Place(kind, actor, actor.hello.remote(versions()))

    def close(self) -> None:
        """End every slot, and what runs in it; leave the cluster as it is."""
        for place in self._places:
            self._ray.kill(place.actor)
        self._places.clear()
        self._sent.clear()
        self._ray.shutdown()


def _unable(reason: str) -> UsageError:
    return UsageError(f"a node of the Ray cluster cannot run these cells ({reason}); install the same packages on every node")


def _connected(address: str | None) -> tuple[Any, str]:
    """The module `ray`, connected to a cluster, and where the cluster's head listens."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UsageError("--backend ray needs the package 'ray'; run: pip install 'craftbench[ray]'") from None
    asked = address or os.environ.get("RAY_ADDRESS") or ""
    if ":" in asked and not _listens(asked):  # Ray itself would try for minutes
        raise UsageError(f"nothing listens at the address {asked!r} of a Ray cluster; start one there (docs/many-machines.md)")
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except Exception as error:
        ray.shutdown()
        raise UsageError(
            f"cannot join the Ray cluster {asked or 'on this machine'}: {' '.join(str(error).split())[-600:]}"
        ) from None
    return ray, asked if ":" in asked else ray.get_runtime_context().gcs_address


def _listens(address: str) -> bool:
    """Whether something takes connections at HOST:PORT or ray://HOST:PORT."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except (OSError, ValueError):
        return False
    return True
