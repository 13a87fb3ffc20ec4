"""What one process does: open the task, fit, predict, and only then let the metrics see the hidden labels.

A cell is the unit of work and of memory: one runner, one setting, one task, one seed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow
import pyarrow.parquet
from safetensors.numpy import save as to_safetensors

from ..core.context import DeadlineExceeded, Pruned, RunContext
from ..core.curves import Drawable
from ..core.runner import Fitted, Runner
from ..core.task import Predictions, View
from . import kept_curves
from .benchmark import Measure, TaskSpec, Timing

Kind = Literal["trial", "final", "timing"]


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to compute a cell; small and picklable.

    parents: runner name -> (its class, folder of its fitted artifact); thresholds: step -> the validation value below which a trial
    stops, fixed when the trial was asked for; deadline: seconds.
    """

    kind: Kind
    runner: type[Runner] | None
    params: Mapping[str, Any]
    root: int
    task: TaskSpec
    folder: Path
    parents: Mapping[str, tuple[type[Runner], Path]] = field(default_factory=dict)
    keep_fitted: bool = False
    thresholds: Mapping[int, float] = field(default_factory=dict)
    deadline: float = 600.0
    threads: int = 1
    timing: Timing | None = None


@dataclass
class Outcome:
    """What a cell leaves: the parts of its record, and the bytes of the record's siblings."""

    result: dict[str, Any]
    provenance: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


def compute(job: Job, listener: Callable[[int, float | None], None]) -> Outcome:
    """Run one cell to its end, whatever the runner does; a failure is an outcome with its reason and traceback."""
    _limit_threads(job.threads)
    started, wall, cpu = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter(), time.process_time()
    curve: list[tuple[int, float]] = []
    listening = _watch(curve, job.thresholds, listener)
    run = RunContext(job.root, deadline=time.monotonic() + job.deadline, device=_device(job.runner), listener=listening)
    result: dict[str, Any] = {"status": "ok", "reason": "", "traceback": "", "notes": run.notes, "metrics": {}, "curve": curve}
    said, files, timings = io.StringIO(), {}, {}
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("default")
        try:
            if job.timing is not None:
                timings = _time(job.timing, job.folder)
            else:
                with tempfile.TemporaryDirectory(prefix="craftbench-cell-") as scratch:
                    run.folder = Path(scratch)
                    files = _fit_and_measure(job, run, result)
        except Pruned as stop:
            result.update(status="pruned", reason=str(stop))
        except DeadlineExceeded:
            result.update(status="failed", reason=f"passed its deadline of {job.deadline:g} s")
        except Exception as error:
            result.update(status="failed", reason=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    provenance = {
        "started": started,
        "seconds": run.clocks.pop("fit", 0.0),
        "cell_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "clocks": dict(run.clocks),
        "timings": timings,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": machine(),
        "device": run.device,
        "threads": job.threads,
        "warnings": sorted({str(each.message) for each in warned}),
        "log": said.getvalue()[-4000:],
    }
    return Outcome(result, provenance, files)


def _limit_threads(threads: int) -> None:
    """NumPy's are set by the environment; torch's here, where it is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _device(runner: type[Runner] | None) -> str:
    """The GPU for a runner that uses one, where torch is loaded and finds one; else the CPU."""
    torch = sys.modules.get("torch")
    usable = runner is not None and runner.accelerated and torch is not None and torch.cuda.is_available()
    return "cuda" if usable else "cpu"


def _fit_and_measure(job: Job, run: RunContext, result: dict[str, Any]) -> dict[str, bytes]:
    assert job.runner is not None
    runner, task = job.runner(), job.task.open(job.folder)
    params = runner.Params.resolve(dict(job.params))
    reason = runner.cannot(task)
    if reason is not None:
        result.update(status="cannot", reason=reason)
        return {}
    run.parents = {name: kind.fitted.load(folder) for name, (kind, folder) in job.parents.items()}
    with run.clock("fit"):
        fitted = runner.fit(task, params, run)
    views = [view for view in job.task.views(job.folder) if job.kind == "final" or view.name == "valid"]
    predictions = {view.name: _checked(fitted.predict(view), view) for view in views}
    measures = [each for view in views for each in job.task.measure(job.folder, view, predictions[view.name])]
    if job.kind == "final":
        measures += job.task.compare(job.folder, predictions)
    result["metrics"] = {f"{each.view}/{each.metric}": float(each.value) for each in measures}
    files = _artifact(fitted) if job.keep_fitted else {}
    if job.kind == "final":
        files["metrics.parquet"] = _metrics_table(measures)
        keeping = [view for view in views if job.task.keeps(view.name)]
        stored = {view.name: job.task.kept(job.folder, view, predictions[view.name]) for view in keeping}
        kept = {f"{name}/{key}": np.ascontiguousarray(value) for name, found in stored.items() for key, value in found.items()}
        files["predictions.safetensors"] = to_safetensors(kept)
        drawn = list(job.task.draw(job.folder, predictions, result["metrics"]))
        drawn += fitted.to_draw() if isinstance(fitted, Drawable) else []
        files |= {kept_curves.FILE: kept_curves.to_bytes(drawn)} if drawn else {}
    return files


def _checked(predictions: Predictions, view: View) -> Predictions:
    for name, values in predictions.items():
        if len(values) != view.rows:
            raise ValueError(f"predictions {name!r} of view {view.name!r} have {len(values)} rows instead of {view.rows}")
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise FloatingPointError(f"predictions {name!r} of view {view.name!r} are not finite")
    return predictions


def _watch(
    curve: list[tuple[int, float]], thresholds: Mapping[int, float], listener: Callable[[int, float | None], None]
) -> Callable[[int, float | None], None]:
    """Keep the validation curve, tell the driver, and stop a trial whose best so far lies under the threshold of its step."""

    def heard(step: int, value: float | None) -> None:
        listener(step, value)
        if value is None:
            return
        curve.append((step, float(value)))
        best = max(seen for _, seen in curve)
        if step in thresholds and best < thresholds[step]:
            raise Pruned(f"best {best:.5f} at step {step} lies under the threshold {thresholds[step]:.5f}")

    return heard


def _artifact(fitted: Fitted) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="craftbench-fitted-") as scratch:
        fitted.save(Path(scratch))
        return {f"fitted/{file.relative_to(scratch).as_posix()}": file.read_bytes() for file in _all_files(Path(scratch))}


def _all_files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


_METRICS = pyarrow.schema(
    {
        "view": pyarrow.string(),
        "metric": pyarrow.string(),
        "group": pyarrow.int64(),
        "value": pyarrow.float64(),
        "users": pyarrow.int64(),
        "positives": pyarrow.int64(),
        "rows": pyarrow.int64(),
    }
)


def _metrics_table(measures: Sequence[Measure]) -> bytes:
    """One line per measure, and per group of users that is left out of it."""
    rows: list[tuple[Any, ...]] = []
    for each in measures:
        values = [each.value, *([] if each.leave_out is None else each.leave_out)]
        carried = (int(each.users), int(each.positives), int(each.rows))
        rows += [(each.view, each.metric, group, float(value), *carried) for group, value in enumerate(values, start=-1)]
    out = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table(list(map(list, zip(*rows, strict=True))) or [[]] * len(_METRICS), schema=_METRICS), out
    )
    return out.getvalue()


def _time(timing: Timing, folder: Path) -> dict[str, list[float]]:
    module, _, name = timing.measure.partition(":")
    return getattr(importlib.import_module(module), name)(timing.task, folder, timing.repeats, **timing.arguments)


def machine() -> dict[str, Any]:
    """What a record says of the machine that computed it."""
    return {"system": platform.system(), "cpu": _cpu(), "cores": os.cpu_count()}


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
