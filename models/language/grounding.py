"""Free generation, and which items a generated text means: those whose titles' embeddings are near its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .extra import need
from .model import LanguageModel
from .scoring import batches

ROWS = 64  # of a forward


@dataclass(frozen=True)
class FreeBeams:
    """Beam search without a catalogue, as released: 5 beams, scores over tokens ** 1, 4 to 128 new tokens."""

    beams: int = 5
    length_penalty: float = 1.0
    least_tokens: int = 4
    most_tokens: int = 128

    @torch.no_grad()
    def generate(self, model: LanguageModel, prompts: Sequence[Sequence[int]]) -> list[list[str]]:
        """The `beams` best texts after each prompt, best first, by `transformers`; nothing is sampled."""
        end = model.tokenizer.end
        config = need("transformers").GenerationConfig(
            num_beams=self.beams,
            num_return_sequences=self.beams,
            length_penalty=self.length_penalty,
            min_new_tokens=self.least_tokens,
            max_new_tokens=self.most_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=end,
        )
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        model.check_length(lengths + (lengths > 0) * self.most_tokens)
        texts: list[list[str]] = [[] for _ in prompts]
        for rows in batches(lengths, ROWS):
            ids, own = model.padded([prompts[row] for row in rows])
            mask = torch.arange(ids.shape[1], device=ids.device) >= ids.shape[1] - own[:, None]
            made = cast(Any, model.network).generate(ids, attention_mask=mask.long(), generation_config=config)
            for place, each in enumerate(made[:, ids.shape[1] :].tolist()):
                texts[rows[place // self.beams]].append(model.tokenizer.decode(each))
        return texts


@torch.no_grad()
def title_embeddings(model: LanguageModel, texts: Sequence[str]) -> Tensor:
    """(M, d), the last layer's state at the last token of each text read without a prompt; the end stands for an empty text."""
    rows = [model.tokenizer.prompt(text) or [model.tokenizer.end] for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    found: Tensor | None = None
    for group in batches(lengths, ROWS):
        last = model.hidden(*model.padded([rows[row] for row in group]))[:, -1]
        found = last.new_empty(len(rows), last.shape[1]) if found is None else found
        found[group] = last
    assert found is not None
    return found


def ground(generated: Tensor, items: Tensor) -> NDArray[np.float32]:
    """BIGRec's scores (N, I + 1): minus the L2 distance of each item to what the best beam says.

    generated: (N, B, d), embeddings of each row's texts, best beam first; items: (I, d), those of the titles of items 1..I.
    """
    return _with_none(-_distances(generated[:, :1], items)[:, 0])


def ground_adjusted(generated: Tensor, items: Tensor, entries: int = 500) -> NDArray[np.float32]:
    """CFT's scores (N, I + 1): minus an item's first place in the round robin of the beams.

    Shapes as in `ground`. entries: how far the round robin goes, entry (beam b, rank r), both from 0, standing at r B + b; items
    without a place in it tie behind all others. 10 entries of 5 beams make the list of the earlier release, each item counted once.
    """
    listed = round_robin(generated, items, entries)
    scores = torch.full((len(listed), len(items)), -float(listed.shape[1]), device=generated.device)
    places = -torch.arange(listed.shape[1], dtype=torch.float32, device=generated.device)
    return _with_none(scores.scatter_reduce(1, listed - 1, places.expand(len(listed), -1), "amax"))


def round_robin(generated: Tensor, items: Tensor, entries: int) -> Tensor:
    """Item ids (N, entries): the nearest of each beam, then the second nearest of each, and so on; duplicates are kept.

    Shapes as in `ground`. The first 10 entries of 5 beams are the list that the earlier release evaluated, where an item that two
    beams mean counts twice. Equal distances go by id; no more than all entries are returned.
    """
    nearest = _distances(generated, items).sort(dim=2, stable=True).indices[:, :, : -(-entries // generated.shape[1])]
    return 1 + nearest.transpose(1, 2).flatten(1)[:, :entries]


def _distances(generated: Tensor, items: Tensor) -> Tensor:
    """(N, B, I); differences squared and summed, not by the product of matrices, which loses small distances to rounding."""
    flat = torch.cdist(generated.flatten(0, 1), items, compute_mode="donot_use_mm_for_euclid_dist")
    return flat.view(*generated.shape[:2], len(items))


def _with_none(scores: Tensor) -> NDArray[np.float32]:
    """Id 0 in front, 1 below the row's least."""
    return torch.cat([scores.amin(dim=1, keepdim=True) - 1, scores], dim=1).float().cpu().numpy()
