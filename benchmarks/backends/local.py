"""Cells in fresh processes on this machine, from a fork server that has torch, numpy and pandas imported.

A worker holds the reading end of a pipe that only its driver can write to: when the driver ends, however it ends, the pipe closes
and the worker exits. The driver watches each worker's memory and deadline.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

import psutil

from ..cell import Job, Outcome, compute
from .backend import Event

PRELOAD = f"{__package__}.preload"
_PROGRESS_SECONDS = 0.2
_WATCH_SECONDS = 0.25
_GRACE_SECONDS = 5.0  # between the deadline that a runner keeps itself and the one that kills
_UNLESS_SET = {
    "PYTHONHASHSEED": "0",  # a runner that walks through a set of names repeats its digits
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asked for in the other way, a GPU is lost to all forks
    # glibc hands large buffers back at once, to fault them in again at the next operation: a quarter of a step of large batches.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


@dataclass
class _Worker:
    process: Any
    results: Connection
    life: Connection  # closing it ends the worker
    kill_at: float
    reason: str = ""


class LocalBackend:
    """Up to `jobs` workers; each may use `memory_mb` at most."""

    def __init__(self, jobs: int, memory_mb: int) -> None:
        self.jobs, self.memory_mb = jobs, memory_mb
        self._context = multiprocessing.get_context("forkserver")
        self._workers: dict[int, _Worker] = {}
        self._leaving: list[Any] = []  # processes that have been ended and not yet waited for
        self._watched = 0.0
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = "1"
        for name, value in _UNLESS_SET.items():
            os.environ.setdefault(name, value)

    def warm(self, modules: Sequence[str]) -> None:
        """Start the fork server, which imports these once.

        It is born with interrupts blocked, and so is every worker, from its first instruction: the driver decides what they mean.
        """
        self._context.set_forkserver_preload([PRELOAD, __name__, *modules])
        resource_tracker.ensure_running()  # by itself, for it unblocks interrupts when it has started
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def has_room(self, job: Job) -> bool:
        """Whether fewer than `jobs` workers are busy."""
        return len(self._workers) < self.jobs

    def submit(self, ticket: int, job: Job) -> None:
        """Start a worker on `job`."""
        results, send = self._context.Pipe(duplex=False)
        breath, life = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(job, send, breath), daemon=True)
        with _without_main(job):
            process.start()
        send.close()
        breath.close()
        self._workers[ticket] = _Worker(process, results, life, time.monotonic() + job.deadline + _GRACE_SECONDS)

    def wait(self, timeout: float) -> list[Event]:
        """What has happened, at the latest after `timeout` seconds."""
        by_pipe = {worker.results: ticket for ticket, worker in self._workers.items()}
        events: list[Event] = []
        for pipe in wait(list(by_pipe), timeout=min(timeout, _WATCH_SECONDS)):
            events.append(self._receive(by_pipe[pipe]))  # pyright: ignore[reportArgumentType]
        self._watch()
        self._reap()
        return events

    def _receive(self, ticket: int) -> Event:
        worker = self._workers[ticket]
        try:
            kind, payload = worker.results.recv()
        except (EOFError, OSError):
            return self._ended(ticket, worker)
        if kind == "progress":
            return Event(ticket, "progress", step=payload[0], value=payload[1])
        self._release(ticket)
        return Event(ticket, "outcome", outcome=payload)

    def _ended(self, ticket: int, worker: _Worker) -> Event:
        worker.process.join()
        code = worker.process.exitcode
        self._release(ticket)
        name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return Event(
            ticket,
            "died",
            reason=worker.reason or f"the worker died ({name})",
            by_signal=bool(code and code < 0 and not worker.reason),
        )

    def _release(self, ticket: int) -> None:
        worker = self._workers.pop(ticket)
        worker.life.close()
        worker.results.close()
        _kill(worker.process)
        self._leaving.append(worker.process)

    def _reap(self, *, wait: bool = False) -> None:
        """Let go of ended processes; not at once, for a process with torch takes some milliseconds to vanish."""
        leaving, self._leaving = self._leaving, []
        for process in leaving:
            process.join(None if wait else 0)
            if process.exitcode is None:
                self._leaving.append(process)
            else:
                process.close()

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._watched < _WATCH_SECONDS:
            return
        self._watched = now
        for worker in self._workers.values():
            if worker.reason or worker.process.pid is None:
                continue
            if now > worker.kill_at:
                worker.reason = "passed its deadline and did not stop by itself"
            elif (used := _memory_mb(worker.process.pid)) > self.memory_mb:
                worker.reason = f"took {used:.0f} MB of memory, over its cap of {self.memory_mb} MB (--memory)"
            if worker.reason:
                _kill(worker.process)

    def close(self) -> None:
        """End every worker that is still running."""
        for worker in self._workers.values():
            _kill(worker.process)
        for ticket in list(self._workers):
            self._release(ticket)
        self._reap(wait=True)


@contextlib.contextmanager
def _without_main(job: Job) -> Iterator[None]:
    """Keep a worker from running the driver's main module again, which it would do first; a tenth of a second for each cell."""
    main = sys.modules["__main__"]
    if "__main__" not in (job.runner.__module__ if job.runner else "", type(job.task).__module__):
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _kill(process: Any) -> None:
    """End a worker and whatever it has started: it leads a process group of its own."""
    process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _memory_mb(pid: int) -> float:
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:  # it has just ended; its pipe will say so
        return 0.0


def _work(job: Job, send: Connection, breath: Connection) -> None:
    """A worker's life: one cell."""
    gc.freeze()  # what the fork server had imported stays; walking through it would copy its pages
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_driver, args=(breath,), daemon=True).start()
    told = 0.0

    def listen(step: int, value: float | None) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _PROGRESS_SECONDS:
            told = now
            send.send(("progress", (step, value)))

    outcome: Outcome = compute(job, listen)
    send.send(("outcome", outcome))
    send.close()


def _end_with_driver(breath: Connection) -> None:
    """Block until the driver's end of the pipe closes, then leave at once, with everything that the runner has started."""
    with contextlib.suppress(EOFError, OSError):
        breath.recv_bytes()
    os.killpg(0, signal.SIGKILL)
