"""Prompts that a model has read once, and tokens that it reads after them, many continuations of one prompt side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .extra import need

if TYPE_CHECKING:
    from .model import LanguageModel


class Reading:
    """B prompts in the key-value cache. `last` (B, d): the hidden state that the first token of a response is predicted from.

    Continuations stand behind the prompt in one row, each seeing the prompt and, of what was read since, what it is told to. So
    no prompt is copied for each of its continuations, and no cache is reordered.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        ids, self.lengths = model.padded(prompts)
        self.cache: Any = need("transformers").DynamicCache()
        self.last = model.hidden(ids, self.lengths, self.cache)[:, -1]
        places = torch.arange(ids.shape[1], device=ids.device)
        self.prompt = (places >= ids.shape[1] - self.lengths[:, None])[:, None, None, :]
        self.grown = 0

    def grow(self, ids: Tensor, depth: Tensor, sees: Tensor) -> Tensor:
        """Hidden states (B, Q, d) of Q more tokens for each prompt, which stay in the cache.

        ids: int64 (B, Q); depth: int64 (B, Q) or (Q,), 1 for the first token of a response; sees: bool (B, Q, G + Q) or
        (Q, G + Q), which of the G tokens read since the prompt and of these Q each looks at, itself among them.
        """
        rows, count = ids.shape
        sees = sees.expand(rows, count, self.grown + count)[:, None]
        mask = torch.cat([self.prompt.expand(-1, 1, count, -1), sees], dim=3)
        found = self.model.states(ids, mask, self.lengths[:, None] + depth - 1, self.cache)
        self.grown += count
        return found

    def forget(self) -> None:
        """Back to the prompts alone."""
        self.cache.crop(-self.grown)
        self.grown = 0
