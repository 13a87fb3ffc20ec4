"""The runner contract as checks: one named check for each promise, for the runners here and for anybody's.

    from craftbench.testing import check_runner, checks
    check_runner(MyRunner)                                          # raises ContractBroken, naming every broken promise

    @pytest.mark.parametrize("check", checks(MyRunner), ids=str)    # or one test for each promise
    def test_contract(check):
        check()

A runner is tried on the tasks of the smoke profile of every paper whose rows serve its kind of task; what it `requires` is fitted
by that paper's own runners. Reading the user's disk on purpose is not prevented; digits that follow hidden labels are noticed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from .benchmarks.exercise import SEED, Fit, NotChecked, Trial, exercises, reachable, same
from .core.context import DeadlineExceeded
from .core.errors import UsageError, unknown
from .core.params import Params
from .core.runner import Runner

__all__ = ["Check", "ContractBroken", "Result", "check_named", "check_runner", "checks", "reachable"]

GRACE = 2.0  # seconds that a fit which never reports progress may take; every longer one must ask whether its deadline has passed

Status = Literal["ok", "failed", "not checked"]


class ContractBroken(AssertionError):
    """A runner breaks its contract; the message names each broken promise and what was seen."""


@dataclass(frozen=True)
class Result:
    """What became of one check. reason: what was seen ("" when ok)."""

    name: str
    promise: str
    status: Status
    reason: str = ""


class _Subject:
    """A runner with every trial that its checks need; trials are shared between checks."""

    def __init__(self, runner: type[Runner], pinned: Mapping[str, Any]) -> None:
        self.runner, self.pinned = runner, pinned

    @cached_property
    def all_trials(self) -> list[Trial]:
        tasks = exercises(self.runner.task)
        if unserved := set(self.runner.requires) - set.intersection(*(set(each.rows) for each in tasks)):
            raise NotChecked(f"nothing serves {sorted(unserved)[0]!r}, which it requires")
        return [Trial(each, self.runner, self.pinned) for each in tasks]

    @property
    def trials(self) -> list[Trial]:
        """Those of the tasks that it can do."""
        able = [trial for trial in self.all_trials if trial.cannot is None]
        if not able:
            raise NotChecked(f"it cannot do any of these tasks: {self.all_trials[0].cannot}")
        return able


# The promises: each function returns what was seen to break it, or None


def _declared(subject: _Subject) -> str | None:
    """it declares itself and can be imported"""
    runner = subject.runner
    missing = [name for name in ("name", "title", "task", "fitted") if not hasattr(runner, name)]
    if missing:
        return f"it declares no {missing[0]}"
    if not (isinstance(runner.name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", runner.name)):
        return f"name={runner.name!r} is not made of a-z, 0-9 and _"
    if not (isinstance(runner.title, str) and runner.title.strip()):
        return "title is empty"
    if not exercises(runner.task):
        return f"it serves {runner.task.__name__}, of which no paper here has a task"
    if not (isinstance(runner.Params, type) and issubclass(runner.Params, Params)):
        return "Params is not a subclass of craftbench.Params"
    lacking = [name for name in ("predict", "save", "load") if not callable(getattr(runner.fitted, name, None))]
    if lacking:
        return f"fitted={runner.fitted.__name__} has no {lacking[0]}"
    if getattr(sys.modules.get(runner.__module__), runner.__qualname__, None) is not runner:
        return f"{runner.__module__}:{runner.__qualname__} is not how it can be imported; define it at the top of its module"
    return None


def _requires(subject: _Subject) -> str | None:
    """what it requires serves the same task"""
    if isinstance(subject.runner.requires, str):
        return f"requires is the text {subject.runner.requires!r}, not a tuple of names"
    for exercise in exercises(subject.runner.task):
        for name in subject.runner.requires:
            if name not in exercise.rows or name == subject.runner.name:
                return f"nothing on {exercise.spec.key} serves {name!r}; there are {', '.join(exercise.rows)}"
    return None


def _frozen(subject: _Subject) -> str | None:
    """parameters are frozen"""
    params = subject.runner.Params()
    for name in type(params).model_fields:
        with contextlib.suppress(Exception):
            setattr(params, name, getattr(params, name))
            return f"{name} can be assigned to"
    return None


def _round_trip(subject: _Subject) -> str | None:
    """parameters come back from JSON as they were"""
    params = subject.runner.Params.resolve(dict(subject.pinned))
    if _defaults(subject):
        raise NotChecked("not all of its defaults are valid")
    back = type(params).resolve(json.loads(json.dumps(params.model_dump())))
    differing = [name for name in type(params).model_fields if getattr(back, name) != getattr(params, name)]
    return f"{differing[0]} comes back as {getattr(back, differing[0])!r}" if differing else None


def _defaults(subject: _Subject) -> str | None:
    """defaults and searched values are valid"""
    kind = subject.runner.Params
    for each in kind.declared():
        tried = [each.default]
        if each.space is not None:
            ends = each.space.choices or (each.space.low, each.space.high)
            tried += [int(end) if each.space.integer else end for end in ends]  # pyright: ignore[reportArgumentType]
        for value in tried:
            try:
                kind.resolve({each.name: value})
            except UsageError as error:
                return str(error)
    return None


def _cannot(subject: _Subject) -> str | None:
    """`cannot` gives a reason, or None"""
    for trial in subject.all_trials:
        if trial.cannot is not None and not (isinstance(trial.cannot, str) and trial.cannot.strip()):
            return f"on {trial.task_key} it answers {trial.cannot!r}"
    return None


def _fits(subject: _Subject) -> str | None:
    """fits and predicts"""
    for trial in subject.trials:
        if isinstance(trial.sighted, Exception):
            return f"on {trial.task_key}: {type(trial.sighted).__name__}: {trial.sighted}"
    return None


def _shape(subject: _Subject) -> str | None:
    """predictions have the names and shape asked"""
    for trial in subject.trials:
        for view in trial.views():
            task, found = trial.exercise.task, trial.fit.predictions[view.name]
            expected, shape = task.outputs, task.shape(view)
            if set(found) - task.further != set(expected):
                return f"view {view.name!r} of {trial.task_key} has {sorted(found)}, not {sorted(expected)}"
            for name, kind in expected.items():
                values = found[name]
                if not isinstance(values, np.ndarray) or (values.shape, values.dtype) != (shape, np.dtype(kind)):
                    seen = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
                    return f"{name!r} of view {view.name!r} is {seen}, not {np.dtype(kind)} {shape}"
    return None


def _finite(subject: _Subject) -> str | None:
    """predictions are finite"""
    for trial in subject.trials:
        for view, found in trial.fit.predictions.items():
            for name, values in found.items():
                wrong = np.flatnonzero(~np.isfinite(np.asarray(values, dtype=np.float64)))
                if len(wrong):
                    return f"{len(wrong)} of {name!r} of view {view!r} on {trial.task_key}, the first in row {wrong[0]}"
    return None


def _repeats(subject: _Subject) -> str | None:
    """the same seed gives the same digits"""
    for trial in subject.trials:
        fit = trial.fit
        if not _predicts_again(trial):
            return f"on {trial.task_key} a view predicted twice, in another order, gives other digits"
        if not _agree(fit, trial.blind) and not _agree(fit, trial.again):
            return f"on {trial.task_key} two fits with seed {SEED} differ; draw from run.rng(...) or run.generator(...) only"
    return None


def _labels(subject: _Subject) -> str | None:
    """test labels are out of reach"""
    for trial in subject.trials:
        fit = trial.fit
        if fit.labels_within_reach:
            return f"on {trial.task_key} the hidden labels can be reached from what the runner holds"
        if _agree(fit, trial.blind):
            continue
        if not _agree(fit, trial.again):
            raise NotChecked("two equal fits differ")
        return f"on {trial.task_key} a fit beside the hidden labels predicts otherwise than one without them"
    return None


def _inputs(subject: _Subject) -> str | None:
    """task, views and parents stay as they were"""
    for trial in subject.trials:
        if trial.fit.changed:
            return f"on {trial.task_key} it changed {trial.fit.changed[0]}"
    return None


def _deadline(subject: _Subject) -> str | None:
    """a fit past its deadline stops"""
    for trial in subject.trials:
        assert trial.fit
        with TemporaryDirectory(prefix="craftbench-check-") as scratch, contextlib.redirect_stdout(io.StringIO()):
            run = trial.context(Path(scratch), deadline=time.monotonic() - 1.0)
            begun = time.monotonic()
            try:
                trial.runner().fit(trial.task(), trial.params(), run)
            except DeadlineExceeded:
                continue
            spent = time.monotonic() - begun
        if run.told:
            return f"on {trial.task_key} it was told at step {run.told[0]} and went on; let DeadlineExceeded pass"
        if spent > GRACE:
            return f"on {trial.task_key} it fitted for {spent:.1f} s without calling run.progress"
    return None


def _saves(subject: _Subject) -> str | None:
    """what is saved loads into equal predictions"""
    for trial in subject.trials:
        fit = trial.fit
        if not callable(getattr(subject.runner.fitted, "load", None)):
            raise NotChecked("it has no load")
        if not _predicts_again(trial):
            raise NotChecked("a view predicted twice has other digits anyway")
        with TemporaryDirectory(prefix="craftbench-check-") as folder, contextlib.redirect_stdout(io.StringIO()):
            fit.fitted.save(Path(folder))
            loaded = subject.runner.fitted.load(Path(folder))
        for view in trial.views():
            if not same(dict(loaded.predict(view)), dict(fit.predictions[view.name])):
                return f"on {trial.task_key} view {view.name!r} is predicted otherwise after loading"
    return None


def _quiet(subject: _Subject) -> str | None:
    """nothing is printed"""
    for trial in subject.trials:
        if trial.fit.said:
            return f"on {trial.task_key} it printed {trial.fit.said.strip().splitlines()[0][:60]!r}; use run.progress or run.note"
    return None


_PROMISES: dict[str, Callable[[_Subject], str | None]] = {
    "declared": _declared,
    "requires_served": _requires,
    "params_frozen": _frozen,
    "params_round_trip": _round_trip,
    "params_valid": _defaults,
    "cannot_answers": _cannot,
    "fits": _fits,
    "predictions_shape": _shape,
    "predictions_finite": _finite,
    "same_seed_same_digits": _repeats,
    "labels_unreachable": _labels,
    "inputs_unchanged": _inputs,
    "deadline_kept": _deadline,
    "saves_and_loads": _saves,
    "quiet": _quiet,
}


def _predicts_again(trial: Trial) -> bool:
    """Whether the views, in another order than before, get the digits that they had."""
    return all(
        same(dict(trial.fit.fitted.predict(view)), dict(trial.fit.predictions[view.name])) for view in reversed(trial.views())
    )


def _agree(one: Fit, other: Fit | Exception) -> bool:
    return not isinstance(other, Exception) and same(one.predictions, other.predictions)


# The suite


@dataclass(frozen=True)
class Check:
    """One promise, held against one runner. Call it to raise ContractBroken where the promise is broken."""

    name: str
    subject: _Subject

    @property
    def promise(self) -> str:
        """The promise in words."""
        return str(_PROMISES[self.name].__doc__)

    def result(self) -> Result:
        """Judge; whatever the runner raises on the way breaks the promise."""
        try:
            seen = _PROMISES[self.name](self.subject)
        except NotChecked as why:
            return Result(self.name, self.promise, "not checked", str(why))
        except Exception as error:
            return Result(self.name, self.promise, "failed", f"{type(error).__name__}: {error}")
        return Result(self.name, self.promise, "failed" if seen else "ok", seen or "")

    def __call__(self) -> None:
        found = self.result()
        if found.status == "failed":
            raise ContractBroken(_sentence(self.subject.runner, [found]))

    def __str__(self) -> str:
        return self.name


def checks(runner: type[Runner], pinned: Mapping[str, Any] | None = None) -> list[Check]:
    """The checks of a runner, for `pytest.mark.parametrize`. pinned: hyperparameters that are not at their defaults."""
    subject = _Subject(runner, pinned or {})
    return [Check(name, subject) for name in _PROMISES]


def check_runner(runner: type[Runner], pinned: Mapping[str, Any] | None = None) -> list[Result]:
    """Hold a runner against every promise of the contract.

    pinned: hyperparameters that are not at their defaults. Raises ContractBroken when a promise is broken.
    """
    results = [check.result() for check in checks(runner, pinned)]
    failed = [each for each in results if each.status == "failed"]
    if failed:
        raise ContractBroken(_sentence(runner, failed))
    return results


def _sentence(runner: type[Runner], failed: list[Result]) -> str:
    lines = [f"  {each.name}: {each.promise}\n    {each.reason}" for each in failed]
    return f"{runner.__module__}:{runner.__qualname__} breaks its contract\n" + "\n".join(lines)


def check_named(where: str) -> int:
    """Check the runner "MODULE:CLASS" and print a line for each promise; 0, or 1 where one is broken.

    Raises UsageError when there is no such runner.
    """
    import torch

    torch.set_num_threads(1)  # as in a cell
    runner, failed = _imported(where), 0
    for check in checks(runner):
        found = check.result()
        failed += found.status == "failed"
        mark = "FAILED" if found.status == "failed" else found.status
        print(f"{mark:<11}  {found.name:<21}  {found.reason or found.promise}", flush=True)
    print(f"{where} keeps its contract" if not failed else f"{where} breaks {failed} of {len(_PROMISES)} promises")
    return 1 if failed else 0


def _imported(where: str) -> type[Runner]:
    module_name, _, name = where.partition(":")
    if not (module_name and name):
        raise UsageError(f"{where!r} is not of the form MODULE:CLASS; write my_package.my_module:MyRunner")
    try:
        if importlib.util.find_spec(module_name.partition(".")[0]) is None:  # what is here hides nothing that is installed
            sys.path.append(str(Path.cwd()))
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {module_name!r}; install its package, or run where its file is") from None
        raise UsageError(f"{module_name} cannot be imported: {error}; install what it needs") from None
    except Exception as error:
        raise UsageError(f"{module_name} cannot be imported: {type(error).__name__}: {error}; correct it first") from error
    runners = {key: each for key, each in vars(module).items() if isinstance(each, type) and issubclass(each, Runner)}
    if name not in runners and hasattr(module, name):
        raise UsageError(f"{where} is not a subclass of craftbench.Runner; see docs/ for what a runner is")
    if name not in runners:
        raise unknown("runner class", name, runners)
    if inspect.isabstract(runners[name]):
        raise UsageError(f"{where} is abstract: it has no `fit`; name a class that can be made")
    return runners[name]
