"""The report as plain data: what `findings` gathers, and the tables, figures and page only show; all of it JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

THIN = 100  # a cell carried by fewer users or positives is greyed and left out of averages and verdicts


@dataclass(frozen=True)
class Cell:
    """One number of one table, and what carries it.

    status: ok | partial (some seeds are missing) | hole | failed | cannot; mark: better | worse | tie (Holm-corrected, against the
    table's reference row), reference, or nothing where no test was possible; ci: the 95 % interval; values: seed by seed.
    """

    table: str
    dataset: str
    task: str
    row: str
    column: str
    unit: str
    status: str
    mean: float | None = None
    ci: tuple[float, float] | None = None
    n: int = 0
    users: int | None = None
    positives: int | None = None
    published: float | None = None
    reference: float | None = None  # of a run of ours that ships with the package
    mark: str = ""
    p: float | None = None
    reason: str = ""
    command: str = ""
    values: tuple[float | None, ...] = ()
    records: tuple[str, ...] = ()

    @property
    def thin(self) -> bool:
        return any(carried is not None and carried < THIN for carried in (self.users, self.positives))


@dataclass(frozen=True)
class Heading:
    """A column as a table shows it."""

    key: str
    title: str
    unit: str
    decimals: int
    higher_is_better: bool | None


@dataclass(frozen=True)
class Line:
    """One row of one block: what differs from the paper stands beside its numbers."""

    row: str
    title: str
    role: str
    differs: str
    cells: tuple[Cell, ...]

    @property
    def missing(self) -> Cell | None:
        """Any of its cells, where all are missing for one reason."""
        first = self.cells[0]
        why = {(cell.status, cell.reason, cell.command, cell.mean) for cell in self.cells}
        return first if why == {(first.status, first.reason, first.command, None)} else None

    @property
    def hole(self) -> Cell | None:
        """The same, where nothing was published, and nothing of ours ships."""
        return self.missing if {(cell.published, cell.reference) for cell in self.cells} == {(None, None)} else None


@dataclass(frozen=True)
class Agreement:
    """How far one column stands as published: orders of pairs of rows, and lifts over the reference row, in per cent.

    lifts: row title -> (published, reproduced).
    """

    column: str
    agree: int
    pairs: int
    lifts: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Block:
    """One task of a table."""

    task: str
    dataset: str
    scope: str
    labels: dict[str, str]
    lines: tuple[Line, ...]
    agreements: tuple[Agreement, ...] = ()

    @property
    def missing(self) -> Cell | None:
        """Any of its cells, where the whole block is missing for one reason."""
        return _any([line.missing for line in self.lines])

    @property
    def hole(self) -> Cell | None:
        """The same, where nothing was published, and nothing of ours ships."""
        return _any([line.hole for line in self.lines])


def _any(cells: list[Cell | None]) -> Cell | None:
    """Any of these cells, where all are there and miss their number for one reason."""
    same = {None if cell is None else (cell.status, cell.reason, cell.command) for cell in cells}
    return cells[0] if len(same) == 1 else None


@dataclass(frozen=True)
class TableFound:
    """A table; `absent`: tasks that it asks for and this profile does not have, with the command that runs them."""

    id: str
    title: str
    caption: str
    reference: str
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    absent: tuple[tuple[str, str], ...] = ()
    averages: tuple[Line, ...] = ()

    @property
    def published(self) -> bool:
        """Whether any number of it was."""
        return any(cell.published is not None for block in self.blocks for line in block.lines for cell in line.cells)


@dataclass(frozen=True)
class PartFound:
    """One contrast of a claim, with its interval and the smallest difference that these data could have shown."""

    name: str
    task: str
    word: str
    p: float | None
    estimate: float | None
    ci: tuple[float, float] | None
    visible: float | None
    reason: str
    ratio: bool = False
    control: bool = False


@dataclass(frozen=True)
class VerdictFound:
    """A claim's verdict, on the tasks of one scope; elsewhere: not run because this profile does not ask for it."""

    claim: str
    sentence: str
    source: str
    scope: str
    word: str
    p: float | None
    reason: str
    parts: tuple[PartFound, ...]
    tasks: tuple[str, ...]
    note: str = ""
    command: str = ""
    exploratory: bool = False
    short: str = ""
    elsewhere: bool = False


@dataclass(frozen=True)
class Shipped:
    """A run of ours that ships with the package, and of each claim that it judged {claim, scope, word, reason}.

    cells, seconds: of its final fits; what its searches took does not ship.
    """

    profile: str
    seeds: int
    cells: int
    seconds: float
    verdicts: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Point:
    """One point of a figure's series in one panel."""

    x: float | str
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Surface:
    """Heights z[i][j] over y[i] and x[j], and what they are; low, high: of all surfaces that share their colours with it."""

    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    z: tuple[tuple[float, ...], ...]
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One column of a figure on one task (or over tasks): the series by legend title, as points or as lines; or a surface."""

    title: str
    y_title: str
    scope: str
    series: dict[str, tuple[Point, ...]]
    lines: bool = False
    surface: Surface | None = None


@dataclass(frozen=True)
class FigureFound:
    """The points of a figure; without any point it is a hole."""

    id: str
    title: str
    caption: str
    x_title: str
    log_x: bool
    panels: tuple[Panel, ...]
    command: str = ""


@dataclass(frozen=True)
class DiagramFound:
    """A drawing that no data enter, as an SVG file's text."""

    id: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Trial:
    """One setting that a search tried."""

    number: int
    status: str
    value: float | None
    seconds: float
    params: dict[str, Any]
    reason: str = ""


@dataclass(frozen=True)
class StudyFound:
    """How one search went. edges: the chosen values on an edge of their range; importance: PED-ANOVA, empty with too few trials."""

    task: str
    row: str
    title: str
    sampler: str
    pruner: str
    objective: str
    space: dict[str, dict[str, Any]]
    trials: tuple[Trial, ...]
    best: int | None
    edges: tuple[str, ...]
    importance: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """How the numbers of one row on one task were made: settings, records, cost, and the command that makes them again."""

    task: str
    row: str
    title: str
    runner: str
    differs: str
    inherits: str
    command: str
    settings: tuple[dict[str, Any], ...]
    records: tuple[str, ...]
    hole: str = ""
    fits: int = 0
    seconds: float = 0.0
    search_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class TimingFound:
    """Steps timed side by side: median seconds, and how many times longer than the fastest each takes."""

    key: str
    title: str
    note: str
    scope: str
    base: str
    steps: tuple[dict[str, Any], ...]
    record: str = ""
    reason: str = ""
    command: str = ""


@dataclass(frozen=True)
class Failure:
    """A cell that did not give a number."""

    task: str
    row: str
    kind: str
    seed: int
    status: str
    reason: str
    traceback: str
    record: str


@dataclass(frozen=True)
class Findings:
    """Everything that a run of one paper's profile found."""

    paper: str
    title: str
    citation: str
    profile: str
    written: str
    exploratory: bool
    seeds: int
    trials: int
    core_seconds: float
    spent_seconds: float
    overrides: dict[str, Any]
    differs: str
    deviations: tuple[str, ...]
    tasks: tuple[dict[str, Any], ...]
    verdicts: tuple[VerdictFound, ...]
    tables: tuple[TableFound, ...]
    figures: tuple[FigureFound, ...]
    pictures: tuple[FigureFound, ...]
    diagrams: tuple[DiagramFound, ...]
    timings: tuple[TimingFound, ...]
    studies: tuple[StudyFound, ...]
    made: tuple[Made, ...]
    failures: tuple[Failure, ...]
    records: dict[str, dict[str, Any]]
    command: str
    shipped: Shipped | None = None


def as_json(value: Any) -> Any:
    """Dataclasses, tuples and NumPy scalars as what JSON knows; numbers that are not finite become None."""
    if hasattr(value, "__dataclass_fields__"):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(each) for each in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "item"):
        return as_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
