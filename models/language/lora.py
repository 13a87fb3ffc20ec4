"""Low-rank adapters (Hu et al., LoRA, 2021) in a language model, by peft."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass

import torch
from torch import nn

from ...core.errors import UsageError
from .extra import need
from .model import LanguageModel


@dataclass(frozen=True)
class Lora:
    """r, alpha: rank, and the scale alpha / r; targets: the names of the linear layers that get an adapter (BIGRec's, here)."""

    r: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")


def wrapped(model: LanguageModel, lora: Lora, seed: int = 0) -> LanguageModel:
    """The model with untrained adapters, which change nothing yet; only they are trained. It takes the network over.

    Raises UsageError where peft is absent or the network has no such layers.
    """
    peft = need("peft")
    config = peft.LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=list(lora.targets), task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that is going
        try:
            network = peft.get_peft_model(model.network, config)
        except ValueError as error:
            raise UsageError(f"this model cannot take adapters in {', '.join(lora.targets)} ({error}); name its layers") from None
    generator = torch.Generator().manual_seed(seed)
    for name, each in network.named_parameters():
        if "lora_A" in name:  # the other factors begin at 0
            nn.init.kaiming_uniform_(each, a=math.sqrt(5), generator=generator)
    return LanguageModel(network.eval(), model.tokenizer, asdict(lora))
