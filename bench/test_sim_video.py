"""The short-video simulator: ten million impressions, and a week of the closed loop."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from craftbench.datasets.closed_loop import candidates, random_score, run, run_many
from craftbench.datasets.sim_video_behaviour import behaviour
from craftbench.datasets.sim_video_worlds import WORLDS

from .interleave import interleave

BIG = """
import json, resource, time
from craftbench.datasets.sim_video import simulate
from craftbench.datasets.sim_video_worlds import WORLDS
start = time.perf_counter()
rows = len(simulate(WORLDS["sim-video"].scaled(260)).impressions)
seconds = time.perf_counter() - start
print(json.dumps([rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))
"""


def test_ten_million_impressions(ledger):
    """In a process of its own, for its peak of memory."""
    rows, seconds, gigabytes = json.loads(subprocess.run([sys.executable, "-c", BIG], capture_output=True, check=True).stdout)
    assert rows >= 10_000_000
    ledger.note("1e7 impressions of sim-video, truth included", seconds, "s", target=60)
    ledger.note("the same, peak memory", gigabytes, "GB", target=4)


def test_a_week_of_the_closed_loop(ledger):
    """Sixteen policies on 2,000 users, 7 days and 50 candidates a day: one after the other, and at once."""
    world = WORLDS["sim-video"]
    behaviour(world)
    offered = candidates(world)
    scores = np.stack([random_score(offered, seed) for seed in range(16)])
    steps = {
        "one by one": lambda: [run(world, offered, score) for score in scores],
        "at once": lambda: run_many(world, offered, scores),
    }
    ledger.add(interleave("a week of 16 policies", steps, rounds=3, warm_up=False), "one by one", "at once")
