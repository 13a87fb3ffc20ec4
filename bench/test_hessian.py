"""Hessian products at the paper's size: the closed form, double backward (as released), torch.func; seconds and peak memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from craftbench.models.functional_influence import FunctionalRisk
from craftbench.models.influence import FactorRisk

from . import peak_memory
from .interleave import interleave
from .limits import Work


def test_seconds_of_a_product(large_task, large_model, ledger):
    rows = large_task.train
    v = torch.randn(large_model.embeddings.shape, generator=torch.Generator().manual_seed(1))
    generic = FunctionalRisk(large_model, rows).hessian()
    products = {
        "double backward": peak_memory.double(large_model, rows),
        "torch.func": lambda x: generic(x.reshape(-1)).view_as(x),
        "closed form": FactorRisk(large_model, rows).hessian(),
        "closed form, Gauss-Newton": FactorRisk(large_model, rows).hessian(gauss_newton=True),
    }
    expected = products["double backward"](v)
    for name in ("torch.func", "closed form"):
        assert (products[name](v) - expected).norm() < 1e-5 * expected.norm(), name
    race = interleave("Hessian product, 1 M rows", {name: lambda f=f: f(v) for name, f in products.items()}, rounds=5)
    passes = Work(bytes=6 * v.element_size() * v.shape[1] * len(rows))  # four embeddings read and two added to, for each row
    ledger.add(race, "double backward", "closed form, Gauss-Newton", target=2.0, work=passes)
    ledger.add(race, "torch.func", "closed form")
    ledger.add(race, "double backward", "closed form", target=2.0)


def test_seconds_of_a_product_on_movielens(small, ledger):
    spec, folder = small
    task = spec.open(folder)
    rows, model = task.train, peak_memory.MatrixFactorization(task.train.users, task.train.items, 32, 0.1)
    v = torch.randn(model.embeddings.shape)
    double, closed = peak_memory.double(model, rows), peak_memory.closed(model, rows)
    steps = {"double backward": lambda: double(v), "closed form": lambda: closed(v)}
    race = interleave(f"Hessian product, {spec.dataset}, d 32", steps, calls=dict.fromkeys(steps, 10))
    ledger.add(race, "double backward", "closed form")


@pytest.mark.parametrize(("kind", "title", "target"), [("closed", "closed form", 1500.0), ("double", "double backward", None)])
def test_memory_of_a_product(large_task, tmp_path, ledger, kind, title, target):
    rows = large_task.train
    np.savez(tmp_path / "rows.npz", user=rows.user, item=rows.item, label=rows.label, users=rows.users, items=rows.items)
    command = [sys.executable, str(Path(peak_memory.__file__)), str(tmp_path / "rows.npz"), kind]
    megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ledger.note(f"extra memory of a Hessian product, 1 M rows, {title}", megabytes, "MB", target)
