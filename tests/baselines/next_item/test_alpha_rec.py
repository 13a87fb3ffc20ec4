"""AlphaRec against dense matrices, and the title vectors against numpy's decomposition."""

from collections import Counter

import numpy as np
import pytest
import torch
from craftbench.baselines.next_item.alpha_rec import AlphaRec, Graph, TitleMap, info_nce, item_layers, row_users
from craftbench.baselines.next_item.histories import taken
from craftbench.baselines.next_item.title_vectors import BUCKETS, grams, reduced, title_vectors
from craftbench.core.context import RunContext
from craftbench.core.task import View
from craftbench.models.lightgcn import normalised_adjacency
from scipy.sparse import csr_array
from torch.nn.functional import cosine_similarity, cross_entropy

FAST = {"dim": 8, "words": 12, "max_epochs": 2}


def dense(task):
    """LightGCN's own A of train's users and items (id 0 among them), and titles' vectors."""
    user, item = taken(task.train, task.items).nonzero()
    users = int(user.max()) + 1
    adjacency = normalised_adjacency(user.astype(np.int64), item.astype(np.int64), users, task.items + 1)
    return adjacency.to_dense(), title_vectors(task.titles, 12), users


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_items_are_averaged_as_in_lightgcn(task, layers):
    adjacency, vectors, users = dense(task)
    graph, titles = Graph.of(task.train, vectors), torch.from_numpy(vectors)
    network = TitleMap(12, 8, torch.Generator().manual_seed(1))
    took = torch.from_numpy(taken(task.train, task.items).toarray().astype(np.float32))
    below = network(torch.cat([took @ titles / took.sum(1, keepdim=True), titles]))
    found = item_layers(network, titles, graph, layers)
    assert len(found) == layers + 1
    for each in found:
        torch.testing.assert_close(each, below[users:], rtol=1e-4, atol=1e-6)
        below = adjacency @ below


def test_a_row_s_user_is_a_node_of_its_history(task):
    """Beside the others, whose items do not hear of it: A of the graph with one more row, times what lies below."""
    adjacency, vectors, users = dense(task)
    graph, titles = Graph.of(task.train, vectors), torch.from_numpy(vectors)
    network = TitleMap(12, 8, torch.Generator().manual_seed(1))
    found = item_layers(network, titles, graph, 2)
    degree = (adjacency > 0).sum(0)[users:]
    history = torch.tensor([[0, 0, 3, 7], [5, 6, 7, 8]])
    for row, items in enumerate(([3, 7], [5, 6, 7, 8])):
        expected = network(titles[items].mean(0))
        for layer in found[:2]:
            expected = expected + sum(layer[i] / (len(items) * degree[i]) ** 0.5 for i in items)
        torch.testing.assert_close(row_users(network, titles, graph.scale, found, history)[row], expected / 3, rtol=1e-4, atol=1e-6)


def test_gradients_through_the_graph(task):
    vectors = title_vectors(task.titles, 6)
    graph, titles = Graph.of(task.train, vectors), torch.from_numpy(vectors).double()
    graph = Graph(*(each.double() for each in (graph.to_user, graph.to_item, graph.scale, graph.taste)))
    network = TitleMap(6, 3, torch.Generator().manual_seed(1)).double()
    history, names = torch.tensor([[0, 3, 7]]), [name for name, _ in network.named_parameters()]

    def total(*values):
        given = dict(zip(names, values, strict=True))

        def mapped(x):
            return torch.func.functional_call(network, given, (x,))

        found = item_layers(mapped, titles, graph, 2)
        return (torch.stack(found) ** 2).sum() + (row_users(mapped, titles, graph.scale, found, history) ** 2).sum()

    assert torch.autograd.gradcheck(total, tuple(network.parameters()))


def test_the_loss_is_cross_entropy_against_the_drawn():
    cosine = torch.rand(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target, drawn = torch.tensor([1, 5, 2]), torch.tensor([[2, 3], [4, 4], [2, 1]])
    logits = torch.stack([cosine[row, [int(target[row]), *drawn[row].tolist()]] for row in range(3)]) / 0.2
    expected = cross_entropy(logits, torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(info_nce(cosine, target, drawn, 0.2), expected)


def test_scores_are_cosines(task, test_rows, test_view):
    fitted = AlphaRec().fit(task, AlphaRec.Params(**FAST), RunContext(1))
    score = fitted.predict(test_view)["score"]
    users = row_users(fitted.network, fitted.titles, fitted.scale, fitted.found, torch.tensor(test_rows.history)).detach()
    items = torch.stack(fitted.found).mean(0)
    np.testing.assert_allclose(score, cosine_similarity(users[:, None], items[None], dim=2), rtol=1e-4, atol=1e-5)
    assert not fitted.predict(View("test-emptied", {"history": np.zeros((2, 5), dtype=np.int64)}))["score"].any()


def test_grams_of_a_title():
    found = grams("Oh oh, my")
    assert sum(found.values()) == 3 * 3 + 1  # <oh> has <oh and oh>, and comes twice; <my> likewise; <,> is its own trigram
    assert grams("OH OH") == Counter(dict.fromkeys(grams("oh"), 2))


def test_title_vectors_are_a_decomposition():
    titles = ("", "Red Moon Rising", "Red Moon", "Blue Sun", "Blue Suns Red", "Green Moon")
    table = np.zeros((6, BUCKETS))
    for row, title in enumerate(titles):
        for bucket, times in grams(title).items():
            table[row, bucket] = 1 + np.log(times)
    table *= np.log(6 / np.maximum((table > 0).sum(0), 1))
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    left, size, _ = np.linalg.svd(table, full_matrices=False)
    for dim in (2, 3, 4):
        expected = left[:, :dim] * size[:dim]
        found = title_vectors(titles, dim)
        expected = expected[1:] / np.linalg.norm(expected[1:], axis=1, keepdims=True)
        np.testing.assert_allclose(found[1:] @ found[1:].T, expected @ expected.T, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), [0, 1, 1, 1, 1, 1], atol=1e-6)
    like = title_vectors(titles, 5) @ title_vectors(titles, 5).T
    assert like[1, 2] > 0.3 > 0.1 > abs(like[1, 3])
    assert like[3, 4] > like[3, 1]


def test_the_reduction_of_many_titles_is_numpy_s():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((120, 60)) @ np.diag(0.85 ** np.arange(60)) @ rng.standard_normal((60, 90))
    left, size, _ = np.linalg.svd(table, full_matrices=False)
    expected, found = left[:, :8] * size[:8], reduced(csr_array(table), 8)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-6, atol=1e-6 * size[0])
    np.testing.assert_array_equal(reduced(csr_array(table), 8), found)


def test_title_vectors_of_few_titles():
    assert title_vectors(("", "One", "Two"), 64).shape == (3, 2)
    np.testing.assert_array_equal(title_vectors(("", "One", "Two"), 2), title_vectors(("", "One", "Two"), 2))
