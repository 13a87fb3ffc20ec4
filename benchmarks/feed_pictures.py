"""What the figures on feeds show of the data, computed from a prepared feed: tables with the columns x, y and series.

catalogue_durations(folder)                       how long the videos are
durations(duration, share, "LabelCraft")          and those of a list
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..datasets import multitask

BIN, END = 50.0, 600.0  # seconds: width of a bin of duration, and where the last ends


def catalogue_durations(folder: Path) -> pd.DataFrame:
    """The share (y) of the videos in bins of 50 s of their duration (x: the centre): of the catalogue, each video once, and of what
    users were shown, each time that they were. Train's rows, meta included."""
    tables = multitask.read_open(folder)
    shown = pd.DataFrame({"item": tables.train.inputs["item_id"], "duration": tables.shown["train"].duration})
    catalogue = shown[shown["item"] > 0].drop_duplicates("item")
    parts = [(catalogue, "catalogue"), (shown, "shown")]
    return pd.concat([durations(rows["duration"].to_numpy(), title=title) for rows, title in parts], ignore_index=True)


def durations(duration: ArrayLike, weight: ArrayLike | None = None, title: str = "") -> pd.DataFrame:
    """The share (y) of weighted rows (N,) in bins of 50 s of their duration (x: the centre), as a series of this title.

    Rows of 600 s and more count in the shares, but have no bin. weight: None for 1 each.
    """
    seconds = np.asarray(duration, dtype=np.float64)
    each = np.ones(len(seconds)) if weight is None else np.asarray(weight, dtype=np.float64)
    bins = round(END / BIN)
    inside = seconds < END
    sums = np.bincount((seconds[inside] // BIN).astype(np.int64), weights=each[inside], minlength=bins)
    return pd.DataFrame({"x": BIN * (np.arange(bins) + 0.5), "y": sums / each.sum(), "series": title})
