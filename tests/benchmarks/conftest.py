"""The invented paper of `toy/`, importable here and in every process that a test starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

TOY = str(Path(__file__).parent / "toy")
sys.path.insert(0, TOY)


@pytest.fixture(autouse=True, scope="package")
def _toy_processes() -> Iterator[None]:
    """Workers and drivers find the invented paper; the fork server starts without torch, in half a second."""
    from craftbench.benchmarks.backends import local

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([TOY, *filter(None, [os.environ.get("PYTHONPATH")])]))
        patch.setattr(local, "PRELOAD", "toypreload")
        forkserver._forkserver._stop()  # one that other tests left knows nothing of the invented paper
        yield
        forkserver._forkserver._stop()
