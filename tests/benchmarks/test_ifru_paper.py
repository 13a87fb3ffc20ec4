"""What IFRU's declaration promises beside what every paper's does: one search for the model, inherited by every trained row."""

import pytest
from craftbench.benchmarks.catalogue import declared

IFRU = declared("ifru")


@pytest.mark.parametrize("name", sorted(IFRU.profiles))
def test_trained_rows_inherit_what_original_chose(name):
    for rows in IFRU.profiles[name].rows.values():
        for row in rows:
            if {"lr", "l2"} <= set(row.runner.Params.model_fields) and row.key not in ("original", "retrain_own"):
                assert row.inherits == "original"
