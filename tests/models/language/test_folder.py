"""Checkpoint folders that somebody else made."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from craftbench.core.errors import UsageError
from craftbench.models.language.folder import from_folder
from craftbench.models.language.hub_tokenizer import adopted

IDS = torch.tensor([[5, 6, 7]])


def test_a_checkpoint_is_read_as_it_is(folder):
    path, network = folder
    model = from_folder(path)
    assert torch.equal(model.network(IDS).logits, network.eval()(IDS).logits)
    assert model.context == 48
    assert not model.network.generation_config.do_sample
    assert model.tokenizer.end not in model.tokenizer.encode("Star <|end|> Moon <|start|>")
    assert model.tokenizer.decode(model.tokenizer.response("Star <|end|>")) == "Star <|end|>"
    assert model.tokenizer.front == ()


def test_what_was_saved_here_is_a_checkpoint_too(folder, tmp_path):
    model = from_folder(folder[0])
    model.save(tmp_path / "ours")
    again = from_folder(tmp_path / "ours")
    assert torch.equal(again.network(IDS).logits, model.network(IDS).logits)
    assert again.tokenizer.end == model.tokenizer.end


def test_what_a_tokenizer_puts_in_front_opens_prompts_only(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder[0])
    from tokenizers.processors import TemplateProcessing

    start = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", start)])
    found = adopted(tokenizer, "here")
    assert found.front == (start,)
    assert found.prompt("Star") == [start, *found.encode("Star")]
    assert found.response("Star") == [*found.encode("Star"), found.end]


def test_pickled_weights_are_refused_unopened(folder):
    path = folder[0]
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pickled weights only \(pytorch_model.bin\)"):
        from_folder(path)


def removed(*names):
    def break_(path):
        for name in names:
            (path / name).unlink(missing_ok=True)

    return break_


def foreign(path):
    described = json.loads((path / "config.json").read_text())
    described |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Model"}}
    (path / "config.json").write_text(json.dumps(described))
    (path / "mine.py").write_text("raise SystemExit('code of the folder ran')")


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        (removed("model.safetensors"), "holds no weights"),
        (removed("tokenizer.json", "tokenizer_config.json"), "has no tokenizer"),
        (removed("config.json"), "has no config.json"),
        (lambda path: (path / "config.json").write_text("{"), "cannot be read as a causal language model"),
        (lambda path: (path / "model.safetensors").write_bytes(b"no"), "cannot be read as a causal language model"),
        (lambda path: (path / "adapter_config.json").write_text("{}"), "holds an adapter"),
        (foreign, "cannot be read as a causal language model"),
    ],
)
def test_folders_that_cannot_serve(folder, break_, words):
    break_(folder[0])
    with pytest.raises(UsageError, match=words):
        from_folder(folder[0])


def test_a_tokenizer_without_an_end_closes_no_title(folder):
    rules = transformers.AutoTokenizer.from_pretrained(folder[0]).backend_tokenizer
    with pytest.raises(UsageError, match="of here names no end of text"):
        adopted(transformers.PreTrainedTokenizerFast(tokenizer_object=rules), "here")


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        from_folder(tmp_path / "absent")


def test_logits_that_are_not_plainly_the_heads_are_refused(folder):
    """Granite divides its logits by a constant, Cohere likewise: scored by the head alone they would be wrong without a word."""
    path, network = folder
    described = network.config.to_dict()
    kept = {k: described[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")}
    granite = transformers.GraniteForCausalLM(
        transformers.GraniteConfig(**kept, logits_scaling=0.1, eos_token_id=1, pad_token_id=None)
    )
    granite.save_pretrained(path)
    with pytest.raises(UsageError, match="no plain attention model under one linear head"):
        from_folder(path)
