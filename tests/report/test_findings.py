"""Records become cells, marks, holes, searches and verdicts; what is missing never stops the rest."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from craftbench.benchmarks.benchmark import Claim, Contrast
from craftbench.benchmarks.store import Store
from craftbench.core.statistics import difference, holm, summary, two_sided
from craftbench.report.claims import _on_hand, judge
from craftbench.report.evidence import Evidence
from craftbench.report.findings import findings, results
from craftbench.report.shapes import as_json


@pytest.fixture(scope="module")
def found(run_once):
    return findings(run_once.benchmark, run_once.store, "quick")


def cell(found, row, column="test/auc", block=0):
    lines = {line.row: line for line in found.tables[0].blocks[block].lines}
    return next(each for each in lines[row].cells if each.column == column)


def read(world, path, metric):
    table = pd.read_parquet(world.store.folder(path) / "metrics.parquet")
    table = table[(table["view"] == "test") & (table["metric"] == metric)]
    return table[table.group < 0].value.item(), table[table.group >= 0].value.to_numpy()


def test_a_cell_is_the_mean_and_interval_over_seeds_and_users(found, run_once):
    shown = cell(found, "unlearn")
    values, without = zip(*(read(run_once, path, "auc") for path in shown.records), strict=True)
    expected = summary(values, np.stack(without))
    assert shown.values == values
    assert (shown.mean, shown.ci) == (expected.value, expected.interval())
    assert (shown.n, shown.users, shown.positives, shown.status) == (5, 300, 4000, "ok")


def test_marks_are_two_sided_tests_against_the_reference_adjusted_by_holm(found, run_once):
    reference = cell(found, "retrain")
    rows = [row for row in ("original", "unlearn", "popular", "placebo") if cell(found, row).mean is not None]
    ps = []
    for row in rows:
        seeds = [seed for seed, value in enumerate(cell(found, row).values) if value is not None]
        ours, theirs = ([read(run_once, each.records[seed], "auc") for seed in seeds] for each in (cell(found, row), reference))
        ours, theirs = list(zip(*ours, strict=True)), list(zip(*theirs, strict=True))
        ps.append(two_sided(difference(ours[0], theirs[0], np.stack(ours[1]), np.stack(theirs[1]))))
    assert [cell(found, row).p for row in rows] == pytest.approx(holm(ps))
    marks = {row: cell(found, row).mark for row in (*rows, "retrain")}
    assert marks == {"original": "worse", "unlearn": "tie", "popular": "worse", "placebo": "worse", "retrain": "reference"}


def test_where_less_is_better_less_is_marked_better(found):
    assert cell(found, "unlearn", "time/end_to_end").mark == "better"


def test_cells_that_few_carry_are_thin_unmarked_and_out_of_one_average(found):
    assert cell(found, "unlearn", "test/auc_and").thin
    assert cell(found, "unlearn", "test/auc_and").mark == ""
    averages = {line.title: line.cells for line in found.tables[0].averages if line.row == "unlearn"}
    every, sound = averages["Unlearn, all cells (paper's data)"], averages["Unlearn, without thin cells (paper's data)"]
    assert every[1].mean == pytest.approx(
        (cell(found, "unlearn", "test/auc_and").mean + cell(found, "unlearn", "test/auc_and", 1).mean) / 2
    )
    assert sound[1].mean is None
    assert sound[0].mean == every[0].mean


def test_derived_columns_are_computed_from_predictions_of_the_same_seed(found):
    assert cell(found, "retrain", "distance").mean == 0
    assert cell(found, "unlearn", "distance").mean == pytest.approx((1 - 0.7698) ** 2, rel=0.1)
    assert cell(found, "unlearn", "distance").ci[0] > 0


@pytest.mark.parametrize(
    ("row", "block", "status", "reason", "command"),
    [
        (
            "shards",
            0,
            "failed",
            "shard 3 is empty",
            "craftbench run invented --profile quick --runner shards --dataset ml --retry failed",
        ),
        ("shards", 1, "partial", "1 of 5 seeds missing", "--retry failed"),
        ("popular", 0, "partial", "1 of 5 seeds missing: not run", "--runner popular"),
        ("extra", 0, "hole", "not in the quick profile", "craftbench run invented --profile standard --runner extra"),
        ("unlearn", 3, "hole", "not on this machine", "craftbench data get away"),
    ],
)
def test_a_hole_says_why_and_how_to_fill_it(found, row, block, status, reason, command):
    shown = cell(found, row, block=block)
    assert shown.status == status
    assert reason in shown.reason
    assert command in shown.command


def test_failures_carry_reason_and_traceback(found):
    failed = [each for each in found.failures if each.task == "ml/mf/flip-10"]
    assert {each.row for each in failed} == {"shards"}
    assert "Traceback" in failed[0].traceback


def test_verdicts_keep_scopes_apart(found):
    words = {(verdict.claim, verdict.scope): verdict.word for verdict in found.verdicts}
    assert words == {
        ("C1", "paper's data"): "supported",
        ("C2", "paper's data"): "contradicted",
        ("C2", "simulated"): "contradicted",
        ("C3", "paper's data"): "supported",
        ("C3", "simulated"): "supported",
        ("C4", "paper's data"): "contradicted",
        ("C4", "simulated"): "contradicted",
        ("C5", "no data"): "not run",
        ("C6", "paper's data"): "supported",
        ("C7", "simulated"): "supported",
    }


def test_a_verdict_names_what_could_have_been_seen_and_how_to_judge_what_was_not_run(found):
    verdicts = {verdict.claim: verdict for verdict in found.verdicts}
    assert 0 < verdicts["C1"].parts[0].visible < 0.004
    assert verdicts["C1"].parts[1].control
    assert verdicts["C5"].command == "craftbench run invented --profile standard"
    assert verdicts["C5"].elsewhere
    assert verdicts["C3"].note == "Not on this machine, so not judged: away/mf/flip-10"


def test_an_equivalence_without_a_control_that_differs_is_inconclusive(run_once):
    claims = tuple(dataclasses.replace(claim, controls=()) for claim in run_once.benchmark.claims if claim.id == "C1")
    (verdict,) = findings(dataclasses.replace(run_once.benchmark, claims=claims), run_once.store, "quick").verdicts
    assert verdict.word == "inconclusive"


def judged(world, **changes):
    claim = dataclasses.replace(next(each for each in world.benchmark.claims if each.id == "C1"), **changes)
    return findings(dataclasses.replace(world.benchmark, claims=(claim,)), world.store, "quick").verdicts[0]


def test_what_few_carry_decides_nothing(run_once):
    verdict = judged(run_once, contrasts=(Contrast("unlearn", "retrain", "test/auc_and", "ml/mf/flip-10"),))
    assert verdict.word == "not run"
    assert verdict.reason.startswith("Fewer than 100 users or positives carry it: Unlearn - Retrain in AUC-and")


def test_a_row_that_does_not_exceed_the_floor_carries_no_verdict(run_once):
    contrasts = (Contrast("unlearn", "original", "test/auc", "ml/mf/flip-10"),)
    low = judged(run_once, form="greater", margin=0.0, controls=(), contrasts=contrasts, above=("popular", "test/auc"))
    assert (low.word, low.reason) == (
        "not run",
        "Original not above Popular on ml/mf/flip-10: Unlearn - Original in AUC on ml/mf/flip-10.",
    )
    enough = judged(run_once, form="greater", margin=0.0, controls=(), contrasts=contrasts, above=("placebo", "test/auc"))
    assert enough.word == "supported"


def test_a_task_of_another_profile_is_judged_in_its_own_scope_alone(run_once):
    elsewhere = dataclasses.replace(run_once.benchmark.profiles["standard"].tasks[0], key="games/x", scope="tiny model")
    standard = dataclasses.replace(run_once.benchmark.profiles["standard"], tasks=(elsewhere,))
    claim = next(each for each in run_once.benchmark.claims if each.id == "C1")
    contrasts = tuple(Contrast("unlearn", "original", "test/auc", task) for task in ("ml/mf/flip-10", "games/x"))
    claim = dataclasses.replace(claim, form="greater", margin=0.0, controls=(), contrasts=contrasts)
    profiles = {**run_once.benchmark.profiles, "standard": standard}
    changed = dataclasses.replace(run_once.benchmark, claims=(claim,), profiles=profiles)
    one, other = findings(changed, run_once.store, "quick").verdicts
    assert (one.scope, one.word) == ("paper's data", "supported")
    assert (other.scope, other.word, other.reason) == ("tiny model", "not run", "Not in this profile: games/x.")


def test_a_trend_is_the_slope_over_the_number_in_the_label_that_differs(run_once, found):
    differences = []
    for block in (1, 0):  # 2 % and 10 % flipped
        ours, theirs = cell(found, "retrain", block=block), cell(found, "original", block=block)
        differences.append(np.subtract(ours.values, theirs.values))
    verdict = next(each for each in found.verdicts if each.claim == "C6")
    assert verdict.parts[0].estimate == pytest.approx(np.mean(differences[1] - differences[0]) / 8)


def test_fewer_seeds_than_declared_are_said(run_once):
    assert "Declared for 20 seeds; 5 were run" in judged(run_once, seeds=20).note


def test_searches_say_how_they_went(found):
    studies = {(study.task, study.row): study for study in found.studies}
    searched = studies["ml/mf/flip-10", "unlearn"]
    assert len(searched.trials) == 16
    assert searched.edges == ("damping",)  # 1e-3 is the end of its range
    assert set(searched.importance) == {"damping", "lr"}
    assert studies["ml/mf/flip-10", "original"].importance == {}  # 3 trials say nothing


def test_a_step_that_the_timing_leaves_out_is_not_called_a_timing_that_was_not_run(run_once):
    claim = Claim("C9", "faster", "ours", "ratio_above", (Contrast("shards", "update", "timing/steps"),), margin=1.0)
    (verdict,) = judge(Evidence(run_once.benchmark, run_once.store, "quick"), claim)
    assert verdict.word == "not run"
    assert verdict.reason.startswith("This profile's timing leaves a row out: ")


def test_timings_are_medians_and_ratios_to_the_fastest(found):
    (timing,) = found.timings
    steps = {step["step"]: step for step in timing.steps}
    assert timing.base == "update"
    assert steps["retrain"]["median"] == 2.1
    assert steps["retrain"]["ratio"] == pytest.approx(np.exp(np.mean(np.log([2.0 / 0.1, 2.1 / 0.11, 2.2 / 0.1]))))


def test_figures_have_a_point_for_each_row_or_task(found):
    size, cost, rows, hole, *_ = found.figures
    assert [point.x for point in size.panels[0].series["Retrain"]] == [2.0, 10.0]
    assert len(cost.panels[0].series["all rows"]) == 5  # the shards failed
    assert [(panel.title, panel.y_title) for panel in rows.panels] == [("ml/mf/flip-10", "AUC"), ("ml/mf/flip-10", "distance")]
    assert hole.panels == ()
    assert "standard" in hole.command


def test_pictures_show_what_the_plan_keeps_of_the_data_and_are_holes_without(found):
    here, away = found.pictures
    (panel,) = here.panels
    assert (panel.title, panel.scope) == ("ml", "paper's data")
    assert [(point.x, point.y, point.low) for point in panel.series["all"]] == [(1.0, 0.5, None), (2.0, 0.3, None)]
    assert len(panel.series["few"]) == 1
    assert not away.panels
    assert away.command == "craftbench run invented --profile quick"


def test_curves_are_means_over_seeds_while_half_of_them_go_on(found):
    lines, surface, never = found.figures[4:]
    (panel,) = lines.panels
    assert panel.lines
    assert list(panel.series) == ["all", "few", "Retrain", "Unlearn"]  # the shards failed
    assert [point.x for point in panel.series["Unlearn"]] == [1, 2, 3, 4, 5]  # epochs 6 and 7 are of two seeds and of one
    assert [point.y for point in panel.series["Unlearn"]] == pytest.approx([7 + 2, 14 + 2, 21 + 2, 28 + 2.5, 35 + 3])
    first = panel.series["Unlearn"][0]
    assert (first.low, first.high) == pytest.approx(summary([7.0, 8.0, 9.0, 10.0, 11.0]).interval())
    assert not never.panels
    assert "standard" in never.command
    (panel,) = surface.panels
    assert (panel.title, panel.surface.x, panel.surface.y) == ("ml, Unlearn", (0, 5), (0, 10, 20))
    assert np.array(panel.surface.z) == pytest.approx(0.2 + 0.01 * np.add.outer([0, 10, 20], [0, 5]))
    assert (panel.surface.low, panel.surface.high) == pytest.approx((0.2, 0.45))


def test_a_metric_that_is_undefined_is_a_hole(run_once, tmp_path):
    store = Store(tmp_path)
    path = "cells/invented/ml/mf/flip-10/original/final-0-0123456789ab"
    record = {name: dict(part) if isinstance(part, dict) else part for name, part in run_once.store.read(path).items()}
    record["result"]["metrics"] = {"test/auc": float("nan")}
    store.write(path, record, {})
    plan = run_once.store.folder("plans/invented.quick.json").read_text()
    store.write_plain("plans/invented.quick.json", plan)
    shown = cell(findings(run_once.benchmark, store, "quick"), "original")
    assert (shown.mean, shown.status) == (None, "hole")


def test_results_are_one_object_per_cell(found):
    listed = results(found)
    assert len(listed) == 4 * 7 * 4
    assert {"table", "dataset", "row", "column", "unit", "mean", "ci", "n", "published"} <= listed[0].keys()
    json.dumps(listed, allow_nan=False)


def test_a_store_with_nothing_in_it_is_a_report_full_of_holes(never_run):
    empty = findings(never_run.benchmark, never_run.store, "quick")
    assert {each["status"] for each in results(empty)} == {"hole"}
    assert {verdict.word for verdict in empty.verdicts} == {"not run"}
    assert all(line.cells[0].command for block in empty.tables[0].blocks for line in block.lines)


def test_findings_are_json(found):
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["paper"] == "invented"


def test_what_is_not_finite_becomes_nothing_in_json():
    assert as_json({"a": float("nan"), "b": (np.float32(1.5), float("inf"))}) == {"a": None, "b": [1.5, None]}


def test_what_must_be_fetched_by_hand_keeps_no_claim_from_its_verdict() -> None:
    """Of contrasts that name their tasks, those on data of this machine are judged; where none is, all are missing."""
    here, away = SimpleNamespace(task="here"), SimpleNamespace(task="away")
    evidence: Any = SimpleNamespace(tasks={"here": {}, "away": {"hole": {"reason": "not on this machine"}}})
    both: Any = [here, away]
    assert _on_hand(evidence, both) == [here]
    assert _on_hand(evidence, both[1:]) == [away]
