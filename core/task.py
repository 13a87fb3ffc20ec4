"""What a runner is given: plain, read-only tables, without any label of the test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Predictions = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class View:
    """Rows to predict: a split, possibly in another input variant or under another decoder. It carries no label.

    decoder: how a row that generates turns what it generates into scores; "" where there is one way only. Others ignore it.
    """

    name: str
    columns: Mapping[str, NDArray[np.generic]]
    decoder: str = ""

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Task:
    """A dataset, a split, and what must be predicted. Each kind of task is a subclass with its own tables."""

    name: str

    @property
    def outputs(self) -> Mapping[str, type[np.generic]]:
        """What `predict` yields for each row of a view: name and type."""
        return {"score": np.float32}

    @property
    def further(self) -> frozenset[str]:
        """What a row that has it may yield beside."""
        return frozenset()

    def shape(self, view: View) -> tuple[int, ...]:
        """Of each output."""
        return (view.rows,)


@dataclass(frozen=True)
class Interactions:
    """Labelled (user, item) rows. `user` and `item` are int64 (N,), `label` is float32 (N,) in {0, 1}."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    label: NDArray[np.float32]
    users: int
    items: int

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Interactions:
        """The rows that a boolean mask or an index array selects."""
        return Interactions(self.user[rows], self.item[rows], self.label[rows], self.users, self.items)


@dataclass(frozen=True)
class UnlearningTask(Task):
    """Forget the rows `removed` of `train`.

    train: all rows the Original is trained on, corrupted labels included; removed: bool (N,), the request D_r;
    backbone: the model that every row trains ("mf", "lightgcn", ...); step: int16 (N,), k where a row of D_r leaves with the k-th
    of several requests, 0 where it stays; None where there is one.
    """

    train: Interactions
    removed: NDArray[np.bool_]
    valid: Interactions
    backbone: str
    step: NDArray[np.int16] | None = None

    @property
    def requests(self) -> list[NDArray[np.bool_]]:
        """D_r as the requests that make it up, in their order; bool (N,) each."""
        return [self.removed] if self.step is None else [self.step == k for k in range(1, int(self.step.max()) + 1)]

    @property
    def retained(self) -> Interactions:
        """D_k, the rows that stay."""
        return self.train[~self.removed]


@dataclass(frozen=True)
class Impressions:
    """Shown items with what a model may look at and what the user did.

    inputs: int64 (N,) for a categorical field, float32 (N,) for a dense one, by name; label: float32 (N,) in {0, 1}, by task.
    """

    inputs: Mapping[str, NDArray[Any]]
    label: Mapping[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Impressions:
        """The rows that a boolean mask or an index array selects."""
        inputs, label = ({name: column[rows] for name, column in part.items()} for part in (self.inputs, self.label))
        return Impressions(inputs, label)


@dataclass(frozen=True)
class MultiTask(Task):
    """Predict the probability of each of T kinds of feedback for an impression.

    tasks: the labels; fields: categorical inputs with the size of their vocabulary, where id 0 is every value unseen in train;
    dense: numeric inputs. A view has the same inputs (and `user`, which is none).
    """

    train: Impressions
    valid: Impressions
    tasks: tuple[str, ...]
    fields: Mapping[str, int]
    dense: tuple[str, ...]

    def one_sided(self) -> str | None:
        """Which labels have one class only in train, so that nothing can be learned of them; None where all have two."""
        names = [name for name in self.tasks if not 0 < float(self.train.label[name].sum()) < len(self.train)]
        return f"train has one class only of {', '.join(names)}" if names else None

    @property
    def outputs(self) -> Mapping[str, type[np.generic]]:
        return dict.fromkeys(self.tasks, np.float32)


@dataclass(frozen=True)
class Watched(Impressions):
    """Played videos, and how long they were watched.

    watch_time, duration: float32 (N,), seconds; a video that repeats may be watched for longer than it lasts. `label` holds the
    explicit feedback (like, follow, ...) that every row learns beside the watch time.
    """

    watch_time: NDArray[np.float32]
    duration: NDArray[np.float32]

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Watched:
        """The rows that a boolean mask or an index array selects."""
        inputs, label = ({name: column[rows] for name, column in part.items()} for part in (self.inputs, self.label))
        return Watched(inputs, label, self.watch_time[rows], self.duration[rows])


@dataclass(frozen=True)
class WatchTime(Task):
    """Predict how long an impression is watched.

    feedback: the explicit feedbacks that are learned beside; fields: categorical inputs with the size of their vocabulary, where id
    0 is every value unseen in train, `user_id`, `item_id` and `duration_bucket` among them; dense: numeric inputs. A view has the
    same inputs, `user` to group by, and `seconds_long` (float32), the exact duration to decode by.

    outputs: seconds, the predicted watch time; score, what the watch-time head itself ranks by; fused, what all heads together rank
    by.
    """

    train: Watched
    valid: Watched
    feedback: tuple[str, ...]
    fields: Mapping[str, int]
    dense: tuple[str, ...]

    @property
    def outputs(self) -> Mapping[str, type[np.generic]]:
        return dict.fromkeys(("seconds", "score", "fused"), np.float32)


@dataclass(frozen=True)
class Feed(Task):
    """Rank the videos that a user was shown, so that the best k make a good list.

    train, meta, valid: parts in order of time; nothing is selected on meta, which a method may learn labels from. Inputs are those
    of the other short-video tasks with vocabularies and rates from train alone, and `history`, int32 (N, H): the encoded item ids
    of the user's plays before the row, the latest last, 0 for none. `label` holds explicit feedback.
    fields: categorical inputs with the size of their vocabulary (0: unseen in train); dense: numeric inputs; item_fields: int64
    (items,) by encoded item id, what is known of an item in a history. A view has the same inputs, `user` to group by, and
    `seconds_long`, the exact duration in seconds.
    """

    train: Watched
    meta: Watched
    valid: Watched
    fields: Mapping[str, int]
    dense: tuple[str, ...]
    item_fields: Mapping[str, NDArray[np.int64]]
    k: int


@dataclass(frozen=True)
class Sequences:
    """What users took, and what they took next.

    user: int64 (N,); history: int64 (N, H), item ids, oldest first, the latest last, behind as many zeros as it is short; target:
    int64 (N,), the next item.
    """

    user: NDArray[np.int64]
    history: NDArray[np.int64]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Sequences:
        """The rows that a boolean mask or an index array selects."""
        return Sequences(self.user[rows], self.history[rows], self.target[rows])


@dataclass(frozen=True)
class NextItem(Task):
    """Predict the item that a user takes next, among all items.

    titles: by item id, all different; id 0 is no item and has the title "". category: what an item is called in a sentence
    ("movie"). valid: the rows that a setting is chosen by, the first of them in the view "valid". A view has `user` and
    `history`, and its `decoder` is one of "exhaustive", "trie_beam", "grounding", "adjusted_grounding", which rows that do not
    generate ignore.

    outputs: score, float32 (rows, items + 1), higher for an item that is more likely next, whatever it says of id 0. A row that
    knows the log-probability of each token of a title yields it as `token`, float32 (rows, items + 1, longest title), 1 behind a
    title's end, in views whose name begins with "tokens".
    """

    train: Sequences
    valid: Sequences
    titles: tuple[str, ...]
    category: str

    @property
    def items(self) -> int:
        """How many there are, without id 0."""
        return len(self.titles) - 1

    @property
    def further(self) -> frozenset[str]:
        return frozenset(("token",))

    def shape(self, view: View) -> tuple[int, ...]:
        return (view.rows, self.items + 1)
