"""A language model that is small enough to train on two cores: the Llama architecture over a vocabulary of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .extra import need
from .model import LanguageModel
from .tokenizer import trained


@dataclass(frozen=True)
class TinySizes:
    """0.58 M parameters as they stand. feed_forward: width inside an MLP; context: tokens of a prompt and a title together."""

    layers: int = 2
    width: int = 128
    heads: int = 4
    feed_forward: int = 256
    vocabulary: int = 2_000
    context: int = 512


def tiny(texts: Sequence[str], sizes: TinySizes, seed: int) -> LanguageModel:
    """An untrained network in float32, and byte-level BPE trained on `texts`: titles, and the words of the prompts around them.

    Input and output embeddings are one matrix. The same texts, sizes and seed give the same model.
    """
    transformers = need("transformers")
    tokenizer = trained(texts, sizes.vocabulary)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=sizes.width,
        intermediate_size=sizes.feed_forward,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=sizes.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.end,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        network = transformers.LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in network.parameters():
            if each.dim() > 1:  # the others are the scales of norms, which begin at 1
                each.normal_(std=config.initializer_range, generator=generator)
    return LanguageModel(network.eval(), tokenizer)
