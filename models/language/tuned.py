"""A row that tunes the pre-trained model on titles: it names its loss, and has in common with all others whatever comes after."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.context import RunContext
from ...core.runner import Runner
from ...core.task import NextItem
from .extra import IMPORTS
from .fitted import FittedTitles
from .params import TuningParams
from .title_loss import TitleLoss
from .title_rows import Catalogue, Null
from .tuning import tune


class TunedRunner(Runner):
    """Starts from the pre-trained model of the same task and seed, with its prompts, adapter and number of rows."""

    task = NextItem
    requires = ("lm",)
    Params = TuningParams
    fitted = FittedTitles
    imports = IMPORTS
    accelerated = True

    @abstractmethod
    def loss(self, catalogue: Catalogue, task: NextItem, params: Any) -> TitleLoss:
        """What is learned of each token."""

    def null(self, params: Any) -> Null | None:
        """What stands for "no history" in a counterfactual row; None: what the model was pre-trained with."""
        return None

    def fit(self, task: NextItem, params: Any, run: RunContext) -> FittedTitles:
        start: FittedTitles = run.parent("lm").to(run.device)
        model = copy.deepcopy(start.model)
        catalogue = Catalogue(start.template, model.tokenizer, task.titles)
        train = task.train[run.rng("rows").permutation(len(task.train))[: start.train_rows or None]]
        rows = catalogue.rows(train, self.null(params), run.rng("null"))
        tune(
            model,
            rows,
            catalogue.rows(task.valid[np.arange(min(params.valid_rows, len(task.valid)))]),
            self.loss(catalogue, task, params),
            params,
            run,
        )
        return replace(start, model=model)
