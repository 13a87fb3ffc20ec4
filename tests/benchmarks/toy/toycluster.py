"""A Ray cluster on this machine: a head and nodes, each with its own processes, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psutil
from toyhouse import wait_until

RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats")


class Cluster:
    """Use as a context. `start` begins it, or begins it again under the same address; the processes of a node share a session."""

    def __init__(self, cpus: tuple[int, ...] = (2, 1), gpus: int = 0) -> None:
        self.cpus, self.gpus = cpus, gpus
        self.started: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))  # short, for the names of sockets
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.shelf = self.folder / f"craftbench-{os.getuid()}"

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        self._begin(
            "--head",
            f"--port={self.port}",
            f"--ray-client-server-port={_free_port()}",
            "--include-dashboard=false",
            f"--temp-dir={self.folder / uuid.uuid4().hex[:8]}",
            f"--num-cpus={self.cpus[0]}",
            f"--num-gpus={self.gpus}",
        )
        assert wait_until(self._listens), self._log()
        for cpus in self.cpus[1:]:
            self._begin(f"--address={self.address}", f"--num-cpus={cpus}", "--num-gpus=0")
            assert wait_until(lambda: self._log().count("Ray runtime started.") == len(self.started)), self._log()

    def _begin(self, *options: str) -> None:
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        with open(self.folder / f"{len(self.started)}.log", "w") as log:
            self.started.append(subprocess.Popen([*RAY, *options], env=environment, stdout=log, stderr=log, start_new_session=True))

    def _log(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        """Everything of it, at once."""
        while found := self.processes():
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        while self.started:
            self.started.pop().wait()

    def slots(self, doing: str = "") -> list[psutil.Process]:
        """The slots of drivers; `doing`: "begin" or "listen", those that are busy with it."""
        return [process for process in self.processes() if f"ray::Slot{'.' if doing else ''}{doing}" in _command(process)]

    def processes(self) -> list[psutil.Process]:
        sessions = {node.pid for node in self.started}
        return [process for process in psutil.process_iter() if _session(process) in sessions]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _session(process: psutil.Process) -> int | None:
    """None for one that has ended and was not waited for yet."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    return None


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
