"""A causal language model from a folder on this machine: any `transformers` checkpoint that needs no code of its own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from ...core.errors import UsageError, reason_of
from .extra import need
from .gguf_file import read_gguf
from .hub_tokenizer import adopted
from .model import CONFIG, LanguageModel
from .reading import Reading
from .tokenizer import FACTS

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
CLOSE = 1e-2  # of logits in float32; a model that is read wrongly is off by far more


def from_folder(path: Path | str, dtype: str = "float32") -> LanguageModel:
    """The checkpoint, from safetensors or from one GGUF file; a folder that `LanguageModel.save` wrote is one too.

    Nothing is unpickled and no code of the folder runs. Raises UsageError for a folder without such weights or without a
    tokenizer, and for a model that cannot be scored as `scoring` does: logits not plainly its head's, attention that heeds no mask.
    """
    path = Path(path)
    ggufs = sorted(path.glob("*.gguf"))
    _check_folder(path, bool(ggufs))
    if any(path.glob("*.safetensors")):
        model = _read(path, dtype)
    elif len(ggufs) == 1:
        model = read_gguf(ggufs[0])
    else:
        raise UsageError(f"folder {path} holds {len(ggufs)} GGUF files; leave one of them in it")
    _check_scores(model, path)
    return model


def _check_folder(path: Path, gguf: bool) -> None:
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; give the folder of a transformers checkpoint")
    safe = any(path.glob("*.safetensors")) or gguf
    pickled = [each.name for pattern in PICKLED for each in sorted(path.glob(pattern))]
    if pickled and not safe:
        raise UsageError(
            f"folder {path} holds pickled weights only ({pickled[0]}), which can run code when opened; convert them to safetensors"
        )
    if not safe:
        raise UsageError(f"folder {path} holds no weights (*.safetensors, *.gguf); give the folder of a transformers checkpoint")
    if (path / "adapter_config.json").exists():
        raise UsageError(f"folder {path} holds an adapter; merge it into its model and save that (peft: merge_and_unload)")
    if not gguf and not (path / CONFIG).exists():
        raise UsageError(f"folder {path} has no {CONFIG}; give the folder of a transformers checkpoint")
    if not gguf and not any((path / name).exists() for name in TOKENIZERS):
        raise UsageError(f"folder {path} has no tokenizer ({', '.join(TOKENIZERS[:2])}); save the model's own beside its weights")


def _read(path: Path, dtype: str) -> LanguageModel:
    transformers = need("transformers")
    try:
        _check_sizes(path)
        if (path / FACTS).exists():
            return LanguageModel.load(path)
        network = transformers.AutoModelForCausalLM.from_pretrained(
            path,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=getattr(torch, dtype),
            attn_implementation="sdpa",
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except UsageError:
        raise
    except Exception as error:  # whatever a library says of a stranger's folder
        what = f"{type(error).__name__}: {reason_of(error)}"
        raise UsageError(f"folder {path} cannot be read as a causal language model ({what}); fetch it again") from error
    network.generation_config = transformers.GenerationConfig()  # a checkpoint's own may sample
    return LanguageModel(network.eval(), adopted(tokenizer, str(path)))


def _check_sizes(path: Path) -> None:
    """Before anything is built: no more layers than tensors, and no matrix larger than all of them together."""
    from safetensors import safe_open

    tensors = numbers = 0
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, "pt") as held:
            for name in held.keys():  # noqa: SIM118  # it is no mapping
                tensors, numbers = tensors + 1, numbers + math.prod(held.get_slice(name).get_shape())
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    layers, width = config.get("num_hidden_layers", 0), config.get("hidden_size", 0)
    sides = [config.get(name, 0) for name in ("vocab_size", "intermediate_size", "num_attention_heads")]
    if layers > tensors or any(side * width > numbers for side in sides):
        raise UsageError(f"{path / CONFIG} describes a larger model than the weights beside it; take both of one checkpoint")


@torch.no_grad()
def _check_scores(model: LanguageModel, path: Path) -> None:
    """Weights that are numbers; and two continuations that share their first token, read as a tree, against each read plainly."""
    if not all(bool(torch.isfinite(weight).all()) for weight in model.network.parameters()):
        raise UsageError(f"the model in {path} has weights that are no numbers (infinite or NaN); fetch it again")
    ids = [token % model.tokenizer.size for token in (11, 7, 19, 5, 23, 3)]
    reading = Reading(model, [ids[:3]])
    sees = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=torch.bool, device=model.device)
    depth = torch.tensor([1, 2, 2], device=model.device)
    tree = reading.grow(torch.tensor([ids[3:]], device=model.device), depth, sees)[0]
    for last, found in zip(ids[4:], model.head(tree[1:]), strict=True):
        plain = model.network(torch.tensor([[*ids[:4], last]], device=model.device)).logits[0, -1].float()
        if float((plain - found).abs().max()) > CLOSE * (1 + float(plain.abs().max())):
            raise UsageError(f"the model in {path} is no plain attention model under one linear head; take one like Llama or Qwen2")
