"""A search is rebuilt from its records: interrupted, in another order or made longer, it asks what it would have asked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from craftbench.benchmarks import search
from craftbench.benchmarks.backends.backend import Event
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.cell import Job, compute
from craftbench.benchmarks.plan import Overrides
from craftbench.benchmarks.search import Tried, best_of, grid, parse_space, propose, thresholds
from craftbench.core.errors import UsageError
from craftbench.core.params import Space
from toybench import Descent, DescentParams, Lines, Shrink, ShrinkParams, toy
from toyhouse import drive, of, plan, records, results, written_plan

LINE = [Lines()]
SPACES = DescentParams.spaces()
DEFAULT = {name: getattr(DescentParams(), name) for name in SPACES}


class InHere:
    """A backend that computes in this process and hands outcomes back in an order of its own."""

    def __init__(self, seed: int) -> None:
        self.rng, self.waiting = random.Random(seed), {}

    def warm(self, modules: Sequence[str]) -> None: ...

    def has_room(self, job: Job) -> bool:
        return len(self.waiting) < 4

    def submit(self, ticket: int, job: Job) -> None:
        self.waiting[ticket] = job

    def wait(self, timeout: float) -> list[Event]:
        ticket = self.rng.choice(sorted(self.waiting))
        return [Event(ticket, "outcome", outcome=compute(self.waiting.pop(ticket), lambda step, value: None))]

    def close(self) -> None: ...


def trials(root: Path, name: str = "toy.smoke", row: str = "descent") -> list[dict[str, Any]]:
    """The parameters of each trial of a row, in the order of asking."""
    found, whole = written_plan(root, name), records(root)
    (line,) = [line for line in found["lines"] if line["row"] == row]
    return [whole[path]["cell"]["params"] for path in line["study"]["trials"]]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_order_of_completion_does_not_matter(sampler: str, tmp_path: Path) -> None:
    rows, made = [Row(Descent), Row(Shrink)], []
    for seed in range(3):
        drive(toy(rows, LINE, trials=14, sampler=sampler), tmp_path / f"{seed}", backend=InHere(seed))
        made.append(results(tmp_path / f"{seed}"))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_more_trials_go_on_where_fewer_stopped(sampler: str, tmp_path: Path) -> None:
    few = toy([Row(Descent)], LINE, trials=5, sampler=sampler)
    many = toy([Row(Descent)], LINE, trials=16, sampler=sampler)
    drive(few, tmp_path / "store", backend=InHere(0))
    first = trials(tmp_path / "store")
    drive(many, tmp_path / "store", backend=InHere(1))
    drive(many, tmp_path / "whole", backend=InHere(2))
    assert len(first) == 5
    assert trials(tmp_path / "store") == trials(tmp_path / "whole")
    assert trials(tmp_path / "whole")[:5] == first


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_trial_zero_is_the_published_setting_and_no_two_asks_are_alike(sampler: str, tmp_path: Path) -> None:
    drive(toy([Row(Descent)], LINE, trials=12, sampler=sampler), tmp_path / "store", backend=InHere(0))
    made = trials(tmp_path / "store")
    assert made[0] == DescentParams().model_dump()
    assert len({tuple(each.values()) for each in made}) == 12
    for each in made:
        DescentParams.resolve(each)


def test_asks_of_one_batch_differ() -> None:
    tried = [Tried(DEFAULT, 0.5), Tried({**DEFAULT, "rate": 0.2}, 0.7)]
    two, three = (propose(SPACES, DEFAULT, "tpe", "study", number, tried, {}) for number in (2, 3))
    assert two != three
    assert two == propose(SPACES, DEFAULT, "tpe", "study", 2, tried, {})
    assert two != propose(SPACES, DEFAULT, "tpe", "another study", 2, tried, {})


def test_a_default_outside_the_space_does_not_stop_a_search() -> None:
    spaces = {"rate": Space(low=1e-3, high=1.0, log=True), "shape": Space(choices=("a", "b"))}
    tried = [Tried({"rate": 0.0, "shape": "c"}, 0.5), *(Tried({"rate": 0.1, "shape": "a"}, k / 20) for k in range(12))]
    found = propose(spaces, {"rate": 0.0, "shape": "c"}, "tpe", "study", 13, tried, {})
    assert 1e-3 <= found["rate"] <= 1.0


def test_every_searched_row_gets_equal_trials_on_seeds_of_their_own(tmp_path: Path) -> None:
    drive(toy([Row(Descent), Row(Shrink), Row(Descent, key="twin")], LINE), tmp_path / "store", backend=InHere(0))
    assert {row: len(trials(tmp_path / "store", row=row)) for row in ("descent", "shrink", "twin")} == {
        "descent": 4,
        "shrink": 4,
        "twin": 4,
    }
    seeds = {kind: {r["cell"]["seed"]["root"] for r in of(tmp_path / "store", "descent", kind)} for kind in ("trial", "final")}
    assert len(seeds["trial"]) == 1
    assert len(seeds["final"]) == 2
    assert not seeds["trial"] & seeds["final"]


def test_trials_hold_nothing_of_the_test_part(tmp_path: Path) -> None:
    drive(toy(tasks=LINE), tmp_path / "store", backend=InHere(0))
    made = [record for record in records(tmp_path / "store").values() if record["cell"]["kind"] == "trial"]
    assert made
    for record in made:
        assert record["result"]["metrics"].keys() == {"valid/fit"}
        assert not {"metrics.parquet", "predictions.safetensors"} & record["files"].keys()


def test_no_tuning_row_is_a_test_row(tmp_path: Path) -> None:
    planner = plan(toy(tasks=LINE), tmp_path / "store")
    folder, task = planner.prepared["lines/low"].folder, LINE[0]
    opened, views = task.open(folder), {view.name: np.stack(list(view.columns.values()), 1) for view in task.views(folder)}
    tuned = {tuple(row) for row in np.concatenate([opened.x, opened.valid])}
    assert not tuned & {tuple(row) for row in views["test"]}


def test_a_grid_tries_every_published_value_once(tmp_path: Path) -> None:
    row = Row(Descent, pinned={"momentum": 0.0, "rounds": 6})
    drive(toy([row], LINE, trials=50, sampler="grid"), tmp_path / "store", backend=InHere(0))
    assert [each["rate"] for each in trials(tmp_path / "store")] == [0.05, 0.1, 0.2]
    asked = Overrides(spaces={"rate": Space(low=0.01, high=0.1, log=True)}, searched=("descent",))
    drive(toy([row], LINE, trials=50, sampler="grid"), tmp_path / "other", backend=InHere(0), overrides=asked)
    assert [round(each["rate"], 6) for each in trials(tmp_path / "other")] == [0.05, 0.01, 0.031623, 0.1]


def test_a_row_may_begin_its_search_elsewhere_than_at_the_defaults(tmp_path: Path) -> None:
    row = Row(Descent, pinned={"momentum": 0.0, "rounds": 6}, start={"rate": 0.17})
    drive(toy([row], LINE, trials=2), tmp_path / "store", backend=InHere(0))
    assert next(each["rate"] for each in trials(tmp_path / "store")) == 0.17


def test_grid_axes_without_published_values() -> None:
    assert grid({"a": Space(low=0, high=10, integer=True)}, {}, {"a": 5}) == [{"a": 5}, {"a": 0}, {"a": 10}]
    assert grid({"a": Space(low=0, high=1, integer=True)}, {}, {"a": 0}) == [{"a": 0}, {"a": 1}]
    assert grid({"a": Space(choices=(True, False))}, {}, {"a": True}) == [{"a": True}, {"a": False}]


def test_the_best_is_the_first_among_equals() -> None:
    assert best_of([Tried({}, None), Tried({}, 0.5), Tried({}, 0.7), Tried({}, 0.7)]) == 2
    assert best_of([Tried({}, None)]) is None


def test_thresholds_come_from_finished_trials_at_the_steps_they_reported() -> None:
    curves = [[(step, 0.1 * k + 0.01 * step) for step in range(10, 80, 10)] for k in range(4)]
    tried = [Tried({}, 1.0, curve) for curve in curves]
    assert thresholds("none", tried) == {}
    assert thresholds("median", tried[:3]) == {}
    found = thresholds("median", [*tried, Tried({}, None, [(50, 9.0)], pruned=True)])
    assert list(found) == [50, 60, 70]
    assert found[50] == pytest.approx(0.2 + 0.5)
    assert list(thresholds("hyperband", tried)) == [50]
    assert thresholds("hyperband", tried)[50] == pytest.approx(0.2 + 0.5)
    assert thresholds("median", [Tried({}, 1.0, [(1, 0.5)])] * 4) == {}


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_pruned_trials_are_recorded_and_rebuilt(pruner: str, tmp_path: Path) -> None:
    paper = toy([Row(Descent, pinned={"rounds": 12})], LINE, trials=16, pruner=pruner)
    drive(paper, tmp_path / "store", backend=InHere(0))
    made = of(tmp_path / "store", "descent", "trial")
    pruned = [record for record in made if record["result"]["status"] == "pruned"]
    assert pruned
    assert len(made) == 16
    for record in pruned:
        step, value = record["result"]["curve"][-1]
        assert value < record["cell"]["thresholds"][str(step)]
        assert "lies under the threshold" in record["result"]["reason"]
    drive(paper, tmp_path / "other", backend=InHere(5))
    assert results(tmp_path / "store") == results(tmp_path / "other")
    assert drive(paper, tmp_path / "store", backend=InHere(1)).done == 0


def test_the_best_settings_are_fitted_again_before_one_is_chosen(tmp_path: Path) -> None:
    paper = toy([Row(Descent), Row(Shrink)], LINE, trials=4, recheck=2, tuning_seeds=3)
    assert plan(paper, tmp_path / "none").expected() == 2 * (4 + 2 * 2 + 2)
    tally = drive(paper, tmp_path / "store", backend=InHere(0))
    assert tally.failed == 0
    whole, document = records(tmp_path / "store"), written_plan(tmp_path / "store")
    line = document["lines"][0]
    assert len(line["study"]["rechecks"]) == 4
    first = [whole[path]["result"]["metrics"]["valid/fit"] for path in line["study"]["trials"]]
    means = {}
    for number in sorted(range(4), key=lambda number: -first[number])[:2]:
        params = whole[line["study"]["trials"][number]]["cell"]["params"]
        again = [whole[path] for path in line["study"]["rechecks"] if whole[path]["cell"]["params"] == params]
        assert [record["cell"]["seed"]["index"] for record in again] == [1, 2]
        means[number] = np.mean([first[number], *(record["result"]["metrics"]["valid/fit"] for record in again)])
    assert line["study"]["best"] == max(means, key=lambda number: means[number])
    assert line["chosen"] == whole[line["study"]["trials"][line["study"]["best"]]]["cell"]["params"]
    drive(paper, tmp_path / "other", backend=InHere(3))
    assert results(tmp_path / "store") == results(tmp_path / "other")


def test_an_objective_that_is_no_number_never_wins(tmp_path: Path) -> None:
    from craftbench.benchmarks.store import Store

    drive(toy([Row(Descent)], LINE), tmp_path / "store", backend=InHere(0))
    line = plan(toy([Row(Descent)], LINE), tmp_path / "store").lines["lines/low", "descent"]
    record = Store(tmp_path / "store").read(next(path for path in records(tmp_path / "store") if "trial" in path))
    assert record is not None
    spoilt = {**record, "result": {**record["result"], "metrics": {"valid/fit": float("nan")}}}
    assert line._tried(spoilt).objective is None


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("rate=log(1e-3,0.1)", ("rate", Space(low=1e-3, high=0.1, log=True))),
        ("rounds=int(2,5)", ("rounds", Space(low=2, high=5, integer=True))),
        ("momentum=uniform(0,0.5)", ("momentum", Space(low=0.0, high=0.5))),
        ("momentum=choice(0.0,0.5)", ("momentum", Space(choices=(0.0, 0.5)))),
    ],
)
def test_a_space_on_the_command_line(text: str, space: tuple[str, Space]) -> None:
    assert parse_space(text, DescentParams) == space


@pytest.mark.parametrize(
    ("text", "params", "sentence"),
    [
        ("rate", DescentParams, "is not of the form"),
        ("rate=normal(0,1)", DescentParams, "is not of the form"),
        ("rat=log(1e-3,1)", DescentParams, "unknown parameter 'rat'; did you mean 'rate'"),
        ("rate=log(1,0.1)", DescentParams, "needs two increasing numbers"),
        ("rate=log(0,0.1)", DescentParams, "above zero for log"),
        ("rate=uniform(0.1)", DescentParams, "needs two increasing numbers"),
        ("rate=log(a,b)", DescentParams, "rate="),
        ("rounds=int(1.5,2)", DescentParams, "rounds="),
        ("shape=choice(plain,round)", ShrinkParams, "shape="),
        ("shape=uniform(plain,square)", ShrinkParams, "needs two increasing numbers"),
    ],
)
def test_a_wrong_space_is_one_sentence(text: str, params: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_space(text, params)
    assert sentence in str(caught.value)


def test_batches_are_two() -> None:
    """The digits of every search depend on it."""
    assert search.BATCH == 2
