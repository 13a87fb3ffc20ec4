"""Every row without a language model: it learns, differs from each other, and survives a folder."""

import numpy as np
import pytest
from craftbench.baselines.next_item.alpha_rec import AlphaRec
from craftbench.baselines.next_item.caser import Caser
from craftbench.baselines.next_item.ease import EASE
from craftbench.baselines.next_item.gru4rec import GRU4Rec
from craftbench.baselines.next_item.item_knn import ItemKNN
from craftbench.baselines.next_item.last_item import LastItem
from craftbench.baselines.next_item.popularity import ItemPopularity
from craftbench.baselines.next_item.sasrec import SASRec
from craftbench.baselines.next_item.title_ngram import TitleNgram
from craftbench.core.context import RunContext
from craftbench.core.metrics.ranking import mean_ndcg
from craftbench.core.task import NextItem, View

NETWORK = {"lr": 1e-2, "dim": 16, "batch_size": 32, "length": 5, "max_epochs": 8}
ROWS = {
    "item_popularity": (ItemPopularity, {}),
    "last_item": (LastItem, {}),
    "item_knn": (ItemKNN, {"decay": 0.3}),
    "ease": (EASE, {"l2": 10.0}),
    "title_ngram": (TitleNgram, {}),
    "sasrec": (SASRec, NETWORK),
    "sasrec bce": (SASRec, {**NETWORK, "loss": "bce"}),
    "gru4rec": (GRU4Rec, NETWORK),
    "caser": (Caser, {**NETWORK, "max_epochs": 4}),
    "alpha_rec": (AlphaRec, {"lr": 1e-2, "dim": 16, "words": 16, "max_epochs": 3}),
}
LEARN = ("item_knn", "ease", "title_ngram", "sasrec", "sasrec bce", "gru4rec", "caser", "alpha_rec")


@pytest.fixture(scope="module")
def fitted(task):
    """Each row under its key, fitted when first asked for."""
    known = {}

    def get(key):
        if key not in known:
            kind, values = ROWS[key]
            known[key] = kind().fit(task, kind.Params.resolve(values), RunContext(1))
        return known[key]

    return get


@pytest.mark.parametrize("key", ROWS)
def test_scores(task, fitted, test_view, key):
    kind, _ = ROWS[key]
    assert (kind.name, kind.task, kind().cannot(task)) == (key.split()[0], NextItem, None)
    score = fitted(key).predict(test_view)["score"]
    assert (score.shape, score.dtype) == ((test_view.rows, task.items + 1), np.float32)
    assert np.isfinite(score).all()
    assert len(fitted(key).predict(View("none", {"history": np.zeros((0, 5), dtype=np.int64)}))["score"]) == 0


@pytest.mark.parametrize("key", LEARN)
def test_what_looks_at_the_history_beats_popularity(fitted, test_rows, test_view, key):
    own, floor = (mean_ndcg(fitted(each).predict(test_view)["score"], test_rows.target) for each in (key, "item_popularity"))
    assert own > floor + (0.2 if key.split()[0] in ("sasrec", "gru4rec", "caser") else 0.02)


def test_any_two_rows_differ(fitted, test_view):
    found = {key: fitted(key).predict(test_view)["score"] for key in ROWS}
    keys = list(found)
    same = [(one, other) for k, one in enumerate(keys) for other in keys[:k] if np.allclose(found[one], found[other], atol=1e-3)]
    assert same == []


@pytest.mark.parametrize("key", ROWS)
def test_saved_and_loaded(fitted, test_view, tmp_path, key):
    fitted(key).save(tmp_path / "deep" / "er")
    assert {path.suffix for path in (tmp_path / "deep" / "er").iterdir()} <= {".safetensors", ".json"}
    loaded = ROWS[key][0].fitted.load(tmp_path / "deep" / "er")
    np.testing.assert_array_equal(loaded.predict(test_view)["score"], fitted(key).predict(test_view)["score"])


@pytest.mark.parametrize("key", ["item_knn", "ease", "title_ngram", "alpha_rec", "sasrec bce"])
def test_same_seed_same_digits(task, fitted, test_view, key):
    kind, values = ROWS[key]
    again = kind().fit(task, kind.Params.resolve(values), RunContext(1))
    np.testing.assert_array_equal(again.predict(test_view)["score"], fitted(key).predict(test_view)["score"])


@pytest.mark.parametrize("key", ROWS)
def test_wider_or_narrower_padding_changes_nothing(fitted, test_rows, key):
    wide = np.pad(test_rows.history, ((0, 0), (3, 0))).astype(np.int32)
    one, other = (fitted(key).predict(View("test", {"history": each}))["score"] for each in (test_rows.history, wide))
    if key == "last_item":  # whose scores are places, which all move
        one, other = (np.argsort(-each, axis=1, kind="stable") for each in (one, other))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("key", ["item_knn", "ease", "sasrec", "gru4rec", "caser", "alpha_rec"])
def test_without_a_history_all_items_tie(fitted, key):
    assert not fitted(key).predict(View("test-emptied", {"history": np.zeros((3, 5), dtype=np.int64)}))["score"].any()


@pytest.mark.parametrize("key", ["item_knn", "sasrec", "gru4rec", "caser", "title_ngram"])
def test_the_order_of_a_history_matters(fitted, test_rows, key):
    longer = test_rows.history[(test_rows.history > 0).all(1)]
    one, other = (fitted(key).predict(View("test", {"history": each}))["score"] for each in (longer, longer[:, ::-1].copy()))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("key", ["ease", "alpha_rec"])
def test_the_order_of_a_history_does_not_matter_to_a_set(fitted, test_rows, key):
    longer = test_rows.history[(test_rows.history > 0).all(1)]
    one, other = (fitted(key).predict(View("test", {"history": each}))["score"] for each in (longer, longer[:, ::-1].copy()))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_every_range_holds_its_default_and_its_paper_s_grid_is_valid():
    for kind, _ in ROWS.values():
        for declared in kind.Params.declared():
            space = declared.space
            for value in declared.grid:
                kind.Params.resolve({declared.name: value})
            if space is not None and space.choices is None:
                assert space.low <= declared.default <= space.high
            elif space is not None:
                assert declared.default in space.choices
