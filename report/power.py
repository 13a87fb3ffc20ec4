"""For each contrast of a paper's claims: how many seeds, and core-hours, an effect of the published size needs to be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..benchmarks.benchmark import Benchmark, Claim, Profile
from ..benchmarks.rerun import needs
from ..core.power import MOST_SEEDS, Spread, seeds_needed, visible
from .numbers import Numbers, number_at
from .recorded import Contrasted, Recorded

Source = Literal["published", "smallest", "margin", ""]


@dataclass(frozen=True)
class Need:
    """A contrast, the effect to be seen, and what that takes by the spread of a pilot.

    size: of the effect, and source: where it comes from: the published numbers, the smallest effect that matters by the claim, or
    its margin; None and "" where there is none. seeds: None where no number of seeds shows the effect, for the test users hide it;
    users_times: then, how many times as many users with unlimited seeds; now, visible: the pilot's seeds and the smallest effect
    that they see; core_hours: of final fits of both rows and what they start from, on the seeds needed.
    """

    claim: str
    row: str
    other: str
    column: str
    tasks: tuple[str, ...]
    form: str
    size: float | None
    source: Source
    now: int
    visible: float
    sd_seeds: float
    se_users: float
    seeds: int | None
    users_times: float | None
    core_hours: float | None


def needs_of(benchmark: Benchmark, recorded: Recorded, published: Numbers) -> list[Need]:
    """Every contrast of a claim that the pilot has with two seeds or more; ratios of timings are not among them."""
    claims = {claim.id: claim for claim in benchmark.claims}
    known = [each for each in recorded.contrasts if each.claim in claims and each.estimate.n_seeds > 1]
    profile = benchmark.profile(recorded.profile)
    return [_need(benchmark, profile, recorded, claims[each.claim], each, published) for each in known]


def unmeasured(benchmark: Benchmark, recorded: Recorded) -> list[str]:
    """The claims of which the pilot has no contrast."""
    known = {each.claim for each in recorded.contrasts}
    return [claim.id for claim in benchmark.claims if claim.id not in known]


def _need(benchmark: Benchmark, profile: Profile, recorded: Recorded, claim: Claim, each: Contrasted, published: Numbers) -> Need:
    size, source = _size(benchmark, recorded, claim, each, published)
    spread = Spread.of(each.estimate)
    # both of the one-sided tests of an equivalence must succeed
    test = {"wanted": 0.9, "sides": 1} if claim.form == "equivalent" else {}
    seeds = seeds_needed(size, spread, **test) if size else None
    hidden = size is not None and seeds is None and spread.users > 0
    hours = sum(_seconds_per_seed(profile, recorded, each)) / 3600
    return Need(
        claim=claim.id,
        row=each.row,
        other=each.other,
        column=each.column,
        tasks=each.tasks,
        form=claim.form,
        size=size,
        source=source,
        now=each.estimate.n_seeds,
        visible=visible(spread, each.estimate.n_seeds, **test),
        sd_seeds=spread.seeds,
        se_users=spread.users,
        seeds=seeds,
        users_times=(visible(spread, MOST_SEEDS, **test) / size) ** 2 if size is not None and hidden else None,
        core_hours=None if seeds is None else seeds * hours,
    )


def _size(
    benchmark: Benchmark, recorded: Recorded, claim: Claim, each: Contrasted, published: Numbers
) -> tuple[float | None, Source]:
    """The effect to be seen. Published numbers that differ by nothing set none."""
    if claim.form in ("greater", "less") and not claim.margin and len(each.tasks) == 1:
        (task,) = each.tasks
        place = task, str(recorded.tasks[task]["dataset"])
        for table in benchmark.tables:
            pair = [number_at(published, table.id, *place, row, each.column) for row in (each.row, each.other)]
            if pair[0] is not None and pair[1] is not None and pair[0] != pair[1]:
                return abs(pair[0] - pair[1]), "published"
    if claim.smallest:
        return claim.smallest, "smallest"
    return (abs(claim.margin), "margin") if claim.margin else (None, "")


def _seconds_per_seed(profile: Profile, recorded: Recorded, each: Contrasted) -> Iterator[float]:
    """Of every row that the contrast needs, once: the mean over the seeds recorded."""
    rows = [row for row in (each.row, each.other) if row]
    for task in each.tasks:
        for key in dict.fromkeys(key for row in rows for key in needs(profile, task, row)):
            fit = recorded.at((task, key))
            known = [] if fit is None else [seconds for seconds in fit.seconds if seconds is not None]
            yield sum(known) / len(known) if known else profile.expected(str(recorded.tasks[task]["dataset"]), key)
