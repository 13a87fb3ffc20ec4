"""Columns that are made of others: averages over metrics, gains over a row, notes, and a row compared with nothing."""

from dataclasses import replace

import numpy as np
import pytest
from craftbench.benchmarks.benchmark import Averaged, Claim, Column, Contrast, Table
from craftbench.report.claims import judge
from craftbench.report.evidence import Evidence, contrast, estimate

TASK = "ml/mf/flip-10"
MEAN = Averaged("av", "mean", prefix="test/auc")
GAIN = Averaged("ri", "gain", unit="%", prefix="test/auc", over="original")
NOTE = Column("note/iterations", "iterations")


@pytest.fixture(scope="module")
def evidence(run_once):
    table = Table("X", "", (MEAN, GAIN, NOTE), ("original", "retrain"))
    return Evidence(replace(run_once.benchmark, tables=(table,)), run_once.store, "quick")


def test_thin_metrics_are_left_out_of_an_average(evidence):
    """`test/auc_and` is carried by few, so the mean is `test/auc` alone, leave-outs included."""
    mean, auc = evidence.series(TASK, "retrain", "av"), evidence.series(TASK, "retrain", "test/auc")
    assert mean.values == pytest.approx(auc.values)
    np.testing.assert_allclose(mean.leave_out, auc.leave_out)


def test_a_gain_is_relative_to_the_other_row_of_the_same_seed(evidence):
    ours, base = (evidence.series(TASK, row, "test/auc") for row in ("retrain", "original"))
    gain = evidence.series(TASK, "retrain", "ri")
    assert gain.values == pytest.approx([100 * (a / b - 1) for a, b in zip(ours.values, base.values, strict=True)])
    np.testing.assert_allclose(gain.leave_out, 100 * (ours.leave_out / base.leave_out - 1))
    assert set(evidence.series(TASK, "original", "ri").values) == {0.0}


def test_a_row_without_another_is_compared_with_nothing(evidence):
    series = evidence.series(TASK, "retrain", "test/auc")
    alone, itself = contrast(series, series.zero()), estimate(series)
    assert (alone.value, alone.se) == pytest.approx((itself.value, itself.se))
    claim = Claim("C", "It is above .5.", "x", "greater", (Contrast("retrain", "", "test/auc", TASK),), margin=0.5)
    (verdict,) = judge(evidence, claim)
    assert verdict.word == "supported"
    assert " - " not in verdict.parts[0].name


def test_notes_are_columns(evidence, run_once):
    path = evidence.lines[TASK, "retrain"]["finals"][0]
    noted = run_once.store.read(path)["result"]["notes"]
    assert evidence.series(TASK, "retrain", "note/nowhere").values[0] is None
    for name, value in noted.items():
        assert evidence.series(TASK, "retrain", f"note/{name}").values[0] == pytest.approx(value)
