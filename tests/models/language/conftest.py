"""A small catalogue, and a float64 network over it, so that two ways to one number agree to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from craftbench.models.language.prompts import Template
from craftbench.models.language.tiny import TinySizes, tiny
from craftbench.models.language.trie import TitleTrie

WORDS = ("Star", "Moon", "Red", "River", "Return", "of the", "Night", "King")
TITLES = (*dict.fromkeys(f"{a} {b} {c}".strip() for a in WORDS for b in WORDS[:4] for c in ("", "II")), "Star", "Starlight")


class World:
    """model, its titles as responses and as a trie, and prompts of unequal length, the counterfactual one first."""

    def __init__(self) -> None:
        self.template = Template("plain", "movie")
        self.model = tiny(TITLES, TinySizes(width=32, heads=2, feed_forward=48, vocabulary=290, context=64), seed=1)
        self.model.network.double()
        with torch.no_grad():
            for weight in self.model.network.parameters():
                weight.mul_(4.0 if weight.dim() == 2 else 1.0)  # far from uniform predictions
        tokenizer = self.model.tokenizer
        self.responses = [tokenizer.response(self.template.response(title)) for title in TITLES]
        self.trie = TitleTrie.of(self.responses)
        histories = [TITLES[:0], TITLES[3:5], TITLES[10:15], TITLES[20:21], TITLES[30:34]]
        self.prompts = [tokenizer.prompt(self.template.factual(history)) for history in histories]

    def log_p(self, prompt: list[int], response: list[int]) -> torch.Tensor:
        """(n,), by the whole network on this row alone."""
        ids = torch.tensor([[*prompt, *response]])
        logits = self.model.network(ids).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(1)[torch.arange(len(response)), torch.tensor(response)]


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture
def folder(tmp_path):
    """A Qwen2 checkpoint as transformers saves one, whose settings ask for sampling."""
    import transformers

    rules = tiny(["Star Moon", "Star River"] * 3, TinySizes(vocabulary=280), 0).tokenizer.rules
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="<|end|>", bos_token="<|start|>")
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        use_sliding_window=True,
        sliding_window=48,
        eos_token_id=tokenizer.eos_token_id,
    )
    network = transformers.Qwen2ForCausalLM(config)
    network.generation_config = transformers.GenerationConfig(do_sample=True, temperature=0.5)
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path, network


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


@pytest.fixture(scope="session")
def gguf_made(tmp_path_factory):
    """A GGUF file, and the model whose weights it holds."""
    import gguf

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
