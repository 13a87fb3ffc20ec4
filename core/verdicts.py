"""From the contrasts of a claim to its verdict: supported, contradicted, too small to matter, inconclusive, or not run.

A claim is declared before test is opened: its contrasts, the form of each test, and how they combine. All tests of a verdict are at
one alpha, one-sided where the claim has a direction, and agree with the 1 - 2 alpha interval that the reason prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .errors import UsageError
from .statistics import Estimate, different, equivalent, greater, holm, intersection_union, less, smallest_visible

Word = Literal["supported", "contradicted", "too small to matter", "inconclusive", "not run"]
Form = Literal["greater", "less", "equivalent", "different"]


@dataclass(frozen=True)
class Contrast:
    """One part of a claim: "the estimate is `form` `margin`".

    estimate: None where its cells were not run; margin: as the estimate is shown, None for no difference;
    smallest: the smallest effect that matters, for contrasts against no difference (a margin has said already what matters);
    controls: for "equivalent", estimates that must lie outside the margin by the same data, else the test could not have told.
    """

    name: str
    estimate: Estimate | None
    form: Form = "greater"
    margin: float | None = None
    smallest: float | None = None
    controls: Mapping[str, Estimate | None] = field(default_factory=dict[str, Estimate | None])

    def __post_init__(self) -> None:
        if self.form == "equivalent" and self.margin is None:
            raise UsageError(f"{self.name}: equivalence needs a margin, fixed beforehand")


@dataclass(frozen=True)
class Part:
    """What became of one contrast. p: for it and all its controls; p_against: for its reverse; None where nothing can be tested."""

    name: str
    word: Word
    p: float | None
    p_against: float | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The word for the claim, p for it as a whole (None where nothing can be tested), why in one sentence, and its parts."""

    word: Word
    p: float | None
    reason: str
    parts: tuple[Part, ...]


def verdict(contrasts: Sequence[Contrast], combine: Literal["all", "any"] = "all", alpha: float = 0.05) -> Verdict:
    """Judge a claim that needs all of its contrasts, or any of them.

    "All" holds by its largest p, "any" by Holm. The reverse of "all hold" is "any is reversed", so by Holm one part can contradict
    a conjunction; and "any" is contradicted when every part is. What is too small to matter decides for neither side.
    """
    if not contrasts:
        raise UsageError("a claim needs at least one contrast to be judged")
    parts = tuple(_judge(contrast, alpha) for contrast in contrasts)
    p_for, p_against = _decisive(parts, (part.p for part in parts)), _decisive(parts, (part.p_against for part in parts))
    if combine == "all":
        word = _combined(parts, "contradicted", p_against, "supported", p_for, alpha)
    else:
        word = _combined(parts, "supported", p_for, "contradicted", p_against, alpha)
    tested = [part.p for part in parts if part.p is not None]
    whole = len(tested) == len(parts)
    p = (intersection_union(tested) if combine == "all" else min(holm(tested))) if whole else None
    return Verdict(word, p, _because(word, parts), parts)


@dataclass(frozen=True)
class _Test:
    """p for a form of contrast and p for its reverse at the same margin; both in words; what an inconclusive test could not see."""

    holds: Callable[[Estimate, float], float]
    fails: Callable[[Estimate, float], float]
    claim: str
    reverse: str
    unseen: str = "a difference under {} could not have been seen"
    power: float = 0.8


_NEAR, _FAR = "within {} of no difference", "further than {} from no difference"
_TESTS: dict[Form, _Test] = {
    "greater": _Test(greater, less, "above {}", "below {}"),
    "less": _Test(less, greater, "below {}", "above {}"),
    "different": _Test(different, equivalent, _FAR, _NEAR),
    # both of its one-sided tests must succeed, so each with power 0.9
    "equivalent": _Test(equivalent, different, _NEAR, _FAR, "a margin under {} could not have been met", 0.9),
}


def _judge(contrast: Contrast, alpha: float) -> Part:
    """One contrast on its own."""
    name, estimate = contrast.name, contrast.estimate
    if estimate is None:
        return Part(name, "not run", None, None, f"{name} was not run")
    if estimate.n_seeds < 2:
        return Part(name, "inconclusive", None, None, f"{name} has one seed, which cannot show the spread between seeds")
    if math.isnan(estimate.se):
        return Part(name, "inconclusive", None, None, f"{name} is undefined for some seeds or groups of users")
    margin = estimate.null if contrast.margin is None else contrast.margin
    test = _TESTS[contrast.form]
    p, p_against = test.holds(estimate, margin), test.fails(estimate, margin)
    claim, reverse = (said.format(_number(margin, estimate)) for said in (test.claim, test.reverse))

    def part(word: Word, said: str, p: float = p) -> Part:
        here = f"{name} = {_number(estimate.value, estimate, '+')} ({_interval(estimate, alpha)})"
        return Part(name, word, p, p_against, f"{here} {said}")

    if contrast.margin is None and contrast.smallest is not None and equivalent(estimate, contrast.smallest) <= alpha:
        return part("too small to matter", f"lies within {_number(contrast.smallest, estimate)}, too small to matter")
    if p_against <= alpha:
        return part("contradicted", f"is {reverse} ({_p(p_against)})")
    if p > alpha:
        unseen = test.unseen.format(_number(smallest_visible(estimate, test.power, alpha), estimate))
        return part("inconclusive", f"is not shown to be {claim} ({_p(p)}); {unseen}")
    p_control, blind = _weakest_control(contrast.controls, margin) if contrast.form == "equivalent" else (0.0, "")
    if p_control > alpha:
        return part("inconclusive", f"is {claim} ({_p(p)}), but {blind}", p_control)
    return part("supported", f"is {claim} ({_p(p)})", max(p, p_control))


def _weakest_control(controls: Mapping[str, Estimate | None], margin: float) -> tuple[float, str]:
    """p for "every control lies outside the margin", and what to say when one does not."""
    ps = {name: 1.0 if control is None else different(control, margin) for name, control in controls.items()}
    if not ps:
        return 1.0, "no control shows that the test could have told"
    name = max(ps, key=lambda control: math.inf if math.isnan(ps[control]) else ps[control])
    p = 1.0 if math.isnan(ps[name]) else ps[name]
    return p, f"the control {name} is not shown to lie outside ({_p(p)}), so the test could not have told"


def _decisive(parts: Sequence[Part], ps: Iterable[float | None]) -> list[float]:
    """The p values that may decide: 1 for a part that cannot be tested or whose effect is too small to matter."""
    pairs = zip(parts, ps, strict=True)
    return [1.0 if p is None or part.word == "too small to matter" else p for part, p in pairs]


def _combined(parts: Sequence[Part], one: Word, p_one: list[float], every: Word, p_every: list[float], alpha: float) -> Word:
    """The word of the whole, where a single part can make it `one` (by Holm) and only all together `every` (by the largest p)."""
    words = {part.word for part in parts}
    if min(holm(p_one)) <= alpha:
        return one
    if "not run" in words:
        return "not run"
    if intersection_union(p_every) <= alpha:
        return every
    if words <= {every, "too small to matter"}:
        return "too small to matter"
    return "inconclusive"


def _because(word: Word, parts: Sequence[Part]) -> str:
    """The sentences of the parts that decided; of all parts when none alone did (Holm took a single part's significance away)."""
    if len(parts) == 1:
        return f"{parts[0].reason}."
    deciding = [part for part in parts if part.word == word] or parts
    return f"{len(deciding)} of {len(parts)} contrasts decide: {'; '.join(part.reason for part in deciding)}."


def _number(x: float, estimate: Estimate, sign: str = "") -> str:
    """A ratio, or a difference (with its sign if `sign` is "+")."""
    return f"{x:.3g}x" if estimate.log else f"{x:{sign}.3g}"


def _interval(estimate: Estimate, alpha: float) -> str:
    """The interval that agrees with the tests, and over what it is."""
    level = 1 - 2 * alpha
    low, high = (_number(end, estimate, "+") for end in estimate.interval(level))
    units = "repeats" if estimate.log else "seeds"
    users = f" and {estimate.n_groups} groups of users" if estimate.n_groups else ""
    return f"{level:.0%} interval {low} to {high} over {estimate.n_seeds} {units}{users}"


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")
