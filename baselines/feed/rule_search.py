"""RuleSearch: rules drawn one after the other, each learned and judged on valid, as a person would try them; the best one is kept.

    label    u 1[y >= t_y] + r 1[y / d >= t_r] + e 1[explicit feedback] + l 1[d >= t_d]     `rule.py`

The first is that file's default, the others are drawn uniformly from its ranges. Of one seed, a longer search begins with the rules
of a shorter one. So what more trials bring can be seen, and what they cost; no paper has this row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...core.context import RunContext
from ...core.params import fixed
from ...core.runner import Runner
from ...core.task import Feed
from ...models.feed_runner import FeedParams, FittedFeed, Lesson, joined
from ...models.feed_training import FeedInputs, fit_feed, sizes_of, without_lists
from .rule import RuleParams, ruled

GRAMMAR: dict[str, tuple[float, float]] = {  # the range of each number of a rule
    name: (space.low, space.high)
    for name, space in RuleParams.spaces().items()
    if name not in FeedParams.model_fields and space.low is not None and space.high is not None
}


class RuleSearchParams(FeedParams):
    """How many rules, and how each is learned."""

    rules: int = fixed(10, minimum=1, help="rules that are tried")


def drawn(number: int, rng: np.random.Generator) -> Iterator[RuleParams]:
    """The rules, in their order.

    >>> [round(rule.flag, 2) for rule in drawn(3, np.random.default_rng(0))]  # the first is the default
    [1.0, 0.81, 0.0]
    """
    yield RuleParams()
    for _ in range(number - 1):
        yield RuleParams.resolve({name: float(rng.uniform(*ends)) for name, ends in GRAMMAR.items()})


class RuleSearch(Runner):
    """The best of so many rules of the small grammar, by valid's lists."""

    name = "rule_search"
    title = "Best of rules"
    task = Feed
    Params = RuleSearchParams
    fitted = FittedFeed
    reference = "control of this house"

    def cannot(self, task: Feed) -> str | None:
        return without_lists(task)

    def fit(self, task: Feed, params: RuleSearchParams, run: RunContext) -> FittedFeed:
        rows = joined(task.train, task.meta) if params.meta else task.train
        inputs, best = FeedInputs.of(task, params), -np.inf
        fitted: FittedFeed | None = None
        for number, rule in enumerate(drawn(params.rules, run.rng("rules")), start=1):
            lesson = Lesson(ruled(task.train, rows, rule), linear=True)
            alone = replace(run, listener=lambda step, value: None, notes={})
            network, _, training = fit_feed(task, rows, lesson, inputs, params, alone)
            if training.best_score > best:
                best, fitted = training.best_score, FittedFeed(network, inputs, sizes_of(params), linear=True)
                run.note("best_rule", number)
                for name in GRAMMAR:
                    run.note(name, getattr(rule, name))
            run.progress(number, best)
        assert fitted is not None  # there is at least one rule, and its score is finite
        return fitted
