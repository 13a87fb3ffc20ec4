"""Training on labelled pairs: gradients, the loop, determinism, the trip through a folder; every backbone."""

from itertools import count

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.metrics.classification import auc
from craftbench.core.task import Interactions, View
from craftbench.models.backbones import BACKBONES
from craftbench.models.fm import FactorizationMachine
from craftbench.models.lightgcn import LightGCN, normalised_adjacency
from craftbench.models.matrix_factorization import MatrixFactorization
from craftbench.models.pointwise import FactorParams, FittedFactors, build, factor_gradients, fit_factors, train
from craftbench.models.removal import on_graph
from torch.nn.functional import binary_cross_entropy_with_logits

USERS, ITEMS = 50, 30
FAST = {"lr": 0.05, "dim": 32, "init_std": 0.1, "l2": 1e-3, "batch_size": 64}


def world(rows, seed):
    """Labels by the sign of a rank-2 taste; read-only, as a task's tables are."""
    rng = np.random.default_rng(seed)
    taste = np.random.default_rng(9).standard_normal((USERS + ITEMS, 2))
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    label = ((taste[user] * taste[USERS + item]).sum(1) > 0).astype(np.float32)
    for column in (user, item, label):
        column.flags.writeable = False
    return Interactions(user, item, label, USERS, ITEMS)


TRAIN, VALID = world(900, 0), world(300, 1)
TEST = world(200, 2)
VIEW = View("test", {"user": TEST.user, "item": TEST.item})


def params(**values):
    return FactorParams(**{**FAST, **values})


def fit(backbone, seed=3, **values):
    return fit_factors(backbone, TRAIN, VALID, params(**values), RunContext(seed))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_learns_an_easy_world(backbone):
    fitted, training = fit(backbone)
    scores = fitted.predict(VIEW)["score"]
    assert scores.dtype == np.float32
    assert auc(scores, TEST.label) > 0.85
    valid = View("valid", {"user": VALID.user, "item": VALID.item})
    assert auc(fitted.predict(valid)["score"], VALID.label) == training.best_score  # the best state is the one that is kept
    assert training.best_epoch < training.epochs


@pytest.mark.parametrize("backbone", BACKBONES)
def test_same_seed_same_digits_and_the_folder_keeps_them(backbone, tmp_path):
    torch.manual_seed(0)
    fitted, _ = fit(backbone, max_epochs=3)
    torch.manual_seed(1)  # nothing hangs on the global stream
    again, _ = fit(backbone, max_epochs=3)
    other, _ = fit(backbone, seed=4, max_epochs=3)
    score = fitted.predict(VIEW)["score"]
    np.testing.assert_array_equal(score, again.predict(VIEW)["score"])
    assert (score != other.predict(VIEW)["score"]).any()
    fitted.save(tmp_path / "new")
    loaded = FittedFactors.load(tmp_path / "new")
    np.testing.assert_array_equal(score, loaded.predict(VIEW)["score"])
    assert loaded.params == fitted.params
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.json", "model.safetensors"]


def test_a_model_on_another_graph_is_saved_with_that_graph(tmp_path):
    fitted, _ = fit("lightgcn", max_epochs=2, layers=2)
    moved = FittedFactors(on_graph(fitted.model, TRAIN[:200]), fitted.params, "lightgcn")
    moved.save(tmp_path)
    np.testing.assert_array_equal(FittedFactors.load(tmp_path).predict(VIEW)["score"], moved.predict(VIEW)["score"])
    assert (moved.predict(VIEW)["score"] != fitted.predict(VIEW)["score"]).any()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_closed_form_gradient_is_autograds(layers):
    graph = normalised_adjacency(TRAIN.user, TRAIN.item, USERS, ITEMS, torch.float64)
    model = LightGCN(USERS, ITEMS, 4, graph, layers).double()
    user, item, label = (torch.tensor(column) for column in (VALID.user, VALID.item, VALID.label))
    nodes = torch.cat([user, USERS + item])
    loss = binary_cross_entropy_with_logits(model(user, item), label.double())
    (expected,) = torch.autograd.grad(loss, [model.embeddings])
    with torch.no_grad():
        at_ends = factor_gradients(model.propagate(model.embeddings), nodes, label)
        gradient = model.propagate(torch.zeros_like(model.embeddings).index_add_(0, nodes, at_ends))
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_epoch_is_torchs_adam_on_the_penalised_loss(backbone):
    settings, run = params(max_epochs=1), RunContext(3)
    model, reference = (build(backbone, TRAIN, settings, run.generator("init")) for _ in range(2))
    train(model, TRAIN, VALID, settings, run)
    adam = torch.optim.Adam(reference.parameters(), lr=settings.lr)
    order = torch.randperm(len(TRAIN), generator=run.generator("batches"))
    for rows in order.split(settings.batch_size):
        user, item, label = (torch.tensor(column)[rows] for column in (TRAIN.user, TRAIN.item, TRAIN.label))
        penalty = sum(parameter.square().sum() for parameter in reference.parameters())
        loss = binary_cross_entropy_with_logits(reference(user, item), label) + settings.l2 / 2 * penalty
        adam.zero_grad()
        loss.backward()
        adam.step()
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_row_sparse_adam_trains_as_well_as_dense_adam():
    def mean_auc(optimiser):
        fits = (fit("mf", seed, optimiser=optimiser, lr=0.02, max_epochs=12)[0] for seed in range(3))
        return np.mean([auc(fitted.predict(VIEW)["score"], TEST.label) for fitted in fits])

    assert abs(mean_auc("row_sparse_adam") - mean_auc("adam")) < 0.02


@pytest.mark.parametrize("backbone", ["lightgcn", "neumf", "fm"])
def test_row_sparse_adam_is_refused_where_a_batch_touches_everything(backbone):
    with pytest.raises(UsageError, match="row_sparse_adam"):
        fit(backbone, optimiser="row_sparse_adam")


def test_the_graph_is_made_of_the_positive_rows():
    model = build("lightgcn", TRAIN, params(), torch.Generator())
    positive = TRAIN.label == 1
    expected = normalised_adjacency(TRAIN.user[positive], TRAIN.item[positive], USERS, ITEMS)
    torch.testing.assert_close(model.adjacency.to_dense(), expected.to_dense())


def test_relabelling_users_and_items_permutes_the_result():
    rng = np.random.default_rng(5)
    users, items = rng.permutation(USERS), rng.permutation(ITEMS)
    nodes = torch.from_numpy(np.concatenate([users, USERS + items]))

    def renamed(rows):
        return Interactions(users[rows.user], items[rows.item], rows.label, USERS, ITEMS)

    settings = params(max_epochs=3)
    one, other = (MatrixFactorization(USERS, ITEMS, 32, 0.1, torch.Generator().manual_seed(1)) for _ in range(2))
    other.embeddings.data[nodes] = one.embeddings.data.clone()
    train(one, TRAIN, VALID, settings, RunContext(0))
    train(other, renamed(TRAIN), renamed(VALID), settings, RunContext(0))
    torch.testing.assert_close(other.embeddings[nodes], one.embeddings)


def test_a_machine_without_its_weights_is_matrix_factorisation():
    machine, plain = (
        kind(USERS, ITEMS, 8, 0.1, torch.Generator().manual_seed(1)) for kind in (FactorizationMachine, MatrixFactorization)
    )
    user, item = torch.tensor(TEST.user), torch.tensor(TEST.item)
    torch.testing.assert_close(machine(user, item), plain(user, item))
    with torch.no_grad():
        machine.bias.fill_(2.0)
        machine.weights[7] = 1.0
        machine.weights[USERS + 4] = 3.0
        extra = 2.0 + (user == 7) + 3.0 * (item == 4)
        torch.testing.assert_close(machine(user, item), plain(user, item) + extra)


def test_parameters_that_diverge_fail_the_fit():
    model = build("mf", TRAIN, params(), torch.Generator())
    with pytest.raises(FloatingPointError, match="lower lr"):
        train(model, TRAIN, VALID, params(lr=1e30), RunContext(0))


@pytest.mark.parametrize(("rows", "valid"), [(TRAIN[:0], VALID), (TRAIN, VALID[:0])])
def test_no_rows_are_refused(rows, valid):
    with pytest.raises(UsageError, match="training needs rows"):
        fit_factors("mf", rows, valid, params(), RunContext(0))


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'lightgcn'"):
        build("lightgnc", TRAIN, params(), torch.Generator())


def test_the_state_that_is_kept_is_a_copy_into_which_later_epochs_do_not_write():
    states, epochs = [], count(1)
    model = build("mf", TRAIN, params(), torch.Generator().manual_seed(0))

    def listen(step, value):
        assert step == next(epochs)
        states.append((value, model.embeddings.detach().clone()))

    train(model, TRAIN, VALID, params(lr=0.5, max_epochs=8), RunContext(0, listener=listen))
    best = max(range(len(states)), key=lambda epoch: states[epoch][0])
    assert best < len(states) - 1
    assert torch.equal(model.embeddings, states[best][1])
