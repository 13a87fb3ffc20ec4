"""The short-video simulator: ten million impressions, and a week of the closed loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from craftbench.datasets.closed_loop import candidates, random_score, run, run_many
from craftbench.datasets.sim_video_behaviour import behaviour
from craftbench.datasets.sim_video_worlds import WORLDS

from .interleave import interleave

ROOT = Path(__file__).resolve().parents[1]
BIG = """
import json, time
from bench.held_memory import held_at_most
from craftbench.datasets.sim_video import simulate
from craftbench.datasets.sim_video_worlds import WORLDS
start = time.perf_counter()
rows = len(simulate(WORLDS["sim-video"].scaled(260)).impressions)
seconds = time.perf_counter() - start
print(json.dumps([rows, seconds, held_at_most()]))
"""


def test_ten_million_impressions(ledger):
    """In a process of its own, for its peak of memory."""
    rows, seconds, gigabytes = json.loads(
        subprocess.run([sys.executable, "-c", BIG], capture_output=True, check=True, cwd=ROOT).stdout
    )
    assert rows >= 10_000_000
    ledger.note("1e7 impressions of sim-video, truth included", seconds, "s", target=60)
    ledger.note("1e7 impressions of sim-video, peak memory", gigabytes, "GB", target=4)


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
