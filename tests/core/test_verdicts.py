"""Verdicts: every word for the reason the design gives, combinations, and false verdicts in worlds without a difference."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from craftbench.core.errors import UsageError
from craftbench.core.statistics import Estimate, difference, ratio, summary
from craftbench.core.verdicts import Contrast, verdict

ALPHA = 0.05


def estimate(mean: float, se: float = 0.001, n_seeds: int = 10) -> Estimate:
    return Estimate(mean, se, 0.0, n_seeds, 0)


HOLDS, REVERSED = Contrast("holds", estimate(0.01)), Contrast("reversed", estimate(-0.01))
OPEN, MISSING = Contrast("open", estimate(0.001)), Contrast("missing", None)
SMALL = Contrast("small", estimate(0.0005, 0.0001), smallest=0.002)
ONE_SEED = Contrast("lonely", summary([0.02]))


@pytest.mark.parametrize(
    ("contrast", "word", "said"),
    [
        (HOLDS, "supported", "above 0"),
        (REVERSED, "contradicted", "below 0"),
        (OPEN, "inconclusive", "could not have been seen"),
        (SMALL, "too small to matter", "within 0.002"),
        (MISSING, "not run", "missing was not run"),
        (ONE_SEED, "inconclusive", "one seed"),
        (Contrast("undefined", summary([0.1, np.nan])), "inconclusive", "undefined"),
        (Contrast("less", estimate(-0.01), "less"), "supported", "below 0"),
        (Contrast("less", estimate(0.01), "less"), "contradicted", "above 0"),
        (Contrast("changes", estimate(-0.01), "different"), "supported", "further than 0"),
        (Contrast("changes", estimate(0.0, 0.0001), "different", 0.002), "contradicted", "within 0.002"),
        (Contrast("not worse", estimate(-0.0005, 0.0001), "greater", -0.002, smallest=0.002), "supported", "above -0.002"),
    ],
)
def test_word_of_one_contrast(contrast, word, said):
    found = verdict([contrast])
    assert found.word == word
    assert said in found.reason


def test_a_small_effect_is_too_small_on_either_side_however_significant():
    for mean in (0.0005, -0.0005):
        assert verdict([Contrast("small", estimate(mean, 0.0001))]).word in ("supported", "contradicted")
        assert verdict([Contrast("small", estimate(mean, 0.0001), smallest=0.002)]).word == "too small to matter"


EQUAL, APART = estimate(0.0002, 0.0003), estimate(-0.02)


@pytest.mark.parametrize(
    ("controls", "word", "said"),
    [
        ({"Original": APART, "placebo": estimate(0.02)}, "supported", "within 0.002"),
        ({"Original": APART, "placebo": estimate(0.0021)}, "inconclusive", "the control placebo"),
        ({"Original": None, "placebo": APART}, "inconclusive", "the control Original"),
        ({"Original": summary([0.5])}, "inconclusive", "the control Original"),
        ({}, "inconclusive", "no control"),
    ],
)
def test_equivalence_counts_only_where_controls_show_that_the_test_could_have_told(controls, word, said):
    found = verdict([Contrast("IFRU - Retrain", EQUAL, "equivalent", 0.002, controls=controls)])
    assert found.word == word
    assert said in found.reason
    assert (found.p is not None and found.p <= ALPHA) == (word == "supported")


def test_equivalence_is_contradicted_outside_its_margin_even_without_controls():
    found = verdict([Contrast("IFRU - Retrain", APART, "equivalent", 0.002)])
    assert (found.word, "further than 0.002" in found.reason) == ("contradicted", True)


@pytest.mark.parametrize(
    ("contrasts", "of_all", "of_any"),
    [
        ([HOLDS, HOLDS], "supported", "supported"),
        ([HOLDS, OPEN], "inconclusive", "supported"),
        ([HOLDS, REVERSED], "contradicted", "supported"),
        ([REVERSED, REVERSED], "contradicted", "contradicted"),
        ([REVERSED, OPEN], "contradicted", "inconclusive"),
        ([HOLDS, SMALL], "too small to matter", "supported"),
        ([REVERSED, SMALL], "contradicted", "too small to matter"),
        ([OPEN, SMALL], "inconclusive", "inconclusive"),
        ([HOLDS, MISSING], "not run", "supported"),
        ([REVERSED, MISSING], "contradicted", "not run"),
        ([HOLDS, ONE_SEED], "inconclusive", "supported"),
        ([MISSING, MISSING], "not run", "not run"),
    ],
)
def test_words_combine(contrasts, of_all, of_any):
    assert verdict(contrasts, "all").word == of_all
    assert verdict(contrasts[::-1], "all").word == of_all
    assert verdict(contrasts, "any").word == of_any
    assert verdict(contrasts[::-1], "any").word == of_any


def test_p_of_a_combination_is_the_largest_or_holms_smallest():
    contrasts = [Contrast("a", estimate(0.003)), Contrast("b", estimate(0.002)), Contrast("c", estimate(0.0001))]
    ps = [part.p for part in verdict(contrasts).parts]
    assert verdict(contrasts).p == max(ps)
    assert verdict(contrasts, "any").p == pytest.approx(3 * min(ps))
    assert verdict([*contrasts, MISSING]).p is None


def test_holm_guards_against_one_lucky_part_among_many():
    lucky, idle = Contrast("lucky", estimate(-0.0019)), [Contrast(f"idle {i}", estimate(0.0)) for i in range(9)]
    assert verdict([lucky]).word == "contradicted"
    assert verdict([lucky, *idle]).word == "inconclusive"


def test_a_speed_up_is_said_as_a_ratio():
    slow = np.array([101.0, 99.0, 102.0, 100.0, 98.0])
    found = verdict([Contrast("Retrain / IFRU", ratio(slow, np.full(5, 0.2)), "greater", 250)])
    assert found.word == "supported"
    assert "500x" in found.reason
    assert "above 250x" in found.reason
    assert "5 repeats" in found.reason


def test_the_reason_says_whether_users_were_counted():
    leave_out = np.random.default_rng(0).normal(1.0, 0.001, (5, 40))
    values = [1.0, 1.01, 0.99, 1.0, 1.02]
    assert "5 seeds and 40 groups of users" in verdict([Contrast("counted", summary(values, leave_out))]).reason
    assert "over 5 seeds)" in verdict([Contrast("seeds alone", summary(values))]).reason


def test_a_verdict_is_plain_data():
    found = verdict([HOLDS, MISSING, ONE_SEED, SMALL])
    text = json.dumps(asdict(found), allow_nan=False)
    assert [part["word"] for part in json.loads(text)["parts"]] == ["supported", "not run", "inconclusive", "too small to matter"]


def test_what_cannot_be_judged_is_named():
    with pytest.raises(UsageError, match="at least one contrast"):
        verdict([])
    with pytest.raises(UsageError, match="equivalence needs a margin"):
        Contrast("IFRU - Retrain", EQUAL, "equivalent")


def share(word: str, worlds: int, claim) -> float:
    """How often `claim(rng)` is judged `word`."""
    rng = np.random.default_rng(17)
    return float(np.mean([claim(rng).word == word for _ in range(worlds)]))


def noisy(rng: np.random.Generator, mean: float, noise: float = 1.0, n_seeds: int = 5) -> Estimate:
    """A difference of true size `mean`, with unit noise from seeds and `noise` from the test sample, in 40 groups of users."""
    a, b = rng.normal(mean, np.sqrt(0.5), n_seeds), rng.normal(0.0, np.sqrt(0.5), n_seeds)
    groups = rng.normal(0.0, noise * np.sqrt(40), 40)
    without = (groups.sum() - groups) / 39
    return difference(a + groups.mean(), b, a[:, None] + without, b[:, None] + np.zeros(40))


WORLDS = 1500
LIMIT = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / WORLDS)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_equals_are_rarely_called_different_in_either_direction(noise):
    assert share("supported", WORLDS, lambda rng: verdict([Contrast("a - b", noisy(rng, 0.0, noise))])) <= LIMIT
    assert share("contradicted", WORLDS, lambda rng: verdict([Contrast("a - b", noisy(rng, 0.0, noise))])) <= LIMIT


def test_combinations_keep_alpha_where_every_part_is_null():
    def claim(combine):
        return lambda rng: verdict([Contrast(str(i), noisy(rng, 0.0)) for i in range(4)], combine)

    assert share("supported", WORLDS, claim("any")) <= LIMIT
    assert share("contradicted", WORLDS, claim("all")) <= LIMIT
    assert share("supported", WORLDS, claim("all")) <= 0.01


def test_a_difference_as_large_as_the_margin_is_rarely_called_equivalent():
    far = {"control": estimate(100.0)}

    def claim(mean):
        return lambda rng: verdict([Contrast("a - b", noisy(rng, mean), "equivalent", 4.0, controls=far)])

    assert share("supported", WORLDS, claim(4.0)) <= LIMIT
    assert share("contradicted", WORLDS, claim(4.0)) <= LIMIT
    assert share("supported", WORLDS, claim(0.0)) > 0.5
