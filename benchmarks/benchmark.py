"""What a paper declares: its tasks, rows, columns, tables, figures, claims and budgets. Declarations only; nothing runs here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.curves import Curve
from ..core.errors import unknown
from ..core.runner import Runner
from ..core.task import Predictions, Task, View

if TYPE_CHECKING:
    from ..datasets.entries import Recorded, Simulated

Scope = Literal["paper's data", "real stand-in", "simulated", "tiny model", "own data"]
Role = Literal["method", "baseline", "floor", "target", "control", "ablation"]


@dataclass(frozen=True)
class Measure:
    """One metric of one view: its value, the same without each group of users (for the jackknife), and what carries it."""

    view: str
    metric: str
    value: float
    leave_out: NDArray[np.float64] | None = None
    users: int = 0
    positives: int = 0
    rows: int = 0


class TaskSpec(ABC):
    """A task as a benchmark declares it. Frozen dataclasses; small, picklable.

    `prepare` writes a folder once; `open` and `views` read only what a runner may see; `measure` alone reads the hidden labels.
    """

    key: str
    dataset: str
    scope: Scope
    labels: Mapping[str, str]
    asks: ClassVar[str]  # the table that a dataset must have

    def on(self, entry: Recorded | Simulated) -> Self:
        """The same question about a dataset of another package that has the table."""
        return replace(self, dataset=entry.name, scope="own data")  # pyright: ignore[reportArgumentType]

    @abstractmethod
    def cache_key(self, data_home: Path) -> Mapping[str, Any]:
        """What determines the prepared tables, the dataset's fingerprint included: tasks that share them prepare them once.

        Raises `DataMissing`.
        """

    @abstractmethod
    def prepare(self, data_home: Path, folder: Path) -> str:
        """Write the tables into `folder` and return their content fingerprint. Raises `DataMissing`."""

    @abstractmethod
    def open(self, folder: Path) -> Task:
        """The task, without any label of the test part."""

    @abstractmethod
    def views(self, folder: Path) -> Sequence[View]:
        """Everything that a final cell predicts, "valid" first."""

    @abstractmethod
    def measure(self, folder: Path, view: View, predictions: Predictions) -> Sequence[Measure]:
        """The metrics of one view; reads hidden labels (never for the view "valid")."""

    def compare(self, folder: Path, predictions: Mapping[str, Predictions]) -> Sequence[Measure]:
        """The metrics of a final cell that look at several views at once."""
        return ()

    def draw(self, folder: Path, predictions: Mapping[str, Predictions], measured: Mapping[str, float]) -> Sequence[Curve]:
        """What figures may show of a final cell: of its predictions, by view, and of what was measured, by "view/metric"."""
        return ()

    def keeps(self, view: str) -> bool:
        """Whether a record keeps its predictions of this view, for derived columns."""
        return True

    def kept(self, folder: Path, view: View, predictions: Predictions) -> Predictions:
        """What a record keeps of the predictions of such a view, one value a row; may read hidden labels, as `measure` may."""
        return predictions

    def known(self, folder: Path, view: str) -> Mapping[str, NDArray[Any]]:
        """What else is openly known of a view's rows, for derived columns; never a hidden label."""
        return {}

    def facts(self, folder: Path) -> Mapping[str, float]:
        """Counts for the data table."""
        return {}


@dataclass(frozen=True)
class Row:
    """One row of a table: a runner, with some hyperparameters pinned (not searched).

    start: the first trial's values where the defaults do not fit what is pinned, as a learning rate does not fit another network.
    inherits: the row whose chosen values fill this row's hyperparameters of the same names (not searched again).
    differs: what deviates from the paper, shown beside the row's numbers.
    """

    runner: type[Runner]
    key: str = ""
    title: str = ""
    role: Role = "baseline"
    pinned: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    inherits: str | None = None
    differs: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.runner.name)
        object.__setattr__(self, "title", self.title or self.runner.title)


@dataclass(frozen=True)
class Column:
    """A metric of a view as a table shows it. `derived` columns are computed from predictions at report time, never stored."""

    key: str  # "test/auc": view and metric; "time/solver": a clock; "note/residual": a runner's note; or a derived column's name
    title: str
    unit: str = ""
    higher_is_better: bool | None = True
    decimals: int = 4


Scores = Mapping[str, Predictions]  # by view


@dataclass(frozen=True)
class Given:
    """What a derived column is computed from: predictions by view, and what is openly known of each view's rows.

    group: int64 (rows,), the user's group of the jackknife; known: `TaskSpec.known` of a view.
    """

    own: Scores
    against: Scores
    start: Scores
    shadows: Sequence[Scores]
    group: Mapping[str, NDArray[np.int64]]
    known: Callable[[str], Mapping[str, NDArray[Any]]]


Compute = Callable[[Given], tuple[float, NDArray[np.float64] | None]]  # the value, and the same without each group


@dataclass(frozen=True)
class Derived(Column):
    """A column computed at report time from stored predictions of the same task; None where a row that it needs is missing.

    against, start: rows whose predictions of the same seed it needs; shadows: a row whose predictions of every other seed it needs.
    """

    compute: Compute | None = None
    against: str = ""
    start: str = ""
    shadows: str = ""


@dataclass(frozen=True)
class Averaged(Column):
    """The mean of a row's metrics whose keys begin with `prefix`, without those that too few users or positives carry.

    over: a row; then the mean of the relative gains over that row's metrics of the same seed, in % (RI, which is not the gain of
    the mean).
    """

    prefix: str = ""
    over: str = ""


@dataclass(frozen=True)
class Table:
    """rows x columns, one block per task. `rows` are keys; a row that is absent in the profile is a hole with its command."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[str, ...]
    tasks: tuple[str, ...] = ()  # keys; empty: every task of the profile
    caption: str = ""
    reference: str = ""  # the row that marks are tested against and lifts are taken over


@dataclass(frozen=True)
class Figure:
    """Points with intervals: for each series (a title and its rows or tasks), x and y.

    x: "param:NAME" (a pinned hyperparameter), "label:NAME" (a number in the task's labels), "column:KEY", or "row" (categories);
    y: column keys, one panel each.
    """

    id: str
    title: str
    x: str
    y: tuple[str, ...]
    series: Mapping[str, tuple[str, ...]]  # legend title -> row keys
    tasks: tuple[str, ...] = ()
    x_title: str = ""
    log_x: bool = False
    caption: str = ""


@dataclass(frozen=True)
class Curves:
    """What final cells left to draw (`core/curves.py`), as means over their seeds, on each task.

    names: of the curves, with the title of the y axis of each, or, of surfaces, of the height. Lines of one name share a panel, a
    line for each row and series; each row's surface of a series has a panel of its own. y_title: of surfaces' second axis; beside:
    the picture whose series stand in every panel, too.
    """

    id: str
    title: str
    names: Mapping[str, str]
    rows: tuple[str, ...]
    x_title: str
    y_title: str = ""
    tasks: tuple[str, ...] = ()
    beside: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """What the data of some tasks look like, whatever runs on them: a panel each, computed when their tables are ready.

    compute: from a prepared folder, its task and the home of the data, a table with columns x, y and series; opens no hidden part.
    """

    id: str
    title: str
    compute: Callable[[Path, TaskSpec, Path], pd.DataFrame]
    tasks: tuple[str, ...]
    x_title: str
    y_title: str
    log_x: bool = False
    caption: str = ""


@dataclass(frozen=True)
class Diagram:
    """A drawing that no data enter. svg: a file beside the papers' declarations."""

    id: str
    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Contrast:
    """`row` minus `other` in one column of one task (or their ratio); without an `other`, `row` itself."""

    row: str
    other: str
    column: str
    task: str = ""  # empty: every task of the profile, one contrast each


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as a test, declared before any test label is opened.

    form: greater | less | equivalent | ratio_above | trend; all contrasts must hold (largest p). margin: of equivalence or
    non-inferiority, or the ratio to exceed; smallest: what matters at least; controls: what must fall outside the margin. above: a
    row and a column; what a row that does not exceed it there does better or worse than another tells nothing, and is not judged.
    short: the sentence in two to four words, for a matrix.
    """

    id: str
    sentence: str
    source: str
    form: Literal["greater", "less", "equivalent", "ratio_above", "trend"]
    contrasts: tuple[Contrast, ...]
    smallest: float = 0.0
    margin: float = 0.0
    controls: tuple[Contrast, ...] = ()
    above: tuple[str, str] | None = None
    seeds: int = 5
    note: str = ""
    short: str = ""


@dataclass(frozen=True)
class Timing:
    """A timing cell: `measure(folder, repeats)` runs the compared steps interleaved in one process, alone on the machine.

    It returns {step: [seconds of each repeat]} and is shown, never compared digit by digit.
    """

    key: str
    title: str
    task: TaskSpec
    measure: str  # "module:function" inside the package
    repeats: int = 5
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Profile:
    """A budget: which tasks and rows, how many seeds and trials, and the core-seconds that this may take."""

    name: str
    tasks: tuple[TaskSpec, ...]
    rows: Mapping[str, tuple[Row, ...]]  # task key -> rows
    seeds: int
    trials: int
    core_seconds: float  # for what is on a fresh machine
    fit_seconds: Mapping[str, float]  # "dataset/row", "dataset/*", "row" or "*" -> seconds of a fit, for plan and budget test
    timings: tuple[Timing, ...] = ()
    sampler: str = "tpe"
    pruner: str = "none"
    recheck: int = 0  # how many of the best settings are fitted again on other tuning seeds before choosing
    tuning_seeds: int = 1
    deadline: float = 600.0  # seconds a cell may take
    differs: str = ""  # what deviates from the paper in all trained rows of this profile
    imported: Mapping[str, float] = field(default_factory=dict)  # core-seconds on top for a dataset that a user has imported

    def expected(self, dataset: str, row: str) -> float:
        """Seconds that one fit of a row takes, by the nearest declaration."""
        names = (f"{dataset}/{row}", f"{dataset}/*", row, "*")
        return next(self.fit_seconds[name] for name in names if name in self.fit_seconds)


@dataclass(frozen=True)
class Benchmark:
    """One paper."""

    name: str
    title: str
    citation: str
    profiles: Mapping[str, Profile]
    tables: tuple[Table, ...]
    figures: tuple[Figure | Curves, ...]
    claims: tuple[Claim, ...]
    objective: str  # the column that studies maximise; of the view "valid"
    deviations: tuple[str, ...] = ()
    published: str = ""  # file under results/published
    pictures: tuple[Picture, ...] = ()
    diagrams: tuple[Diagram, ...] = ()

    def profile(self, name: str) -> Profile:
        """The named profile, or a `UsageError` that suggests one."""
        if name not in self.profiles:
            raise unknown("profile", name, self.profiles)
        return self.profiles[name]

    @property
    def asks(self) -> str:
        """The table that a dataset must have for its tasks."""
        return next(iter(self.profiles.values())).tasks[0].asks

    def task_kind(self) -> type[Task]:
        """The kind of task that its rows serve (an outside runner joins when it serves the same)."""
        first = next(iter(self.profiles.values()))
        return first.rows[first.tasks[0].key][0].runner.task
