"""An invented paper whose cells take milliseconds: linear fits by gradient descent, and runners that go wrong on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
from craftbench.benchmarks.benchmark import Benchmark, Measure, Profile, Row, TaskSpec, Timing
from craftbench.benchmarks.identity import digest
from craftbench.core.context import RunContext
from craftbench.core.params import Params, choice, fixed, integer, real
from craftbench.core.runner import Runner
from craftbench.core.task import Predictions, Task, View


@dataclass(frozen=True)
class LinearTask(Task):
    x: np.ndarray  # (rows, width)
    y: np.ndarray  # (rows,)
    valid: np.ndarray
    valid_y: np.ndarray


@dataclass(frozen=True)
class Lines(TaskSpec):
    """Rows of a noisy line. `missing`: a dataset that is not here."""

    key: str = "lines/low"
    dataset: str = "lines"
    noise: float = 0.1
    missing: bool = False
    scope: Any = "simulated"

    @property
    def labels(self) -> Mapping[str, str]:
        return {"noise": str(self.noise)}

    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        if self.missing:
            from craftbench.core.errors import DataMissing

            raise DataMissing(self.dataset, f"craftbench data get {self.dataset}")
        return {"dataset": self.dataset, "noise": self.noise, "revision": _revision(data_home)}

    def prepare(self, data_home: Path, folder: Path) -> str:
        rng = np.random.default_rng([len(_revision(data_home)), round(1000 * self.noise)])
        weight, tables = rng.normal(size=4), {}
        for split, rows in (("train", 60), ("valid", 30), ("test", 30)):
            x = rng.normal(size=(rows, 4))
            tables[split] = {"x": x.tolist(), "y": (x @ weight + self.noise * rng.normal(size=rows)).tolist()}
        for split, table in tables.items():
            (folder / f"{split}.json").write_text(json.dumps(table))
        return digest(tables)

    def open(self, folder: Path) -> LinearTask:
        train, valid = _table(folder, "train"), _table(folder, "valid")
        return LinearTask(self.key, train["x"], train["y"], valid["x"], valid["y"])

    def views(self, folder: Path) -> Sequence[View]:
        return [
            View(split, {f"x{i}": column for i, column in enumerate(_table(folder, split)["x"].T)}) for split in ("valid", "test")
        ]

    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        y = _table(folder, view.name)["y"]
        errors = (predictions["score"] - y) ** 2
        left_out = np.array([np.delete(errors, group).mean() for group in range(3)])
        return [Measure(view.name, "fit", -float(errors.mean()), -left_out, users=len(y), rows=len(y))]


def _revision(data_home: Path) -> str:
    file = data_home / "revision"
    return file.read_text() if file.exists() else ""


def _table(folder: Path, split: str) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in json.loads((folder / f"{split}.json").read_text()).items()}


class Weights:
    def __init__(self, weight: np.ndarray) -> None:
        self.weight = weight

    def predict(self, view: View) -> Predictions:
        return {"score": np.stack(list(view.columns.values()), axis=1) @ self.weight}

    def save(self, folder: Path) -> None:
        (folder / "weight.json").write_text(json.dumps(self.weight.tolist()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(np.array(json.loads((folder / "weight.json").read_text())))


class DescentParams(Params):
    rate: float = real(0.05, low=0.001, high=0.5, log=True, minimum=0.0, grid=(0.05, 0.1, 0.2))
    momentum: float = real(0.0, low=0.0, high=0.9)
    rounds: int = integer(6, low=3, high=12)
    every: int = fixed(1, minimum=1)
    nap: float = fixed(0.0)


class Descent(Runner):
    name, title, task, Params, fitted = "descent", "Descent", LinearTask, DescentParams, Weights

    def fit(self, task: Any, params: Any, run: RunContext) -> Weights:
        weight, speed = run.rng("init").normal(size=4), np.zeros(4)
        for step in range(1, params.rounds + 1):
            speed = params.momentum * speed - params.rate * 2 * task.x.T @ (task.x @ weight - task.y) / len(task.y)
            weight = weight + speed
            time.sleep(params.nap)
            if step % params.every == 0:
                run.progress(step, -float(((task.valid @ weight - task.valid_y) ** 2).mean()))
        run.note("length", float(np.linalg.norm(weight)))
        return Weights(weight)


class ShrinkParams(Params):
    factor: float = real(0.9, low=0.5, high=1.5)
    shape: str = choice("plain", "square")


class Shrink(Runner):
    name, title, task, Params, fitted, requires = "shrink", "Shrink", LinearTask, ShrinkParams, Weights, ("descent",)

    def fit(self, task: Any, params: Any, run: RunContext) -> Weights:
        return Weights(run.parent("descent").weight * params.factor ** (2 if params.shape == "square" else 1))


class Zero(Runner):
    name, title, task, fitted = "zero", "Zero", LinearTask, Weights

    def fit(self, task: Any, params: Any, run: RunContext) -> Weights:
        return Weights(np.zeros(4))


class OnDevice(Zero):
    """Says that it uses a GPU, and notes which it was given."""

    name, title, accelerated = "on_device", "On a device", True

    def fit(self, task: Any, params: Any, run: RunContext) -> Weights:
        run.note("device", float(os.environ.get("CUDA_VISIBLE_DEVICES") or -1))
        return super().fit(task, params, run)


class TroubleParams(Params):
    how: str = fixed("")
    where: str = fixed("")  # a folder for marks
    level: float = real(1.0, low=0.0, high=2.0)


class Trouble(Runner):
    """Goes wrong as `how` says; `where` holds a file named "well" once it should work."""

    name, title, task, Params, fitted = "trouble", "Trouble", LinearTask, TroubleParams, Weights

    def cannot(self, task: Any) -> str | None:
        return None

    def fit(self, task: Any, params: Any, run: RunContext) -> Weights:
        where = Path(params.where)
        if params.where:
            with open(where / "fits", "a") as log:
                log.write(f"{params.how} {time.monotonic()}\n")
        if not (where / "well").exists() or not params.where:
            getattr(self, f"_{params.how}", lambda *_: None)(run, where)
        weight = np.full(4, params.level)
        return Wrong(weight, params.how) if params.how in ("nan", "shape", "unpicklable") else Weights(weight)

    def _raises(self, run: RunContext, where: Path) -> None:
        raise ArithmeticError("it does not converge")

    def _late(self, run: RunContext, where: Path) -> None:
        for step in range(10**9):
            time.sleep(0.01)
            run.progress(step)

    def _hangs(self, run: RunContext, where: Path) -> None:
        while True:
            pass

    def _eats(self, run: RunContext, where: Path) -> None:
        held = []
        while True:
            held.append(np.ones(4 * 2**20))  # 32 MB
            time.sleep(0.005)

    def _leaves(self, run: RunContext, where: Path) -> None:
        os._exit(3)

    def _exits(self, run: RunContext, where: Path) -> None:
        sys.exit(4)

    def _prints(self, run: RunContext, where: Path) -> None:
        print("said on stdout")
        print("said on stderr", file=sys.stderr)

    def _killed_once(self, run: RunContext, where: Path) -> None:
        with contextlib.suppress(FileExistsError):  # of two that begin together, one is killed
            (where / "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        with open(where / "fits", "a") as log:
            log.write(f"end {time.monotonic()}\n")

    def _killed_always(self, run: RunContext, where: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _begets(self, run: RunContext, where: Path) -> None:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)


class Wrong(Weights):
    def __init__(self, weight: np.ndarray, how: str) -> None:
        super().__init__(weight)
        self.how = how

    def predict(self, view: View) -> Predictions:
        score = np.array(super().predict(view)["score"])
        return {"score": score[:-1] if self.how == "shape" else np.where(np.arange(len(score)) == 3, np.nan, score)}


class Refuses(Zero):
    name, title = "refuses", "Refuses"

    def cannot(self, task: Any) -> str | None:
        return "needs words, and lines have none"


def ticks(task: TaskSpec, folder: Path, repeats: int) -> dict[str, list[float]]:
    return {"tick": [0.001] * repeats}


ROWS = (
    Row(Descent),
    Row(Shrink, role="method"),
    Row(Descent, key="heir", pinned={"momentum": 0.5}, inherits="descent"),
    Row(Descent, key="twin"),
    Row(Zero, role="floor"),
)
TASKS = (Lines(), Lines("lines/high", noise=0.5))


def toy(rows: Sequence[Row] = ROWS, tasks: Sequence[Lines] = TASKS, **profile: Any) -> Benchmark:
    """The benchmark with one profile "smoke"."""
    given = Profile(
        "smoke",
        tuple(tasks),
        {task.key: tuple(rows) for task in tasks},
        seeds=2,
        trials=4,
        core_seconds=10,
        fit_seconds={"*": 0.01},
    )
    timings = profile.pop("timings", ())
    if timings == "ticks":
        timings = (Timing("ticks", "Ticks", tasks[0], f"{__name__}:ticks"),)
    made = replace(given, timings=timings, **profile)
    return Benchmark("toy", "Toy", "Nobody", {"smoke": made}, (), (), (), objective="valid/fit")


def tell_blocked(pipe: Connection) -> None:
    """Whether this process is deaf to a key press, without having done anything about it."""
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
