"""Every test: one thread, no network, and neither the user's datasets nor the user's records."""

import ipaddress
import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"  # before any test imports torch: digits must not depend on the machine

sys.path.insert(0, str(Path(__file__).parent / "mangled"))  # damaged files, made for tests of several rooms

# The same examples every time, and no test that fails because the machine is busy.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_the_users(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRAFTBENCH_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setenv("CRAFTBENCH_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("PIP_NO_INDEX", "1")  # a pip that a test starts stays offline too
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_network(_nothing_of_the_users):
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_elsewhere(address[0])
        return connect(self, address)

    def look_up_here(host, *args, **kwargs):
        _refuse_elsewhere(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        patch.setattr(socket, "getaddrinfo", look_up_here)
        yield


def _refuse_elsewhere(host):
    if host in (None, "localhost", b"localhost"):
        return
    try:
        here = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise RuntimeError(f"a test reached for {host!r}; tests are offline")
