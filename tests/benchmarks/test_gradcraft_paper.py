"""What GradCraft's declaration promises beside what every paper's does: equal conditions and equal searches."""

import pytest
from craftbench.benchmarks.catalogue import declared
from craftbench.models.multitask_training import MultiTaskParams

GRADCRAFT = declared("gradcraft")


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
