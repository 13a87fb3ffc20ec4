"""The contract as checks: each way of breaking it is told by its own check."""

import gc
import os
import sys
import time

import craftbench.testing
import numpy as np
import pandas as pd
import pytest
import torch
from craftbench.benchmarks.exercise import exercises
from craftbench.core.context import DeadlineExceeded, RunContext
from craftbench.core.errors import UsageError
from craftbench.core.params import Params, fixed, real
from craftbench.core.runner import Runner
from craftbench.core.task import Task, UnlearningTask
from craftbench.testing import ContractBroken, check_named, check_runner, checks
from pydantic import ConfigDict

# A good runner, and its bad relatives


class ToyParams(Params):
    weight: float = real(0.5, low=0.1, high=1.0, minimum=0.0, maximum=1.0)


class ToyFitted:
    def __init__(self, user):
        self.user = user

    def predict(self, view):
        return {"score": self.user[view.columns["user"]]}

    def save(self, folder):
        np.save(folder / "user.npy", self.user)

    @classmethod
    def load(cls, folder):
        return cls(np.load(folder / "user.npy"))


class Toy(Runner):
    """A user's share of positives, with a little noise."""

    name, title, task, Params, fitted = "toy", "Toy", UnlearningTask, ToyParams, ToyFitted

    def fit(self, task, params, run):
        rows = task.retained
        count = np.bincount(rows.user, minlength=rows.users) + 1
        share = np.bincount(rows.user, weights=rows.label, minlength=rows.users) / count
        noise = run.rng("noise").standard_normal(rows.users) / 100
        for step in range(3):
            run.progress(step)
        return self.fitted((share + noise).astype(np.float32))


class BadName(Toy):
    name = "Toy!"


class NoTitle(Toy):
    title = " "


class OtherTask(Toy):
    task = Task


class Unloadable:
    def __init__(self, user):
        self.user = user

    predict, save = ToyFitted.predict, ToyFitted.save


class NoLoad(Toy):
    fitted = Unloadable


class RequiresUnserved(Toy):
    requires = ("orignal",)


class RequiresText(Toy):
    requires = "original"


class Thawed(Toy):
    class Params(ToyParams):
        model_config = ConfigDict(frozen=False)


class Forgetful(Toy):
    class Params(ToyParams):
        def model_dump(self, **options):
            return {"weight": round(super().model_dump(**options)["weight"])}


class DefaultOutside(Toy):
    class Params(ToyParams):
        epochs: int = fixed(0, minimum=1)


class SearchOutside(Toy):
    class Params(ToyParams):
        share: float = real(0.5, low=0.1, high=2.0, maximum=1.0)


class CannotSaysTrue(Toy):
    def cannot(self, task):
        return True


class Raises(Toy):
    def fit(self, task, params, run):
        raise RuntimeError("no luck")


class Doubled(ToyFitted):
    def predict(self, view):
        return {"score": self.user[view.columns["user"]].astype(np.float64)}


class WrongType(Toy):
    fitted = Doubled


class Renamed(ToyFitted):
    def predict(self, view):
        return {"scores": self.user[view.columns["user"]]}


class WrongKey(Toy):
    fitted = Renamed


class Short(ToyFitted):
    def predict(self, view):
        return {"score": self.user[view.columns["user"]][1:]}


class WrongRows(Toy):
    fitted = Short


class NotFinite(Toy):
    def fit(self, task, params, run):
        fitted = super().fit(task, params, run)
        fitted.user[task.train.user[0]] = np.nan
        return fitted


class GlobalRandom(Toy):
    def fit(self, task, params, run):
        fitted = super().fit(task, params, run)
        return self.fitted(fitted.user + np.frombuffer(os.urandom(4), dtype=np.uint32).astype(np.float32) / 2**32)


class Dropping(ToyFitted):
    count = 0

    def predict(self, view):
        Dropping.count += 1
        return {"score": self.user[view.columns["user"]] + np.float32(Dropping.count)}


class PredictsAnew(Toy):
    fitted = Dropping


LEFT = []  # label tables that other tests left in memory: no work of the runner under test


def label_tables():
    return [each for each in gc.get_objects() if type(each) is pd.DataFrame and list(each.columns) == ["label"]]


def find_labels():
    """What a runner that looks through memory would find: the hidden table of its task."""
    frames = [each for each in label_tables() if not any(each is left for left in LEFT)]
    return frames[0]["label"].to_numpy() if frames else None


class Peeks(Toy):
    """Predicts by hidden labels that it found in memory, and keeps none of them."""

    def fit(self, task, params, run):
        fitted, labels = super().fit(task, params, run), find_labels()
        return fitted if labels is None else self.fitted(fitted.user + labels.mean())


class Hoards(Toy):
    """Keeps hidden labels for later."""

    def fit(self, task, params, run):
        fitted, labels = super().fit(task, params, run), find_labels()
        fitted.later = lambda: labels
        return fitted


class Overwrites(Toy):
    def fit(self, task, params, run):
        fitted = super().fit(task, params, run)
        task.train.label[:10] = 1 - task.train.label[:10]
        return fitted


class OverwritesParent(Toy):
    requires = ("original",)

    def fit(self, task, params, run):
        with torch.no_grad():
            run.parent("original").model.embeddings.mul_(2)
        return super().fit(task, params, run)


class SortsView(ToyFitted):
    def predict(self, view):
        found = super().predict(view)
        view.columns["item"].sort()
        return found


class OverwritesView(Toy):
    fitted = SortsView


class CutsShort(Toy):
    """Takes a deadline for a stopping rule."""

    def fit(self, task, params, run):
        try:
            return super().fit(task, params, run)
        except DeadlineExceeded:
            return self.fitted(np.zeros(task.train.users, dtype=np.float32))


class NeverAsks(Toy):
    def fit(self, task, params, run):
        fitted = super().fit(task, params, RunContext(run.root))
        time.sleep(0.5)
        return fitted


class Rounded(ToyFitted):
    def save(self, folder):
        np.save(folder / "user.npy", self.user.astype(np.float16).astype(np.float32))


class LosesDigits(Toy):
    fitted = Rounded


class Prints(Toy):
    def fit(self, task, params, run):
        print("epoch 1")
        return super().fit(task, params, run)


BAD = {
    BadName: "declared",
    NoTitle: "declared",
    NoLoad: "declared",
    RequiresUnserved: "requires_served",
    RequiresText: "requires_served",
    Thawed: "params_frozen",
    Forgetful: "params_round_trip",
    DefaultOutside: "params_valid",
    SearchOutside: "params_valid",
    CannotSaysTrue: "cannot_answers",
    Raises: "fits",
    WrongType: "predictions_shape",
    WrongKey: "predictions_shape",
    WrongRows: "predictions_shape",
    NotFinite: "predictions_finite",
    GlobalRandom: "same_seed_same_digits",
    PredictsAnew: "same_seed_same_digits",
    Peeks: "labels_unreachable",
    Hoards: "labels_unreachable",
    Overwrites: "inputs_unchanged",
    OverwritesParent: "inputs_unchanged",
    OverwritesView: "inputs_unchanged",
    CutsShort: "deadline_kept",
    NeverAsks: "deadline_kept",
    LosesDigits: "saves_and_loads",
    Prints: "quiet",
}


def test_the_good_one_passes():
    results = check_runner(Toy)
    assert {each.status for each in results} == {"ok"}
    assert {each.name for each in results} == set(BAD.values())


@pytest.mark.parametrize(("runner", "broken"), BAD.items(), ids=[each.__name__ for each in BAD])
def test_each_fault_is_told_by_its_own_check(runner, broken, monkeypatch):
    LEFT[:] = label_tables()
    monkeypatch.setattr(craftbench.testing, "GRACE", 0.4)
    monkeypatch.setattr(craftbench.testing, "exercises", lambda kind: exercises(kind)[:1])
    results = [check.result() for check in checks(runner)]
    assert [each.name for each in results if each.status == "failed"] == [broken]
    with pytest.raises(ContractBroken, match=broken):
        check_runner(runner)


def test_a_runner_of_no_known_task_is_told_so():
    assert "Task, of which no paper here has a task" in checks(OtherTask)[0].result().reason


def test_a_runner_inside_a_function_is_told_so():
    class Local(Toy):
        pass

    assert "define it at the top" in checks(Local)[0].result().reason


def test_checks_are_tests(request):
    suite = checks(Prints)
    assert [str(check) for check in suite] == [check.name for check in suite]
    for check in suite:
        if check.name == "quiet":
            with pytest.raises(ContractBroken, match="it printed 'epoch 1'"):
                check()
        else:
            check()


# By name


def test_by_name(capsys):
    assert check_named("craftbench.baselines.unlearning.popularity:Popularity") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines[:-1] if not line.startswith("ok ") or len(line) > 80] == []
    assert check_named(f"{__name__}:NotFinite") == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(told) == 1
    assert "predictions_finite" in told[0]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("toy", "not of the form MODULE:CLASS"),
        (":Toy", "not of the form MODULE:CLASS"),
        ("no_such_package.toy:Toy", "there is no module 'no_such_package.toy'"),
        (f"{__name__}:Toyy", "unknown runner class 'Toyy'; did you mean 'Toy'?"),
        (f"{__name__}:ToyFitted", "is not a subclass of craftbench.Runner"),
        ("craftbench.core.runner:Runner", "is abstract"),
    ],
)
def test_there_is_no_such_runner(where, sentence):
    with pytest.raises(UsageError, match="(?s).*".join(sentence.split("…"))):
        check_named(where)


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_here\n")
    (tmp_path / "broken_on_import.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match="needs_more cannot be imported: No module named 'a_package_that_is_not_here'"):
        check_named("needs_more:Toy")
    with pytest.raises(UsageError, match="broken_on_import cannot be imported: ZeroDivisionError"):
        check_named("broken_on_import:Toy")
