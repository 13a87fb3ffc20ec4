"""A runner that keeps what it finds in its process's memory."""

import gc
import os

import numpy as np
import torch
from craftbench.core.runner import Runner
from craftbench.core.task import UnlearningTask
from craftbench.testing import reachable


class Constant:
    def predict(self, view):
        return {"score": view.columns["item"].astype(np.float32)}


class Spy(Runner):
    """Looks at everything in its process's memory, and keeps every long column that it finds."""

    name, title, task, fitted = "spy", "Spy", UnlearningTask, Constant

    def fit(self, task, params, run):
        arrays = (each for each in reachable(*gc.get_objects()) if issubclass(type(each), np.ndarray | torch.Tensor))
        np.savez(os.environ["SPY_FILE"], *[np.asarray(each) for each in arrays if each.ndim == 1 and len(each) > 500])
        return Constant()
