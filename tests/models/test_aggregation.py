"""Combinations of frozen sub-models against the formulas, written out pair by pair."""

import numpy as np
import pytest
import torch
from craftbench.models.aggregation import AttentionAggregation, LogisticCombination, MeanOfShards, shard_logits
from sklearn.linear_model import LogisticRegression

K, USERS, ITEMS, D = 3, 5, 4, 6


def setting(seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    tables = torch.randn(K, USERS + ITEMS, D, generator=g, dtype=dtype)
    user = torch.randint(0, USERS, (12,), generator=g)
    item = torch.randint(0, ITEMS, (12,), generator=g)
    return tables, user, item


def test_the_mean_is_of_probabilities():
    tables, user, item = setting()
    scores = torch.stack([(tables[k][user] * tables[k][USERS + item]).sum(1) for k in range(K)])
    torch.testing.assert_close(shard_logits(tables, USERS, user, item), scores)
    torch.testing.assert_close(MeanOfShards(tables, USERS)(user, item).sigmoid(), scores.sigmoid().mean(0))


def test_the_mean_stays_finite_where_probabilities_round_to_one():
    tables = torch.full((2, 2, 1), 30.0)  # logits of 900
    assert MeanOfShards(tables, 1)(torch.tensor([0]), torch.tensor([0])).isfinite().all()


def test_the_attention_follows_its_formula():
    tables, user, item = setting()
    model = AttentionAggregation(tables, USERS, torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        model.a.normal_(generator=torch.Generator().manual_seed(2))
        model.h.normal_(generator=torch.Generator().manual_seed(3))

    def embed(node, side):
        z = torch.stack([tables[k, node] @ model.W[k] + model.B[k] for k in range(K)])
        score = torch.stack([model.h[side] @ torch.relu(model.A[side].T @ z[k] + model.a[side]) for k in range(K)])
        weight = score.exp() / score.exp().sum()
        return sum(weight[k] * z[k] for k in range(K))

    expected = torch.stack([embed(u, 0) @ embed(USERS + i, 1) for u, i in zip(user, item, strict=True)])
    torch.testing.assert_close(model(user, item), expected)


def test_attention_starts_as_released():
    model = AttentionAggregation(*setting(dtype=torch.float32)[:1], USERS, torch.Generator().manual_seed(0))
    assert model.A.shape == (2, D, D // 2)
    assert (model.h == 0.01).all()
    assert (model.a == 0).all()
    assert model.W.abs().max() <= (6 / (D * D + K * D)) ** 0.5  # Xavier on (K, d, d)
    assert model.B.abs().max() <= (6 / (K + D)) ** 0.5


def test_attention_gradients_are_those_of_finite_differences():
    tables, user, item = setting()
    model = AttentionAggregation(tables, USERS, torch.Generator().manual_seed(1)).double()
    weights = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    names = [name for name, _ in model.named_parameters()]

    def loss(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (user, item)).square().sum()

    assert torch.autograd.gradcheck(loss, weights)


def test_frozen_tables_are_no_part_of_the_trained_state():
    model = AttentionAggregation(*setting(dtype=torch.float32)[:1], USERS)
    assert "tables" not in model.state_dict()
    assert not model.tables.requires_grad


def test_the_logistic_combination_is_the_optimum_of_its_objective():
    rng = np.random.default_rng(0)
    tables = torch.randn(K, 30 + 20, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 0.5
    user, item = torch.tensor(rng.integers(0, 30, 500)), torch.tensor(rng.integers(0, 20, 500))
    scores = shard_logits(tables, 30, user, item).numpy()
    truth = 2 * scores[0] - scores[1] + 0.3
    label = torch.tensor((rng.random(500) < 1 / (1 + np.exp(-truth))).astype(np.float64))
    ridge = 1e-2
    model = LogisticCombination(tables, 30).double().fit(user, item, label, ridge)
    features = np.concatenate([scores, np.ones((1, 500))]).T  # the intercept is penalised too
    reference = LogisticRegression(C=1 / (ridge * 500), fit_intercept=False, tol=1e-10, max_iter=10_000).fit(
        features, label.numpy()
    )
    found = np.append(model.weight.numpy(), model.bias.numpy())
    np.testing.assert_allclose(found, reference.coef_[0], rtol=1e-4, atol=1e-5)
    assert found[0] > 1
    assert found[1] < 0


def test_the_logistic_combination_survives_separable_and_one_sided_labels():
    tables, user, item = setting(dtype=torch.float32)
    for label in (torch.ones(12), torch.zeros(12), (shard_logits(tables, USERS, user, item)[0] > 0).float()):
        model = LogisticCombination(tables, USERS).fit(user, item, label, ridge=1e-4)
        assert model(user, item).isfinite().all()


@pytest.mark.parametrize("kind", [AttentionAggregation, LogisticCombination, MeanOfShards])
def test_the_order_of_a_batch_does_not_matter(kind):
    tables, user, item = setting(dtype=torch.float32)
    model = kind(tables, USERS)
    torch.testing.assert_close(model(user.flip(0), item.flip(0)), model(user, item).flip(0))
