"""A causal language model as the rows of a comparison use it: hidden states of left-padded rows, the head where it is wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import linear

from ...core.errors import UsageError
from .extra import need
from .tokenizer import TitleTokenizer

WEIGHTS, CONFIG, LORA = "model.safetensors", "config.json", "lora.json"


class LanguageModel:
    """A `transformers` causal LM (attention by SDPA, logits = head of the last hidden state), and its tokenizer.

    lora: the settings of the adapter that peft put into `network`, None where there is none.
    """

    def __init__(self, network: nn.Module, tokenizer: TitleTokenizer, lora: dict[str, Any] | None = None) -> None:
        self.network, self.tokenizer, self.lora = network, tokenizer, lora

    @property
    def config(self) -> Any:
        return cast(Any, self.network).config

    @property
    def decoder(self) -> nn.Module:
        """The network below its head."""
        return cast(Any, self.network).get_decoder()

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def breadth(self) -> int:
        """How many times the forward that suits a CPU's cache keeps this device busy."""
        return 16 if self.device.type == "cuda" else 1

    @property
    def context(self) -> int:
        """How many tokens of one row it attends to."""
        window = getattr(self.config, "sliding_window", None)
        return min(self.config.max_position_embeddings, window or self.config.max_position_embeddings)

    @property
    def precision(self) -> type[np.floating[Any]]:
        """What scores are counted in: float32, or float64 where the network is."""
        return np.float64 if next(self.network.parameters()).dtype == torch.float64 else np.float32

    def hidden(self, ids: Tensor, lengths: Tensor, cache: Any = None) -> Tensor:
        """Last hidden states (B, T, d) of left-padded rows, float32 (float64 of a float64 network).

        ids: int64 (B, T); lengths: int64 (B,), how many ids at the end of each row are its own, which alone mask and positions are
        made of; cache: a `transformers` cache to fill. What stands at padded places means nothing.
        """
        places = torch.arange(ids.shape[1], device=ids.device) - (ids.shape[1] - lengths[:, None])
        return self.states(ids, (places >= 0).long(), places.clamp(min=0), cache)

    def states(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """As `hidden`, with the mask (B, T) of ones and zeros, or bool (B, 1, T, keys), and positions (B, T) as given."""
        given = {} if cache is None else {"cache": cache}
        found = self.decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=cache is not None, **given
        ).last_hidden_state
        return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (M, V) of hidden states (M, d)."""
        head = cast(Any, self.network).get_output_embeddings()
        found = linear(hidden.to(head.weight.dtype), head.weight, head.bias)
        return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids of unequal length as (ids (B, T), lengths (B,)), left-padded.

        Raises UsageError naming the first row that is longer than the model's context.
        """
        lengths = torch.tensor([len(row) for row in rows])
        self.check_length(lengths)
        width = int(lengths.max())
        ids = torch.zeros(len(rows), width, dtype=torch.int64)
        ids[torch.arange(width) >= width - lengths[:, None]] = torch.tensor([token for row in rows for token in row])
        return ids.to(self.device), lengths.to(self.device)

    def check_length(self, lengths: Tensor) -> None:
        """Raises UsageError naming the first row of more tokens than the context, or of none."""
        for row in (lengths > self.context).nonzero().flatten().tolist():
            raise UsageError(
                f"row {row} has {int(lengths[row])} tokens, the model's context is {self.context}; "
                "shorten its history or its title, or take a model with a longer context"
            )
        for row in (lengths == 0).nonzero().flatten().tolist():
            raise UsageError(f"the prompt of row {row} is empty; a model needs one token to predict from")

    def save(self, folder: Path) -> None:
        """Write all weights (safetensors), and what to build them into (JSON)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.network, str(folder / WEIGHTS))
        described = self.config.to_dict() | {"dtype": str(next(self.network.parameters()).dtype).removeprefix("torch.")}
        (folder / CONFIG).write_text(json.dumps(described, indent=1), encoding="utf-8")
        if self.lora is not None:
            (folder / LORA).write_text(json.dumps(self.lora), encoding="utf-8")
        self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: Path) -> LanguageModel:
        """The inverse of `save`: equal logits, bit for bit."""
        from .lora import Lora, wrapped

        transformers = need("transformers")
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        dtype = getattr(torch, config.pop("dtype"))
        with torch.random.fork_rng(devices=[]):
            network = transformers.AutoModelForCausalLM.from_config(
                transformers.AutoConfig.for_model(**config), attn_implementation="sdpa", dtype=dtype
            )
            model = cls(network, TitleTokenizer.load(folder))
            if (folder / LORA).exists():
                model = wrapped(model, Lora(**json.loads((folder / LORA).read_text(encoding="utf-8"))))
        load_model(model.network, str(folder / WEIGHTS))
        model.network.eval()
        return model
