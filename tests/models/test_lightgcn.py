"""LightGCN against dense matrices; its graph; and that it is matrix factorisation when it has no layer."""

import copy

import numpy as np
import pytest
import torch
from craftbench.models.lightgcn import LightGCN, normalised_adjacency
from craftbench.models.matrix_factorization import MatrixFactorization
from craftbench.models.sparse import Pairs, bag, csr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

USERS, ITEMS = 6, 5


def edges(seed=0, rows=20):
    rng = np.random.default_rng(seed)
    return rng.integers(0, USERS - 1, rows), rng.integers(0, ITEMS, rows)  # the last user has no edge


def lightgcn(layers, dtype=torch.float64, seed=0):
    graph = normalised_adjacency(*edges(seed), USERS, ITEMS)
    model = LightGCN(USERS, ITEMS, 3, graph, layers, init_std=0.5, generator=torch.Generator().manual_seed(seed))
    return model.to(dtype)


def test_adjacency_by_hand():
    """Users 0, 1; items 0, 1; edges (0,0) twice, (1,0): degrees 2, 1 | 3, 0."""
    graph = normalised_adjacency(np.array([0, 1, 0]), np.array([0, 0, 0]), 2, 2, torch.float64).to_dense()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[0, 2] = expected[2, 0] = 2 / np.sqrt(2 * 3)
    expected[1, 2] = expected[2, 1] = 1 / np.sqrt(1 * 3)
    torch.testing.assert_close(graph, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagate_is_the_mean_of_powers(layers):
    model = lightgcn(layers)
    A = model.adjacency.to_dense()
    P = sum((torch.linalg.matrix_power(A, k) for k in range(layers + 1)), torch.zeros_like(A)) / (layers + 1)
    torch.testing.assert_close(model.propagate(model.embeddings), P @ model.embeddings, rtol=1e-12, atol=1e-14)
    assert torch.equal(A, A.T)
    assert not A[USERS - 1].any()  # a node without edges keeps its own share only


def test_no_layer_is_matrix_factorization_bit_for_bit():
    model = lightgcn(0, torch.float32)
    mf = MatrixFactorization(USERS, ITEMS, 3)
    mf.load_state_dict(model.state_dict())
    user, item = (torch.from_numpy(column) for column in edges(1))
    assert torch.equal(model(user, item), mf(user, item))


@pytest.mark.parametrize("layers", [1, 2])
def test_derivatives(layers):
    model = lightgcn(layers)
    user, item = (torch.from_numpy(column) for column in edges(1))

    def score(embeddings):
        final = model.propagate(embeddings)
        return (final[user] * final[USERS + item]).sum(-1)

    start = model.embeddings.detach().clone().requires_grad_()
    assert gradcheck(score, start)
    assert gradgradcheck(score, start)


def test_graph_follows_copies_and_casts_but_is_no_state():
    model = lightgcn(2, torch.float32)
    twin = copy.deepcopy(model)
    twin.adjacency = csr(*(torch.zeros(n, dtype=torch.int64) for n in (USERS + ITEMS + 1, 0)), torch.zeros(0), (11, 11))
    assert model.values.numel() > 0  # the copy's graph is its own
    assert twin.values.numel() == 0
    assert list(model.state_dict()) == ["embeddings"]
    assert model.double().adjacency.dtype == torch.float64


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 6), st.integers(0, 2**31))
def test_pairs_match_dense_products(rows, users, items, seed):
    """Also with no row, with repeated rows, and with more rows than cells."""
    g = torch.Generator().manual_seed(seed)
    user = torch.randint(users, (rows,), generator=g)
    item = torch.randint(items, (rows,), generator=g)
    values = torch.randn(rows, generator=g, dtype=torch.float64)
    table = torch.randn(users + items, 3, generator=g, dtype=torch.float64)
    pairs = Pairs(user, item, users, items)
    kept = values[pairs.order]
    expected = torch.zeros_like(table).index_add_(0, user, values[:, None] * table[users + item])
    expected.index_add_(0, users + item, values[:, None] * table[user])
    torch.testing.assert_close(pairs.spread(kept, table), expected)
    dots = (table[user] * table[users + item]).sum(-1)
    torch.testing.assert_close(pairs.dots(table[:users], table[users:]), dots[pairs.order])
    assert torch.equal(pairs.degree, torch.bincount(torch.cat([user, users + item]), minlength=users + items))


def test_bag_is_a_csr_product():
    graph = normalised_adjacency(*edges(), USERS, ITEMS)
    table = torch.randn(USERS + ITEMS, 4, generator=torch.Generator().manual_seed(0))
    product = bag(graph.crow_indices(), graph.col_indices(), graph.values(), table)
    torch.testing.assert_close(product, graph.to_dense() @ table)
