"""Rows that start from BIGRec's model: what they say where their one number leaves nothing, or everything, of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from craftbench.baselines.next_item.bigrec import BIGRec
from craftbench.baselines.next_item.d3 import FittedD3
from craftbench.baselines.next_item.effect_score import FittedEffectScore
from craftbench.baselines.next_item.igd import IGD, FittedIGD, counts
from craftbench.baselines.next_item.language_model import PretrainedLanguageModel
from craftbench.baselines.next_item.popularity_injection import PopularityInjection
from craftbench.baselines.next_item.prior import Prior
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.task import NextItem, Sequences, View
from craftbench.models.language.guide import information_gain, log_shares

TITLES = ("", "Winter", "Winter Harbour", "Garden Sadi", "Garden Sadi Oru", "Mirror Lake", "Mirror")
TINY = {"layers": 1, "width": 16, "vocabulary": 280, "epochs": 2.0}


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    user = np.arange(120)
    history = rng.integers(1, 7, (120, 3))
    history[::5, 0] = 0
    target = history[:, -1] % 6 + 1
    rows = Sequences(user, history, target)
    return NextItem("toy", rows[np.arange(100)], rows[np.arange(100, 120)], TITLES, "film")


@pytest.fixture(scope="module")
def bigrec(task):
    lm = PretrainedLanguageModel()
    start = lm.fit(task, lm.Params.resolve(TINY), RunContext(1))
    params = BIGRec.Params.resolve({"lr": 1e-2, "epochs": 3.0, "batch_size": 20})
    return BIGRec().fit(task, params, RunContext(1, parents={"lm": start}))


@pytest.fixture
def view(task):
    return View("test", {"user": task.valid.user, "history": task.valid.history}, "exhaustive")


class Fixed:
    """A second model that says the same of everybody."""

    score = np.log(np.array([1.0, 4, 3, 1, 1, 2, 5], dtype=np.float32))

    def predict(self, view):
        return {"score": np.repeat(self.score[None], view.rows, axis=0)}


def test_d3_is_the_language_model_at_one_and_the_second_model_at_zero(bigrec, view):
    own = bigrec.predict(view)["score"][:, 1:]
    np.testing.assert_allclose(FittedD3(bigrec, Fixed(), 1.0).predict(view)["score"][:, 1:], own, atol=1e-5)
    share = Fixed.score[1:] - np.log(np.exp(Fixed.score[1:]).sum())
    found = FittedD3(bigrec, Fixed(), 0.0).predict(view)["score"][:, 1:]
    np.testing.assert_allclose(found, np.repeat(share[None], len(found), axis=0), atol=1e-5)
    half = FittedD3(bigrec, Fixed(), 0.5).predict(view)["score"][:, 1:]
    np.testing.assert_allclose(half, (own + share) / 2, atol=1e-5)


def test_the_effect_is_gone_without_a_history_and_the_prior_is_all_there_is(bigrec, view):
    own = bigrec.predict(view)["score"]
    np.testing.assert_allclose(FittedEffectScore(bigrec, 0.0).predict(view)["score"][:, 1:], own[:, 1:], atol=1e-5)
    empty = replace(view, columns={**view.columns, "history": np.zeros_like(view.columns["history"])})
    assert np.abs(FittedEffectScore(bigrec, 1.0).predict(empty)["score"][:, 1:]).max() < 1e-5
    prior = Prior().fit(None, None, RunContext(1, parents={"bigrec": bigrec})).predict(view)["score"]
    np.testing.assert_array_equal(prior, bigrec.predict(empty)["score"])
    effect = FittedEffectScore(bigrec, 0.4).predict(view)["score"][:, 1:]
    np.testing.assert_allclose(effect, own[:, 1:] - 0.4 * prior[:, 1:], atol=1e-5)


@pytest.mark.parametrize("guided", [lambda b: FittedD3(b, Fixed(), 0.5), lambda b: FittedEffectScore(b, 0.4)])
def test_a_beam_of_all_titles_finds_the_order_of_exact_scores(bigrec, view, guided):
    fitted = guided(bigrec)
    exact, beam = (fitted.predict(replace(view, decoder=name))["score"] for name in ("exhaustive", "trie_beam"))
    np.testing.assert_allclose(beam[:, 1:], exact[:, 1:], atol=1e-4)


def test_popularity_changes_nothing_when_it_draws_little_and_decides_when_it_draws_much(task, bigrec, view):
    run = RunContext(1, parents={"bigrec": bigrec})
    own = bigrec.predict(view)["score"][:, 1:]
    little, much = (PopularityInjection().fit(task, PopularityInjection.Params(gamma=gamma), run) for gamma in (1e-6, 1e6))
    np.testing.assert_array_equal(np.argsort(-little.predict(view)["score"][:, 1:]), np.argsort(-own))
    known = np.bincount(task.train.target, minlength=7)[1:]
    assert set(much.predict(view)["score"][:, 1:].argmax(axis=1)) <= {int(known.argmax()), *map(int, own.argmax(axis=1))}
    assert (much.predict(view)["score"][:, 1 + known.argmax()] > -1e-6).all()


def test_gains_of_a_path_sum_to_what_there_is_to_know_and_shares_to_the_item(bigrec):
    trie = bigrec.catalogue.trie
    weights = np.array([9, 1, 2, 3, 4, 5, 6], dtype=np.float32)  # of id 0 nothing is looked at
    p = weights[1:] / weights[1:].sum()
    gain = trie.sums(information_gain(trie, weights)[None])[0, trie.leaf]
    np.testing.assert_allclose(gain, -(p * np.log(p)).sum(), rtol=1e-5)
    shares = trie.sums(log_shares(trie, weights[None]))[0, trie.leaf]
    np.testing.assert_allclose(shares, np.log(p), rtol=1e-5)
    only = np.flatnonzero(np.isin(trie.parent, np.flatnonzero(trie.children == 1)))
    assert len(only)
    assert np.abs(information_gain(trie, weights)[only]).max() < 1e-6


def test_igd_without_alpha_decodes_as_its_model_does(task, bigrec, view):
    plain = FittedIGD(bigrec, 0.0, counts(task)).predict(view)["score"]
    np.testing.assert_allclose(plain[:, 1:], bigrec.predict(view)["score"][:, 1:], atol=1e-5)
    assert np.abs(FittedIGD(bigrec, 0.4, counts(task)).predict(view)["score"] - plain)[:, 1:].max() > 1e-3


def test_igd_weighs_tokens_that_the_catalogue_forces_by_beta(task, bigrec):
    loss = IGD().loss(bigrec.catalogue, task, IGD.Params(beta=0.2))
    responses = bigrec.catalogue.responses
    import torch

    length = torch.tensor([len(each) for each in responses[1:3]])
    position = torch.cat([torch.arange(int(n)) for n in length])
    target = torch.tensor([token for each in responses[1:3] for token in each])
    w = loss.weights(position, length.repeat_interleave(length), target).tolist()
    assert w[0] == 1.0  # "Winter" or another word
    assert w[int(length[0]) - 1] == 1.0  # the end, or "Harbour"
    assert set(w) <= {0.2, 1.0}
    assert w[-1] == 0.2  # nothing but the end can follow "Winter Harbour"


def test_adapters_and_beams_of_a_large_model_reach_the_rows_that_start_from_it(task, view):
    run = RunContext(1)
    lm = PretrainedLanguageModel().fit(
        task,
        PretrainedLanguageModel.Params.resolve({**TINY, "adapter": "lora", "rank": 2, "decoder": "trie_beam", "train_rows": 40}),
        run,
    )
    run = RunContext(1, parents={"lm": lm})
    fitted = BIGRec().fit(task, BIGRec.Params.resolve({"lr": 1e-2, "epochs": 1.0, "batch_size": 20, "valid_rows": 5}), run)
    trained = {name for name, each in fitted.model.network.named_parameters() if each.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)
    beams, named = (fitted.predict(replace(view, name="tokens", decoder=name)) for name in ("exhaustive", "trie_beam"))
    np.testing.assert_array_equal(beams["score"], named["score"])
    assert "token" not in beams


def test_an_unknown_decoder_is_named(bigrec, view):
    with pytest.raises(UsageError, match="names the decoder 'magic'"):
        bigrec.predict(replace(view, decoder="magic"))


def test_grounding_finds_what_was_written(bigrec, view):
    for decoder in ("grounding", "adjusted_grounding"):
        score = bigrec.predict(replace(view, decoder=decoder))["score"]
        assert score.shape == (view.rows, 7)
        assert np.isfinite(score).all()
