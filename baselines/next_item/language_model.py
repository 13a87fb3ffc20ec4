"""The pre-trained language model that every row of titles is tuned from, and how well it does as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.context import RunContext
from ...core.params import Params, fixed
from ...core.runner import Runner
from ...core.task import NextItem, Sequences
from ...datasets.dataset import data_home
from ...models.language.extra import IMPORTS
from ...models.language.fitted import FittedTitles
from ...models.language.folder import from_folder
from ...models.language.lora import Lora, wrapped
from ...models.language.model import LanguageModel
from ...models.language.params import TuningParams
from ...models.language.prompts import Template
from ...models.language.smollm2 import smollm2
from ...models.language.tiny import TinySizes, tiny
from ...models.language.title_loss import CrossEntropy
from ...models.language.title_rows import Catalogue
from ...models.language.tuning import tune

TINY, SMOLLM2 = "tiny", "smollm2-135m"


class LanguageParams(Params):
    """Which model, how it is asked, what of it is tuned, and on how many rows: the same for every row that starts from it."""

    name: str = fixed(TINY, help=f"{TINY}, {SMOLLM2}, or a folder with a transformers checkpoint")
    template: str = fixed("auto", options=("auto", "plain", "alpaca", "alpaca_released"), help="auto: plain for tiny, else alpaca")
    null: str = fixed("drop", options=("drop", "none_word"), help="the prompt without a history")
    adapter: str = fixed("full", options=("full", "lora"), help="what of the model is tuned")
    rank: int = fixed(8, minimum=1, help="of LoRA")
    decoder: str = fixed(
        "exhaustive",
        options=("exhaustive", "trie_beam"),
        help="trie_beam: ten beams stand for scores of every title, where the model is too large for these",
    )
    train_rows: int = fixed(0, minimum=0, help="rows that are tuned on; 0: all")
    layers: int = fixed(2, minimum=1, help="of tiny")
    width: int = fixed(128, minimum=4, help="of tiny")
    vocabulary: int = fixed(2000, minimum=257, help="of tiny, at most")
    epochs: float = fixed(3.0, minimum=0.0, help="passes of tiny over the titles, without histories, before anything is tuned")
    lr: float = fixed(3e-3, minimum=0.0, help="of tiny, before anything is tuned")


class PretrainedLanguageModel(Runner):
    """tiny is first trained here on the titles that users took, each without its history, so that there is a prior to overcome."""

    name = "lm"
    title = "Language model, not tuned"
    task = NextItem
    Params = LanguageParams
    fitted = FittedTitles
    imports = IMPORTS
    accelerated = True

    def fit(self, task: NextItem, params: LanguageParams, run: RunContext) -> FittedTitles:
        chosen = ("plain" if params.name == TINY else "alpaca") if params.template == "auto" else params.template
        template = Template(_named(chosen), task.category, "none_word" if params.null == "none_word" else "drop")
        model = _untrained(task, template, params, run) if params.name == TINY else _pretrained(params.name)
        model.network.to(run.device)
        if params.name == TINY and params.epochs:
            catalogue = Catalogue(template, model.tokenizer, task.titles)
            settings = TuningParams(lr=params.lr, epochs=params.epochs)
            tune(model, *(catalogue.rows(_forgotten(part)) for part in (task.train, task.valid)), CrossEntropy(), settings, run)
        if params.adapter == "lora":
            model = wrapped(model, Lora(r=params.rank, alpha=2 * params.rank))
        return FittedTitles(model, template, task.titles, params.train_rows, params.decoder)


def _named(name: str) -> Literal["plain", "alpaca", "alpaca_released"]:
    return name  # pyright: ignore[reportReturnType]


def _untrained(task: NextItem, template: Template, params: LanguageParams, run: RunContext) -> LanguageModel:
    texts = [template.factual(task.titles[1:11]), template.counterfactual(), *map(template.response, task.titles[1:])]
    sizes = TinySizes(params.layers, params.width, feed_forward=2 * params.width, vocabulary=params.vocabulary)
    return tiny(texts, sizes, run.seed("init"))


def _pretrained(name: str) -> LanguageModel:
    return smollm2(data_home() / "models") if name == SMOLLM2 else from_folder(Path(name))


def _forgotten(part: Sequences) -> Sequences:
    """The same rows without their histories."""
    return replace(part, history=np.zeros_like(part.history))
