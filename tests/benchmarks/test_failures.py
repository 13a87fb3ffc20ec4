"""A runner that goes wrong is a failed record with its reason; the rest of the table goes on, and retrying is explicit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from craftbench.benchmarks.backends import local
from craftbench.benchmarks.benchmark import Row
from craftbench.benchmarks.plan import Overrides
from toybench import Descent, Lines, Refuses, Shrink, Trouble, Zero, toy
from toyhouse import Process, drive, of, records, results, written_plan

LINE = [Lines()]


def trouble(how: str, where: Path | str = "", key: str = "trouble") -> Row:
    return Row(Trouble, key=key, pinned={"how": how, "where": str(where), "level": 1.0})


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raises", "ArithmeticError: it does not converge"),
        ("nan", "FloatingPointError: predictions 'score' of view 'valid' are not finite"),
        ("shape", "ValueError: predictions 'score' of view 'valid' have 29 rows instead of 30"),
        ("leaves", "the worker died (exit code 3)"),
        ("exits", "the worker died (exit code 4)"),
    ],
)
def test_a_failure_is_a_record_with_its_reason(how: str, reason: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    tally = drive(toy([trouble(how), Row(Zero)], LINE), store)
    assert (tally.done, tally.failed) == (2, 2)
    for record in of(store, "trouble"):
        assert record["result"]["status"] == "failed"
        assert record["result"]["reason"] == reason
        assert record["provenance"]["attempts"] == 1
        assert ("Traceback" in record["result"]["traceback"]) == (how in ("raises", "nan", "shape"))
    assert all(record["result"]["status"] == "ok" for record in of(store, "zero"))
    again = drive(toy([trouble(how), Row(Zero)], LINE), store)
    assert (again.held, again.failed, again.failed_before) == (4, 0, 2), "a failure is not run again by itself"


def test_a_deadline_ends_a_fit_that_reports_and_one_that_never_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_GRACE_SECONDS", 0.5)
    rows = [trouble("late", key="late"), trouble("hangs", key="hangs"), Row(Zero)]
    tally = drive(toy(rows, LINE, seeds=1, deadline=1.0), tmp_path / "store")
    assert (tally.done, tally.failed) == (1, 2)
    reasons = {record["cell"]["params"]["how"]: record["result"]["reason"] for record in of(tmp_path / "store", "trouble")}
    assert reasons == {"late": "passed its deadline of 1 s", "hangs": "passed its deadline and did not stop by itself"}


def test_a_runner_over_its_memory_is_ended(tmp_path: Path) -> None:
    tally = drive(toy([trouble("eats"), Row(Zero)], LINE, seeds=1), tmp_path / "store", memory=600)
    assert (tally.done, tally.failed) == (1, 1)
    (record,) = of(tmp_path / "store", "trouble")
    assert "over its cap of 600 MB (--memory)" in record["result"]["reason"]
    assert record["provenance"]["attempts"] == 1


def test_what_a_runner_says_goes_into_its_record(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    drive(toy([trouble("prints")], LINE, seeds=1), tmp_path / "store")
    (record,) = of(tmp_path / "store", "trouble")
    assert record["result"]["status"] == "ok"
    assert record["provenance"]["log"] == "said on stdout\nsaid on stderr\n"
    assert "said on" not in "".join(capfd.readouterr())


def test_exit_code_one_when_cells_failed(tmp_path: Path) -> None:
    with Process(["run", "toy", "--profile", "smoke", "--store", tmp_path / "store"], {"deadline": 1e-9}) as driver:
        code, said = driver.finish()
    assert code == 1
    assert "Run failed cells again with: craftbench run toy --profile smoke" in said
    assert "Traceback" not in said


def test_retry_runs_exactly_the_failed_cells_again(tmp_path: Path) -> None:
    (marks := tmp_path / "marks").mkdir()
    store, paper = tmp_path / "store", toy([trouble("raises", marks), Row(Zero), trouble("raises", key="hopeless")], LINE)
    assert drive(paper, store).failed == 4
    before = {path: (store / path / "record.json").read_bytes() for path in records(store)}
    (marks / "well").touch()
    tally = drive(paper, store, rows=["trouble"], retry=True)
    assert (tally.done, tally.failed, tally.held) == (2, 0, 0)
    kept = [path for path in before if (store / path / "record.json").read_bytes() == before[path]]
    assert len(kept) == 4
    assert len(list((store / "retired").glob("**/record.json"))) == 2
    tally = drive(paper, store, retry=True)
    assert (tally.done, tally.failed, tally.held) == (0, 2, 4)


def test_a_failed_trial_is_retried_before_its_study_decides(tmp_path: Path) -> None:
    """As if it had never failed: what was asked after it may be asked anew, and the choice is made on whole trials."""
    (marks := tmp_path / "marks").mkdir()
    row = Row(Trouble, pinned={"how": "raises", "where": str(marks)})
    store = tmp_path / "store"
    tally = drive(toy([row], LINE), store)
    assert (tally.done, tally.failed) == (0, 4)
    (line,) = written_plan(store)["lines"]
    assert line["hole"]["reason"] == "every trial of its study failed: ArithmeticError: it does not converge"
    (marks / "well").touch()
    tally = drive(toy([row], LINE), store, retry=True)
    assert (tally.done, tally.failed) == (6, 0)
    drive(toy([row], LINE), tmp_path / "other")
    assert results(store) == results(tmp_path / "other")


def test_a_dependent_of_a_failed_cell_fails_by_its_parent(tmp_path: Path) -> None:
    overrides = Overrides(
        set={"descent": {"rate": 1e300, "momentum": 0.0, "rounds": 6}, "shrink": {"factor": 1.0, "shape": "plain"}}
    )
    tally = drive(toy([Row(Descent), Row(Shrink), Row(Zero)], LINE), tmp_path / "store", overrides=overrides)
    assert (tally.done, tally.failed) == (2, 4)
    for record, parent in zip(of(tmp_path / "store", "shrink"), of(tmp_path / "store", "descent"), strict=True):
        assert record["result"]["reason"].startswith(
            "starts from descent, which gave no model (see cells/toy/lines/low/descent/final-"
        )
        assert parent["result"]["status"] == "failed"


def test_a_hole_of_a_study_reaches_the_rows_that_need_it(tmp_path: Path) -> None:
    rows = [Row(Shrink), Row(Descent, pinned={"every": 1}), Row(Descent, key="heir", inherits="descent")]
    paper = toy(rows, LINE, deadline=1e-9)
    drive(paper, tmp_path / "store")
    holes = {line["row"]: line["hole"]["reason"] for line in written_plan(tmp_path / "store")["lines"]}
    assert holes["descent"].startswith("every trial of its study failed: passed its deadline")
    assert holes["shrink"] == holes["heir"] == f"needs descent: {holes['descent']}"


def test_a_runner_that_cannot_is_no_failure(tmp_path: Path) -> None:
    tally = drive(toy([Row(Refuses)], LINE), tmp_path / "store")
    assert (tally.done, tally.failed) == (2, 0)
    record: dict[str, Any] = of(tmp_path / "store", "refuses")[0]
    assert record["result"]["status"] == "cannot"
    assert record["result"]["reason"] == "needs words, and lines have none"
