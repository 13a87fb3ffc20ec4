"""Recorded fits run again: what matches, what was planted, what cannot be drawn, and when the clock stops."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from craftbench import cli
from craftbench.benchmarks import catalogue
from craftbench.benchmarks.backends.local import LocalBackend
from craftbench.benchmarks.benchmark import Benchmark, Column, Table
from craftbench.benchmarks.rerun import needs
from craftbench.benchmarks.store import Store
from craftbench.core.errors import DataMissing
from craftbench.report.audit import Audit, audit, contradictions_in
from craftbench.report.draw import draw
from craftbench.report.evidence import Evidence
from craftbench.report.gathering import gathered
from craftbench.report.recorded import Fit, Origin, Recorded, computed_on, read, write
from toybench import ROWS, Lines, toy
from toyhouse import drive

COLUMNS = (Column("test/fit", "fit"), Column("note/length", "length"))
TABLE = Table("T", "Lines", COLUMNS, tuple(row.key for row in ROWS), reference="descent")


def paper(tasks: list[Lines] | None = None, **profile: Any) -> Benchmark:
    return replace(toy(tasks=tasks or [Lines()], **{"seeds": 3, **profile}), tables=(TABLE,))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A finished run of the invented paper, as a file of it is read."""
    root = tmp_path_factory.mktemp("reference")
    drive(paper(), root / "store")
    write(gathered(Evidence(paper(), Store(root / "store"), "smoke")), root / "toy.json")
    return read(root / "toy.json")


def verify(recorded: Recorded, folder: Path, benchmark: Benchmark | None = None, cells: int = 100, seconds: float = 60.0) -> Audit:
    """An audit of everything that can be drawn."""
    references, benchmark = [recorded], benchmark or paper()
    drawn = draw(references, lambda name: benchmark, folder / "data", cells, 1e6, seed=1)
    backend = lambda: LocalBackend(2, 6000)  # noqa: E731
    return audit(
        drawn, references, lambda name: benchmark, folder, folder / "data", backend, lambda: seconds, lambda _: None, lambda _: None
    )


def planted(recorded: Recorded, row: str, change: Callable[[Fit], Fit]) -> Recorded:
    return replace(recorded, fits=tuple(change(fit) if fit.row == row else fit for fit in recorded.fits))


def wrong(found: Audit) -> list[tuple[str, int]]:
    return [(each.row, each.seed) for each in found.checked if each.word == "mismatch"]


def test_what_was_recorded_matches_to_the_last_digit(reference: Recorded, tmp_path: Path) -> None:
    found = verify(reference, tmp_path)
    assert len(found.checked) == found.population == 15
    assert {each.word for each in found.checked} == {"match"}
    compared = {each.row: each.compared for each in found.checked}
    assert compared == {"descent": 2, "shrink": 1, "heir": 2, "twin": 2, "zero": 1}, "shrink starts from a descent that ran"
    assert not found.wrong
    assert found.share == pytest.approx(1 - 0.05 ** (1 / 15))


def test_a_planted_number_is_caught_and_only_this(reference: Recorded, tmp_path: Path) -> None:
    def change(fit: Fit) -> Fit:
        first, second, third = fit.values["test/fit"]
        assert second is not None
        return replace(fit, values={**fit.values, "test/fit": (first, second * (1 + 1e-9), third)})

    found = verify(planted(reference, "heir", change), tmp_path)
    assert wrong(found) == [("heir", 1)]
    (caught,) = [each for each in found.checked if each.word == "mismatch"]
    assert list(caught.differing or {}) == ["test/fit"]
    assert "nothing has changed since" in caught.why
    assert found.wrong
    assert found.share > 0.2


def test_a_planted_setting_is_caught_in_the_row_and_what_starts_from_it(reference: Recorded, tmp_path: Path) -> None:
    found = verify(planted(reference, "descent", lambda fit: replace(fit, params={**fit.params, "rounds": 3})), tmp_path)
    assert {row for row, _ in wrong(found)} == {"descent", "shrink"}


def test_a_number_of_another_seed_is_caught(reference: Recorded, tmp_path: Path) -> None:
    def swap(fit: Fit) -> Fit:
        return replace(fit, values={column: (values[1], values[0], values[2]) for column, values in fit.values.items()})

    assert set(wrong(verify(planted(reference, "twin", swap), tmp_path))) == {("twin", 0), ("twin", 1)}


@pytest.mark.parametrize("place", [0, 1, 2], ids=["mean", "low", "high"])
def test_a_mean_that_its_seeds_do_not_give_contradicts_itself(reference: Recorded, place: int) -> None:
    assert list(contradictions_in(reference)) == []

    def change(fit: Fit) -> Fit:
        mean = [1.01 * (end or 0.0) if at == place else end for at, end in enumerate(fit.means["test/fit"])]
        return replace(fit, means={**fit.means, "test/fit": tuple(mean)})

    (said,) = contradictions_in(planted(reference, "twin", change))
    assert "test/fit of twin on lines/low" in said


@pytest.mark.parametrize("place", ["another", "{} with cuda"])
def test_elsewhere_the_seeds_interval_decides(reference: Recorded, tmp_path: Path, place: str) -> None:
    """Recorded on another CPU or on a GPU, a digit may move, but not beyond where another seed would lie."""
    (origin,) = reference.origins
    place = place.format(origin.cpu)
    away = replace(reference, origins=(replace(origin, cpu=place),))

    def move(share: float) -> Callable[[Fit], Fit]:
        def change(fit: Fit) -> Fit:
            values = [value for value in fit.values["test/fit"] if value is not None]
            values[1] += share * (max(values) - min(values))
            return replace(fit, values={**fit.values, "test/fit": tuple(values)})

        return change

    near = verify(planted(away, "twin", move(0.3)), tmp_path / "near")
    assert [(each.row, each.seed, each.word) for each in near.checked if each.word != "match"] == [("twin", 1, "within tolerance")]
    assert wrong(near) == []
    (said,) = [each.why for each in near.checked if each.word == "within tolerance"]
    assert f", not {place}" in said
    constant = planted(
        away, "zero", lambda fit: replace(fit, values={"test/fit": tuple(1.01 * (v or 0.0) for v in fit.values["test/fit"])})
    )
    assert {row for row, _ in wrong(verify(constant, tmp_path / "far"))} == {"zero"}, "a row that never varies has no interval"


def test_a_device_stands_beside_the_cpu() -> None:
    assert computed_on({"machine": {"cpu": "AMD EPYC"}, "device": "cpu"}) == "AMD EPYC"
    assert computed_on({"machine": {"cpu": "AMD EPYC"}, "device": "cuda"}) == "AMD EPYC with cuda"


def test_changed_code_is_named_and_excuses_nothing(reference: Recorded, tmp_path: Path) -> None:
    (origin,) = reference.origins
    stale = replace(origin, commit="abcdef0123", code={**origin.code, "craftbench.core.params": "old"})
    change = lambda fit: replace(fit, values={"test/fit": (0.0, 0.0, 0.0)})  # noqa: E731
    found = verify(planted(replace(reference, origins=(stale,)), "zero", change), tmp_path)
    assert {row for row, _ in wrong(found)} == {"zero"}
    assert {each.why for each in found.checked} == {"changed since abcdef0: core/params.py"}


def test_a_fit_that_gives_no_numbers_here_is_no_match(reference: Recorded, tmp_path: Path) -> None:
    change = lambda fit: replace(fit, params={**fit.params, "rate": 1e200})  # noqa: E731
    found = verify(planted(reference, "twin", change), tmp_path)
    assert {row for row, _ in wrong(found)} == {"twin"}
    assert all("gave no numbers here" in each.why for each in found.checked if each.word == "mismatch")


def test_when_the_time_is_up_nothing_more_counts(reference: Recorded, tmp_path: Path) -> None:
    found = verify(reference, tmp_path / "none", seconds=0.0)
    assert {each.word for each in found.checked} == {"not reached"}
    assert (found.reached, found.share, found.wrong) == (0, 1.0, False)
    slow = planted(reference, "twin", lambda fit: replace(fit, params={**fit.params, "nap": 100.0}))
    found = verify(slow, tmp_path / "some", seconds=2.0)
    assert {each.row for each in found.checked if each.word == "not reached"} >= {"twin"}
    assert not found.wrong


# The draw


def drawn(recorded: Recorded, benchmark: Benchmark | None = None, cells: int = 100, core_seconds: float = 1e6, seed: int = 1):
    return draw([recorded], lambda name: benchmark or paper(), Path("nowhere"), cells, core_seconds, seed)


def test_a_draw_repeats_with_its_seed_and_is_uniform(reference: Recorded) -> None:
    def chosen(seed: int) -> set[tuple[str, int]]:
        return {(each.fit.row, each.seed) for each in drawn(reference, cells=5, seed=seed).drawn}

    assert chosen(3) == chosen(3)
    counts = [sum((row.key, 0) in chosen(seed) for seed in range(300)) for row in ROWS]
    assert all(70 < count < 130 for count in counts), "each of the 15 in a third of the draws"


def test_what_costs_too_much_is_left_out_before_the_draw(reference: Recorded) -> None:
    dear = planted(reference, "descent", lambda fit: replace(fit, seconds=(50.0, 50.0, 50.0)))
    found = drawn(dear, cells=4, core_seconds=20.0)
    assert {each.fit.row for each in drawn(dear, core_seconds=20.0).drawn} == {"heir", "twin", "zero"}, "shrink pays for descent"
    assert found.population == 9
    (reason,) = found.left_out
    assert reason.startswith("takes more than 1.")
    assert found.left_out[reason] == 6
    assert drawn(reference, core_seconds=0.1).drawn == ()


@dataclass(frozen=True)
class Away(Lines):
    def cache_key(self, data_home: Path) -> dict[str, Any]:
        raise DataMissing("lines", "craftbench data get lines")


def test_what_cannot_run_here_is_named(reference: Recorded) -> None:
    away = drawn(reference, paper([Away()]))
    assert away.left_out == {"dataset 'lines' is not on this machine; run: craftbench data get lines": 15}
    assert drawn(reference, paper([Lines(noise=0.2)])).left_out == {"lines/low is declared otherwise since": 15}
    assert drawn(reference, paper([Lines("lines/new")])).left_out == {"its task is no longer declared": 15}
    fewer = replace(toy(ROWS[:2], [Lines()]), tables=(TABLE,))
    assert drawn(reference, fewer).left_out == {"its row is no longer declared": 9}
    orphan = replace(reference, fits=tuple(fit for fit in reference.fits if fit.row != "descent"))
    assert drawn(orphan).left_out == {"starts from descent, which is not recorded": 3}
    stale = planted(reference, "zero", lambda fit: replace(fit, params={"gone": 1}))
    (reason,) = drawn(stale).left_out
    assert reason.startswith("its settings are no longer valid")
    bare = planted(reference, "zero", lambda fit: replace(fit, values={}))
    assert drawn(bare).left_out == {"no table has a number of it that follows from it alone": 3}
    one = planted(reference, "zero", lambda fit: replace(fit, records=fit.records[:1], seconds=(1.0,), values={"test/fit": (1.0,)}))
    elsewhere = replace(one, origins=(Origin("", "another", {}, {}),))
    assert drawn(elsewhere).left_out == {"one seed has no interval, and this machine need not repeat its digits": 1}


def test_what_a_row_starts_from_comes_with_it() -> None:
    profile = paper().profile("smoke")
    assert needs(profile, "lines/low", "shrink") == ("shrink", "descent")
    assert needs(profile, "lines/low", "heir") == ("heir",), "its settings are recorded, so that it inherits none"


# The command


@pytest.fixture
def craftbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr(catalogue, "benchmark", lambda name: paper())

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["craftbench", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out + said.err

    return call


def test_the_command_says_what_is_proved(reference: Recorded, tmp_path: Path, craftbench: Callable[..., tuple[int, str]]) -> None:
    write(reference, tmp_path / "toy.json")
    asked = ("verify", "--reference", tmp_path, "--seed", 7, "--cells", 4)
    code, said = craftbench(*asked)
    assert code == 0
    assert "4 of 15 fits drawn (--seed 7)" in said
    assert "4 match" in said
    assert "at 95 % confidence, under 52.7 % of the 15 fits that could be drawn do not repeat" in said
    lying = planted(reference, "zero", lambda fit: replace(fit, means={"test/fit": (0.0, 0.0, 0.0)}))
    write(lying, tmp_path / "toy.json")
    code, said = craftbench(*asked)
    assert code == 1
    assert "test/fit of zero on lines/low is not what its seeds give" in said
    code, said = craftbench(*asked, "--json")
    assert code == 1
    assert json.JSONDecoder().raw_decode(said)[0]["contradictions"]
    assert craftbench("verify", "--reference", tmp_path / "none")[0] == 2


def test_nothing_to_run_is_one_sentence(reference: Recorded, tmp_path: Path, craftbench: Callable[..., tuple[int, str]]) -> None:
    write(reference, tmp_path / "toy.json")
    code, said = craftbench("verify", "--reference", tmp_path, "--minutes", 0.0001)
    assert code == 2
    assert "no recorded fit can be run again here (15 fits: takes more than 0.0 core-seconds; give more --minutes)" in said


def test_a_store_becomes_a_reference_and_is_compared_with_it(
    tmp_path: Path, craftbench: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "PAPERS", ("toy",))
    drive(paper(), tmp_path / "store")
    file = tmp_path / "toy.json"
    made = ("results", "toy", "--profile", "smoke", "--store", tmp_path / "store", "--reference", file)
    assert craftbench(*made) == (0, f"5 rows written into {file}, which has 5\n")
    assert craftbench(*made)[0] == 0, "again, in place of the same rows"
    code, said = craftbench("compare", tmp_path / "store", file)
    assert code == 0
    assert "15 fits of equal identity have equal digits" in said
    whole = read(file)
    write(planted(whole, "zero", lambda fit: replace(fit, values={"test/fit": (0.0, 0.0, 0.0)})), file)
    code, said = craftbench("compare", tmp_path / "store", file, "toy", "--profile", "smoke")
    assert code == 1
    assert "3 numbers of equal identity differ" in said
    for words in (("compare", tmp_path / "none", file), ("compare", file, file, "toy", "--profile", "other"), ("power", "toy")):
        code, said = craftbench(*words)
        assert code == 2
        assert said.startswith("craftbench: ")
