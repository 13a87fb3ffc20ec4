"""An invented paper and a store that holds a run of it: two tasks, six rows, searches, failures, a timing cell."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.benchmark import (
    Benchmark,
    Claim,
    Column,
    Contrast,
    Curves,
    Derived,
    Diagram,
    Figure,
    Given,
    Picture,
    Profile,
    Row,
    Table,
    TaskSpec,
    Timing,
)
from craftbench.benchmarks.kept_curves import to_bytes
from craftbench.benchmarks.store import Store
from craftbench.core.curves import Curve
from craftbench.core.metrics.groups import group_sums
from craftbench.core.params import Params, real
from craftbench.core.runner import Runner
from craftbench.core.task import Task
from craftbench.report.findings import findings
from craftbench.report.write import write_report
from safetensors.numpy import save

SEEDS, GROUPS = 5, 40
HOSTILE = (
    "</script><script>alert(1)</script> & <b>bold</b> $x^2 \u202ertl\u202c a\u200b\u2060b \ud800 \x1b[1m"
    + "long " * 1000
    + "w" * 5000
)
TRUTH = {"original": 0.74, "retrain": 0.77, "unlearn": 0.7698, "shards": 0.70, "popular": 0.765, "placebo": 0.735}


@dataclass(frozen=True)
class Invented(TaskSpec):
    """A task that only the report sees."""

    key: str
    dataset: str
    scope: Any
    labels: Mapping[str, str] = field(default_factory=dict)

    def cache_key(self) -> Mapping[str, Any]:
        return {"key": self.key}

    def prepare(self, data_home: Path, folder: Path) -> str:
        raise NotImplementedError

    open = views = measure = prepare  # type: ignore[assignment]


class Settings(Params):
    damping: float = real(1e-4, low=1e-7, high=1e-3, log=True, help="added to the diagonal")
    lr: float = real(1e-2, low=1e-4, high=1e-1, log=True, grid=(1e-2, 1e-3, 1e-4))


def runner(key: str, shown: str) -> type[Runner]:
    body = {"name": key, "title": shown, "task": Task, "Params": Settings, "fit": Runner.fit}
    return type(shown, (Runner,), body)


RUNNERS = {key: runner(key, key.capitalize()) for key in [*TRUTH, "extra"]}
REAL = Invented("ml/mf/flip-10", "ml", "paper's data", {"model": "MF", "request": "10 % flipped"})
SMALL = Invented("ml/mf/flip-2", "ml", "paper's data", {"model": "MF", "request": "2 % flipped"})
SIM = Invented("sim/mf/flip-10", "sim", "simulated", {"model": "MF", "request": "10 % flipped"})
AWAY = Invented("away/mf/flip-10", "away", "paper's data", {"model": "MF", "request": "10 % flipped"})


def distance(given: Given) -> tuple[float, np.ndarray]:
    """Squared distance of scores to another row's, and without each group."""
    error = (given.own["test"]["score"] - given.against["test"]["score"]).astype(np.float64) ** 2
    sums = group_sums(error, given.group["test"], GROUPS)
    rows = np.bincount(given.group["test"], minlength=GROUPS)
    return float(error.mean()), (error.sum() - sums) / (len(error) - rows)


AUC = Column("test/auc", "AUC")
THIN = Column("test/auc_and", "AUC-and")
TIME = Column("time/end_to_end", "time", unit="s", higher_is_better=False, decimals=2)
GAP = Derived("distance", "distance", higher_is_better=False, against="retrain", start="original", compute=distance)


def invented(hostile: str = "") -> Benchmark:
    rows = invented_rows()
    timed = Timing("steps", "One update, timed", SIM, "nowhere:nothing", note="one thread")
    tasks = (REAL, SMALL, SIM, AWAY)
    quick = Profile(
        "quick", tasks, {task.key: rows for task in tasks}, SEEDS, 3, 300.0, {"*": 1.0}, timings=(timed,), differs="two epochs"
    )
    standard = Profile("standard", tasks, {task.key: (*rows, Row(RUNNERS["extra"])) for task in tasks}, 10, 20, 9e3, {"*": 1.0})
    main = Table("T2", f"Accuracy {hostile}", (AUC, THIN, TIME, GAP), (*TRUTH, "extra"), caption=hostile, reference="retrain")
    near, away = Contrast("unlearn", "retrain", "test/auc", REAL.key), Contrast("original", "retrain", "test/auc", REAL.key)
    claims = (
        Claim("C1", "Unlearning is comparable to Retrain.", "abstract", "equivalent", (near,), margin=0.004, controls=(away,)),
        Claim(
            "C2",
            "It is 250 times faster.",
            "abstract",
            "ratio_above",
            (Contrast("retrain", "unlearn", "time/end_to_end"),),
            margin=250.0,
        ),
        Claim("C3", "It never hurts.", "abstract", "greater", (Contrast("unlearn", "original", "test/auc"),), smallest=0.001),
        Claim("C4", "Placebo helps.", f"abstract {hostile}", "greater", (Contrast("placebo", "retrain", "test/auc"),)),
        Claim("C5", "The extra row wins.", "section 5", "greater", (Contrast("extra", "retrain", "test/auc"),), seeds=10),
        Claim(
            *("C6", "The gain grows with the request.", "section 5", "trend"),
            tuple(Contrast("retrain", "original", "test/auc", task.key) for task in (SMALL, REAL)),
        ),
        Claim(
            "C7",
            "The timed step is 10 times faster.",
            "x",
            "ratio_above",
            (Contrast("retrain", "update", "timing/steps"),),
            margin=10.0,
        ),
    )
    figures = (
        Figure("F1", "Size of the request", "label:request", ("test/auc",), {"Original": ("original",), "Retrain": ("retrain",)}),
        Figure("F2", "Cost against accuracy", "column:time/end_to_end", ("test/auc",), {"all rows": tuple(TRUTH)}, log_x=True),
        Figure("F3", "By row", "row", ("test/auc", "distance"), {"rows": tuple(TRUTH)}, tasks=(REAL.key,)),
        Figure("F4", "Not run", "row", ("test/auc",), {"rows": ("extra",)}),
        Curves("F5", "Loss", {"loss": "loss"}, ("retrain", "unlearn", "shards"), "epoch", tasks=(REAL.key,), beside="P1"),
        Curves("F6", "Label", {"label": "label"}, ("unlearn",), "seconds", "seconds", tasks=(REAL.key,)),
        Curves("F7", "Never drawn", {"loss": "loss"}, ("extra",), "epoch"),
    )
    return Benchmark(
        "invented",
        f"Invented unlearning {hostile}",
        "Nobody, 2024.",
        {"quick": quick, "standard": standard},
        (main,),
        figures,
        claims,
        "valid/auc",
        deviations=(f"Fewer users than the paper. {hostile}",),
        pictures=pictures(hostile),
        diagrams=(Diagram("D1", f"A graph {hostile}", "dml-graph.svg"),),
    )


def invented_rows() -> tuple[Row, ...]:
    roles, notes = {"retrain": "target"}, {"shards": "vote instead of attention"}
    return tuple(Row(RUNNERS[key], role=roles.get(key, "baseline"), differs=notes.get(key, "")) for key in TRUTH)


def pictures(hostile: str) -> tuple[Picture, ...]:
    """One of data that are here, one of data that are not; their points stand in the plan."""
    here = Picture("P1", "How often users come", lambda *_: pd.DataFrame(), (REAL.key,), "visits", f"share {hostile}")
    return here, Picture("P2", "Of data that are away", lambda *_: pd.DataFrame(), (AWAY.key,), "visits", "share")


class Writer:
    """Writes the records and the plan of a run of the invented paper."""

    def __init__(self, root: Path, hostile: str = "") -> None:
        self.store, self.hostile, self.rng = Store(root), hostile, np.random.default_rng(7)
        self.users = np.repeat(np.arange(300), 4)
        for fingerprint in ("f1", "f2", "f3"):
            file = self.store.folder(f"tasks/{fingerprint}/test.parquet")
            file.parent.mkdir(parents=True)
            pd.DataFrame({"user": self.users, "item": self.users}).to_parquet(file)

    def plan(self) -> None:
        tasks, lines = [], []
        facts = {"users": 943, "items": 1682, "rows": 100_000}
        for place, task in enumerate((REAL, SMALL, SIM, AWAY)):
            hole = (
                None
                if task is not AWAY
                else {"reason": "dataset 'away' is not on this machine", "command": "craftbench data get away"}
            )
            labels = {**task.labels, "model": f"MF {self.hostile}".strip()}
            about = {"key": task.key, "dataset": task.dataset, "scope": task.scope, "labels": labels, "facts": facts}
            drawn = {"P1": {"all": [[1.0, 0.5], [2.0, 0.3]], "few": [[1.0, 0.9]]}} if task is REAL else {}
            tasks.append({**about, "fingerprint": None if hole else f"f{place + 1}", "hole": hole, "pictures": drawn})
            lines += [self.line(task, row, f"f{place + 1}", hole) for row in TRUTH]
        record = self.write("timing", SIM, "timing", 0, "f3", {}, timings={"retrain": [2.0, 2.1, 2.2], "update": [0.1, 0.11, 0.1]})
        timings = [{"key": "steps", "title": "One update, timed", "note": f"one thread {self.hostile}", "record": record}]
        content = {
            "format": 1,
            "paper": "invented",
            "profile": "quick",
            "seeds": SEEDS,
            "trials": 3,
            "written": "2025-01-01T00:00:00+00:00",
            "overrides": {"set": {"shards.lr": 0.1}},
            "exploratory": False,
            "tasks": tasks,
            "lines": lines,
            "timings": timings,
        }
        for profile in ("quick", "sweep"):
            self.store.write_plain(f"plans/invented.{profile}.json", json.dumps({**content, "profile": profile}))

    def line(self, task: Invented, row: str, fingerprint: str, hole: Any) -> dict[str, Any]:
        space = {
            name: {"low": s.low, "high": s.high, "log": s.log, "choices": None, "integer": False}
            for name, s in Settings.spaces().items()
        }
        number = 0 if hole else 16 if row == "unlearn" and task is REAL else 3
        trials = [self.trial(task, row, each, fingerprint) for each in range(number)]
        finals = [None] * SEEDS if hole else [self.final(task, row, seed, fingerprint) for seed in range(SEEDS)]
        settings = [
            {
                "name": "damping",
                "value": 1e-3,
                "default": 1e-4,
                "searched": True,
                "source": "searched",
                "grid": [],
                "help": f"diagonal {self.hostile}",
            },
            {
                "name": "lr",
                "value": 1e-2,
                "default": 1e-2,
                "searched": True,
                "source": "searched",
                "grid": [1e-2, 1e-3],
                "help": "",
            },
        ]
        return {
            "task": task.key,
            "row": row,
            "title": f"{row.capitalize()} {self.hostile}".strip() if row in ("shards", "placebo") else row.capitalize(),
            "role": "baseline",
            "runner": row,
            "runner_class": "x:Y",
            "differs": f"vote instead of attention {self.hostile}".strip() if row == "shards" else "",
            "pinned": {},
            "inherits": None,
            "hole": None,
            "chosen": {"damping": 1e-3, "lr": 1e-2},
            "settings": settings,
            "finals": finals,
            "study": {"space": space, "sampler": "tpe", "pruner": "none", "trials": trials, "rechecks": [], "best": 1},
        }

    def trial(self, task: Invented, row: str, number: int, fingerprint: str) -> str:
        params = {"damping": float(10 ** self.rng.uniform(-7, -3)), "lr": float(10 ** self.rng.uniform(-4, -1))}
        value = 0.75 - 0.01 * abs(np.log10(params["damping"]) + 4) + float(self.rng.normal(0, 0.002))
        return self.write("trial", task, row, number, fingerprint, params, metrics={"valid/auc": value})

    def final(self, task: Invented, row: str, seed: int, fingerprint: str) -> str:
        params = {"damping": 1e-3, "lr": 1e-2}
        if row == "popular" and seed == 4:
            return "cells/invented/never/written"
        if row == "shards" and (task is REAL or seed == 2):
            return self.write("final", task, row, seed, fingerprint, params, failed=f"ValueError: shard 3 is empty {self.hostile}")
        common = np.random.default_rng([seed, len(task.key)]).normal(0, 0.004)  # rows share seed and split
        gain = 0.3 if task is SMALL else 1.0
        auc = 0.77 + gain * (TRUTH[row] - 0.77) + common + float(self.rng.normal(0, 0.0006))
        without = auc + np.random.default_rng(len(task.key)).normal(0, 0.0004, GROUPS) + self.rng.normal(0, 0.0001, GROUPS)
        measured = {"auc": (auc, without, 300, 4000), "auc_and": (auc - 0.05, without - 0.05, 300 if row == "retrain" else 60, 90)}
        target = np.random.default_rng([seed, 3]).normal(size=len(self.users))
        score = target + (0.0 if row == "retrain" else self.rng.normal(0, 1 - TRUTH[row], len(self.users)))
        files = {
            "metrics.parquet": _table(measured),
            "predictions.safetensors": save({"test/score": score.astype(np.float32)}),
            "curves.parquet": to_bytes(curves(seed, len(row))),
        }
        metrics = {f"test/{name}": value[0] for name, value in measured.items()}
        return self.write("final", task, row, seed, fingerprint, params, metrics=metrics, files=files)

    def write(
        self, kind: str, task: Invented, row: str, index: int, fingerprint: str, params: dict[str, float],
        metrics: dict[str, float] | None = None, files: dict[str, bytes] | None = None, failed: str = "", timings: Any = None,
    ) -> str:  # fmt: skip
        path = f"cells/invented/{task.key}/{row}/{kind}-{index}-0123456789ab"
        seconds = {"retrain": 2.0, "unlearn": 0.02}.get(row, 1.0) * float(self.rng.uniform(0.9, 1.1))
        purpose = "tuning" if kind == "trial" else "final"
        cell = {
            "id": f"{abs(hash((path,))):064x}"[:64],
            "kind": kind,
            "paper": "invented",
            "task": task.key,
            "task_fingerprint": fingerprint,
            "dataset": task.dataset,
            "runner": row,
            "params": params,
            "seed": {"purpose": purpose, "index": index, "root": 11 + index},
            "parents": {"original": "0" * 64},
            "code": {"craftbench.x": "abc"},
            "versions": {"python": "3.12"},
            "threads": 1,
        }
        status = "failed" if failed else "ok"
        result = {
            "status": status,
            "reason": failed,
            "traceback": f"Traceback\n{failed}" if failed else "",
            "notes": {"best_epoch": 12.0},
        }
        provenance = {
            "started": "2025-01-01T00:00:00+00:00",
            "seconds": seconds,
            "cpu_seconds": seconds,
            "clocks": {"end_to_end": seconds},
            "peak_memory_mb": 321.0,
            "machine": {"cpu": "Sim", "cores": 2},
            "device": "cpu",
            "warnings": [self.hostile] if self.hostile else [],
            "log": self.hostile,
            "timings": timings,
        }
        record = {"cell": cell, "result": {**result, "metrics": metrics or {}, "curve": []}, "provenance": provenance}
        self.store.write(path, record, files or {})
        return path


def curves(seed: int, slope: int) -> list[Curve]:
    """A loss of 3 to 7 epochs, and a surface that rises with both coordinates and the seed."""
    epochs, grid = np.arange(1, 4 + seed), np.array([(x, y) for y in (0.0, 10.0, 20.0) for x in (0.0, 5.0)])
    surface = Curve.of("label", "", *grid.T, 0.01 * grid.sum(1) + 0.1 * seed)
    return [Curve.of("loss", "", epochs, slope * epochs + seed), surface]


def _table(measured: dict[str, tuple[float, Any, int, int]]) -> bytes:
    rows = []
    for name, (value, without, users, positives) in measured.items():
        common = {"view": "test", "metric": name, "users": users, "positives": positives, "rows": 1200}
        rows.append({**common, "group": -1, "value": value})
        rows += [{**common, "group": group, "value": each} for group, each in enumerate(without)]
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out, index=False)
    return out.getvalue()


@dataclass(frozen=True)
class World:
    benchmark: Benchmark
    store: Store
    text: str = ""  # what hostile people wrote


def world(root: Path, hostile: str = "") -> World:
    writer = Writer(root, hostile)
    writer.plan()
    return World(invented(hostile), writer.store, hostile)


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A finished run; tests only read it."""
    return world(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def report(run_once: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that run, with its files beside it."""
    return write_report([findings(run_once.benchmark, run_once.store, "quick")], tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same run by people who put markup, bidirectional marks and 10,000 characters into their texts."""
    return world(tmp_path_factory.mktemp("hostile"), HOSTILE)


@pytest.fixture
def never_run(tmp_path: Path) -> World:
    return World(invented(), Store(tmp_path / "empty"))
