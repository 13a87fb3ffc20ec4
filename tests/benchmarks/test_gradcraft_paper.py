"""What GradCraft's declaration promises: budgets, equal searches, claims whose contrasts exist."""

import pytest
from craftbench.benchmarks.catalogue import declared
from craftbench.models.multitask_training import MultiTaskParams

GRADCRAFT = declared("gradcraft")
FRESH = ("sim-video", "sim-video-small", "sim-video-kuairand")


def _seconds(profile, datasets):
    return sum(
        _fits(profile, row) * profile.expected(task.dataset, row.key)
        for task in profile.tasks
        if task.dataset in datasets
        for row in profile.rows[task.key]
    )


def _fits(profile, row):
    inherited = {"lr", "l2", "tau", "eps"} if row.inherits else set()
    searched = set(row.runner.Params.spaces()) - set(row.pinned) - inherited
    rechecks = profile.recheck * (profile.tuning_seeds - 1)
    return profile.seeds + (profile.trials + rechecks if searched else 0)


@pytest.mark.parametrize("name", ["smoke", "quick", "standard"])
def test_rows_times_trials_times_seeds_times_seconds_fit_the_budget(name):
    profile = GRADCRAFT.profiles[name]
    assert _seconds(profile, FRESH) <= profile.core_seconds
    for dataset, budget in profile.imported.items():
        assert _seconds(profile, (dataset,)) <= budget


def test_quick_is_minutes_and_smoke_needs_no_download():
    assert GRADCRAFT.profiles["quick"].core_seconds <= 240
    assert GRADCRAFT.profiles["quick"].imported["kuairand-pure-slice"] <= 1200
    assert {task.dataset for task in GRADCRAFT.profiles["smoke"].tasks} == {"sim-video-small"}


@pytest.mark.parametrize("name", sorted(GRADCRAFT.profiles))
def test_every_trained_row_has_the_same_network_and_stopping(name):
    """Except for what a row is about: how gradients are balanced, and the released second Adam step."""
    free = {"lr", "l2", "scope", "specific", "adam_steps"}
    for rows in GRADCRAFT.profiles[name].rows.values():
        trained = [row.runner.Params.resolve(dict(row.pinned)) for row in rows if issubclass(row.runner.Params, MultiTaskParams)]
        settings = [{key: getattr(each, key) for key in set(MultiTaskParams.model_fields) - free} for each in trained]
        assert all(each == settings[0] for each in settings)


def test_every_row_searches_the_rate_and_the_penalty_or_inherits_them():
    for profile in GRADCRAFT.profiles.values():
        for row in (row for rows in profile.rows.values() for row in rows if row.key != "rates"):
            assert {"lr", "l2"} <= set(row.runner.Params.spaces()) - set(row.pinned)
            assert row.inherits in (None, "gradcraft")


def test_every_contrast_names_rows_and_tasks_that_a_profile_has():
    profiles = GRADCRAFT.profiles.values()
    known = {(key, row.key) for profile in profiles for key, rows in profile.rows.items() for row in rows}
    for claim in GRADCRAFT.claims:
        for contrast in claim.contrasts:
            assert {(contrast.task, row) for row in (contrast.row, contrast.other) if row} <= known


def test_a_stand_in_is_never_called_the_papers_data():
    for profile in GRADCRAFT.profiles.values():
        for task in profile.tasks:
            assert (task.scope == "paper's data") == (task.dataset == "wechat-2021")
            assert (task.scope == "simulated") == task.dataset.startswith("sim-")


def test_row_keys_are_unique_on_each_task():
    for profile in GRADCRAFT.profiles.values():
        for rows in profile.rows.values():
            assert len({row.key for row in rows}) == len(rows)


def test_published_cells_stand_beside_rows_and_columns_of_their_table():
    import json
    from importlib.resources import files

    cells = json.loads((files("craftbench") / "results/published/gradcraft.json").read_text(encoding="utf-8"))["cells"]
    tables = {table.id: table for table in GRADCRAFT.tables}
    for cell in cells:
        table = tables[cell["table"]]
        assert cell["row"] in table.rows
        assert cell["column"] in [column.key for column in table.columns]
