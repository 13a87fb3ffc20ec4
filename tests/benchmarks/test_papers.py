"""What every paper's declaration promises: budgets, claims whose contrasts exist, honest scopes, rows that can be told apart."""

import json
from importlib.resources import files

import pytest
from craftbench.benchmarks.catalogue import PAPERS, declared
from craftbench.datasets.catalogue import DATASETS

QUICK = {"ifru": 300, "gradcraft": 240, "dml": 200, "labelcraft": 240, "cft": 360}  # core-seconds
PROFILES = [(paper, name) for paper in PAPERS for name in declared(paper).profiles if name != "paper"]
LISTS = [(paper, name) for paper in PAPERS for name in declared(paper).profiles]


def fits(profile, rows, row):
    """How often a row is fitted on one task: its study, then its seeds. Inherited values are not searched."""
    source = next((set(each.runner.Params.model_fields) for each in rows if each.key == row.inherits), set())
    searched = set(row.runner.Params.spaces()) - set(row.pinned) - source
    rechecks = profile.recheck * (profile.tuning_seeds - 1) if profile.trials > 1 else 0
    return profile.seeds + (profile.trials + rechecks if searched else 0)


def seconds(profile, datasets):
    return sum(
        fits(profile, profile.rows[task.key], row) * profile.expected(task.dataset, row.key)
        for task in profile.tasks
        if task.dataset in datasets
        for row in profile.rows[task.key]
    )


@pytest.mark.parametrize(("paper", "name"), PROFILES)
def test_rows_times_fits_times_seconds_stay_in_the_budget(paper, name):
    profile = declared(paper).profiles[name]
    by_hand = {each.dataset for each in profile.tasks if each.dataset in profile.imported}
    assert seconds(profile, {each.dataset for each in profile.tasks} - by_hand) <= profile.core_seconds
    for dataset, budget in profile.imported.items():
        assert seconds(profile, {dataset}) <= budget


@pytest.mark.parametrize("paper", PAPERS)
def test_quick_is_minutes_and_smoke_needs_no_download(paper):
    profiles = declared(paper).profiles
    assert profiles["quick"].core_seconds <= QUICK[paper]
    assert all(budget <= 1200 for budget in profiles["quick"].imported.values())
    assert all(task.dataset.startswith("sim-") for task in profiles["smoke"].tasks)


@pytest.mark.parametrize("paper", PAPERS)
def test_standard_has_ten_seeds_and_checks_its_choice(paper):
    profile = declared(paper).profiles["standard"]
    assert (profile.seeds, profile.recheck, profile.tuning_seeds) >= (10, 3, 3)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_contrast_names_rows_and_tasks_that_a_profile_has(paper):
    profiles = declared(paper).profiles.values()
    known = {(task, row.key) for profile in profiles for key, rows in profile.rows.items() for row in rows for task in (key, "")}
    for claim in declared(paper).claims:
        for contrast in (*claim.contrasts, *claim.controls):
            if not contrast.column.startswith("timing/"):
                assert {(contrast.task, row) for row in (contrast.row, contrast.other) if row} <= known


@pytest.mark.parametrize(("paper", "name"), LISTS)
def test_a_stand_in_is_never_called_the_papers_data(paper, name):
    wechat = {"wechat-2021"}
    papers_own = {
        "ifru": {"amazon-electronics", "bookcrossing"},
        "gradcraft": wechat,
        "dml": set(),
        "labelcraft": wechat,
        "cft": set(),
    }[paper]
    for task in declared(paper).profiles[name].tasks:
        assert task.dataset in DATASETS
        assert (task.scope == "paper's data") == (task.dataset in papers_own)
        assert (task.scope == "simulated") == task.dataset.startswith("sim-")


@pytest.mark.parametrize(("paper", "name"), LISTS)
def test_row_keys_are_unique_on_each_task(paper, name):
    for rows in declared(paper).profiles[name].rows.values():
        assert len({row.key for row in rows}) == len(rows)


@pytest.mark.parametrize("paper", [paper for paper in PAPERS if declared(paper).published])
def test_published_cells_stand_beside_rows_and_columns_of_their_table(paper):
    file = files("craftbench") / "results/published" / declared(paper).published
    tables = {table.id: table for table in declared(paper).tables}
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        assert cell["row"] in tables[cell["table"]].rows
        assert cell["column"] in [column.key for column in tables[cell["table"]].columns]
