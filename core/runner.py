"""The runner contract: one row of a table, hyperparameters plus `fit`. Methods and baselines alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from .context import RunContext
from .params import Params
from .task import Predictions, Task, View


class Fitted(Protocol):
    """What `fit` leaves: it predicts any view, and survives a trip through a folder (safetensors and JSON)."""

    def predict(self, view: View) -> Predictions: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Runner(ABC):
    """One row of a table.

    name: as on the command line; title: as in the table; task: the kind of task it serves; requires: the names of the runners
    whose fitted cells of the same task and seed it starts from (`run.parent(name)`); Params: its hyperparameters;
    fitted: the class that loads what `fit` saved; reference: the paper it implements; imports: modules of other packages that take
    seconds to load and survive a fork, so that a backend may load them once for all cells; accelerated: whether it uses a GPU where
    there is one (the record then names it, and digits are not promised).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[type[Task]]
    requires: ClassVar[tuple[str, ...]] = ()
    Params: ClassVar[type[Params]] = Params
    fitted: ClassVar[type[Any]]
    reference: ClassVar[str] = ""
    imports: ClassVar[tuple[str, ...]] = ()
    accelerated: ClassVar[bool] = False

    def cannot(self, task: Any) -> str | None:
        """Why this runner cannot do this task, or None. The reason is shown in the table."""
        return None

    @abstractmethod
    def fit(self, task: Any, params: Any, run: RunContext) -> Fitted:
        """Train on `task` with `params`. Deterministic in (task, params, run.root)."""
