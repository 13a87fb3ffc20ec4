"""What final fits of a paper's profile left, compactly: settings, seeds and values. Gathered from a store or read from a file.

The files of `results/reference/` have this form: enough to run a fit again and compare its digits, to weigh contrasts, and to show
the means beside a reader's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.statistics import Estimate, summary

FORMAT = 2
DIGITS = 10  # significant, of a recorded value

Place = tuple[str, str]  # task key, row key
Values = tuple[float | None, ...]  # one per seed, None where there is no number
Mean = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Origin:
    """Where fits were recorded: the commit, what they were computed on, versions, and the hash of each module they depended on."""

    commit: str
    cpu: str
    versions: Mapping[str, str]
    code: Mapping[str, str]


def computed_on(provenance: Mapping[str, Any]) -> str:
    """The CPU's name, and beside it the device of a fit that ran on another: digits are promised for a CPU alone."""
    cpu, device = provenance["machine"]["cpu"], provenance["device"]
    return cpu if device == "cpu" else f"{cpu} with {device}"


@dataclass(frozen=True)
class Fit:
    """The final fits of one row on one task, a place for each seed.

    records: the first twelve digits of each record's id; seconds: of one core; values, means: by column, clocks without values, a
    mean with the ends of its 95 % interval; users: by column, the standard error that the test users add and the groups of users
    behind it; without: by column, the values without each group (seeds, groups), never written.
    """

    task: str
    row: str
    params: Mapping[str, Any]
    origin: int
    records: tuple[str | None, ...]
    seconds: Values
    values: Mapping[str, Values]
    means: Mapping[str, Mean]
    users: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    without: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, Any], compare=False)

    @property
    def place(self) -> Place:
        return self.task, self.row

    @property
    def whole(self) -> bool:
        """Whether every planned seed has a record."""
        return None not in self.records

    def estimate(self, column: str) -> Estimate:
        """Of a column in `values`: its mean and errors."""
        seeds = summary([value for value in self.values[column] if value is not None])
        se_users, groups = self.users.get(column, (0.0, 0))
        return replace(seeds, se_users=se_users, n_groups=groups)


@dataclass(frozen=True)
class Contrasted:
    """One part of a claim with its estimate; several tasks for a slope over them."""

    claim: str
    row: str
    other: str
    column: str
    tasks: tuple[str, ...]
    estimate: Estimate

    @property
    def places(self) -> set[Place]:
        return {(task, row) for task in self.tasks for row in (self.row, self.other) if row}


@dataclass(frozen=True)
class Recorded:
    """Everything of one paper and profile.

    tasks: key -> dataset, fingerprint, settings; verdicts: claim, scope, word and reason of each claim that was judged.
    """

    paper: str
    profile: str
    origins: tuple[Origin, ...]
    tasks: Mapping[str, Mapping[str, Any]]
    fits: tuple[Fit, ...]
    contrasts: tuple[Contrasted, ...] = ()
    verdicts: tuple[Mapping[str, str], ...] = ()

    def at(self, place: Place) -> Fit | None:
        return next((fit for fit in self.fits if fit.place == place), None)

    def whole(self) -> Recorded:
        """Without the rows that lack a seed."""
        fits = tuple(fit for fit in self.fits if fit.whole)
        kept, used = {fit.place for fit in fits}, {fit.task for fit in fits}
        tasks = {key: each for key, each in self.tasks.items() if key in used}
        return replace(self, tasks=tasks, fits=fits, contrasts=tuple(each for each in self.contrasts if each.places <= kept))

    def updated(self, newer: Recorded) -> Recorded:
        """With the rows of `newer` in place of the same rows here. Raises `UsageError` for another paper or profile."""
        if (self.paper, self.profile) != (newer.paper, newer.profile):
            theirs, ours = f"{newer.paper} ({newer.profile})", f"{self.paper} ({self.profile})"
            raise UsageError(f"{theirs} cannot be written into the reference of {ours}; name another file")
        gone = {fit.place for fit in newer.fits}
        kept = [replace(fit, origin=fit.origin + len(newer.origins)) for fit in self.fits if fit.place not in gone]
        origins, fits = _compacted((*newer.origins, *self.origins), [*kept, *newer.fits])
        return replace(
            self,
            origins=origins,
            tasks={**self.tasks, **newer.tasks},
            fits=fits,
            contrasts=(*(each for each in self.contrasts if not each.places & gone), *newer.contrasts),
            verdicts=tuple({(each["claim"], each["scope"]): each for each in (*self.verdicts, *newer.verdicts)}.values()),
        )


def _compacted(origins: tuple[Origin, ...], fits: list[Fit]) -> tuple[tuple[Origin, ...], tuple[Fit, ...]]:
    """Only the origins that some fit has."""
    used = sorted({fit.origin for fit in fits})
    return tuple(origins[each] for each in used), tuple(replace(fit, origin=used.index(fit.origin)) for fit in fits)


# The file


def write(recorded: Recorded, file: Path) -> None:
    """Write the whole rows, a line each, so that a change of one row is a change of its lines."""
    kept = recorded.whole()
    listed: dict[str, Iterable[Any]] = {
        "origins": map(asdict, kept.origins),
        "fits": map(_plain_fit, kept.fits),
        "contrasts": map(_plain_contrast, kept.contrasts),
        "verdicts": kept.verdicts,
    }
    head = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in (("format", FORMAT), ("paper", kept.paper))]
    head += [f'"profile": {json.dumps(kept.profile)}', f'"tasks": {{\n{_joined(_named(kept.tasks))}\n}}']
    blocks = [f"{json.dumps(name)}: [\n{_joined(json.dumps(each) for each in lines)}\n]" for name, lines in listed.items()]
    text = "{\n" + ",\n".join([*head, *blocks]) + "\n}\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}; name another file") from None


def read(file: Path) -> Recorded:
    """A file that `write` left. Raises `UsageError` for anything else."""
    again = f"write it again with: craftbench results PAPER --store STORE --reference {file}"
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}; give one that `craftbench results --reference` wrote") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{file} cannot be read as JSON ({error}); {again}") from None
    if not isinstance(plain, dict) or cast(dict[str, Any], plain).get("format") != FORMAT:
        raise UsageError(f"{file} does not have the settings and seeds of format {FORMAT}; {again}")
    try:
        return _recorded(cast(dict[str, Any], plain))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UsageError(f"{file} is mangled ({type(error).__name__}: {error}); {again}") from None


def rounded(value: float | None) -> float | None:
    """A value as the file has it."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.7g}")


def _joined(lines: Iterable[str]) -> str:
    return ",\n".join(lines)


def _named(values: Mapping[str, Any]) -> list[str]:
    return [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()]


def _plain_fit(fit: Fit) -> dict[str, Any]:
    plain = {each.name: getattr(fit, each.name) for each in fields(fit) if each.name != "without"}
    plain["seconds"] = [None if each is None else round(each, 2) for each in fit.seconds]
    plain["values"] = {column: [rounded(each) for each in values] for column, values in fit.values.items()}
    plain["means"] = {column: [_short(each) for each in mean] for column, mean in fit.means.items()}
    plain["users"] = {column: [float(f"{se:.4g}"), groups] for column, (se, groups) in fit.users.items()}
    return plain


def _plain_contrast(each: Contrasted) -> dict[str, Any]:
    return {**{name: value for name, value in vars(each).items() if name != "estimate"}, **asdict(each.estimate)}


def _recorded(plain: dict[str, Any]) -> Recorded:
    origins = tuple(Origin(**each) for each in plain["origins"])
    found = Recorded(
        paper=str(plain["paper"]),
        profile=str(plain["profile"]),
        origins=origins,
        tasks={key: {name: each[name] for name in ("dataset", "fingerprint", "settings")} for key, each in plain["tasks"].items()},
        fits=tuple(map(_fit, plain["fits"])),
        contrasts=tuple(map(_contrast, plain["contrasts"])),
        verdicts=tuple({name: str(each[name]) for name in ("claim", "scope", "word", "reason")} for each in plain["verdicts"]),
    )
    strange = [fit.task for fit in found.fits if fit.task not in found.tasks or not 0 <= fit.origin < len(origins)]
    if strange:
        raise ValueError(f"nothing says what {strange[0]} is, or where it was recorded")
    return found


def _contrast(plain: dict[str, Any]) -> Contrasted:
    estimate = Estimate(**{each.name: plain[each.name] for each in fields(Estimate)})
    names = {name: str(plain[name]) for name in ("claim", "row", "other", "column")}
    return Contrasted(**names, tasks=tuple(plain["tasks"]), estimate=estimate)


def _fit(plain: dict[str, Any]) -> Fit:
    records, seconds = tuple(plain["records"]), tuple(plain["seconds"])
    values = {str(column): tuple(None if x is None else float(x) for x in each) for column, each in plain["values"].items()}
    wrong = [column for column, each in {**values, "seconds": seconds}.items() if len(each) != len(records)]
    if wrong:
        raise ValueError(f"{plain['row']} on {plain['task']} has {len(records)} seeds, but not in {', '.join(wrong)}")
    means = {str(column): (float(mean), low, high) for column, (mean, low, high) in plain["means"].items()}
    users = {str(column): (float(se), int(groups)) for column, (se, groups) in plain["users"].items()}
    place = str(plain["task"]), str(plain["row"])
    return Fit(*place, dict(plain["params"]), int(plain["origin"]), records, seconds, values, means, users)
