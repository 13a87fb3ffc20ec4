"""Vectors of titles without a trained encoder: their words and letter trigrams, reduced by a singular value decomposition.

    x_ig = (1 + log n_ig) log(titles / titles with g)      g: hash bucket of a word, or of three letters in a row within a word
    vectors = rows of U S, each of length 1                X / |X| ~ U S V' of rank `dim`, over the titles at hand

No file is needed, and none of what a language model knows is in it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from .title_words import words

BUCKETS = 1 << 13
SPARE, ROUNDS = 16, 10  # of the subspace iteration: dimensions beyond those that are kept, and steps


def grams(title: str) -> Counter[int]:
    """How often each bucket occurs in a title; a word is marked at both ends, so that its first letters are told from others.

    >>> sum(grams("tea").values()), sum((grams("tea") & grams("team")).values())  # <tea> and its threes; those of both
    (4, 2)
    """
    found: Counter[int] = Counter()
    for word in words(title):
        marked = f"<{word}>"
        parts = {marked, *(marked[start : start + 3] for start in range(len(marked) - 2))}
        found.update(zlib.crc32(part.encode()) % BUCKETS for part in parts)
    return found


def title_vectors(titles: Sequence[str], dim: int) -> NDArray[np.float32]:
    """float32 (titles, min(dim, titles - 1)), 0 for a title without words. The same titles have the same vectors.

    >>> found = title_vectors(["red tea", "green tea", "night train"], dim=2)
    >>> found.shape, bool(found[0] @ found[1] > found[0] @ found[2])
    ((3, 2), True)
    """
    found = [grams(title) for title in titles]
    row = np.repeat(np.arange(len(titles)), [len(each) for each in found])
    column = np.array([bucket for each in found for bucket in each], dtype=np.int64)
    count = np.array([times for each in found for times in each.values()], dtype=np.float64)
    rarity = np.log(len(titles) / np.maximum(np.bincount(column, minlength=BUCKETS), 1))
    table = csr_array(((1 + np.log(count)) * rarity[column], (row, column)), shape=(len(titles), BUCKETS))
    table = scaled(table)
    found = reduced(table, min(dim, len(titles) - 1))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return (found / np.where(length > 1e-9, length, np.inf)).astype(np.float32)


def reduced(table: csr_array, rank: int) -> NDArray[np.float64]:
    """U S (N, rank) of a table (N, M), by subspace iteration from a fixed start (Halko, Martinsson and Tropp 2011).

    Exact for few rows. ARPACK, where singular values repeat, gives another basis at each call.

    >>> table = csr_array([[3.0, 0.0], [0.0, 1.0]])
    >>> np.abs(reduced(table, rank=1)).round(3).tolist()
    [[3.0], [0.0]]
    """
    rows = table.shape[0]
    base = np.random.default_rng(0).standard_normal((rows, min(rank + SPARE, rows)))
    for _ in range(ROUNDS):
        base, _ = np.linalg.qr(table @ (table.T @ base))
    left, size, _ = np.linalg.svd((table.T @ base).T, full_matrices=False)
    return (base @ left[:, :rank]) * size[:rank]


def scaled(table: csr_array) -> csr_array:
    """Each row to length 1, but for empty ones.

    >>> scaled(csr_array([[3.0, 4.0], [0.0, 0.0]])).toarray().round(3).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    length = np.sqrt((table * table).sum(axis=1))
    return csr_array(diags_array(1 / np.where(length > 0, length, 1.0)) @ table)
