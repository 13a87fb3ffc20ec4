"""What IFRU's declaration promises: budgets, equal searches, claims whose contrasts exist."""

import pytest
from craftbench.benchmarks.catalogue import declared

IFRU = declared("ifru")


def _fits(profile, row):
    """How often a row is fitted on one task: its study, then its seeds."""
    inherited = {"original": _params("original"), "ifru": _params("ifru")}.get(row.inherits, set())
    searched = set(row.runner.Params.spaces()) - set(row.pinned) - inherited
    return profile.seeds + (profile.trials if searched else 0)


def _params(key):
    rows = IFRU.profiles["quick"].rows
    return set(next(row for listed in rows.values() for row in listed if row.key == key).runner.Params.model_fields)


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_rows_times_trials_times_seeds_times_seconds_fit_the_budget(name):
    profile = IFRU.profiles[name]
    seconds = sum(
        _fits(profile, row) * profile.expected(task.split("/")[0], row.key) for task, rows in profile.rows.items() for row in rows
    )
    assert seconds <= profile.core_seconds


def test_quick_is_minutes_and_smoke_needs_no_download():
    assert IFRU.profiles["quick"].core_seconds <= 300
    assert {task.dataset for task in IFRU.profiles["smoke"].tasks} == {"sim-ratings"}


@pytest.mark.parametrize("name", sorted(IFRU.profiles))
def test_trained_rows_inherit_what_original_chose(name):
    for rows in IFRU.profiles[name].rows.values():
        for row in rows:
            if {"lr", "l2"} <= set(row.runner.Params.model_fields) and row.key not in ("original", "retrain_own"):
                assert row.inherits == "original"


def test_every_contrast_names_rows_that_a_profile_has():
    known = {row.key for profile in IFRU.profiles.values() for rows in profile.rows.values() for row in rows}
    for claim in IFRU.claims:
        for contrast in (*claim.contrasts, *claim.controls):
            if not contrast.column.startswith("timing/"):
                assert {contrast.row, contrast.other} <= known


def test_a_stand_in_is_never_called_the_papers_data():
    for profile in IFRU.profiles.values():
        for task in profile.tasks:
            assert (task.scope == "paper's data") == (task.dataset in ("amazon-electronics", "bookcrossing"))
            assert (task.scope == "simulated") == task.dataset.startswith("sim-")


def test_row_keys_are_unique_on_each_task():
    for profile in IFRU.profiles.values():
        for rows in profile.rows.values():
            assert len({row.key for row in rows}) == len(rows)
