"""From a paper's claims to verdicts: gather the estimates that each contrast needs, and let `core.verdicts` judge them.

A claim is judged apart for each scope, so that a simulated world never speaks for the paper's data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..benchmarks.benchmark import Claim, Contrast
from ..core import verdicts
from ..core.statistics import Estimate, smallest_visible, trend
from .evidence import Evidence, Series, contrast
from .shapes import THIN, PartFound, VerdictFound

ELSEWHERE = "Not in this profile"
ROWS_ELSEWHERE = "These rows are not in this profile"
TIMING_ELSEWHERE = "This timing is not in this profile"
STEP_ELSEWHERE = "This profile's timing leaves a row out"
_ELSEWHERE = {ELSEWHERE, ROWS_ELSEWHERE, TIMING_ELSEWHERE, STEP_ELSEWHERE}


@dataclass(frozen=True)
class Placed:
    """A declared contrast on one task, or the slope of several over theirs: its estimate, or why there is none."""

    declared: Contrast
    name: str
    task: str
    scope: str
    row: Series
    other: Series
    estimate: Estimate | None
    missing: str = ""
    over: tuple[str, ...] = ()  # the tasks of a slope


def placed_contrasts(evidence: Evidence, claim: Claim) -> list[Placed]:
    """What the claim's verdicts rest on: its contrasts, each on each of its tasks; of a trend, one slope for each scope."""
    placed = [_estimated(evidence, claim, each, task) for each in claim.contrasts for task in _tasks(evidence, each)]
    if claim.form != "trend":
        return placed
    scopes = dict.fromkeys(each.scope for each in placed if each.scope)
    return [slope for scope in scopes for slope in _trend(evidence, [each for each in placed if each.scope == scope])]


def judge(evidence: Evidence, claim: Claim) -> list[VerdictFound]:
    """One verdict for each scope that the claim's tasks have in this profile."""
    placed = [_estimated(evidence, claim, each, task) for each in claim.contrasts for task in _tasks(evidence, each)]
    controls = [_estimated(evidence, claim, each, task) for each in claim.controls for task in _tasks(evidence, each)]
    scopes = list(dict.fromkeys(each.scope for each in placed if each.scope)) or [""]
    return [
        _verdict(
            evidence,
            claim,
            scope,
            _on_hand(evidence, [each for each in placed if each.scope in (scope, "")]),
            [each for each in controls if each.scope == scope],
        )
        for scope in scopes
    ]


def _tasks(evidence: Evidence, declared: Contrast) -> Iterator[str]:
    """The tasks of a contrast: the one it names, or every task on this machine that has both rows; "" stands for nowhere."""
    if declared.task or declared.column.startswith("timing/"):
        yield declared.task
        return
    named = [key for key in (declared.row, declared.other) if key]
    both = [task for task in evidence.tasks if all((task, key) in evidence.lines for key in named)]
    here = [task for task in both if not evidence.tasks[task].get("hole")]
    yield from here or both or [""]


def _on_hand(evidence: Evidence, placed: list[Placed]) -> list[Placed]:
    """Those whose data are on this machine, where any are: what must be fetched by hand keeps no claim from its verdict."""
    return [each for each in placed if not evidence.tasks.get(each.task, {}).get("hole")] or placed


def _estimated(evidence: Evidence, claim: Claim, declared: Contrast, task: str) -> Placed:
    row = evidence.series(task, declared.row, declared.column)
    other = evidence.series(task, declared.other, declared.column) if declared.other else row.zero()
    found = contrast(row, other, as_ratio=claim.form == "ratio_above")
    titles = [evidence.title(task, key) for key in (declared.row, declared.other) if key]
    column = evidence.columns.get(declared.column)
    sign = " / " if claim.form == "ratio_above" else " - "
    name = f"{sign.join(titles)} in {column.title if column else declared.column}" + (f" on {task}" if task else "")
    missing, hole = "", evidence.tasks.get(task, {}).get("hole")
    if hole:
        missing = hole["reason"]
    elif found is None:
        missing = _absent(evidence, declared, task)
    elif low := _under(evidence, claim, declared, task):
        found, missing = None, low
    elif any(carried is not None and carried < THIN for each in (row, other) for carried in (each.users, each.positives)):
        found, missing = None, f"fewer than {THIN} users or positives carry it"
    return Placed(declared, name, task, _scope(evidence, declared, task), row, other, found, missing)


def _absent(evidence: Evidence, declared: Contrast, task: str) -> str:
    """Why there is nothing to compare: not asked of this profile, or not run."""
    kind, _, key = declared.column.partition("/")
    if kind == "timing":
        if all(timing.key != key for timing in evidence.profile.timings):
            return TIMING_ELSEWHERE
        timed = any(evidence.series(task, row, declared.column).seeds for row in (declared.row, declared.other))
        return STEP_ELSEWHERE if timed else "the timing cell was not run"
    if task and task not in evidence.tasks:
        return ELSEWHERE
    rows = [row for row in (declared.row, declared.other) if row]
    return "no seed is finished in both rows" if all((task, row) in evidence.lines for row in rows) else ROWS_ELSEWHERE


def _under(evidence: Evidence, claim: Claim, declared: Contrast, task: str) -> str:
    """Which row of a contrast does not exceed the claim's floor, in words; "" where all do."""
    if claim.above is None:
        return ""
    floor, key = claim.above
    found = {row: evidence.series(task, row, key) for row in (floor, declared.row, declared.other) if row}
    means = {row: np.mean(series.at(series.seeds)[0]) for row, series in found.items() if series.seeds}
    if floor not in means:
        return f"{floor} was not run on {task}, so nothing says whether these rows learn"
    under = [row for row, mean in means.items() if row != floor and mean <= means[floor]]
    titles = [evidence.title(task, row) for row in under]
    return f"{' and '.join(titles)} not above {evidence.title(task, floor)} on {task}" if under else ""


def _scope(evidence: Evidence, declared: Contrast, task: str) -> str:
    if declared.column.startswith("timing/"):
        key = declared.column.removeprefix("timing/")
        return next((timing.task.scope for timing in evidence.profile.timings if timing.key == key), "")
    declared_elsewhere = {spec.key: spec.scope for profile in evidence.benchmark.profiles.values() for spec in profile.tasks}
    return evidence.tasks.get(task, {}).get("scope") or declared_elsewhere.get(task, "")


def _verdict(evidence: Evidence, claim: Claim, scope: str, placed: list[Placed], controls: list[Placed]) -> VerdictFound:
    tested = _trend(evidence, placed) if claim.form == "trend" else placed
    declared = [_declared(claim, each, controls) for each in tested]
    found = verdicts.verdict(declared)
    parts = [_part(part, each, claim) for part, each in zip(found.parts, tested, strict=True)]
    parts += [_control(each) for each in controls]
    reason = _unrun(evidence, tested) if found.word == "not run" else found.reason
    notes = [claim.note.rstrip(".")] if claim.note else []
    seeds = min((each.estimate.n_seeds for each in tested if each.estimate and each.task), default=claim.seeds)
    if seeds < claim.seeds:
        notes.append(f"declared for {claim.seeds} seeds; {seeds} were run")
    asked, judged = {each.task for each in claim.contrasts}, {each.task for each in placed}
    away = [key for key, task in evidence.tasks.items() if task.get("hole") and key not in judged and asked & {key, ""}]
    if away:
        notes.append(f"not on this machine, so not judged: {', '.join(away)}")
    return VerdictFound(
        claim=claim.id,
        sentence=claim.sentence,
        source=claim.source,
        scope=scope or "no data",
        word=found.word,
        p=found.p,
        reason=reason,
        parts=tuple(parts),
        tasks=tuple(dict.fromkeys(each.task for each in placed if each.task)),
        note=". ".join(each[0].upper() + each[1:] for each in notes),
        command=(_fetch(evidence, placed) or _command(evidence, claim)) if found.word == "not run" else "",
        exploratory=bool(evidence.plan.get("exploratory")),
        short=claim.short,
        elsewhere=found.word == "not run" and {each.missing for each in placed} - {""} <= _ELSEWHERE,
    )


def _unrun(evidence: Evidence, tested: list[Placed]) -> str:
    """Why a claim cannot be judged: what is missing, said once, and where."""
    names: dict[str, list[str]] = {}
    for each in tested:
        if each.missing:
            where = names.setdefault(each.missing, [])
            where += {each.task if each.missing == ELSEWHERE else each.name} - set(where)
    holes = {task["hole"]["reason"] for task in evidence.tasks.values() if task.get("hole")}
    said = "; ".join(why if why in holes else f"{why}: {', '.join(where)}" for why, where in names.items())
    return f"{said[:1].upper()}{said[1:]}."


def _declared(claim: Claim, each: Placed, controls: list[Placed]) -> verdicts.Contrast:
    """The claim's form on one contrast. Controls of an equivalence are those of the same task."""
    smallest = claim.smallest or None
    if claim.form == "equivalent":
        beside = {control.name: control.estimate for control in controls if control.task == each.task}
        return verdicts.Contrast(each.name, each.estimate, "equivalent", margin=claim.margin, controls=beside)
    if claim.form == "ratio_above":
        return verdicts.Contrast(each.name, each.estimate, "greater", margin=claim.margin or None)
    form = "less" if claim.form == "less" else "greater"
    return verdicts.Contrast(each.name, each.estimate, form, margin=claim.margin or None, smallest=smallest)


def _trend(evidence: Evidence, placed: list[Placed]) -> list[Placed]:
    """The contrasts of a trend as one: the slope of their differences over the tasks' levels."""
    levels = _levels(evidence, [each.task for each in placed])
    name = f"slope of {placed[0].name.partition(' on ')[0]} over {len(placed)} levels"
    whole = replace(placed[0], name=name, task="", over=tuple(each.task for each in placed))
    seeds = [seed for seed in placed[0].row.seeds if all(seed in each.row.seeds and seed in each.other.seeds for each in placed)]
    if len(placed) < 2 or not seeds or any(each.missing for each in placed):
        missing = "; ".join(dict.fromkeys(each.missing for each in placed if each.missing)) or "a trend needs two levels or more"
        return [replace(whole, estimate=None, missing=missing)]
    pairs = [(each.row.at(tuple(seeds)), each.other.at(tuple(seeds))) for each in placed]
    values = np.stack([x - y for (x, _), (y, _) in pairs], axis=1)
    without = [x - y for (_, x), (_, y) in pairs if x is not None and y is not None]
    leave_out = np.stack(without, axis=1) if len(without) == len(placed) else None
    return [replace(whole, estimate=trend(levels, values, leave_out), missing="")]


def _levels(evidence: Evidence, tasks: list[str]) -> list[float]:
    """The number in the one label that differs from task to task, else their order."""
    labels = [evidence.tasks.get(task, {}).get("labels", {}) for task in tasks]
    for name in labels[0]:
        numbers = [number_in(each.get(name, "")) for each in labels]
        if None not in numbers and len(set(numbers)) == len(numbers):
            return [float(number) for number in numbers if number is not None]
    return [float(place) for place in range(len(tasks))]


def number_in(text: str) -> float | None:
    """The first number in a label ("10 % flipped" is 10), or None."""
    found = re.search(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text)
    return float(found.group()) if found else None


def _part(part: verdicts.Part, each: Placed, claim: Claim) -> PartFound:
    power = 0.9 if claim.form == "equivalent" else 0.8
    return _shown(each, part.word, part.p, each.missing or part.reason, power)


def _control(each: Placed) -> PartFound:
    return replace(_shown(each, "control", None, each.missing or "should lie outside the margin", 0.8), control=True)


def _shown(each: Placed, word: str, p: float | None, reason: str, power: float) -> PartFound:
    estimate = each.estimate
    if estimate is None:
        return PartFound(each.name, each.task, word, None, None, None, None, reason)
    spread = estimate.n_seeds > 1
    visible = smallest_visible(estimate, power) if spread else None
    interval = estimate.interval(0.9) if spread else None
    return PartFound(each.name, each.task, word, p, estimate.value, interval, visible, reason, estimate.log)


def _fetch(evidence: Evidence, placed: list[Placed]) -> str:
    """The command that brings the data which the contrasts need, where it is not on this machine; or nothing."""
    holes = [evidence.tasks.get(each.task, {}).get("hole") for each in placed]
    return next((hole["command"] for hole in holes if hole), "")


def _command(evidence: Evidence, claim: Claim) -> str:
    """The command that would let a claim be judged: this profile again, or the first that has all of its rows and tasks."""
    for name, profile in {evidence.profile.name: evidence.profile, **evidence.benchmark.profiles}.items():
        keys = {task: {row.key for row in rows} for task, rows in profile.rows.items()}
        timed = {f"timing/{timing.key}" for timing in profile.timings}

        def has(each: Contrast, keys: dict[str, set[str]] = keys, timed: set[str] = timed) -> bool:
            if each.column.startswith("timing/"):
                return each.column in timed
            return any({each.row, each.other} - {""} <= rows for task, rows in keys.items() if each.task in ("", task))

        if all(has(each) for each in claim.contrasts):
            return evidence.command(profile=name)
    return ""
