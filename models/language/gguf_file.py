"""A GGUF file as a plain float32 model: weights de-quantised, nothing left of the quantisation."""

from __future__ import annotations

from pathlib import Path

import torch

from ...core.errors import UsageError, reason_of
from .extra import need
from .hub_tokenizer import adopted
from .model import LanguageModel


def read_gguf(path: Path) -> LanguageModel:
    """The model and tokenizer in a GGUF file. Raises UsageError where gguf is absent or transformers cannot read the file.

    A model read from GGUF refuses to be saved for its quantisation settings, although its weights are float by then: a plain one
    of the same architecture takes the weights over.
    """
    gguf = need("gguf")
    transformers = need("transformers")
    where = {"gguf_file": path.name, "local_files_only": True}
    try:
        held = gguf.GGUFReader(path)
        layers = [int(field.parts[-1][0]) for name, field in held.fields.items() if name.endswith(".block_count")]
        if max(layers, default=0) > len(held.tensors):  # it would be built layer by layer before anybody missed their weights
            raise UsageError(f"{path} describes {max(layers)} layers and holds {len(held.tensors)} tensors; fetch it again")
        read = transformers.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **where)
    except UsageError:
        raise
    except Exception as error:  # whatever a library says of a file that is cut short or foreign
        raise UsageError(f"{path} cannot be read as a GGUF language model ({reason_of(error)}); fetch it again") from error
    described = read.config.to_dict()
    described.pop("quantization_config", None)
    config = transformers.AutoConfig.for_model(**described)
    with torch.random.fork_rng(devices=[]):
        plain = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    return LanguageModel(plain.eval(), adopted(tokenizer, str(path)))
