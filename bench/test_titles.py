"""Scores of a whole catalogue by a language model, and beams in it, against `generate` of transformers with a prefix function;
logits of responses alone against all of them."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.methods.cft import Counterfactual
from craftbench.models.language.beam import trie_beam
from craftbench.models.language.labels import label_logits
from craftbench.models.language.model import LanguageModel
from craftbench.models.language.params import TuningParams
from craftbench.models.language.prompts import Template
from craftbench.models.language.scoring import score_titles
from craftbench.models.language.tiny import TinySizes, tiny
from craftbench.models.language.title_loss import CrossEntropy
from craftbench.models.language.title_rows import TitleRows
from craftbench.models.language.trie import TitleTrie
from craftbench.models.language.tuning import Tuning

from .interleave import interleave
from .limits import products_of

# As many titles as ml-100k has films, of 5 tokens on average, the end among them; histories of 5; a vocabulary of 2,000.
ITEMS, WORDS, HISTORY, USERS, TOP = 1_682, 900, 5, 200, 10
TEMPLATE = Template("plain", "movie")


class World:
    """A catalogue of made-up titles, and a model that has seen some rows of it, so that its predictions are peaked."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 9))) for _ in range(WORDS)]
        share = np.arange(1, WORDS + 1) ** -0.7
        drawn = (" ".join(rng.choice(words, rng.integers(1, 5), p=share / share.sum())).title() for _ in range(2 * ITEMS))
        self.titles = list(dict.fromkeys(drawn))[:ITEMS]
        self.model = tiny(self.titles, TinySizes(), seed=0)
        tokenizer = self.model.tokenizer
        self.responses = [tokenizer.response(TEMPLATE.response(title)) for title in self.titles]
        self.trie = TitleTrie.of(self.responses)
        popularity = np.arange(1, ITEMS + 1) ** -1.0
        self.taken = rng.choice(ITEMS, (20_000, HISTORY + 1), p=popularity / popularity.sum())
        self.prompts = [
            tokenizer.prompt(TEMPLATE.factual([self.titles[item] for item in row[:-1]])) for row in self.taken[: 64 * 100]
        ]
        self.train()

    def train(self) -> None:
        network = self.model.network.train()
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
        for start in range(0, 64 * 100, 64):
            targets = [self.responses[row[-1]] for row in self.taken[start : start + 64]]
            logits, _, _ = label_logits(self.model, self.prompts[start : start + 64], targets)
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor([token for target in targets for token in target]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()

    def generated(self, prompts, beams):
        """The best `TOP` items (N, TOP) by `generate`, whose prefix function looks allowed tokens up by what was generated."""
        return generate(self.model, self.responses, prompts, beams)


def generate(model, responses, prompts, beams):
    end, after, item_of = model.tokenizer.end, {}, {tuple(response): item for item, response in enumerate(responses, 1)}
    for response in responses:
        for place, token in enumerate(response):
            after.setdefault(tuple(response[:place]), {})[token] = None
    after = {prefix: list(tokens) for prefix, tokens in after.items()}
    ids, lengths = model.padded(prompts)
    width = ids.shape[1]
    found = model.network.generate(
        ids,
        attention_mask=(torch.arange(width) >= width - lengths[:, None]).long(),
        prefix_allowed_tokens_fn=lambda _, row: after.get(tuple(row[width:].tolist()), [end]),
        num_beams=beams,
        num_return_sequences=min(TOP, beams),
        length_penalty=0.0,
        early_stopping="never",
        max_new_tokens=max(map(len, responses)),
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    rows = [row[: row.index(end) + 1] for row in found[:, width:].tolist()]
    return np.array([item_of[tuple(row)] for row in rows]).reshape(len(prompts), -1)


@pytest.fixture(scope="module")
def world():
    return World()


def top(scores):
    return np.argsort(-scores[:, 1:], axis=1, kind="stable")[:, :TOP] + 1


def test_seconds_of_exact_scores(world, ledger):
    what = f"log p of {ITEMS} titles ({len(world.trie)} nodes), {USERS} users, 2 layers of 128"
    steps = {"score_titles": lambda: score_titles(world.model, world.trie, world.prompts[:USERS])}
    ledger.note(f"seconds of {what}", interleave(what, steps, rounds=1, warm_up=False).median("score_titles"), "s", 40.0)


def test_exact_scores_against_generate_of_as_many_beams_as_titles(world, ledger):
    """The width at which `generate` is sure to find the best ten. Few beams may find them too, and say nothing of it."""
    prompts = world.prompts[:1]
    steps = {
        "score_titles": lambda: top(score_titles(world.model, world.trie, prompts)),
        f"generate, {ITEMS} beams": lambda: world.generated(prompts, ITEMS),
    }
    best, found = (step() for step in steps.values())
    assert (best == found).all()
    race = interleave(f"best {TOP} of {ITEMS} titles for certain, 1 user", steps, rounds=2, warm_up=False)
    ledger.add(race, f"generate, {ITEMS} beams", "score_titles", target=5.0, work=products_of(steps["score_titles"]))


def test_few_beams_that_happen_to_find_the_best_ten(world, ledger):
    """`generate` of the fewest beams, doubled from 10, that have the exact best ten of 8 users: where a few are enough, they are
    faster than scores of everything, and beams in the trie are faster still."""
    prompts = world.prompts[:8]
    exact, beams = top(score_titles(world.model, world.trie, prompts)), TOP
    while not (world.generated(prompts, beams) == exact).all():
        beams *= 2
        assert beams <= ITEMS
    slow, fast = f"generate, {beams} beams", f"trie_beam, {beams} beams"
    steps = {
        "score_titles": lambda: score_titles(world.model, world.trie, prompts),
        slow: lambda: world.generated(prompts, beams),
        fast: lambda: trie_beam(world.model, world.trie, prompts, beams),
    }
    assert (steps[fast]()[0][:, :TOP] == exact).all()
    race = interleave(f"best {TOP} of {ITEMS} titles, 8 users, equal", steps, rounds=5)
    ledger.add(race, slow, "score_titles")
    ledger.add(race, slow, fast, target=3.0)


def test_beams_in_the_trie_against_generate(world, ledger):
    prompts = world.prompts[:64]
    steps = {
        "trie_beam": lambda: trie_beam(world.model, world.trie, prompts, TOP),
        "generate, 10 beams": lambda: world.generated(prompts, TOP),
    }
    assert (steps["trie_beam"]()[0] == steps["generate, 10 beams"]()).mean() > 0.99  # equal but for ties of rounding
    race = interleave(f"{TOP} beams, 64 users, 2 layers of 128", steps, rounds=5)
    ledger.add(race, "generate, 10 beams", "trie_beam", target=3.0, work=products_of(steps["trie_beam"]))


def test_beams_at_the_size_of_smollm2(world, ledger):
    """Its architecture with random weights: the seconds are those of the real ones."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    config = LlamaConfig(vocab_size=49_152, num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True, **sizes)
    torch.manual_seed(0)
    model = LanguageModel(LlamaForCausalLM(config).eval(), world.model.tokenizer)
    prompts = [(prompt * 10)[:160] for prompt in world.prompts[:4]]
    steps = {
        "trie_beam": lambda: trie_beam(model, world.trie, prompts, TOP),
        "generate, 10 beams": lambda: generate(model, world.responses, prompts, TOP),
    }
    race = interleave(f"{TOP} beams, 4 users, 30 layers of 576", steps, rounds=2)
    ledger.add(race, "generate, 10 beams", "trie_beam", target=3.0)


def test_a_step_of_cft_against_one_of_bigrec(world, ledger):
    """Both with AdamW, 64 rows; CFT's counterfactual rows are short and go through the network apart."""
    x_0 = world.model.tokenizer.prompt(TEMPLATE.counterfactual())
    rows = TitleRows(world.prompts[:64], [x_0] * 64, [world.responses[row[-1]] for row in world.taken[:64]])
    losses = {"BIGRec": CrossEntropy(), "CFT": Counterfactual(0.1, 0.25)}
    tuned = {name: Tuning(copy.deepcopy(world.model), rows, loss, TuningParams(), RunContext(1)) for name, loss in losses.items()}
    steps = {name: partial(tuning.step, rows) for name, tuning in tuned.items()}
    race = interleave("a step of 64 rows, 2 layers of 128", steps, rounds=9)
    ledger.add(race, "CFT", "BIGRec", work=products_of(steps["BIGRec"]))
    ledger.note("step of CFT, over BIGRec's", race.ratio("CFT", "BIGRec")[0], "x", 1.4)


def test_memory_of_logits_at_labels(world, ledger):
    """What the head's output takes at label positions, against at every position; float32, before any gradient."""
    targets = [world.responses[row[-1]] for row in world.taken[:64]]
    logits, _, _ = label_logits(world.model, world.prompts[:64], targets)
    width = max(len(prompt) + len(target) - 1 for prompt, target in zip(world.prompts, targets, strict=False))
    everywhere = 64 * width * world.model.tokenizer.size
    ledger.note("logits of 64 rows at label positions, as a share of those everywhere", logits.numel() / everywhere, "", 0.35)


def test_seconds_of_label_logits(world, ledger):
    prompts, targets = world.prompts[:64], [world.responses[row[-1]] for row in world.taken[:64]]
    rows = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]

    def everywhere():
        ids, lengths = world.model.padded(rows)
        hidden = world.model.hidden(ids, lengths)
        world.model.head(hidden.flatten(0, 1)).logsumexp(1).sum().backward()

    def at_labels():
        label_logits(world.model, prompts, targets)[0].logsumexp(1).sum().backward()

    steps = {"label_logits": at_labels, "logits everywhere": everywhere}
    race = interleave("forward and backward of 64 rows, 2 layers of 128", steps, rounds=7)
    ledger.add(race, "logits everywhere", "label_logits", target=1.5)
