"""The verdicts that ship: of claims that the papers make, in the words of verdicts, and from the numbers that ship beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import craftbench
import pytest
from craftbench.benchmarks import catalogue
from craftbench.benchmarks.benchmark import Scope
from craftbench.benchmarks.store import Store
from craftbench.core.verdicts import Word
from craftbench.report import recorded
from craftbench.report.face import claims_of, scopes_of
from craftbench.report.findings import findings

SHIPPED = Path(craftbench.__file__).parent / "results" / "reference"
RAN = json.loads((SHIPPED / "verdicts" / "standard.json").read_text(encoding="utf-8"))
VERDICTS = [(paper, verdict) for paper, ran in RAN.items() for verdict in ran["verdicts"]]


def test_every_paper_ships_verdicts_on_claims_that_it_makes():
    assert set(RAN) == set(catalogue.PAPERS)
    for paper, verdict in VERDICTS:
        assert verdict["claim"] in {claim.id for claim in catalogue.declared(paper).claims}
        assert verdict["scope"] in get_args(Scope)
        assert verdict["word"] in set(get_args(Word)) - {"not run"}
    assert len({(paper, verdict["claim"], verdict["scope"]) for paper, verdict in VERDICTS}) == len(VERDICTS)


@pytest.mark.parametrize("paper", catalogue.PAPERS)
def test_every_difference_of_a_verdict_is_that_of_the_means_that_ship(paper):
    fits = recorded.read(SHIPPED / f"{paper}.json").fits
    means = {(fit.task, fit.row, column): mean for fit in fits for column, (mean, _, _) in fit.means.items()}
    known = means | {(task, "", column): 0.0 for task, _, column in means}  # "": the row alone
    claims = {claim.id: claim for claim in catalogue.declared(paper).claims}
    compared = 0
    for verdict in RAN[paper]["verdicts"]:
        for part in verdict["parts"]:
            contrasts = claims[verdict["claim"]].contrasts if part["task"] and part["word"] != "control" else ()
            pairs = [((part["task"], each.row, each.column), (part["task"], each.other, each.column)) for each in contrasts]
            shipped = [means[row] - known[other] for row, other in pairs if row in means and other in known]
            if shipped:
                nearest = min(shipped, key=lambda difference, part=part: abs(difference - part["estimate"]))
                assert part["estimate"] == pytest.approx(nearest, rel=1e-3, abs=2e-6), part["name"]
                compared += 1
    assert compared > 10


def test_the_face_sets_what_ships_beside_what_this_run_found(tmp_path):
    found = findings(catalogue.declared("gradcraft"), Store(tmp_path), "quick")
    assert scopes_of(found) == ("real stand-in", "simulated")
    claims = {claim.id: claim for claim in claims_of(found)}
    slice_, simulated = claims["C4"].squares
    assert (slice_.here.word, slice_.ours["word"]) == ("not run", "supported")
    assert (simulated.here.word, simulated.here.elsewhere, simulated.ours["word"]) == ("not run", True, "inconclusive")
    assert not claims["C2"].squares[1].asked
    assert all(len(claim.short) <= 28 for claim in claims.values())
