"""What a run does with a plan: selections, inheritance, timing cells, added seeds, sweeps, holes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.explain import explain
from craftbench.benchmarks.export import export_searches
from craftbench.benchmarks.plan import Overrides
from craftbench.benchmarks.store import Store
from craftbench.benchmarks.sweep import swept
from craftbench.core.errors import UsageError
from craftbench.core.params import Space
from toybench import ROWS, Descent, Lines, Shrink, Zero, toy
from toyhouse import drive, of, plan, records, written_plan

LINE = [Lines()]


def lines(root: Path, name: str = "toy.smoke") -> dict[str, dict[str, Any]]:
    return {line["row"]: line for line in written_plan(root, name)["lines"]}


def test_a_whole_run_fills_every_place_of_the_plan(tmp_path: Path) -> None:
    paper = toy(timings="ticks")
    tally = drive(paper, tmp_path / "store")
    assert tally.failed == 0
    assert tally.finished == tally.planned
    document, store = written_plan(tmp_path / "store"), Store(tmp_path / "store")
    assert document["objective"] == "valid/fit"
    assert [task["key"] for task in document["tasks"]] == ["lines/low", "lines/high"]
    for line in document["lines"]:
        assert line["hole"] is None
        assert all(store.read(path) for path in line["finals"])
        assert (line["study"] is None) == (line["row"] in ("heir", "zero"))
    (timing,) = document["timings"]
    record = store.read(timing["record"])
    assert record is not None
    assert record["provenance"]["timings"] == {"tick": [0.001] * 5}
    assert record["provenance"]["threads"] == 2
    assert drive(paper, tmp_path / "store").done == 0
    assert not list((tmp_path / "store" / "tmp").glob("*"))


def test_settings_say_where_each_value_comes_from(tmp_path: Path) -> None:
    overrides = Overrides(set={"descent": {"momentum": "0.25"}})
    drive(toy(tasks=LINE), tmp_path / "store", overrides=overrides)
    found = lines(tmp_path / "store")
    sources = {row: {each["name"]: each["source"] for each in found[row]["settings"]} for row in ("descent", "heir")}
    assert sources["descent"] == {
        "rate": "searched",
        "momentum": "--set",
        "rounds": "searched",
        "every": "default",
        "nap": "default",
    }
    assert sources["heir"]["momentum"] == "pinned"
    assert sources["heir"]["rate"] == "inherited"
    assert found["heir"]["chosen"] == {**found["descent"]["chosen"], "momentum": 0.5}


def test_a_selected_row_brings_what_it_needs_and_no_more(tmp_path: Path) -> None:
    drive(toy(), tmp_path / "store", rows=["heir"])
    kinds = sorted({(record["cell"]["runner"], record["cell"]["kind"]) for record in records(tmp_path / "store").values()})
    assert kinds == [("descent", "final"), ("descent", "trial")]
    momenta = {record["cell"]["params"]["momentum"] for record in of(tmp_path / "store", "descent")}
    assert momenta == {0.5}, "the seeds of the row that it inherits from are not its need"
    drive(toy(), tmp_path / "other", rows=["shrink"])
    assert {record["cell"]["runner"] for record in records(tmp_path / "other").values()} == {"descent", "shrink"}
    assert len(of(tmp_path / "other", "descent")) == 4


def test_unknown_names_are_one_sentence(tmp_path: Path) -> None:
    planner = plan(toy(), tmp_path / "store")
    with pytest.raises(UsageError, match="unknown runner 'shrnk'; did you mean 'shrink'"):
        planner.select(["shrnk"], [])
    with pytest.raises(UsageError, match="unknown dataset 'line'; did you mean 'lines'"):
        planner.select([], ["line"])
    with pytest.raises(UsageError, match="unknown row 'descnt'"):
        plan(toy(), tmp_path / "store", Overrides(set={"descnt": {"rate": "1"}}))
    with pytest.raises(UsageError, match="greater than or equal to 0"):
        plan(toy(), tmp_path / "store", Overrides(set={"descent": {"rate": "-1"}}))
    with pytest.raises(UsageError, match="has no row 'descent', which another row of it needs"):
        plan(toy([Row(Shrink)]), tmp_path / "store")


def test_a_dataset_that_is_not_here_is_a_hole_with_its_command(tmp_path: Path) -> None:
    tasks = [Lines(), Lines("far/low", dataset="far", missing=True)]
    tally = drive(toy([Row(Zero)], tasks), tmp_path / "store")
    assert (tally.done, tally.failed) == (2, 0)
    far = written_plan(tmp_path / "store")["tasks"][1]
    assert far["hole"]["command"] == "craftbench data get far"
    assert far["fingerprint"] is None


def test_seeds_added_after_looking_make_a_run_exploratory(tmp_path: Path) -> None:
    store, few, many = tmp_path / "store", toy(tasks=LINE, seeds=2), toy(tasks=LINE, seeds=3)

    def exploratory() -> bool:
        return written_plan(store)["exploratory"]

    drive(few, store)
    assert not exploratory()
    drive(few, store)
    assert not exploratory(), "running again adds nothing"
    drive(many, store)
    assert exploratory()
    drive(many, store)
    assert exploratory(), "it stays so"


def test_seeds_added_before_anything_was_seen_are_no_second_look(tmp_path: Path) -> None:
    store = tmp_path / "store"
    drive(toy(ROWS[-1:], LINE, seeds=2), store, within=0.0)
    drive(toy(ROWS[-1:], LINE, seeds=4), store)
    drive(toy(ROWS[-1:], LINE, seeds=4), store)
    assert not written_plan(store)["exploratory"]


def test_a_sweep_searches_the_named_rows_and_fits_no_seed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    paper, overrides = swept(toy(tasks=LINE), "smoke", ["shrink"], ["factor=uniform(0.6,0.8)"], 6, "random", "none", {})
    tally = drive(paper, store, overrides=overrides, rows=["shrink"], finals=False)
    assert tally.failed == 0
    assert not [path for path in records(store) if "/final-" in path]
    found = lines(store, "toy.sweep")
    assert len(found["shrink"]["study"]["trials"]) == 6
    assert len(found["descent"]["study"]["trials"]) == 4, "what it starts from keeps its own budget"
    factors = [record["cell"]["params"]["factor"] for record in of(store, "shrink", "trial")]
    assert sum(0.6 <= factor <= 0.8 for factor in factors) == 5, "all but the published setting"
    edge = {each["name"]: each["source"] for each in found["shrink"]["settings"]}
    assert edge["factor"] == "searched"
    drive(toy(ROWS[:2], LINE), store)
    assert len(of(store, "descent", "trial")) == 4, "a profile's trials serve a sweep and the other way round"


def test_a_sweep_over_rows_finds_the_row_that_has_the_parameter(tmp_path: Path) -> None:
    _, overrides = swept(toy(), "smoke", ["shrink", "descent"], ["rate=log(0.01,0.1)"], 6, "tpe", "none", {})
    assert overrides.spaces == {"rate": Space(low=0.01, high=0.1, log=True)}
    with pytest.raises(UsageError, match="unknown parameter 'rte'"):
        swept(toy(), "smoke", ["shrink"], ["rte=log(0.01,0.1)"], 6, "tpe", "none", {})
    with pytest.raises(UsageError, match="unknown runner 'shrunk'"):
        swept(toy(), "smoke", ["shrunk"], [], 6, "tpe", "none", {})


def test_searches_go_to_an_optuna_storage_and_back(tmp_path: Path) -> None:
    import optuna

    store = tmp_path / "store"
    drive(toy(tasks=LINE), store)
    url = f"sqlite:///{tmp_path}/searches.db"
    for _ in range(2):  # the second copy replaces the first
        assert export_searches(Store(store), url) == 3
    storage = optuna.storages.RDBStorage(url)
    try:
        summaries = optuna.get_all_study_summaries(storage)
        assert {each.study_name for each in summaries} == {f"toy.smoke/lines/low/{row}" for row in ("descent", "shrink", "twin")}
        study = optuna.load_study(study_name="toy.smoke/lines/low/descent", storage=storage)
        whole, line = records(store), lines(store)["descent"]
        expected = [whole[path] for path in line["study"]["trials"]]
        assert [trial.value for trial in study.trials] == [record["result"]["metrics"]["valid/fit"] for record in expected]
        for trial, record in zip(study.trials, expected, strict=True):
            assert trial.params == {name: record["cell"]["params"][name] for name in line["study"]["space"]}
            assert trial.datetime_start is not None
            assert trial.datetime_start.timestamp() == datetime.fromisoformat(record["provenance"]["started"]).timestamp()
            assert whole[trial.user_attrs["record"]] == record
        assert study.best_trial.number == line["study"]["best"]
        assert study.user_attrs == {"objective": "valid/fit"}
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_a_study_without_a_trial_is_not_exported(tmp_path: Path) -> None:
    benchmark, overrides = swept(toy([Row(Descent), Row(Shrink)], LINE), "smoke", ["descent"], [], 2, "tpe", "none", {})
    drive(benchmark, tmp_path / "store", overrides=overrides, rows=["descent"], finals=False)
    assert export_searches(Store(tmp_path / "store"), f"sqlite:///{tmp_path}/searches.db") == 1


def test_a_storage_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot open the Optuna storage"):
        export_searches(Store(tmp_path), "nonsense://nowhere")


def test_a_plan_tells_what_is_held_and_what_comes_later(tmp_path: Path) -> None:
    store, paper = tmp_path / "store", toy(tasks=LINE, timings="ticks")
    before = explain(plan(paper, store))
    assert (before["held"], before["new"], before["after"]) == (0, 6, 16)
    assert {line["row"]: line["note"] for line in before["lines"]}["shrink"] == "seeds after its study"
    drive(paper, store)
    after = explain(plan(paper, store))
    assert (after["new"], after["after"]) == (0, 0)
    assert after["held"] == 22


def test_a_plan_leaves_the_store_unlocked(tmp_path: Path) -> None:
    with Store(tmp_path / "store").locked("a driver"):
        explain(plan(toy(), tmp_path / "store"))


def test_the_tally_adds_up_at_every_step(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    drive(toy(), tmp_path / "store", listener=lambda tally, line: seen.append((tally.finished, tally.planned, len(tally.running))))
    assert all(finished + running <= planned and running <= 2 for finished, planned, running in seen)
    assert json.dumps(seen[-1]) == json.dumps([42, 42, 0])
