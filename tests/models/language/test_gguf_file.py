"""A GGUF file made here, of a network whose weights are known."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language.folder import from_folder
from craftbench.models.language.gguf_file import read_gguf
from craftbench.models.language.model import LanguageModel
from craftbench.models.language.tiny import TinySizes, tiny

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
HEADS = 2


def halves_interleaved(weight):
    """Rotary pairs as GGUF keeps them: neighbours, where transformers has the two halves of a head."""
    return weight.reshape(HEADS, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    model = tiny(["Star Moon"] * 3, TinySizes(width=32, heads=HEADS, feed_forward=32, vocabulary=280, context=64), 0)
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        (writer.add_context_length, 64),
        (writer.add_embedding_length, 32),
        (writer.add_block_count, 2),
        (writer.add_feed_forward_length, 32),
        (writer.add_head_count, HEADS),
        (writer.add_head_count_kv, HEADS),
        (writer.add_rope_freq_base, 10_000.0),
        (writer.add_layer_norm_rms_eps, model.config.rms_norm_eps),
        (writer.add_vocab_size, model.tokenizer.size),
        (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, "gpt-2"),
        (writer.add_eos_token_id, model.tokenizer.end),
    ):
        add(value)
    rules = model.tokenizer.rules
    writer.add_token_list([*(rules.id_to_token(k) for k in range(rules.get_vocab_size())), "<|end|>"])
    writer.add_token_types([1] * rules.get_vocab_size() + [3])
    writer.add_token_merges(["S t"])
    for name, weight in model.network.state_dict().items():
        array = weight.numpy().astype(np.float32)
        if name.startswith("model.layers."):
            _, _, layer, part = name.split(".", 3)
            part = part.removesuffix(".weight")
            array = halves_interleaved(array) if part.endswith(("q_proj", "k_proj")) else array
            writer.add_tensor(f"blk.{layer}.{NAMES[part]}.weight", np.ascontiguousarray(array))
        elif name != "lm_head.weight":  # tied to the embedding
            writer.add_tensor(
                {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}[name] + ".weight", array
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, model


def test_its_weights_are_read_and_can_be_saved(file, tmp_path):
    path, model = file
    read = read_gguf(path)
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(read.network(ids).logits, model.network(ids).logits, atol=1e-5, rtol=1e-5)
    assert read.tokenizer.end == model.tokenizer.end
    assert "quantization_config" not in read.config.to_dict()
    read.save(tmp_path)
    assert torch.equal(LanguageModel.load(tmp_path).network(ids).logits, read.network(ids).logits)
    assert torch.equal(from_folder(path.parent).network(ids).logits, read.network(ids).logits)


def test_a_damaged_file_is_one_sentence(file, tmp_path):
    (tmp_path / "model.gguf").write_bytes(file[0].read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"model.gguf cannot be read as a GGUF language model"):
        read_gguf(tmp_path / "model.gguf")
