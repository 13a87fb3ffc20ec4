"""What the contrasts of a paper need: the size of the effect, the seeds, the users, and the hours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from craftbench.benchmarks.benchmark import Claim, Contrast
from craftbench.core.power import Spread, power, visible
from craftbench.core.statistics import Estimate
from craftbench.report.evidence import Evidence
from craftbench.report.gathering import gathered
from craftbench.report.power import needs_of, unmeasured
from craftbench.report.recorded import Contrasted

TASK = "ml/mf/flip-10"
PILOT = Estimate(0.001, 0.0005, 0.0002, 5, 40)


@pytest.fixture(scope="module")
def found(run_once):
    return gathered(Evidence(run_once.benchmark, run_once.store, "quick"))


def need(run_once, found, claim, estimate=PILOT, published=None):
    declared = claim.contrasts[0]
    contrast = Contrasted(claim.id, declared.row, declared.other, declared.column, (TASK,), estimate)
    benchmark = replace(run_once.benchmark, claims=(claim,))
    (only,) = needs_of(benchmark, replace(found, contrasts=(contrast,)), published or {})
    return only


def claim(form="greater", **more):
    return Claim("C", "It is so.", "x", form, (Contrast("unlearn", "original", "test/auc"),), **more)


def test_the_published_effect_comes_first_then_the_smallest_that_matters(run_once, found):
    told = {("T2", "", "unlearn", "test/auc"): 0.772, ("T2", "", "original", "test/auc"): 0.77}
    published = need(run_once, found, claim(smallest=0.01), published=told)
    assert (published.size, published.source) == (pytest.approx(0.002), "published")
    alone = need(run_once, found, claim(smallest=0.01), published={("T2", "", "unlearn", "test/auc"): 0.772})
    assert (alone.size, alone.source) == (0.01, "smallest")
    margin = need(run_once, found, claim(margin=-0.004), published=told)
    assert (margin.size, margin.source) == (0.004, "margin"), "the claim is that it is not worse by more"
    nothing = need(run_once, found, claim())
    assert (nothing.size, nothing.source, nothing.seeds, nothing.core_hours) == (None, "", None, None)
    assert nothing.visible > 0


def test_seeds_and_hours(run_once, found):
    each = need(run_once, found, claim(smallest=0.0012))
    spread = Spread.of(PILOT)
    assert power(0.0012, spread, each.seeds) >= 0.8 > power(0.0012, spread, each.seeds - 1)
    assert each.visible == visible(spread, 5)
    seconds = [sum(found.at((TASK, row)).seconds) / 5 for row in ("unlearn", "original")]
    assert each.core_hours == pytest.approx(each.seeds * sum(seconds) / 3600)


def test_what_the_users_hide_needs_users(run_once, found):
    each = need(run_once, found, claim(smallest=0.0005))
    assert (each.seeds, each.core_hours) == (None, None)
    assert each.users_times > 1
    fewer = replace(PILOT, se_users=PILOT.se_users / (1.01 * each.users_times) ** 0.5)
    assert need(run_once, found, claim(smallest=0.0005), fewer).seeds is not None


def test_an_equivalence_needs_both_of_its_tests(run_once, found):
    far, both = need(run_once, found, claim(margin=-0.002)), need(run_once, found, claim("equivalent", margin=0.002))
    spread = Spread.of(PILOT)
    assert power(0.002, spread, both.seeds, sides=1) >= 0.9
    assert both.seeds >= far.seeds - 1
    assert both.visible == visible(spread, 5, 0.9, sides=1)


def test_claims_without_a_contrast_are_named(run_once, found):
    assert unmeasured(run_once.benchmark, found) == ["C2", "C5", "C7"]
    assert {each.claim for each in needs_of(run_once.benchmark, found, {})} == {"C1", "C3", "C4", "C6"}
