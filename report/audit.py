"""Recorded fits run again and compared, number by number; and how many wrong ones the matches leave credible."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from ..benchmarks.backends.backend import Backend
from ..benchmarks.benchmark import Benchmark
from ..benchmarks.rerun import run_again, settled
from ..benchmarks.store import Record, Store
from ..core.statistics import upper_share
from .draw import Candidate, Draw, digits_promised, standing_alone
from .evidence import Evidence
from .recorded import Origin, Recorded, computed_on, rounded

Word = Literal["match", "within tolerance", "mismatch", "not reached"]
_ROUNDING = 1e-6  # relative: what another order of summation may change in a number that does not vary


@dataclass(frozen=True)
class Checked:
    """What became of one drawn fit. compared: how many of its numbers; differing: column -> (recorded, here); why: in words."""

    paper: str
    task: str
    row: str
    seed: int
    word: Word
    compared: int = 0
    differing: Mapping[str, tuple[float, float]] | None = None
    why: str = ""
    commit: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Audit:
    """The checks of a draw, what contradicts itself in the files, and the bound. share: credible at 95 %, 1 where nothing ran."""

    checked: tuple[Checked, ...]
    contradictions: tuple[str, ...]
    population: int
    left_out: Mapping[str, int]

    def count(self, word: Word) -> int:
        return sum(each.word == word for each in self.checked)

    @property
    def reached(self) -> int:
        return len(self.checked) - self.count("not reached")

    @property
    def share(self) -> float:
        """The largest share of mismatching fits among those that could be drawn that the draw leaves credible."""
        return upper_share(self.count("mismatch"), self.reached)

    @property
    def wrong(self) -> bool:
        return bool(self.contradictions or self.count("mismatch"))


def audit(
    drawing: Draw,
    references: Sequence[Recorded],
    benchmark_of: Callable[[str], Benchmark],
    folder: Path,
    data_home: Path,
    backend_of: Callable[[], Backend],
    left: Callable[[], float],
    say: Callable[[str], None],
    heard: Callable[[Checked], None],
) -> Audit:
    """Run a draw again in `folder`, paper by paper while `left()` is positive, in seconds; `heard` is told of each fit."""
    numbers = sum(len(each.fit.values) for each in drawing.drawn)
    checked: list[Checked] = []
    for place, recorded in enumerate(references):
        mine = [each for each in drawing.drawn if each.recorded is recorded]
        if not mine:
            continue
        paper, store = benchmark_of(recorded.paper), Store(folder / str(place))
        finals = [(each.fit.task, each.fit.row, each.seed) for each in mine]
        settings = {fit.place: fit.params for fit in recorded.fits}
        again = settled(paper, paper.profile(recorded.profile), finals, settings)
        if left() > 0:
            run_again(again, finals, store, data_home, backend_of(), left(), say)
        evidence = Evidence(again, store, recorded.profile)
        for each in mine:
            checked.append(_checked(each, evidence, numbers))
            heard(checked[-1])
    contradictions = tuple(said for recorded in references for said in contradictions_in(recorded))
    return Audit(tuple(checked), contradictions, drawing.population, drawing.left_out)


def contradictions_in(recorded: Recorded) -> Iterable[str]:
    """Means and intervals of a file that are not those of its own seeds."""
    for fit in recorded.fits:
        for column, (mean, low, high) in fit.means.items():
            if column not in fit.values:
                continue
            made = fit.estimate(column)
            close = math.isclose(made.value, mean, rel_tol=1e-5, abs_tol=1e-9)
            if low is not None and high is not None and close:
                reach = 1e-3 * (high - low) + 1e-5 * abs(mean) + 1e-9
                close = all(abs(a - b) <= reach for a, b in zip(made.interval(), (low, high), strict=True))
            if not close:
                yield f"{recorded.paper}: {column} of {fit.row} on {fit.task} is not what its seeds give ({made.value:.6g})"


def _checked(candidate: Candidate, evidence: Evidence, numbers: int) -> Checked:
    fit, seed, recorded = candidate.fit, candidate.seed, candidate.recorded
    origin = recorded.origins[fit.origin]
    about = {"paper": recorded.paper, "task": fit.task, "row": fit.row, "seed": seed, "commit": origin.commit}
    line = evidence.lines.get(fit.place)
    record = evidence.record(line["finals"][seed]) if line else None
    if record is None:
        return Checked(**about, word="not reached", why="the time was up")
    seconds = float(record["provenance"].get("cpu_seconds", 0.0))
    if record["result"]["status"] != "ok":
        why = f"gave no numbers here: {record['result']['reason']}"
        return Checked(**about, word="mismatch", why=why, seconds=seconds)
    here = {column: rounded(_value(evidence, fit.place, column, seed)) for column in fit.values}
    known = {column: then for column, values in fit.values.items() if (then := values[seed]) is not None}
    gone = sorted(column for column in known if here[column] is None and column in standing_alone(evidence.benchmark))
    if gone:
        return Checked(**about, word="mismatch", why=f"here nothing gives {', '.join(gone)}", seconds=seconds)
    pairs = {column: (then, now) for column, then in known.items() if (now := here[column]) is not None}
    differing = {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}
    if not differing:
        word: Word = "match"
    elif _promised(origin, record) or not all(_tolerated(fit.values[c], *pair, numbers) for c, pair in differing.items()):
        word = "mismatch"
    else:
        word = "within tolerance"
    why = _why(candidate, record, bool(differing))
    return Checked(**about, word=word, compared=len(pairs), differing=differing, why=why, seconds=seconds)


def _promised(origin: Origin, record: Record) -> bool:
    return digits_promised(origin) and computed_on(record["provenance"]) == origin.cpu


def _value(evidence: Evidence, place: tuple[str, str], column: str, seed: int) -> float | None:
    """None for a number that needs other rows, which did not run."""
    values = evidence.series(*place, column).values
    return values[seed] if seed < len(values) else None


def _tolerated(seeds: Sequence[float | None], then: float, now: float, numbers: int) -> bool:
    """Whether `now` lies where another seed would be expected, so that all `numbers` of an audit do so in 95 of 100 audits."""
    if math.isclose(then, now, rel_tol=_ROUNDING):
        return True
    known = [each for each in seeds if each is not None]
    if len(known) < 2:
        return False
    reach = float(stdtrit(len(known) - 1, 1 - 0.025 / numbers)) * statistics.stdev(known) * math.sqrt(1 + 1 / len(known))
    return abs(now - statistics.fmean(known)) <= reach


def _why(candidate: Candidate, record: Record, differs: bool) -> str:
    """What is not as it was when the fit was recorded; what the digits should have followed, where they differ."""
    origin, cell, task = candidate.recorded.origins[candidate.fit.origin], record["cell"], candidate.fit.task
    changed = sorted(name for name, code in cell["code"].items() if origin.code.get(name) != code)
    files = [f"{name.partition('.')[2].replace('.', '/')}.py" for name in changed]
    said: list[str] = []
    if candidate.recorded.tasks[task]["fingerprint"] != cell["task_fingerprint"]:
        said.append("other data")
    if (here := computed_on(record["provenance"])) != origin.cpu:
        said.append(f"{here}, not {origin.cpu}")
    then = origin.versions
    said += [f"{name} {now}, not {then.get(name)}" for name, now in cell["versions"].items() if then.get(name) != now]
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        said.append(f"changed since {origin.commit[:7]}: {', '.join(files[:3])}{more}")
    return "; ".join(said) or ("nothing has changed since: same code, data, versions and CPU" if differs else "")
