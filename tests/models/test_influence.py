"""Closed-form derivatives against autograd, differences and dense Hessians; restricted systems; the generic path."""

import numpy as np
import pytest
import torch
from craftbench.core.errors import UsageError
from craftbench.core.task import Interactions
from craftbench.models.functional_influence import FunctionalRemoval, FunctionalRisk
from craftbench.models.influence import FactorRisk
from craftbench.models.lightgcn import LightGCN, normalised_adjacency
from craftbench.models.neumf import NeuMF
from craftbench.models.removal import FactorRemoval, on_graph, removal_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

USERS, ITEMS, DIM, L2 = 9, 7, 3, 1e-2


def interactions(seed=0, rows=120, users=USERS, items=ITEMS):
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.5).astype(np.float32)
    return Interactions(rng.integers(0, users, rows), rng.integers(0, items, rows), label, users, items)


def model_of(rows, layers=0, dim=DIM, dtype=torch.float64):
    """LightGCN on the positive rows; no layer makes it matrix factorisation."""
    positive = rows.label == 1
    graph = normalised_adjacency(rows.user[positive], rows.item[positive], rows.users, rows.items)
    generator = torch.Generator().manual_seed(1)
    return LightGCN(rows.users, rows.items, dim, graph, layers, init_std=0.7, generator=generator).to(dtype)


def autograd_loss(model, rows, l2=L2):
    user, item = torch.from_numpy(rows.user), torch.from_numpy(rows.item)
    label = torch.from_numpy(rows.label).double()

    def loss(theta):
        z = model.propagate(theta)
        s = (z[user] * z[model.users + item]).sum(-1)
        return binary_cross_entropy_with_logits(s, label) + 0.5 * l2 * theta.square().sum()

    return loss


def dense(product, shape):
    """The matrix of a product on tensors of `shape`."""
    size = int(np.prod(shape))
    return torch.stack([product(e.view(shape)).reshape(-1) for e in torch.eye(size, dtype=torch.float64)], 1)


def relative(x, y):
    return float((x - y).norm() / y.norm())


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_loss_gradient_and_hessian_match_autograd(layers):
    """I1, I8."""
    rows = interactions()
    model = model_of(rows, layers)
    theta = model.embeddings.detach().clone().requires_grad_()
    loss, risk = autograd_loss(model, rows), FactorRisk(model, rows, L2)
    assert risk.loss() == pytest.approx(loss(theta).item(), rel=1e-14)
    assert relative(risk.gradient(), torch.autograd.grad(loss(theta), theta)[0]) < 1e-14
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    exact = torch.autograd.functional.hvp(loss, theta.detach(), v)[1]
    assert relative(risk.hessian()(v), exact) < 1e-14
    t = 1e-5
    difference = (risk.gradient(theta.detach() + t * v) - risk.gradient(theta.detach() - t * v)) / (2 * t)
    assert relative(risk.hessian()(v), difference) < 1e-9
    assert relative(risk.hessian(damping=0.5)(v), exact + 0.5 * v) < 1e-14


@pytest.mark.parametrize("layers", [1, 2])
def test_lightgcn_is_p_mf_p(layers):
    """I8: R_gcn(theta) = R_mf(P theta), gradient P g(P theta), product P H(P theta) P v."""
    rows = interactions()
    model, mf = model_of(rows, layers), model_of(rows, 0)
    P = model.propagate
    mf.embeddings.data = P(model.embeddings.detach())
    gcn, inner = FactorRisk(model, rows), FactorRisk(mf, rows)
    v = torch.randn(USERS + ITEMS, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert gcn.loss() == pytest.approx(inner.loss(), rel=1e-15)
    assert relative(gcn.gradient(), P(inner.gradient())) < 1e-14
    assert relative(gcn.hessian()(v), P(inner.hessian()(P(v)))) < 1e-14


def test_released_lightgcn_hessian_ignores_the_graph():
    rows = interactions()
    v = torch.ones(USERS + ITEMS, DIM, dtype=torch.float64)
    released = FactorRisk(model_of(rows, 1), rows, L2, mf=True).hessian()(v)
    assert torch.equal(released, FactorRisk(model_of(rows, 0), rows, L2).hessian()(v))


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(0, USERS + ITEMS - 1), min_size=1),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 40),
    st.integers(1, 4),
)
def test_restricted_hessian_is_the_submatrix(nodes, layers, gauss_newton, rows, dim):
    """Whatever rows are dropped, summed into blocks, or kept with a frozen end."""
    data = interactions(rows, rows=3 * rows)
    model = model_of(data, layers, dim)
    risk, place = FactorRisk(model, data, L2), torch.tensor(sorted(nodes))
    shape = (USERS + ITEMS, dim)
    full = dense(risk.hessian(gauss_newton=gauss_newton), shape).view(*shape, *shape)
    expected = full[place][:, :, place].reshape(len(place) * dim, -1)
    part = risk.hessian(place, damping=0.3, gauss_newton=gauss_newton)
    torch.testing.assert_close(
        dense(part, (len(place), dim)), expected + 0.3 * torch.eye(len(expected), dtype=torch.float64), rtol=1e-12, atol=1e-13
    )


def test_block_jacobi_inverts_a_system_of_users_alone():
    """H of users alone is block diagonal: the preconditioner is its inverse, for users with d rows or more (I11)."""
    rows = interactions(rows=400)
    place = torch.arange(USERS)
    hessian = FactorRisk(model_of(rows), rows, L2).hessian(place, damping=1e-3)
    x = torch.randn(USERS, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert relative(hessian.preconditioner()(hessian(x)), x) < 1e-12
    assert len(hessian._heavy) == USERS  # their rows were summed into blocks, no row is left in the product
    assert len(hessian._rows.pairs) == 0


@pytest.mark.parametrize("layers", [0, 1])
def test_preconditioner_is_positive_definite(layers):
    rows = interactions(rows=60)
    hessian = FactorRisk(model_of(rows, layers), rows, L2).hessian(torch.tensor([0, 2, 3, 10, 11, 12]), damping=1e-3)
    M = dense(hessian.preconditioner(), (6, DIM))
    torch.testing.assert_close(M, M.T)
    assert float(torch.linalg.eigvalsh(M).min()) > 0


def test_gauss_newton_is_positive_semidefinite_and_the_hessian_is_not():
    """I7's second half: what is dropped is sum r dz dz', which is indefinite."""
    rows = interactions()
    risk, shape = FactorRisk(model_of(rows), rows), (USERS + ITEMS, DIM)
    assert float(torch.linalg.eigvalsh(dense(risk.hessian(gauss_newton=True), shape)).min()) > -1e-15
    assert float(torch.linalg.eigvalsh(dense(risk.hessian(), shape)).min()) < -1e-3


def test_single_precision():
    """I1: float32 agrees with float64 to a few 1e-6."""
    rows = interactions(rows=5000, users=60, items=50)
    v = torch.randn(110, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    double = FactorRisk(model_of(rows, 1, 16), rows, L2).hessian()(v)
    single = FactorRisk(model_of(rows, 1, 16, torch.float32), rows, L2).hessian()(v.float())
    assert relative(single.double(), double) < 2e-6


@pytest.mark.parametrize("layers", [1, 2])
def test_removal_gradient(layers):
    """I9: with D_c = D_k, b = N grad R(D, G) - sum_{D_k} grad l(G_k)."""
    rows = interactions()
    removed = np.zeros(len(rows), dtype=bool)
    removed[::10] = True
    model = model_of(rows, layers)
    retained = on_graph(model, rows[~removed])
    expected = len(rows) * FactorRisk(model, rows).gradient() - FactorRisk(retained, rows[~removed], over=1).gradient()
    assert relative(removal_gradient(model, rows, removed), expected) < 1e-13
    direct = removal_gradient(model, rows, removed, "off")
    assert relative(direct, FactorRisk(model, rows[removed], over=1).gradient()) < 1e-15
    assert relative(direct, expected) > 0.1


def test_no_removed_edge_means_no_spillover():
    """I9's second half."""
    rows = interactions()
    removed = (rows.label == 0) & (np.arange(len(rows)) < 30)
    model = model_of(rows, 1)
    assert torch.equal(removal_gradient(model, rows, removed), removal_gradient(model, rows, removed, "off"))


def test_released_spillover_counts_rows_at_endpoints_that_lost_over_one_percent():
    rows = interactions()
    removed = np.zeros(len(rows), dtype=bool)
    removed[np.flatnonzero(rows.label == 1)[:2]] = True
    model, kept = model_of(rows, 1), rows[~removed]
    lost_users, lost_items = set(rows.user[removed]), set(rows.item[removed])  # each has far fewer than 100 positives
    changed = kept[np.array([u in lost_users or i in lost_items for u, i in zip(kept.user, kept.item, strict=True)])]
    old, new = (FactorRisk(m, changed, over=1).gradient() for m in (model, on_graph(model, kept)))
    expected = FactorRisk(model, rows[removed], over=1).gradient() + old - new
    assert relative(removal_gradient(model, rows, removed, "released"), expected) < 1e-13
    assert len(changed) < len(kept)


def test_gradients_of_disjoint_requests_add_up():
    """I3: for matrix factorisation b is additive; through the graph it is not."""
    rows = interactions()
    first, second = (np.arange(len(rows)) % 10 == k for k in (0, 1))
    for layers, additive in ((0, True), (1, False)):
        model = model_of(rows, layers)
        both = removal_gradient(model, rows, first | second)
        apart = removal_gradient(model, rows, first) + removal_gradient(model, rows, second)
        assert (relative(apart, both) < 1e-13) is additive


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("gauss_newton", [False, True])
def test_generic_path_equals_the_closed_forms(layers, gauss_newton):
    rows = interactions()
    model = model_of(rows, layers)
    closed, generic = FactorRisk(model, rows, L2), FunctionalRisk(model, rows, L2)
    v = torch.randn(USERS + ITEMS, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert generic.loss(generic.theta).item() == pytest.approx(closed.loss(), rel=1e-14)
    assert relative(generic.gradient().view_as(v), closed.gradient()) < 1e-13
    product = generic.hessian(damping=0.1, gauss_newton=gauss_newton)(v.reshape(-1)).view_as(v)
    assert relative(product, closed.hessian(damping=0.1, gauss_newton=gauss_newton)(v)) < 1e-13


def test_generic_path_on_a_network():
    """The product is the dense Hessian's; tables move with their nodes, the rest moves whole."""
    rows = interactions()
    model = NeuMF(USERS, ITEMS, 4, 0.5, torch.Generator().manual_seed(0)).double()
    removal = FunctionalRemoval(model, rows, np.arange(len(rows)) < 5, L2)
    risk, theta = removal.risk, removal.risk.theta
    H = torch.autograd.functional.hessian(risk.loss, theta)
    chosen = np.zeros(USERS + ITEMS, dtype=bool)
    chosen[[1, USERS]] = True
    place = removal.place(chosen)
    tables = 2 * (USERS + ITEMS) * 4
    assert len(place) == 2 * 2 * 4 + len(theta) - tables
    product, _ = removal.system(place, 0.2)
    expected = H[place][:, place] + 0.2 * torch.eye(len(place), dtype=torch.float64)
    torch.testing.assert_close(dense(product, (len(place),)), expected, rtol=1e-10, atol=1e-12)
    J = torch.autograd.functional.jacobian(risk.logits, theta)
    p = torch.sigmoid(risk.logits(theta).detach())
    v = torch.ones_like(theta)
    gauss_newton = J.T @ (p * (1 - p) / len(rows) * (J @ v)) + L2 * v
    assert relative(risk.hessian(gauss_newton=True)(v), gauss_newton) < 1e-12


def test_generic_tables_of_equal_length_free_a_row_for_either_owner():
    rows = interactions(users=8, items=8)
    removal = FunctionalRemoval(torch.nn.Embedding(8, 2), rows, np.arange(len(rows)) < 5)
    chosen = np.zeros(16, dtype=bool)
    chosen[[1, 8 + 3]] = True
    assert removal.place(chosen).tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize("ask", [{"curvature": "mf_hessian"}, {"block_jacobi": True}])
def test_generic_path_says_what_it_lacks(ask):
    rows = interactions()
    removal = FunctionalRemoval(NeuMF(USERS, ITEMS, 4), rows, np.arange(len(rows)) < 5)
    with pytest.raises(UsageError, match="needs a MatrixFactorization or LightGCN"):
        removal.system(None, 0.1, **ask)
    with pytest.raises(UsageError, match="gradient_norm"):
        removal.strength(removal.gradient())


def test_gradient_norm_ranks_direct_influence_first():
    rows = interactions(rows=40)
    removed = np.arange(len(rows)) < 3
    removal = FactorRemoval(model_of(rows), rows, removed)
    b = removal.gradient()
    strength, direct = removal.strength(b), b.norm(dim=1).numpy()
    assert np.array_equal(strength[direct > 0], direct[direct > 0])
    assert strength[direct == 0].max() < direct[direct > 0].min()
    assert strength[direct == 0].max() > 0
