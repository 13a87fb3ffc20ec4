"""IFRU's invariants (I2-I7, I10-I12, I15), its request checks, and the runner."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from craftbench.core.context import RunContext
from craftbench.core.errors import UsageError
from craftbench.core.task import Interactions, UnlearningTask, View
from craftbench.methods.ifru import IFRU, IFRUParams, UnlearnParams, influence_update, placebo, unlearn
from craftbench.models.influence import FactorRisk
from craftbench.models.lightgcn import LightGCN, normalised_adjacency
from craftbench.models.matrix_factorization import MatrixFactorization
from craftbench.models.neumf import NeuMF
from craftbench.models.pointwise import FactorParams, FittedFactors
from craftbench.models.removal import on_graph
from scipy.optimize import minimize

USERS, ITEMS, DIM, L2 = 24, 18, 3, 2e-3


def world(rows=900, seed=0):
    """Labels from a noisy rank-2 truth."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    truth = (2 * rng.normal(size=(USERS, 2)) @ rng.normal(size=(2, ITEMS)))[user, item]
    label = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    return Interactions(user, item, label, USERS, ITEMS)


def fresh(data, layers=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    if not layers:
        return MatrixFactorization(USERS, ITEMS, DIM, 0.5, generator).to(dtype)
    positive = data.label == 1
    graph = normalised_adjacency(data.user[positive], data.item[positive], USERS, ITEMS)
    return LightGCN(USERS, ITEMS, DIM, graph, layers, 0.5, generator).to(dtype)


def to_optimum(model, parts):
    """Minimise sum of weight * R(theta) in place: L-BFGS, then Newton steps by the pseudo-inverse, to a gradient of 1e-13."""
    shape = model.embeddings.shape

    def value(x):
        theta = torch.from_numpy(x.copy()).view(shape)
        total = sum(weight * risk.loss(theta) for weight, risk in parts)
        return total, sum(weight * risk.gradient(theta) for weight, risk in parts).reshape(-1).numpy()

    x = minimize(value, model.embeddings.detach().reshape(-1).numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    for _ in range(20):
        g = value(x)[1]
        if np.linalg.norm(g) < 1e-13:
            break
        theta = torch.from_numpy(x.copy()).view(shape)
        H = sum(weight * dense(risk.hessian(theta=theta), shape) for weight, risk in parts).numpy()
        x = x - np.linalg.pinv(H, rcond=1e-9, hermitian=True) @ g
    assert np.linalg.norm(g) < 1e-12
    model.embeddings.data = torch.from_numpy(x.copy()).view(shape)
    return model


def dense(product, shape):
    size = int(np.prod(shape))
    return torch.stack([product(e.view(shape)).reshape(-1) for e in torch.eye(size, dtype=torch.float64)], 1)


def scores(model, data):
    with torch.no_grad():
        return model(torch.tensor(data.user), torch.tensor(data.item)).numpy()


def relative(x, y):
    return float(np.linalg.norm(np.asarray(x - y)) / np.linalg.norm(np.asarray(y)))


@pytest.fixture(scope="module")
def data():
    return world()


@pytest.fixture(scope="module")
def optimum(data):
    """Matrix factorisation at an L2 optimum that is not 0."""
    model = fresh(data)
    return to_optimum(model, [(1.0, FactorRisk(model, data, L2))])


@pytest.fixture
def removed(data):
    return np.arange(len(data)) % 100 == 7


EXACT = {"curvature": "hessian", "l2": L2, "damping": 0.0, "tol": 1e-11, "max_iter": 2000}


def moved(result, model):
    return result.model.embeddings.detach() - model.embeddings.detach()


# --- the update


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("solver", ["cg", "adam_as_released"])
@pytest.mark.parametrize("selection", ["importance", "gradient_norm"])
def test_empty_request_gives_theta_back_bit_for_bit(data, layers, solver, selection):
    """I2."""
    model = fresh(data, layers, torch.float32)
    params = UnlearnParams(solver=solver, selection=selection)
    nothing = np.zeros(len(data), dtype=bool)
    result = influence_update(model, data, nothing, params, RunContext(root=0), L2, lambda _: 0.5)
    assert torch.equal(result.model.embeddings, model.embeddings)
    assert result.updated_nodes == result.iterations == 0
    np.testing.assert_array_equal(scores(result.model, data), scores(model, data))


def test_everything_removed_at_an_optimum_leaves_the_penalty(data, optimum):
    """I2: b = -N lambda theta_0."""
    b = FactorRisk(optimum, data, over=1).gradient()
    torch.testing.assert_close(b, -len(data) * L2 * optimum.embeddings.detach(), rtol=1e-9, atol=1e-9)


def test_update_is_the_dense_solution(data, optimum, removed):
    result = unlearn(optimum, data, removed, **{**EXACT, "damping": 1e-4}, hops=0)
    S = np.unique(np.concatenate([data.user[removed], USERS + data.item[removed]]))
    H = dense(FactorRisk(optimum, data, L2).hessian(damping=1e-4), optimum.embeddings.shape)
    H = H.view(USERS + ITEMS, DIM, USERS + ITEMS, DIM)[S][:, :, S].reshape(len(S) * DIM, -1)
    b = FactorRisk(optimum, data[removed], over=1).gradient()[S]
    expected = torch.linalg.solve(H, b.reshape(-1)).view(-1, DIM) / len(data)
    torch.testing.assert_close(moved(result, optimum)[S], expected, rtol=1e-7, atol=1e-10)
    frozen = np.setdiff1d(np.arange(USERS + ITEMS), S)
    assert torch.equal(result.model.embeddings[frozen], optimum.embeddings[frozen])
    assert result.converged
    assert result.updated_nodes == len(S) < USERS + ITEMS


def test_update_is_linear_in_the_request(data, optimum):
    """I3: for fixed H and S; the Adam loop is not linear."""
    first, second = np.arange(len(data)) % 100 == 1, np.arange(len(data)) % 100 == 2
    for settings, linear in ((EXACT, True), ({"solver": "adam_as_released"}, False)):
        one, two, both = (
            moved(unlearn(optimum, data, request, hops=4, evaluate=lambda _: 0.5, **settings), optimum)
            for request in (first, second, first | second)
        )
        assert (relative(one + two, both) < 1e-6) is linear


def test_first_order_in_the_weight_of_the_request(data, optimum, removed):
    """I4: against a warm retraining with D_r down-weighted by eps, the relative error of the scores halves with eps."""
    step = moved(unlearn(optimum, data, removed, **EXACT, hops=4), optimum)
    full, gone = FactorRisk(optimum, data, L2), FactorRisk(optimum, data[removed], over=len(data))
    before, errors = scores(optimum, data), []
    for eps in (1.0, 0.5, 0.25, 0.125, 0.0625):
        warm, guess = on_graph(optimum, data), on_graph(optimum, data)
        to_optimum(warm, [(1.0, full), (-eps, gone)])
        guess.embeddings.data += eps * step
        errors.append(relative(scores(guess, data) - before, scores(warm, data) - before))
    ratios = np.array(errors[1:]) / np.array(errors[:-1])
    assert errors[0] < 0.5
    assert ((ratios > 0.4) & (ratios < 0.6)).all()


def test_ridge_step_with_the_retained_hessian_is_exact_retraining():
    """I5: fixed item factors, squared loss; one removed row is Sherman-Morrison."""
    rng = np.random.default_rng(0)
    X, y, lam = rng.normal(size=(50, 4)), rng.normal(size=50), 0.3
    H = X.T @ X + lam * np.eye(4)
    theta = np.linalg.solve(H, X.T @ y)
    for request in (np.arange(50) == 3, np.arange(50) % 10 == 3):
        kept = ~request
        retrained = np.linalg.solve(X[kept].T @ X[kept] + lam * np.eye(4), X[kept].T @ y[kept])
        b = X[request].T @ (X[request] @ theta - y[request])
        exact = theta + np.linalg.solve(X[kept].T @ X[kept] + lam * np.eye(4), b)
        assert relative(exact, retrained) < 1e-12
        first_order = theta + np.linalg.solve(H, b)
        assert 0 < relative(first_order - theta, retrained - theta) < 0.6
    x = X[3]
    leverage = x @ np.linalg.solve(H, x)
    single = theta + np.linalg.solve(H, x) * (x @ theta - y[3]) / (1 - leverage)
    kept = np.arange(50) != 3
    assert relative(single, np.linalg.solve(X[kept].T @ X[kept] + lam * np.eye(4), X[kept].T @ y[kept])) < 1e-12


def test_gauge(data, optimum, removed):
    """I6: d(d-1)/2 zero eigenvalues at an optimum, b orthogonal to them, and the update turns with the embeddings (not Adam's)."""
    H = dense(FactorRisk(optimum, data, L2).hessian(), optimum.embeddings.shape)
    values, vectors = torch.linalg.eigh(H)
    zero = values.abs() < 1e-9 * values.max()
    rank = torch.linalg.matrix_rank(optimum.embeddings.detach(), rtol=1e-6)
    assert int(zero.sum()) == int(rank * (rank - 1) / 2 + (DIM - rank) * rank) > 0
    assert float(values.min()) > -1e-9
    b = FactorRisk(optimum, data[removed], over=1).gradient().reshape(-1)
    assert float((vectors[:, zero].T @ b).norm() / b.norm()) < 1e-9
    result = unlearn(optimum, data, removed, **EXACT, hops=4)
    expected = torch.linalg.pinv(H, hermitian=True, rtol=1e-9) @ b / len(data)
    torch.testing.assert_close(moved(result, optimum).reshape(-1), expected, rtol=1e-6, atol=1e-9)

    Q = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]
    turned = on_graph(optimum, data)
    turned.embeddings.data = optimum.embeddings.detach() @ Q
    np.testing.assert_allclose(scores(turned, data), scores(optimum, data), rtol=1e-9, atol=1e-12)
    assert relative(moved(unlearn(turned, data, removed, **EXACT, hops=4), turned), moved(result, optimum) @ Q) < 1e-6
    adam = {"solver": "adam_as_released", "evaluate": lambda _: 0.5}
    there, here = unlearn(turned, data, removed, **adam), unlearn(optimum, data, removed, **adam)
    assert relative(moved(there, turned), moved(here, optimum) @ Q) > 0.1


def test_smallest_eigenvalues_at_an_optimum(data, optimum):
    """I7: the data Hessian's is -lambda; Gauss-Newton's is not negative."""
    shape = optimum.embeddings.shape
    assert float(optimum.embeddings.detach().norm()) > 1
    smallest = float(torch.linalg.eigvalsh(dense(FactorRisk(optimum, data).hessian(), shape)).min())
    assert smallest == pytest.approx(-L2, rel=1e-6)


def test_spillover_and_graph_bring_lightgcn_nearer_to_retrain(data, removed):
    """I10."""
    model = fresh(data, 1)
    to_optimum(model, [(1.0, FactorRisk(model, data, L2))])
    kept = data[~removed]
    retrained = on_graph(model, kept)
    to_optimum(retrained, [(1.0, FactorRisk(retrained, kept, L2))])
    target, before = scores(retrained, data), scores(model, data)

    def distance(**settings):
        result = unlearn(model, data, removed, **{**EXACT, "damping": 1e-5}, hops=4, **settings)
        return np.linalg.norm(scores(result.model, data) - target) / np.linalg.norm(before - target)

    full, direct, stale = distance(), distance(spillover="off"), distance(graph_after="full")
    assert full < 0.35
    assert full < 0.7 * direct
    assert full < 0.6 * stale


def test_all_hops_is_the_full_solve(data, optimum, removed):
    """I11: at keep = 1 and hops >= the diameter."""
    result = unlearn(optimum, data, removed, **{**EXACT, "damping": 1e-4}, hops=4)
    H = dense(FactorRisk(optimum, data, L2).hessian(damping=1e-4), optimum.embeddings.shape)
    b = FactorRisk(optimum, data[removed], over=1).gradient()
    assert result.updated_nodes == USERS + ITEMS
    assert relative(moved(result, optimum).reshape(-1), torch.linalg.solve(H, b.reshape(-1)) / len(data)) < 1e-7


@pytest.mark.parametrize("layers", [0, 1])
def test_preconditioner_changes_no_solution(data, removed, layers):
    model = fresh(data, layers)
    ask = {**EXACT, "damping": 5e-2, "hops": 1, "keep": 0.6}
    plain, jacobi = (unlearn(model, data, removed, **ask, block_jacobi=flag) for flag in (False, True))
    assert relative(moved(jacobi, model), moved(plain, model)) < 1e-8


def test_adam_moves_each_coordinate_by_about_the_step(data, optimum, removed):
    """I12, in units of theta: step = if_lr / N."""
    ask = {"solver": "adam_as_released", "step": 1e-2, "damping": 0.0, "evaluate": lambda _: 0.5}
    result = unlearn(optimum, data, removed, **ask, hops=0)
    b = FactorRisk(optimum, data[removed], over=1).gradient()
    large = b.abs() > 1e-3
    torch.testing.assert_close(moved(result, optimum)[large], 1e-2 * b.sign()[large], rtol=1e-4, atol=1e-10)


def test_damping_goes_from_newton_to_gradient(data, optimum, removed):
    """I15: ||Delta|| falls with damping; Delta -> b / (N damping)."""
    sizes = []
    for damping in (1e-6, 1e-4, 1e-2, 1.0, 1e4):
        result = unlearn(optimum, data, removed, **{**EXACT, "damping": damping}, hops=4)
        sizes.append(float(moved(result, optimum).norm()))
    assert sizes == sorted(sizes, reverse=True)
    b = FactorRisk(optimum, data[removed], over=1).gradient()
    assert relative(moved(result, optimum), b / (len(data) * 1e4)) < 1e-4


def test_indefinite_hessian_is_reported(data, removed):
    result = unlearn(fresh(data), data, removed, damping=0.0, curvature="hessian")
    assert result.negative_curvature
    assert not result.converged
    assert "gauss_newton" in result.message
    assert unlearn(fresh(data), data, removed, damping=1e-5).message == ""


@pytest.mark.parametrize("layers", [0, 1])
def test_generic_path_gives_the_same_update(data, removed, layers):
    """A module that hides what it is is unlearned to the same scores; a graph cannot be switched there."""

    class Hidden(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, user, item):
            return self.inner(user, item)

    model = fresh(data, layers)
    ask = {"curvature": "hessian", "l2": L2, "damping": 5e-2, "tol": 1e-10, "hops": 0, "spillover": "off", "graph_after": "full"}
    closed, generic = unlearn(model, data, removed, **ask), unlearn(Hidden(model), data, removed, **ask)
    assert closed.iterations == generic.iterations
    assert relative(scores(generic.model, data) - scores(model, data), scores(closed.model, data) - scores(model, data)) < 1e-8


def test_a_network_is_unlearned(data, removed):
    model = NeuMF(USERS, ITEMS, 4, 0.3, torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = unlearn(model, data, removed, hops=0, damping=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    gone = data[removed]
    worse = np.logaddexp(0, (1 - 2 * gone.label) * scores(result.model, gone)).mean()
    assert worse > np.logaddexp(0, (1 - 2 * gone.label) * scores(model, gone)).mean()


@pytest.mark.parametrize("selection", ["random", "degree", "gradient_norm"])
def test_controls_update_equally_many_nodes(data, removed, selection):
    model = fresh(data)
    few = removed & (np.cumsum(removed) <= 2)
    ask = {"keep": 0.5, "damping": 0.1}
    ours, control = unlearn(model, data, few, **ask), unlearn(model, data, few, **ask, selection=selection)
    assert control.updated_nodes == ours.updated_nodes < USERS + ITEMS
    again = unlearn(model, data, few, **ask, selection=selection)
    assert torch.equal(control.model.embeddings, again.model.embeddings)
    assert not torch.equal(control.model.embeddings, ours.model.embeddings)


# --- requests


def test_masks_and_indexes_are_the_same_request(data, removed):
    model = fresh(data)
    before = model.embeddings.detach().clone()
    by_mask, by_index = (unlearn(model, data, request, damping=0.1) for request in (removed, np.flatnonzero(removed).tolist()))
    assert torch.equal(by_mask.model.embeddings, by_index.model.embeddings)
    assert torch.equal(model.embeddings, before)
    assert by_mask.seconds >= sum(by_mask.clocks.values()) > 0
    assert set(by_mask.clocks) == {"gradient", "selection", "solver", "write"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda n: np.zeros(n, dtype=bool), "empty"),
        (lambda _: [], "empty"),
        (lambda n: np.ones(n, dtype=bool), "every interaction"),
        (lambda n: np.arange(n), "every interaction"),
        (lambda n: [0, n], "unknown"),
        (lambda _: [-1], "unknown"),
        (lambda n: np.ones(n - 1, dtype=bool), "one entry per row"),
        (lambda _: [0.5, 1.0], "row indexes"),
        (lambda _: np.zeros((2, 2), dtype=int), "row indexes"),
    ],
)
def test_bad_requests_are_refused(data, request_, message):
    with pytest.raises(UsageError, match=message):
        unlearn(fresh(data), data, request_(len(data)))


def test_bad_inputs_are_refused(data, removed):
    model = fresh(data)
    with pytest.raises(UsageError, match="pass evaluate"):
        unlearn(model, data, removed, solver="adam_as_released")
    with pytest.raises(UsageError, match="did you mean 'damping'"):
        unlearn(model, data, removed, dampin=1.0)
    with pytest.raises(UsageError, match="damping"):
        unlearn(model, data, removed, damping=-1.0)
    with pytest.raises(UsageError, match="24 users"):
        unlearn(model, Interactions(data.user, data.item, data.label, USERS + 1, ITEMS), removed)
    with pytest.raises(UsageError, match="item ids run"):
        unlearn(model, Interactions(data.user, data.item + 5, data.label, USERS, ITEMS), removed)


# --- the runner


def task_of(data, removed, backbone="mf"):
    return UnlearningTask(name="world", train=data, removed=removed, valid=world(200, 1), backbone=backbone)


def fit(data, removed, layers=0, root=0, **settings):
    original = FittedFactors(fresh(data, layers, torch.float32), FactorParams(dim=32, l2=L2), "lightgcn" if layers else "mf")
    run = RunContext(root=root, parents={"original": original})
    params = IFRUParams.resolve(settings)
    return IFRU().fit(task_of(data, removed, original.backbone), params, run), run, original


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"curvature": "hessian", "damping": 1e-4},
        {"solver": "adam_as_released", "curvature": "mf_hessian", "damping": 0.0, "spillover": "released", "graph_after": "full"},
        {"solver": "adam_as_released", "curvature": "none"},
        {"request": "placebo"},
    ],
)
def test_runner_is_deterministic_and_leaves_its_parent_alone(data, removed, layers, settings):
    view = View("valid", {"user": world(200, 1).user, "item": world(200, 1).item})
    fitted, run, original = fit(data, removed, layers, **settings)
    again, _, _ = fit(data, removed, layers, **settings)
    score = fitted.predict(view)["score"]
    assert score.dtype == np.float32
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(score, again.predict(view)["score"])
    assert torch.equal(original.model.embeddings, fresh(data, layers, torch.float32).embeddings)
    assert not np.array_equal(score, original.predict(view)["score"])
    assert {"iterations", "residual", "updated_share", "negative_curvature"} <= set(run.notes)
    assert all(np.isfinite(value) for value in run.notes.values())
    assert {"gradient", "selection", "solver", "write"} <= set(run.clocks)


@pytest.mark.parametrize("layers", [0, 1])
def test_requests_in_sequence_start_each_from_what_the_last_left(data, removed, layers):
    step = np.zeros(len(data), dtype=np.int16)
    step[removed] = 1 + np.arange(removed.sum()) % 2
    original = FittedFactors(fresh(data, layers, torch.float32), FactorParams(dim=32, l2=L2), "lightgcn" if layers else "mf")
    task = replace(task_of(data, removed, original.backbone), step=step)
    run = RunContext(root=0, parents={"original": original})
    fitted = IFRU().fit(task, IFRUParams.resolve({"answer": "in_sequence"}), run)
    first = unlearn(original.model, data, step == 1, l2=L2)
    second = unlearn(first.model, data[step != 1], (step == 2)[step != 1], l2=L2)
    np.testing.assert_array_equal(scores(fitted.model, data), scores(second.model, data))
    assert run.notes["iterations"] == first.iterations + second.iterations


def test_runner_switches_the_graph(data, removed):
    kept = data[~removed]
    switched, stale = (fit(data, removed, 1, graph_after=graph)[0].model for graph in ("retained", "full"))
    positive = kept.label == 1
    expected = normalised_adjacency(kept.user[positive], kept.item[positive], USERS, ITEMS).to_dense()
    assert torch.equal(switched.adjacency.to_dense(), expected)
    assert torch.equal(switched.embeddings, stale.embeddings)
    assert not torch.equal(stale.adjacency.to_dense(), expected)


def test_placebo_is_as_large_and_clean(removed):
    mask = placebo(removed, np.random.default_rng(0))
    assert mask.sum() == removed.sum()
    assert not (mask & removed).any()


def test_parent_penalty_is_part_of_the_hessian(data, removed):
    """The curvature shift is l2 + damping, and l2 is the Original's."""
    view = View("train", {"user": data.user, "item": data.item})
    fitted, _, original = fit(data, removed, damping=0.1)
    result = unlearn(original.model, data, removed, l2=L2, damping=0.1)
    np.testing.assert_array_equal(fitted.predict(view)["score"], scores(result.model, data))
