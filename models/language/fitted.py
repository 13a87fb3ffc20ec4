"""A tuned language model over a catalogue: from histories to scores of all items, by the decoder that a view names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import UsageError
from ...core.task import Predictions, View
from .beam import trie_beam
from .grounding import FreeBeams, ground, ground_adjusted, title_embeddings
from .guide import Guide
from .model import LanguageModel
from .prompts import Template
from .recall import Recall
from .scoring import sums, token_table
from .title_rows import Catalogue
from .trie import TitleTrie

EXHAUSTIVE = "exhaustive"
BEAMS = 10  # of a search within the catalogue, D3's
ROWS = 256  # scored at a time

Scores = NDArray[np.float32]
Guiding = Callable[[TitleTrie, View], Guide]


@dataclass(frozen=True)
class FittedTitles:
    """titles: by item id; train_rows: how many rows whoever starts from this model tunes on, 0 for all; decoder: what stands for
    the exhaustive one where the model is too large to score every title."""

    model: LanguageModel
    template: Template
    titles: tuple[str, ...]
    train_rows: int = 0
    decoder: str = EXHAUSTIVE

    def to(self, device: str) -> FittedTitles:
        """Itself, with its network on a device."""
        self.model.network.to(device)
        return self

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.template, self.model.tokenizer, self.titles)

    @cached_property
    def recall(self) -> Recall:
        return Recall(self.model, self.catalogue.trie)

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}, and in views of tokens {token: float32 (rows, items + 1, longest)}."""
        return predicted(self, view)

    def prior_edges(self) -> Scores:
        """(n,), log p(v | x_0) of each node of the trie: what the model expects without a history."""
        return self.recall.edges([self.catalogue.without_history()])[0]

    def save(self, folder: Path) -> None:
        """Write the model, and `titles.json`."""
        self.model.save(folder / "model")
        settings = {"train_rows": self.train_rows, "decoder": self.decoder}
        told = {"template": asdict(self.template), "titles": self.titles, **settings}
        (folder / "titles.json").write_text(json.dumps(told), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedTitles:
        """The inverse of `save`: equal predictions, bit for bit."""
        told: dict[str, Any] = json.loads((folder / "titles.json").read_text(encoding="utf-8"))
        model = LanguageModel.load(folder / "model")
        return cls(model, Template(**told["template"]), tuple(told["titles"]), told["train_rows"], told["decoder"])


def predicted(titles: FittedTitles, view: View, guiding: Guiding | None = None) -> Predictions:
    """What a row of titles predicts; equal histories are read once. guiding: what a row adds to the model's own steps.

    Grounding looks at what the model writes freely, where no step can be guided.
    """
    history, place = np.unique(view.columns["history"].astype(np.int64), axis=0, return_inverse=True)
    rows = replace(view, columns={"history": history, "user": np.zeros(len(history), dtype=np.int64)})
    prompts = titles.catalogue.prompts(history)
    guide = None if guiding is None else guiding(titles.catalogue.trie, rows)
    found: dict[str, NDArray[Any]] = {"score": DECODERS[_decoder(titles, view)](titles, prompts, guide)}
    if view.name.startswith("tokens") and titles.decoder == EXHAUSTIVE:
        found["token"] = token_table(titles.catalogue.trie, titles.recall.edges(prompts))
    return {name: np.ascontiguousarray(values[place.reshape(-1)]) for name, values in found.items()}


def _decoder(titles: FittedTitles, view: View) -> str:
    name = titles.decoder if view.decoder in ("", EXHAUSTIVE) else view.decoder
    if name not in DECODERS:
        raise UsageError(f"view {view.name!r} names the decoder {name!r}; known are {', '.join(DECODERS)}")
    return name


def _exhaustive(titles: FittedTitles, prompts: list[list[int]], guide: Guide | None) -> Scores:
    """Every title's score, exactly."""
    trie = titles.catalogue.trie
    parts: list[Scores] = []
    for start in range(0, len(prompts), ROWS):
        rows = slice(start, start + ROWS)
        edges = titles.recall.edges(prompts[rows])
        if guide is not None:
            scale, bonus = (np.broadcast_to(each, (len(prompts), len(trie)))[rows] for each in (guide.scale, guide.bonus))
            edges = scale * edges + bonus
        parts.append(sums(trie, edges))
    return np.concatenate(parts)


def _trie_beam(titles: FittedTitles, prompts: list[list[int]], guide: Guide | None) -> Scores:
    """The titles that a search within the catalogue finds; all others tie behind them."""
    trie = titles.catalogue.trie
    steps = None if guide is None else _steps(guide, len(prompts), len(trie))
    items, scores = trie_beam(titles.model, trie, prompts, beams=min(BEAMS, trie.items), step_score=steps)
    told = np.isfinite(scores)
    least = np.where(told, scores, np.inf).min(axis=1, keepdims=True) - 1
    found = np.repeat(least, trie.items + 1, axis=1)
    rows = np.broadcast_to(np.arange(len(items))[:, None], items.shape)
    found[rows[told], items[told]] = scores[told]
    return found.astype(np.float32)


def _steps(guide: Guide, rows: int, nodes: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    scale, bonus = (torch.from_numpy(np.broadcast_to(each, (rows, nodes)).copy()) for each in (guide.scale, guide.bonus))
    return lambda row, node, step: scale.to(step.device)[row, node] * step + bonus.to(step.device)[row, node]


def _grounded(titles: FittedTitles, prompts: list[list[int]], ground: Callable[[Tensor, Tensor], Scores]) -> Scores:
    """What the model writes freely, and the items whose titles are near it."""
    beams = FreeBeams(most_tokens=2 * titles.catalogue.trie.longest)
    if titles.template.name == "plain":  # whose titles may be shorter than the four tokens that the release asks for
        beams = replace(beams, least_tokens=1)
    texts = beams.generate(titles.model, prompts)
    written = [titles.template.title(text) for row in texts for text in row]
    generated = title_embeddings(titles.model, written).view(len(texts), beams.beams, -1)
    return ground(generated, title_embeddings(titles.model, titles.titles[1:]))


DECODERS: dict[str, Callable[[FittedTitles, list[list[int]], Guide | None], Scores]] = {
    EXHAUSTIVE: _exhaustive,
    "trie_beam": _trie_beam,
    "grounding": lambda titles, prompts, _: _grounded(titles, prompts, ground),
    "adjusted_grounding": lambda titles, prompts, _: _grounded(titles, prompts, ground_adjusted),
}
