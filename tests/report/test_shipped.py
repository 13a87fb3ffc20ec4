"""The verdicts that ship: of claims that the papers make, in the words of verdicts."""

from __future__ import annotations

from typing import get_args

from craftbench.benchmarks import catalogue
from craftbench.benchmarks.benchmark import Scope
from craftbench.benchmarks.store import Store
from craftbench.core.verdicts import Word
from craftbench.report import numbers
from craftbench.report.face import claims_of, scopes_of
from craftbench.report.findings import findings


def test_every_paper_ships_verdicts_on_claims_that_it_makes():
    for paper in catalogue.PAPERS:
        verdicts = numbers.reference(paper).verdicts
        assert verdicts
        for verdict in verdicts:
            assert verdict["claim"] in {claim.id for claim in catalogue.declared(paper).claims}
            assert verdict["scope"] in get_args(Scope)
            assert verdict["word"] in set(get_args(Word)) - {"not run"}
        assert len({(verdict["claim"], verdict["scope"]) for verdict in verdicts}) == len(verdicts)


def test_the_face_sets_what_ships_beside_what_this_run_found(tmp_path):
    found = findings(catalogue.declared("gradcraft"), Store(tmp_path), "quick")
    assert scopes_of(found) == ("real stand-in", "simulated")
    claims = {claim.id: claim for claim in claims_of(found)}
    slice_, simulated = claims["C4"].squares
    assert (slice_.here.word, slice_.ours["word"]) == ("not run", "supported")
    assert (simulated.here.word, simulated.here.elsewhere, simulated.ours["word"]) == ("not run", True, "inconclusive")
    assert not claims["C2"].squares[1].asked
    assert all(len(claim.short) <= 28 for claim in claims.values())
