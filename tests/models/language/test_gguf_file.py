"""A GGUF file made here, of a network whose weights are known."""

from __future__ import annotations

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language.folder import from_folder
from craftbench.models.language.gguf_file import read_gguf
from craftbench.models.language.model import LanguageModel


def test_its_weights_are_read_and_can_be_saved(gguf_made, tmp_path):
    path, model = gguf_made
    read = read_gguf(path)
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(read.network(ids).logits, model.network(ids).logits, atol=1e-5, rtol=1e-5)
    assert read.tokenizer.end == model.tokenizer.end
    assert "quantization_config" not in read.config.to_dict()
    read.save(tmp_path)
    assert torch.equal(LanguageModel.load(tmp_path).network(ids).logits, read.network(ids).logits)
    assert torch.equal(from_folder(path.parent).network(ids).logits, read.network(ids).logits)


def test_a_damaged_file_is_one_sentence(gguf_made, tmp_path):
    (tmp_path / "model.gguf").write_bytes(gguf_made[0].read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"model.gguf cannot be read as a GGUF language model"):
        read_gguf(tmp_path / "model.gguf")
