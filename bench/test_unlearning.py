"""Whole answers to a request: IFRU against Retrain as released (dense Adam), row-sparse Retrain and the shard methods."""

from __future__ import annotations

from craftbench.benchmarks.papers.ifru_timing import paper_size, whole_requests

from .interleave import Race


def test_a_request_on_movielens(small, ledger):
    spec, folder = small
    steps = ("retrain", "retrain_row_sparse", "receraser", "ifru", "ifru_hop0")
    race = Race(f"request on {spec.dataset}", whole_requests(spec, folder, repeats=3, steps=steps))
    for slow in steps[:3]:
        ledger.add(race, slow, "ifru")
    ledger.add(race, "retrain", "ifru_hop0")


def test_a_request_at_the_papers_size(large, ledger):
    """Trainings of ten epochs each; what is called projected is the median of a few steps x steps x epochs."""
    race = Race("request, 1 M rows, simulated", paper_size(*large, repeats=1, steps=6))
    for slow in race.seconds:
        if not slow.startswith("ifru"):
            ledger.add(race, slow, "ifru")
    ledger.add(race, "retrain_row_sparse", "ifru_hop0")
