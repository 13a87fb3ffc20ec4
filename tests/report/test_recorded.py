"""A reference file: what is gathered of a run, what is written, what is refused, and what a newer run replaces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from craftbench.benchmarks.catalogue import PAPERS, benchmark
from craftbench.core.errors import UsageError
from craftbench.report import numbers
from craftbench.report.audit import contradictions_in
from craftbench.report.claims import placed_contrasts
from craftbench.report.evidence import Evidence, estimate
from craftbench.report.gathering import gathered
from craftbench.report.recorded import Recorded, read, rounded, write

PLACE = "ml/mf/flip-10", "retrain"


@pytest.fixture(scope="module")
def evidence(run_once):
    return Evidence(run_once.benchmark, run_once.store, "quick")


@pytest.fixture(scope="module")
def found(evidence) -> Recorded:
    return gathered(evidence)


@pytest.fixture
def file(found: Recorded, tmp_path: Path) -> Path:
    write(found, tmp_path / "invented.json")
    return tmp_path / "invented.json"


def test_a_fit_has_its_settings_seeds_values_and_costs(evidence, found: Recorded, run_once) -> None:
    fit = found.at(PLACE)
    assert fit is not None
    records = [run_once.store.read(path) for path in evidence.lines[PLACE]["finals"]]
    assert fit.params == records[0]["cell"]["params"]
    assert fit.records == tuple(record["cell"]["id"][:12] for record in records)
    assert fit.seconds == tuple(record["provenance"]["cpu_seconds"] for record in records)
    assert fit.values["test/auc"] == tuple(record["result"]["metrics"]["test/auc"] for record in records)
    assert "distance" in fit.means, "columns that are derived from other rows are recorded, too"
    assert "time/end_to_end" in fit.means
    assert "time/end_to_end" not in fit.values, "no second run repeats a clock"
    assert found.origins[fit.origin].cpu == "Sim"
    assert found.tasks[fit.task]["fingerprint"] == "f1"


def test_what_a_figure_alone_shows_is_recorded_and_what_nothing_shows_is_not(run_once) -> None:
    drawn = replace(run_once.benchmark, tables=(), claims=())
    fit = gathered(Evidence(drawn, run_once.store, "quick")).at(PLACE)
    assert fit is not None
    assert "test/auc" in fit.values
    assert not gathered(Evidence(replace(drawn, figures=()), run_once.store, "quick")).fits


def test_an_estimate_from_a_file_is_that_of_the_records(evidence, file: Path) -> None:
    fit = read(file).at(PLACE)
    assert fit is not None
    expected = estimate(evidence.series(*PLACE, "test/auc"))
    assert expected is not None
    assert fit.estimate("test/auc").interval() == pytest.approx(expected.interval(), rel=1e-4)
    assert fit.means["test/auc"] == pytest.approx((expected.value, *expected.interval()), rel=1e-6)


def test_what_is_written_is_read_again_without_the_rows_that_lack_a_seed(found: Recorded, file: Path) -> None:
    again = read(file)
    lacking = {fit.place for fit in found.fits} - {fit.place for fit in again.fits}
    assert {row for _, row in lacking} == {"popular", "shards"}, "a seed of theirs was never run, or failed"
    for fit in again.fits:
        before = found.at(fit.place)
        assert before is not None
        assert fit.values == {column: tuple(map(rounded, values)) for column, values in before.values.items()}
        assert (fit.params, fit.records) == (before.params, before.records)
    assert list(contradictions_in(again)) == []
    write(again, file.with_name("again.json"))
    assert file.read_text() == file.with_name("again.json").read_text()
    assert all(len(line) < 2000 for line in file.read_text().splitlines()), "a line for each row"


def test_contrasts_are_those_that_the_claims_rest_on(evidence, found: Recorded) -> None:
    claims = {claim.id: claim for claim in evidence.benchmark.claims}
    assert {each.claim for each in found.contrasts} == {"C1", "C3", "C4", "C6"}, "no ratio of timings, and C5 was not run"
    (slope,) = [each for each in found.contrasts if each.claim == "C6"]
    assert slope.tasks == ("ml/mf/flip-2", "ml/mf/flip-10")
    (placed,) = placed_contrasts(evidence, claims["C6"])
    assert slope.estimate == placed.estimate


def test_a_newer_run_replaces_its_rows_and_keeps_the_others(found: Recorded) -> None:
    old = found.whole()
    part = [fit for fit in old.fits if fit.task == "sim/mf/flip-10"]
    newer = replace(
        old,
        origins=(replace(old.origins[0], commit="newer"),),
        fits=tuple(replace(fit, params={"lr": 1.0}) for fit in part),
        contrasts=(),
    )
    both = old.updated(newer)
    assert {fit.place for fit in both.fits} == {fit.place for fit in old.fits}
    for fit in both.fits:
        assert (both.origins[fit.origin].commit == "newer") == (fit.task == "sim/mf/flip-10") == (fit.params == {"lr": 1.0})
    assert all("sim/mf/flip-10" not in each.tasks for each in both.contrasts), "they were of the fits that are gone"
    assert any("ml/mf/flip-10" in each.tasks for each in both.contrasts)
    whole = old.updated(replace(old, origins=newer.origins))
    assert [origin.commit for origin in whole.origins] == ["newer"], "what nothing refers to any more goes"
    with pytest.raises(UsageError, match=r"other \(quick\) cannot be written into the reference of invented \(quick\)"):
        old.updated(replace(newer, paper="other"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plain: [], "does not have the settings and seeds"),
        (lambda plain: {**plain, "format": 1}, "does not have the settings and seeds"),
        (lambda plain: {**plain, "fits": None}, "is mangled"),
        (lambda plain: {**plain, "fits": [{**plain["fits"][0], "records": []}]}, "has 0 seeds, but not in"),
        (lambda plain: {**plain, "fits": [{**plain["fits"][0], "origin": 9}]}, "nothing says what"),
        (lambda plain: {**plain, "tasks": {}}, "nothing says what"),
        (lambda plain: {**plain, "contrasts": [{}]}, "is mangled"),
    ],
)
def test_a_mangled_file_is_one_sentence(file: Path, change, said: str) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UsageError, match=said) as caught:
        read(file)
    assert "craftbench results PAPER --store STORE --reference" in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"format": 2, "fits": [')
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        read(tmp_path / "cut.json")


# The files that ship


@pytest.mark.parametrize("paper", [*PAPERS, "cft-pretrained"])
def test_the_references_that_ship_agree_with_themselves(paper: str) -> None:
    shipped = read(numbers.REFERENCE / f"{paper}.json")
    assert list(contradictions_in(shipped)) == []
    declared = benchmark(shipped.paper).profile(shipped.profile)
    keys = {(task, row.key) for task, rows in declared.rows.items() for row in rows}
    assert {fit.place for fit in shipped.fits} <= keys
    seeds = {len(fit.records) for fit in shipped.fits}
    assert seeds == {{"cft": 5, "cft-pretrained": 1}.get(paper, 10)}


def test_the_report_finds_the_means_of_the_references() -> None:
    means = numbers.of_reference(benchmark("dml"))
    fit = read(numbers.REFERENCE / "dml.json").fits[0]
    assert means["B", fit.task, fit.row, "test/xauc"] == pytest.approx(np.mean(fit.values["test/xauc"]), rel=1e-6)
