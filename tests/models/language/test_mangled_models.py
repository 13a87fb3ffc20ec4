"""Checkpoints that something happened to: a model of finite weights, or one sentence; no other exception, no hang."""

from __future__ import annotations

import json
import pickle
import random
import shutil

import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.models.language.folder import from_folder
from mangle import mangled

HUB = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
OURS = ("config.json", "model.safetensors", "title_tokenizer.json", "tokenizer.json")
FILES = [("hub", name) for name in HUB] + [("ours", name) for name in OURS] + [("gguf", "model.gguf")]
SHAPES = (b"", bytes(4096), pickle.dumps({"a": 1}), b"[" * 30_000, b'"' * 99)


@pytest.fixture
def kinds(folder, gguf_made, tmp_path_factory):
    """A checkpoint folder of each kind, by its name."""
    place = tmp_path_factory.mktemp("kinds")
    from_folder(folder[0]).save(place / "ours")
    return {"hub": folder[0], "ours": place / "ours", "gguf": gguf_made[0].parent}


def told(whole, work, name, content):
    """The logits of the model; None where the folder was refused with a sentence."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    (work / name).write_bytes(content)
    try:
        model = from_folder(work)
    except UsageError as refusal:
        sentence = str(refusal)
    else:
        assert all(torch.isfinite(weight).all() for weight in model.network.parameters())
        return model.network(torch.tensor([[5, 6, 7]])).logits
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 1500
    assert str(work) in sentence
    return None


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_file_with_a_few_random_harms(kind, name, kinds, tmp_path):
    content = (kinds[kind] / name).read_bytes()
    for seed in range(6):
        told(kinds[kind], tmp_path / "work", name, mangled(content, random.Random(seed)))
    for each in SHAPES:
        found = told(kinds[kind], tmp_path / "work", name, each)
        assert found is None or name == "generation_config.json", "nobody reads what a checkpoint says of sampling"


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_many_random_harms(kind, name, kinds, tmp_path):
    content = (kinds[kind] / name).read_bytes()
    for seed in range(300):
        told(kinds[kind], tmp_path / "work", name, mangled(content, random.Random(seed)))


@pytest.mark.parametrize("kind", ["hub", "ours"])
@pytest.mark.parametrize(
    "claim", [{"num_hidden_layers": 10**9}, {"vocab_size": 10**12}, {"hidden_size": 10**9}, {"intermediate_size": 10**9}], ids=str
)
def test_settings_that_claim_more_than_the_weights_build_nothing(kind, claim, kinds):
    file = kinds[kind] / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | claim))
    with pytest.raises(UsageError, match=r"config\.json describes a larger model than the weights beside it"):
        from_folder(kinds[kind])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value, kinds):
    model = from_folder(kinds["ours"])
    with torch.no_grad():
        next(model.network.parameters())[3, 3] = value
    model.save(kinds["ours"])
    with pytest.raises(UsageError, match="has weights that are no numbers"):
        from_folder(kinds["ours"])
