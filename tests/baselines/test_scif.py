"""SCIF: the label bracket in closed form (I13), the direction of the step, the nodes it may move."""

import numpy as np
import pytest
import torch
from craftbench.baselines.unlearning.scif import SCIF, average_labels, label_gradient
from craftbench.core.context import RunContext
from craftbench.core.task import Interactions, UnlearningTask
from craftbench.models.influence import FactorRisk
from craftbench.models.matrix_factorization import MatrixFactorization
from craftbench.models.pointwise import FactorParams, FittedFactors
from torch.nn.functional import binary_cross_entropy_with_logits

USERS, ITEMS, DIM = 8, 6, 4


def rows(count=60, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count).astype(np.float32)
    return Interactions(rng.integers(0, USERS, count), rng.integers(0, ITEMS, count), label, USERS, ITEMS)


def small(dtype=torch.float64, l2=1e-2):
    model = MatrixFactorization(USERS, ITEMS, DIM, 0.5, torch.Generator().manual_seed(0)).to(dtype)
    return FittedFactors(model, FactorParams(l2=l2), "mf")


def task(removed, train=None, backbone="mf"):
    return UnlearningTask("small", train or rows(), removed, rows(40, 1), backbone)


def first(count, of=60):
    return np.arange(of) < count


def step(given, original, **values):
    """theta' - theta_0."""
    params = SCIF.Params(**{"tol": 1e-10, "max_iter": 500, "damping": 1e-3, **values})
    fitted = SCIF().fit(given, params, RunContext(0, parents={"original": original}))
    return (fitted.model.embeddings - original.model.embeddings).detach()


def test_average_labels_fall_back_from_the_user_to_the_item_to_all():
    user, item = np.array([0, 0, 0, 1, 2, 0]), np.array([0, 1, 2, 2, 3, 4])
    train = Interactions(user, item, np.array([1, 0, 1, 1, 0, 0], dtype=np.float32), 3, 5)
    removed = np.array([True, False, False, True, True, False])
    # user 0 keeps labels 0, 1, 0; user 1 keeps nothing, item 2 a 1; user 2 and item 3 keep nothing, all rows 1/3
    np.testing.assert_allclose(average_labels(train, removed), [1 / 3, 1.0, 1 / 3])
    np.testing.assert_allclose(average_labels(train, np.ones(6, dtype=bool)), 0.5)


def test_the_bracket_is_the_difference_of_two_gradients():
    train, removed, theta = rows(), first(15), small().model.embeddings
    user, item = torch.tensor(train.user[removed]), torch.tensor(train.item[removed])
    score = (theta[user] * theta[USERS + item]).sum(1)
    losses = [
        binary_cross_entropy_with_logits(score, torch.tensor(label).double(), reduction="sum")
        for label in (train.label[removed], average_labels(train, removed))
    ]
    (expected,) = torch.autograd.grad(losses[0] - losses[1], [theta])
    torch.testing.assert_close(label_gradient(theta.detach(), train, removed), expected, rtol=1e-6, atol=1e-8)


def test_labels_that_are_average_already_leave_the_residual_alone():
    rng = np.random.default_rng(0)
    user = rng.integers(0, USERS, 60)
    train = Interactions(user, rng.integers(0, ITEMS, 60), (user % 2).astype(np.float32), USERS, ITEMS)
    given, original = task(first(10), train), small()
    assert not label_gradient(original.model.embeddings.detach(), train, given.removed).any()
    assert not step(given, original, residual="none").any()
    assert step(given, original, residual="descent").any()


def test_the_residual_has_both_signs():
    given, original = task(first(10)), small()
    down, up, none = (step(given, original, residual=sign) for sign in ("descent", "as_released", "none"))
    torch.testing.assert_close(down + up, 2 * none, rtol=1e-6, atol=1e-10)


def test_a_descent_step_lowers_the_loss_with_average_labels():
    removed = first(10)
    given, original = task(removed), small()
    label = given.train.label.copy()
    label[removed] = average_labels(given.train, removed)
    changed = Interactions(given.train.user, given.train.item, label, USERS, ITEMS)
    risk = FactorRisk(original.model, changed, original.params.l2)
    theta = original.model.embeddings.detach()
    down, up = (step(given, original, residual=sign, damping=1.0) for sign in ("descent", "as_released"))
    assert risk.loss(theta + down) < risk.loss(theta)
    assert risk.loss(theta + down) < risk.loss(theta + up)


def test_the_step_solves_the_damped_gauss_newton_system_on_the_end_nodes():
    removed = first(3)
    given, original = task(removed), small()
    train, theta = given.train, original.model.embeddings.detach()
    user, item = torch.tensor(train.user), USERS + torch.tensor(train.item)

    def scores(table):
        return (table[user] * table[item]).sum(1)

    jacobian = torch.autograd.functional.jacobian(scores, theta).reshape(len(train), -1)
    p = torch.sigmoid(scores(theta))
    gauss_newton = jacobian.T @ (jacobian * (p * (1 - p) / len(train))[:, None])
    nodes = torch.tensor(np.unique(np.concatenate([train.user[removed], USERS + train.item[removed]])))
    places = (nodes[:, None] * DIM + torch.arange(DIM)).flatten()
    system = gauss_newton[places][:, places] + (original.params.l2 + 1e-3) * torch.eye(len(places), dtype=torch.float64)
    b = label_gradient(theta, train, removed)[nodes].flatten()
    found = step(given, original, residual="none")
    torch.testing.assert_close(found[nodes].flatten(), torch.linalg.solve(system, b) / len(train), rtol=1e-6, atol=1e-9)
    found[nodes] = 0.0
    assert not found.any()  # all other rows keep their bits


@pytest.mark.parametrize("residual", ["descent", "as_released"])
def test_the_released_loop_keeps_the_iterate_that_validates_best(residual):
    given, original = task(first(20)), small(torch.float32)
    params = SCIF.Params(solver="adam_as_released", residual=residual, graph_after="full")
    run = RunContext(0, parents={"original": original})
    moved = (SCIF().fit(given, params, run).model.embeddings - original.model.embeddings).abs().max()
    assert 0 < moved <= run.notes["iterations"] * 3.17 * params.step + 1e-6  # I12


def test_it_says_which_models_it_cannot_do():
    assert SCIF().cannot(task(first(3))) is None
    assert "neumf" in SCIF().cannot(task(first(3), backbone="neumf"))


def test_relabelling_permutes_the_step():
    rng = np.random.default_rng(5)
    users, items = rng.permutation(USERS), rng.permutation(ITEMS)
    nodes = torch.from_numpy(np.concatenate([users, USERS + items]))
    given, original, renamed = task(first(10)), small(), small()
    train = Interactions(users[given.train.user], items[given.train.item], given.train.label, USERS, ITEMS)
    renamed.model.embeddings.data[nodes] = original.model.embeddings.data.clone()
    other = step(task(first(10), train), renamed)
    torch.testing.assert_close(other[nodes], step(given, original), rtol=1e-6, atol=1e-10)
