"""Watch-time labels: an integer histogram against pandas, polars and duckdb; users and items; a billion rows as a stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

os.environ.setdefault("POLARS_MAX_THREADS", "2")  # before polars is imported

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from craftbench.models.watch_groups import DurationGroups
from craftbench.models.watch_histogram import WatchHistogram
from craftbench.models.watch_labels import WatchTimeLabels
from craftbench.models.watch_levels import Ranks
from craftbench.models.watch_sides import LevelCounts

from .interleave import interleave
from .limits import Work

ROWS = 10_000_000


def plays(rows: int, users: int = 27_000, items: int = 7_500) -> dict[str, np.ndarray]:
    """Heavy-tailed watch times, to a tenth of a second and up to an hour; videos of 3 s to ten minutes."""
    rng = np.random.default_rng(0)
    duration = np.clip(rng.lognormal(3.6, 0.9, rows), 3, 600).astype(np.float32)
    watch_time = (np.rint(10 * np.clip(rng.lognormal(2, 1.5, rows), 0, 3600)) / 10).astype(np.float32)
    ids = {"user_id": rng.integers(0, users, rows), "item_id": rng.integers(0, items, rows)}
    return {"watch_time": watch_time, "duration": duration, **ids}


def ranks(log: dict[str, np.ndarray], threads: int) -> np.ndarray:
    """What D2Q learns, and DML with as many equal levels as watch times: fit and apply."""
    played = log["watch_time"], log["duration"]
    histogram = WatchHistogram()
    histogram.add(*played, threads)
    groups = DurationGroups(histogram, 30)
    return groups.look_up(groups.table(Ranks(groups.counts, None).label), *played, threads)


def test_percentile_ranks_of_ten_million_plays(ledger):
    """The share of the group's plays at or below, for each play. All start from the log; the others are told where groups end."""
    log = plays(ROWS)
    histogram = WatchHistogram()
    histogram.add(log["watch_time"], log["duration"])
    groups = DurationGroups(histogram, 30)
    ends = groups.last[:-1]
    columns = {name: log[name] for name in ("watch_time", "duration")} | {"play": np.arange(ROWS, dtype=np.int32)}
    table, frame, database = pd.DataFrame(columns), pl.DataFrame(columns), duckdb.connect()
    database.execute("set threads = 2")
    database.register("plays", table)
    database.register("groups", pd.DataFrame({"second": np.arange(3601, dtype=np.int32), "g": groups.group.astype(np.int32)}))
    rank = pl.col("watch_time").rank("max").over("g") / pl.len().over("g")
    query = """select {} cume_dist() over (partition by g order by watch_time) as r
               from plays join groups on second = cast(round_even(duration, 0) as integer)"""

    def by_play():
        """A query's rows are in no order."""
        found, ranked = database.execute(query.format("play,")).fetchnumpy(), np.empty(ROWS)
        ranked[found["play"]] = found["r"]
        return pd.Series(ranked)

    steps = {
        "pandas": lambda: table.groupby(np.searchsorted(ends, np.rint(table["duration"])))["watch_time"].rank(
            method="max", pct=True
        ),
        "polars": lambda: frame.with_columns(g=pl.Series(ends).search_sorted(np.rint(frame["duration"]))).select(rank).to_series(),
        "duckdb": by_play,
        "duckdb, labels in no order": lambda: pd.Series(database.execute(query.format("")).fetchnumpy()["r"]),
        "histogram, one thread": lambda: pd.Series(ranks(log, 1)),
        "histogram": lambda: pd.Series(ranks(log, 2)),
    }
    ours = steps["histogram"]().to_numpy()
    for name in ("pandas", "polars", "duckdb", "histogram, one thread"):
        np.testing.assert_array_equal(steps[name]().to_numpy().astype(np.float32), ours)
    race = interleave("percentile ranks by duration group of 1e7 plays, fit and apply", steps, rounds=3, warm_up=False)
    for name in ("pandas", "polars", "duckdb", "duckdb, labels in no order"):
        ledger.add(race, name, "histogram, one thread")
    streamed = Work(bytes=(2 * 8 + 4) * ROWS)  # both columns twice, and the labels
    for name, target in (("pandas", 20.0), ("polars", 10.0), ("duckdb", 10.0)):
        ledger.add(race, name, "histogram", target=target, work=streamed)
    ledger.add(race, "duckdb, labels in no order", "histogram", work=streamed)


def test_labels_of_ten_million_plays(ledger):
    log = plays(ROWS)
    steps = {"fit and transform": lambda: WatchTimeLabels(sides=(), threads=2).fit(log).transform(log)}
    race = interleave("labels", steps, rounds=3)
    ledger.note("WatchTimeLabels of 1e7 plays: wpr, wpr_d, ev_d, lv_d, fit and transform", race.median("fit and transform"), "s")


@pytest.mark.parametrize("side", ["user_id", "item_id"])
def test_thresholds_of_users_and_items(ledger, side):
    """The median and the 75 % quantile of the levels of each user's (item's) plays."""
    log = plays(1_400_000)
    labels = WatchTimeLabels(shrinkage=0, sides=(side,)).fit(log)
    level = labels.level_of(log)
    frame = pl.DataFrame({"id": log[side], "level": level})
    quantiles = [pl.col("level").quantile(share, "lower").alias(str(share)) for share in (0.5, 0.75)]

    def ours():
        counts = labels.side_counts(log).counts[side]
        return counts, counts.thresholds((0.5, 0.75), 0.0)

    def with_levels():
        """As polars has it: its levels are there."""
        counts = LevelCounts(side, 50)
        counts.add(log[side], level)
        return counts.thresholds((0.5, 0.75), 0.0)

    counts, found = ours()
    exact = pd.DataFrame({"id": log[side], "level": level}).groupby("id")["level"]
    for k, share in enumerate((0.5, 0.75)):
        wanted = exact.agg(lambda each, s=share: np.sort(each.to_numpy())[int(np.ceil(s * len(each))) - 1])
        np.testing.assert_array_equal(found.level[k, counts.places(wanted.index.to_numpy())], wanted)
    steps = {"polars": lambda: frame.group_by("id").agg(quantiles), "counts": with_levels, "counts, levels too": ours}
    race = interleave(f"thresholds by {side} of 1.4e6 plays", steps, rounds=7)
    ledger.add(race, "polars", "counts", target=0.5)
    ledger.add(race, "polars", "counts, levels too")


STREAM = """
import json, sys, time
import numpy as np
from craftbench.models.watch_labels import WatchTimeLabels
from bench.held_memory import held_at_most
from bench.test_watch_labels import Repeated
log, start = Repeated(int(sys.argv[1])), time.perf_counter()
labels, rows, positive = WatchTimeLabels(sides=(), threads=2).fit(log), 0, 0
for batch in labels.transform(log):
    rows, positive = rows + len(batch), positive + int(batch["ev_d"].sum())
print(json.dumps([rows, positive / rows, time.perf_counter() - start, held_at_most()]))
"""


class Repeated:
    """One block of ten million plays, again and again, each time by other users of other videos."""

    def __init__(self, times: int) -> None:
        self.times, self.block = times, plays(ROWS)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for k in range(self.times):
            shifted = {name: self.block[name] + k * 10_000_000 for name in ("user_id", "item_id")}
            yield {**self.block, **shifted}


def test_a_billion_plays_as_a_stream(ledger):
    """In a process of its own, for its peak of memory; CRAFTBENCH_BENCH_BLOCKS is how often the block of 1e7 comes (100)."""
    blocks = int(os.environ.get("CRAFTBENCH_BENCH_BLOCKS", "100"))
    command = [sys.executable, "-c", STREAM, str(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.path.dirname(os.path.dirname(__file__)))
    rows, positive, seconds, gigabytes = json.loads(done.stdout)
    assert rows == blocks * ROWS
    assert 0.5 <= positive < 0.55
    ledger.note(f"wpr, wpr_d, ev_d, lv_d of {rows:.0e} plays in a stream, fit and transform", seconds, "s", target=3.0 * blocks)
    ledger.note(f"{rows:.0e} plays in a stream, peak memory", gigabytes, "GB", target=2)
