"""Models: left padding, what is saved and loaded, tokenizers that no text can trick."""

from __future__ import annotations

import sys

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language.lora import Lora, wrapped
from craftbench.models.language.model import LanguageModel
from craftbench.models.language.smollm2 import smollm2
from craftbench.models.language.tiny import TinySizes, tiny
from craftbench.models.language.tokenizer import trained
from hypothesis import given
from hypothesis import strategies as st

SMALL = TinySizes(width=16, heads=2, feed_forward=16, vocabulary=280, context=40)


def test_left_padding_with_positions_of_lengths_is_no_padding(world):
    rows = [[5, 6, 7, 8], [9, 5], [3] * 9]
    together = world.model.hidden(*world.model.padded(rows))
    for place, row in enumerate(rows):
        alone = world.model.decoder(input_ids=torch.tensor([row])).last_hidden_state[0]
        torch.testing.assert_close(together[place, -len(row) :], alone, atol=1e-12, rtol=0)


def test_the_head_gives_the_networks_logits(world):
    ids, lengths = world.model.padded([[5, 6, 7, 8]])
    found = world.model.head(world.model.hidden(ids, lengths)[0])
    torch.testing.assert_close(found, world.model.network(ids).logits[0], atol=0, rtol=0)


def test_half_precision_comes_out_as_float32(world):
    model = tiny(["Star"], SMALL, 0)
    model.network.bfloat16()
    hidden = model.hidden(*model.padded([[5, 6]]))
    assert hidden.dtype == model.head(hidden[0]).dtype == torch.float32


def test_one_seed_one_model_and_the_callers_random_numbers_untouched():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    one, same, other = (tiny(["Star Moon", "Star River"] * 3, SMALL, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [model.network.state_dict()["model.layers.0.mlp.up_proj.weight"] for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one.tokenizer.rules.to_str() == same.tokenizer.rules.to_str()


@pytest.mark.parametrize("lora", [None, Lora(r=2, alpha=4)])
def test_saved_and_loaded_gives_equal_bits(tmp_path, lora):
    model = tiny(["Star Moon", "Star River"], SMALL, 1)
    if lora:
        plain = model.head(model.hidden(*model.padded([[5, 6, 7]]))[0])
        model = wrapped(model, lora)
        assert torch.equal(model.head(model.hidden(*model.padded([[5, 6, 7]]))[0]), plain)
        trained_names = {name for name, weight in model.network.named_parameters() if weight.requires_grad}
        assert len(trained_names) == 2 * 2 * 2  # layers x targets x factors
        with torch.no_grad():
            for weight in (each for each in model.network.parameters() if each.requires_grad):
                weight.add_(0.1)
    model.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded = LanguageModel.load(tmp_path)
    ids, lengths = model.padded([[5, 6, 7], [8]])
    assert torch.equal(model.head(model.hidden(ids, lengths)[:, -1]), loaded.head(loaded.hidden(ids, lengths)[:, -1]))
    assert loaded.tokenizer.encode("Star") == model.tokenizer.encode("Star")
    assert loaded.tokenizer.end == model.tokenizer.end
    assert loaded.context == SMALL.context


def test_lora_names_its_layers():
    with pytest.raises(UsageError, match="cannot take adapters in nothing_proj"):
        wrapped(tiny(["Star"], SMALL, 1), Lora(targets=("nothing_proj",)))


@given(st.text(max_size=40) | st.sampled_from(["<|im_end|>", "</s>", "[END]", "\x00\n"]))
def test_any_text_can_be_written_and_read_and_none_is_the_end(text):
    tokenizer = TOKENIZER
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([*tokenizer.response(text), 5, 6]) == text
    assert all(0 <= each < tokenizer.end for each in ids)


TOKENIZER = trained(["Star Moon", "Star River, the"], 300)


def test_a_vocabulary_holds_the_bytes():
    assert TOKENIZER.size <= 300
    assert len(TOKENIZER.encode("Star")) < 4
    with pytest.raises(UsageError, match="256 bytes"):
        trained(["x"], 200)


@pytest.mark.parametrize("missing", ["transformers", "gguf", "peft"])
def test_without_the_extra_one_sentence(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=rf"need the package '{missing}'; run: pip install 'craftbench\[llm\]'"):
        smollm2(tmp_path)
