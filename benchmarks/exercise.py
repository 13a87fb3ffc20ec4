"""Small tasks to try a runner on, and what is noticed while it is tried."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..core.context import DeadlineExceeded, RunContext
from ..core.params import Params
from ..core.runner import Fitted, Runner
from ..core.task import Predictions, Task, View
from .benchmark import Row, TaskSpec
from .catalogue import PAPERS, declared
from .rows import beside

SEED = 1


class NotChecked(Exception):
    """A promise that cannot be judged, because of something that another check tells."""


class Exercise:
    """One small task, prepared in a folder of its own. The runners that others start from are fitted once, when first asked for."""

    def __init__(self, spec: TaskSpec, rows: Iterable[Row]) -> None:
        self.spec, self.rows = spec, {row.key: row for row in rows}
        self._home = TemporaryDirectory(prefix="craftbench-check-")
        self.folder = Path(self._home.name) / "task"
        self.folder.mkdir()
        spec.prepare(Path(self._home.name) / "data", self.folder)

    @cached_property
    def task(self) -> Task:
        """What a runner is given; to be copied before anybody may write to it."""
        return self.spec.open(self.folder)

    @cached_property
    def views(self) -> Sequence[View]:
        """What it is asked to predict; to be copied likewise."""
        return self.spec.views(self.folder)

    def parents(self, requires: Iterable[str]) -> dict[str, Any]:
        """The fitted cells of these runner names, loaded afresh, as a worker gets them."""
        return {name: self.rows[name].runner.fitted.load(self._fitted(name)) for name in requires}

    def _fitted(self, name: str) -> Path:
        folder = Path(self._home.name) / "fitted" / name
        if not folder.exists():
            row = self.rows[name]
            run = RunContext(SEED, parents=self.parents(row.runner.requires))
            fitted = row.runner().fit(copy.deepcopy(self.task), row.runner.Params.resolve(dict(row.pinned)), run)
            folder.mkdir(parents=True)
            fitted.save(folder)
        return folder

    def hidden(self) -> list[pd.DataFrame]:
        """The tables that no runner may see."""
        return [pd.read_parquet(file) for file in sorted((self.folder / "hidden").glob("*.parquet"))]

    @contextlib.contextmanager
    def without_hidden(self) -> Iterator[None]:
        """While this lasts, the hidden tables are not in the folder."""
        place, away = self.folder / "hidden", self.folder.with_name("away")
        place.rename(away)
        try:
            yield
        finally:
            away.rename(place)


@cache
def exercises(kind: type[Task]) -> tuple[Exercise, ...]:
    """The tasks of the smoke profiles of every paper whose rows serve this kind of task; empty where there is none."""
    served = [declared(paper) for paper in PAPERS]
    profiles = [paper.profiles["smoke"] for paper in served if paper.task_kind() is kind]
    return tuple(Exercise(spec, profile.rows[spec.key]) for profile in profiles for spec in profile.tasks)


@dataclass
class Fit:
    """One fit: its predictions by view, and what was noticed on the way."""

    fitted: Fitted
    predictions: dict[str, Predictions]
    said: str
    changed: list[str]
    labels_within_reach: bool


@dataclass
class Asked(RunContext):
    """A context that remembers whether it has told a runner that its deadline has passed."""

    told: list[int] = field(default_factory=list)

    def progress(self, step: int, value: float | None = None) -> None:
        try:
            super().progress(step, value)
        except DeadlineExceeded:
            self.told.append(step)
            raise


class Trial:
    """A runner on one exercise; each fit is made once, when first asked for."""

    def __init__(self, exercise: Exercise, runner: type[Runner], pinned: Mapping[str, Any]) -> None:
        self.exercise, self.runner, self.pinned = exercise, runner, pinned
        self.task_key = exercise.spec.key

    @cached_property
    def cannot(self) -> str | None:
        return self.runner().cannot(self.task())

    @cached_property
    def _both(self) -> tuple[Fit | Exception, Fit | Exception]:
        """Without the hidden labels first, so that nothing remembered can help; then beside them."""
        with self.exercise.without_hidden():
            blind = self._attempt([])
        return blind, self._attempt(self.exercise.hidden())

    @property
    def blind(self) -> Fit | Exception:
        """A fit while the hidden labels are neither in memory nor in the folder."""
        return self._both[0]

    @property
    def sighted(self) -> Fit | Exception:
        """The same fit while the hidden labels are in both."""
        return self._both[1]

    @cached_property
    def again(self) -> Fit | Exception:
        """The sighted fit once more."""
        return self._attempt(self.exercise.hidden())

    @property
    def fit(self) -> Fit:
        """The fit that the checks look at."""
        if isinstance(self.sighted, Exception):
            raise NotChecked("it could not be fitted")
        return self.sighted

    def task(self) -> Task:
        """A copy that can be written to, so that a runner which does so is told by the right check."""
        return copy.deepcopy(self.exercise.task)

    def views(self) -> list[View]:
        return [replace(view, columns=copy.deepcopy(dict(view.columns))) for view in self.exercise.views]

    def context(self, folder: Path, deadline: float | None = None) -> Asked:
        return Asked(SEED, folder, self.exercise.parents(self.runner.requires), deadline)

    def params(self) -> Params:
        """As the smoke profile would have them, so that a network is no larger than those of the rows beside it."""
        usual = beside(self.exercise.rows.values(), self.runner).pinned
        return self.runner.Params.resolve({**usual, **self.pinned})

    def _attempt(self, hidden: list[pd.DataFrame]) -> Fit | Exception:
        try:
            return self._run(hidden)
        except Exception as error:
            return error

    def _run(self, hidden: list[pd.DataFrame]) -> Fit:
        said = io.StringIO()
        runner, task, views, params = self.runner(), self.task(), self.views(), self.params()
        with TemporaryDirectory(prefix="craftbench-check-") as scratch, contextlib.redirect_stdout(said):
            run = self.context(Path(scratch))
            fitted = runner.fit(task, params, run)
            predictions = {view.name: fitted.predict(view) for view in views}
        own = [("the task", task, self.exercise.task), ("a view", views, list(self.exercise.views))]
        pairs = [*own, *self._parents_as_predictions(run.parents)]
        changed = [name for name, after, before in pairs if not same(after, before)]
        within = bool(hidden) and holds_any(hidden, views, reachable(runner, task, views, params, run, fitted))
        return Fit(fitted, copy.deepcopy(predictions), said.getvalue(), changed, within)

    def _parents_as_predictions(self, parents: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        for name, fresh in self.exercise.parents(parents).items():
            after, before = ([dict(each.predict(view)) for view in self.exercise.views] for each in (parents[name], fresh))
            yield f"the parent {name!r}", after, before


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, type and shape included: arrays, and whatever holds them."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, each.name), getattr(b, each.name)) for each in fields(a))
    if isinstance(a, Mapping):
        return set(a) == set(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def reachable(*roots: object) -> Iterator[object]:
    """Every object that attributes, items, closures and `gc` lead to from `roots`, without passing through a module."""
    seen: set[int] = set()
    waiting, kept = list(roots), list[object]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or _is(each, ModuleType):
            continue
        seen.add(id(each))
        kept.append(each)  # alive, so that no other object takes its id
        yield each
        waiting += _led_to(each)


def _is(each: object, *kinds: type) -> bool:
    """`isinstance` that does not ask the object, which may answer with a warning."""
    return issubclass(type(each), kinds)


def _led_to(each: Any) -> list[object]:
    if _is(each, FunctionType):  # not by way of its globals, which are its module
        return [each.__closure__, each.__defaults__, each.__kwdefaults__, each.__dict__]
    if _is(each, np.ndarray):
        return [each.base, *(each.tolist() if each.dtype == object else ())]
    return gc.get_referents(each)


def holds_any(hidden: Iterable[pd.DataFrame], views: Iterable[View], objects: Iterable[object]) -> bool:
    """Whether one of `objects` has the values of a hidden column (0/1 labels turned over included) that no view shows anyway."""
    shown = [np.asarray(column) for view in views for column in view.columns.values()]
    columns = [column.to_numpy() for table in hidden for _, column in table.items()]
    secret = [column for column in columns if not any(np.array_equal(column, each) for each in shown)]
    secret += [1 - column for column in secret if np.issubdtype(column.dtype, np.number)]
    sizes = {len(column) for column in secret}
    found = (_values(each) for each in objects if _is(each, np.ndarray, torch.Tensor, list, tuple))
    return any(values.size in sizes and np.array_equal(values.ravel(), column) for values in found for column in secret)


def _values(each: Any) -> NDArray[Any]:
    """An array, tensor, list or tuple as an array; an empty one where it does not hold plain numbers."""
    if _is(each, torch.Tensor):
        return each.detach().cpu().numpy() if each.layout == torch.strided else np.zeros(0)
    if _is(each, np.ndarray):
        return each
    return np.asarray(each) if each and all(_is(value, int, float) for value in each) else np.zeros(0)
