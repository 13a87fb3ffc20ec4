"""What the figures on watch time show, computed from a prepared watch-time task: tables with the columns x, y and series.

Only rows of train are looked at, so no figure tells anything of a test label.

    rows = train_table(folder)
    watch_frequency(rows)                                       how watch times lie
    rank_edges(rows)                                            where the groups of the percentile rank end
    label_by_duration(rows, train_labels(rows))                 what each label gives to long videos
    truth_correlation(rows, dataset, train_labels(rows))        and whether it follows the match of user and video instead
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UsageError
from ..core.metrics.unlearning import rank_correlation
from ..datasets import multitask
from ..datasets.dataset import Dataset
from ..datasets.watch_time import lower_quantile
from ..models.watch_labels import WatchTimeLabels

BIN, LAST = 5.0, 97.5  # seconds: width of a bin of watch time, and centre of the last, which holds all that is longer
SPANS = ((10, 20), (30, 40))  # seconds: durations whose videos are compared
RANKS = {"WPR": "wpr", "WPR, by duration": "wpr_d"}

Labels = Mapping[str, NDArray[Any]]


def train_table(folder: Path) -> pd.DataFrame:
    """Of the train rows: watch_time, duration (float32, seconds), user_id, item_id (int64, as encoded), row (place in the log)."""
    tables = multitask.read_open(folder)
    shown, inputs = tables.shown["train"], tables.train.inputs
    columns = {"watch_time": shown.watch_time, "duration": shown.duration}
    return pd.DataFrame({**columns, "user_id": inputs["user_id"], "item_id": inputs["item_id"], "row": shown.row})


def watch_frequency(rows: pd.DataFrame) -> pd.DataFrame:
    """For videos of 10-20 s and of 30-40 s: the share (y) of watch times in bins of 5 s (x: the centre; the last holds the rest).

    The paper's first figure. rows: as `train_table`; a span without a row is left out.
    """
    bins = round(LAST / BIN + 0.5)
    watch, duration = rows["watch_time"].to_numpy(), rows["duration"].to_numpy()
    parts: list[pd.DataFrame] = []
    for low, high in SPANS:
        held = watch[(duration >= low) & (duration < high)]
        if not len(held):
            continue
        place = np.minimum(held // BIN, bins - 1).astype(np.int64)
        share = np.bincount(place, minlength=bins) / len(held)
        parts.append(_table(BIN * (np.arange(bins) + 0.5), share, f"{low}-{high} s"))
    return _stacked(parts)


def rank_edges(rows: pd.DataFrame, groups: int = 20, decay: float = 0.95) -> pd.DataFrame:
    """The watch time (y, seconds) at which each of N groups ends, against the share of rows up to there (x), which is their label.

    Of equal groups, and of groups whose shares fall by the factor `decay` from one to the next. The paper's figure of the
    percentile rank. The end of a group is an observed watch time, that of the last group the longest.
    """
    watch = np.sort(rows["watch_time"].to_numpy())
    parts: list[pd.DataFrame] = []
    for factor, title in ((1.0, f"{groups} equal groups"), (decay, f"{groups} groups, each {decay:g} of the one before")):
        share = factor ** np.arange(groups)
        label = np.cumsum(share) / share.sum()
        label[-1] = 1.0
        parts.append(_table(label, [lower_quantile(watch, each) for each in label], title))
    return _stacked(parts)


def train_labels(rows: pd.DataFrame, settings: WatchTimeLabels | None = None) -> Labels:
    """Of each row of `train_table`, by title: the watch time, the share of the video that was played, and the percentile rank in
    the log and among videos of like duration, by labels of these `settings` fitted on these rows. float64 (N,)."""
    watch, duration = (rows[name].to_numpy().astype(np.float64) for name in ("watch_time", "duration"))
    ranks = (settings or WatchTimeLabels()).fit(rows).transform(rows)
    own = {title: np.asarray(ranks[name], dtype=np.float64) for title, name in RANKS.items()}
    return {"watch time": watch, "PCR": np.minimum(watch / duration, 1), **own}


def label_by_duration(rows: pd.DataFrame, labels: Labels, bins: int = 20) -> pd.DataFrame:
    """The mean of each label (y) in bins of the duration with as many rows each, against the mean duration there (x, seconds).

    A label of seconds keeps its unit. A duration is never split, so bins may hold more rows, and there may be fewer of them.
    """
    duration = rows["duration"].to_numpy()
    edges = np.unique(np.quantile(duration, np.arange(1, bins) / bins, method="lower"))
    place = np.searchsorted(edges, duration, side="left")
    place = np.unique(place, return_inverse=True)[1]
    return _stacked([_table(_means(duration, place), _means(values, place), title) for title, values in labels.items()])


def truth_correlation(rows: pd.DataFrame, dataset: Dataset, labels: Labels) -> pd.DataFrame:
    """Spearman's correlation (y) of each label with the duration and with the true match of user and video (x: which of the two).

    dataset: the simulated log that `rows` come from. Raises UsageError for one without truth.
    """
    if "truth" not in dataset.tables:
        raise UsageError(f"dataset {dataset.name!r} does not know who matches what; take a simulated log, as sim-video")
    match = dataset.tables["truth"]["match"].to_numpy()[rows["row"].to_numpy()]
    against = {"duration": rows["duration"].to_numpy(), "true match": match}
    return _stacked(
        [
            _table(list(against), [rank_correlation(values, each) for each in against.values()], title)
            for title, values in labels.items()
        ]
    )


def _means(values: NDArray[Any], place: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.bincount(place, weights=values) / np.bincount(place)


def _table(x: ArrayLike, y: ArrayLike, series: str) -> pd.DataFrame:
    return pd.DataFrame({"x": x, "y": y, "series": series})


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else _table([], [], "")
