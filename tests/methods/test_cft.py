"""CFT's loss against its closed forms: no effect, no lambda, constants, gradients, and the weights."""

from __future__ import annotations

import math

import pytest
import torch
from craftbench.methods.cft import Counterfactual, cft_loss, token_weights
from craftbench.models.language.title_loss import ByPosition, CrossEntropy
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

B, N, V = 3, 6, 97


def drawn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(B, N, V, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, V, (B, N), generator=generator)
    labels[1, 4:] = -100
    labels[2, 2:] = -100
    return a, b, labels


def test_without_an_effect_the_counterfactual_loss_is_log_v_and_pulls_nowhere():
    a, _, labels = drawn()
    theta = torch.zeros(V, dtype=torch.float64, requires_grad=True)
    _, parts = cft_loss(a + theta, a + theta, labels)
    assert parts["counterfactual"].item() == pytest.approx(math.log(V), abs=1e-12)
    (gradient,) = torch.autograd.grad(parts["counterfactual"], theta)
    assert gradient.abs().max() < 1e-15


def test_without_lambda_and_weights_it_is_the_mean_cross_entropy_of_tokens():
    a, b, labels = drawn()
    loss, _ = cft_loss(a, b, labels, lam=0.0, beta=1.0)
    assert loss.item() == pytest.approx(cross_entropy(a.flatten(0, 1), labels.flatten(), ignore_index=-100).item(), abs=1e-14)


def test_the_whole_is_the_sum_of_its_parts_with_weights_by_hand():
    a, b, labels = drawn()
    loss, parts = cft_loss(a, b, labels, lam=0.3, beta=0.25)
    by_hand = {1: [1.0], 2: [1, 0.25], 4: [1, 0.75, 0.5, 0.25], 6: [1, 0.85, 0.70, 0.55, 0.40, 0.25]}
    top, effect, weight = 0.0, 0.0, 0.0
    for row, n in enumerate((6, 4, 2)):
        for t, w in enumerate(by_hand[n]):
            y = labels[row, t]
            top += w * -a[row, t].log_softmax(0)[y].item()
            effect += w * -(a[row, t] - b[row, t]).log_softmax(0)[y].item()
            weight += w
    assert parts["factual"].item() == pytest.approx(top / weight, abs=1e-13)
    assert parts["counterfactual"].item() == pytest.approx(effect / weight, abs=1e-13)
    assert loss.item() == pytest.approx((top + 0.3 * effect) / weight, abs=1e-13)


def test_the_effect_is_the_ratio_of_the_two_models_and_takes_constants_and_log_probabilities():
    a, b, labels = drawn()
    _, parts = cft_loss(a, b, labels)
    moved = a + torch.randn(B, N, 1, dtype=torch.float64), b.log_softmax(2)
    assert cft_loss(*moved, labels)[1]["counterfactual"].item() == pytest.approx(parts["counterfactual"].item(), abs=1e-13)
    ratio = (a.softmax(2) / b.softmax(2)).log()
    assert cft_loss(ratio, torch.zeros_like(b), labels)[1]["counterfactual"].item() == pytest.approx(
        parts["counterfactual"].item(), abs=1e-13
    )


def test_what_pulls_at_the_factual_logits_pushes_at_the_counterfactual_ones():
    a, b, labels = (each.requires_grad_() if each.is_floating_point() else each for each in drawn())
    at_a, at_b = torch.autograd.grad(cft_loss(a, b, labels)[1]["counterfactual"], (a, b))
    assert torch.equal(at_a, -at_b)
    told = labels != -100
    expected = (a - b).softmax(2)[told] - torch.nn.functional.one_hot(labels[told], V)
    assert torch.allclose(at_a[told] / expected, (at_a[told] / expected)[:, :1].expand(-1, V))
    assert at_a[~told].abs().max() == 0


def test_gradients_against_central_differences():
    a, b, labels = drawn()
    small = labels.clamp(max=4).where(labels >= 0, labels)
    parts = (a[..., :5].requires_grad_(), b[..., :5].requires_grad_())
    assert torch.autograd.gradcheck(lambda x, z: cft_loss(x, z, small)[0], parts)


def test_a_detached_counterfactual_gets_no_gradient():
    a, b, labels = (each[0].requires_grad_() if each.is_floating_point() else each[0] for each in drawn())
    loss = Counterfactual(0.1, 0.25, detached=True).each(a, b, labels).sum()
    at_a, at_b = torch.autograd.grad(loss, (a, b), allow_unused=True)
    assert at_a is not None
    assert at_b is None
    assert loss.item() == Counterfactual(0.1, 0.25).each(a, b, labels).sum().item()


def test_a_difference_of_probabilities_is_another_loss():
    a, b, labels = (each[0] for each in drawn())
    logits, chances = (Counterfactual(1.0, 1.0, probabilities=each).each(a, b, labels) for each in (False, True))
    assert (logits - chances).abs().min() > 1e-3
    expected = cross_entropy(a.softmax(1) - b.softmax(1), labels, reduction="none") + cross_entropy(a, labels, reduction="none")
    assert torch.allclose(chances, expected)


def test_losses_of_the_harness_say_what_the_function_says():
    a, b, labels = drawn()
    told = labels != -100
    length = told.sum(1, keepdim=True).expand_as(labels)[told]
    position = (told.cumsum(1) - 1)[told]
    for lam, beta in ((0.1, 0.25), (0.0, 0.5), (0.3, 1.0)):
        loss = Counterfactual(lam, beta)
        w = loss.weights(position, length, labels[told])
        mean = (w * loss.each(a[told], b[told], labels[told])).sum() / w.sum()
        assert mean.item() == pytest.approx(cft_loss(a, b, labels, lam, beta)[0].item(), abs=1e-13)
    assert not Counterfactual(0.0, 0.5).counterfactual
    assert Counterfactual(0.1, 0.5).counterfactual
    plain = Counterfactual(0.1, 1.0).each(a[told], None, labels[told])
    assert torch.equal(plain, CrossEntropy().each(a[told], b[told], labels[told]))


@given(st.integers(1, 30), st.floats(0.01, 1.0))
def test_weights_fall_in_a_line_from_one_to_beta(n, beta):
    t = torch.arange(n)
    w = token_weights(t, torch.full((n,), n), beta)
    assert w[0] == 1
    if n > 1:
        assert w[-1].item() == pytest.approx(beta, abs=1e-12)
        assert w.sum().item() == pytest.approx(n * (1 + beta) / 2)
        assert torch.allclose(w.diff(), torch.full((n - 1,), -(1 - beta) / (n - 1), dtype=torch.float64))


def test_the_form_of_the_first_release():
    n, c = 6, 3.6
    w = token_weights(torch.arange(n), torch.full((n,), n), 1 - 1 / c, "released_first")
    assert torch.allclose(w, torch.tensor([1 - t / (c * n) for t in range(1, n + 1)], dtype=torch.float64))
    assert ByPosition(0.5, "released_first").weights(torch.tensor([0]), torch.tensor([1]), torch.tensor([3])).item() == 0.5


def test_no_label_at_all_is_said():
    a, b, labels = drawn()
    with pytest.raises(ValueError, match="every one is -100"):
        cft_loss(a, b, torch.full_like(labels, -100))
