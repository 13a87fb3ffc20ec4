"""What the speed comparisons share: the ledger of results and the two sizes of data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from craftbench.benchmarks.unlearning_task import UnlearningSpec
from craftbench.core.errors import DataMissing
from craftbench.core.task import UnlearningTask
from craftbench.datasets import unlearning
from craftbench.datasets.dataset import data_home
from craftbench.datasets.requests import RequestSpec
from craftbench.datasets.sim_ratings import LARGE, World, simulate
from craftbench.models.matrix_factorization import MatrixFactorization

from .committed import changes, record
from .ledger import Ledger

REQUEST = RequestSpec("flipped", 0.02)
ML_SIZE = World(users=943, items=1_349, rows=99_287)  # MovieLens 100K after the 5-core

_ledger = Ledger()


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return _ledger


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[UnlearningSpec, Path]:
    """A request on MovieLens 100K, where it is on this machine; else on simulated ratings of its size."""
    folder = tmp_path_factory.mktemp("small")
    try:
        spec = UnlearningSpec("ml-100k", REQUEST, "mf", "real stand-in")
        spec.prepare(data_home(), folder)
    except DataMissing:
        spec = UnlearningSpec("sim-ratings", REQUEST, "mf", "simulated")
        unlearning.write(unlearning.prepare(simulate(ML_SIZE), REQUEST), folder)
    return spec, folder


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[UnlearningSpec, Path]:
    """A request at the paper's size, simulated: a million rows of 192 k users and 63 k items."""
    folder = tmp_path_factory.mktemp("large")
    unlearning.write(unlearning.prepare(simulate(LARGE, "sim-ratings-large"), REQUEST), folder)
    return UnlearningSpec("sim-ratings-large", REQUEST, "mf", "simulated"), folder


@pytest.fixture(scope="session")
def large_task(large: tuple[UnlearningSpec, Path]) -> UnlearningTask:
    spec, folder = large
    return spec.open(folder)


@pytest.fixture(scope="session")
def large_model(large_task: UnlearningTask) -> MatrixFactorization:
    """Random factors: a Hessian product does not ask what they mean."""
    return MatrixFactorization(large_task.train.users, large_task.train.items, 64, 0.1, torch.Generator().manual_seed(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write what is measured to bench/speed.json and docs/performance.md")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not (_ledger.comparisons or _ledger.numbers):
        return
    terminalreporter.section("speed")
    terminalreporter.write_line(_ledger.markdown())
    if changed := changes(_ledger):
        terminalreporter.section("more than a tenth off what is committed")
        terminalreporter.write_line("\n".join(changed))


@pytest.fixture(autouse=True)
def _record(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test, so that a session that is cut short leaves what it had."""
    yield
    if request.config.getoption("--record"):
        record(_ledger)
