"""log p(title | prompt) of every title of a catalogue, exact: each node of the trie is read once for each prompt.

A title's score is the sum of its tokens' log-probabilities, and titles with a common beginning share them. So a prompt is read once
into the cache, then the trie's inner nodes (a leaf predicts nothing) in chunks, each node seeing the prompt and its ancestors, at
position length of the prompt + depth - 1. A forward takes some prompts times one chunk.

Multiplications for a node: 4 d^2 + 3 d f a layer in projections and MLP, 2 d (T + C) in attention to T tokens of prompt and C of
the chunk, d V for the head. Of the 0.58 M that a Llama of 2 layers, d = 128, f = 256, V = 2,000 takes, the head is 0.26 M, the
layers 0.33 M; attention at T + C = 150 adds 0.08 M, which is why chunks are small and prompts fill up the batch. The nodes'
normaliser is needed everywhere: a token that is forced by the catalogue is not certain for the model.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .model import LanguageModel
from .reading import Reading
from .trie import Chunk, TitleTrie

CHUNK = 64  # nodes of a forward
TOKENS = 2_048  # of a forward on a CPU
LOGITS = 1 << 19  # held at a time there

Scores = NDArray[np.floating[Any]]


@overload
def score_titles(
    model: LanguageModel,
    trie: TitleTrie,
    prompts: Sequence[Sequence[int]],
    *,
    allowed_only: bool = False,
    tokens: Literal[False] = False,
) -> Scores: ...
@overload
def score_titles(
    model: LanguageModel, trie: TitleTrie, prompts: Sequence[Sequence[int]], *, allowed_only: bool = False, tokens: Literal[True]
) -> tuple[Scores, Scores]: ...
def score_titles(
    model: LanguageModel, trie: TitleTrie, prompts: Sequence[Sequence[int]], *, allowed_only: bool = False, tokens: bool = False
) -> Scores | tuple[Scores, Scores]:
    """Scores float32 (N, I + 1), log p of each item's response after each prompt; id 0 gets 1 less than the row's least.
    (float64 from a float64 network.)

    allowed_only: each token's probability among those that some title goes on with, so that the probabilities of all different
    titles sum to 1; else among the whole vocabulary. tokens: also the table (N, I + 1, longest) of every token's log-probability,
    1 behind a title's end and for id 0. Raises UsageError for a prompt that leaves no room for the longest title in the model's
    context, FloatingPointError naming the first prompt after which a logit is not finite.
    """
    edges = title_edges(model, trie, prompts, allowed_only=allowed_only)
    return (sums(trie, edges), token_table(trie, edges)) if tokens else sums(trie, edges)


@torch.no_grad()
def title_edges(model: LanguageModel, trie: TitleTrie, prompts: Sequence[Sequence[int]], *, allowed_only: bool = False) -> Scores:
    """(N, n), the log-probability of each node's token after each prompt and the node's ancestors; 0 for the root.

    allowed_only and what it raises: see `score_titles`.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    model.check_length(lengths + (lengths > 0) * (trie.longest - 1))
    edges = np.empty((len(prompts), len(trie)), dtype=model.precision)
    chunks = trie.chunks(CHUNK, branching=allowed_only)
    for rows in batches(lengths, max(1, TOKENS * model.breadth // CHUNK)):
        edges[rows] = _edges(model, trie, [prompts[row] for row in rows], chunks, allowed_only)
    _check_finite(edges)
    return edges


def sums(trie: TitleTrie, edges: Scores) -> Scores:
    """(N, I + 1) from `title_edges`: each title's score; id 0 gets 1 less than the row's least."""
    scores = trie.sums(edges)[:, trie.leaf]
    return np.concatenate([scores.min(axis=1, keepdims=True) - 1, scores], axis=1)


def token_table(trie: TitleTrie, edges: Scores) -> Scores:
    """(N, I + 1, longest) from `title_edges`: the log-probability of each token of each title, 1 where there is no token."""
    found = np.ones((len(edges), trie.items + 1, trie.longest), dtype=edges.dtype)
    found[:, 1:][:, trie.paths >= 0] = edges[:, trie.paths[trie.paths >= 0]]
    return found


def prior_scores(model: LanguageModel, trie: TitleTrie, prompt: Sequence[int]) -> Scores:
    """(I + 1,), the same for one prompt: log p_0 of the whole catalogue when it is the counterfactual one, x_0."""
    return score_titles(model, trie, [prompt])[0]


def batches(lengths: Tensor, size: int) -> Generator[list[int]]:
    """Rows in groups of `size`, those of like length together."""
    order = lengths.argsort(stable=True)
    for group in order.split(size):
        yield group.tolist()


@dataclass(frozen=True)
class _Choice:
    """Where the children of some scored nodes stand. parent: (E,), place among the nodes; token, child: (E,)."""

    parent: Tensor
    token: Tensor
    child: NDArray[np.int64]


def _choice(trie: TitleTrie, nodes: NDArray[np.int64]) -> _Choice:
    count = trie.children[nodes]
    parent = np.repeat(np.arange(len(nodes)), count)
    child = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count) + trie.first[nodes][parent]
    return _Choice(torch.from_numpy(parent), torch.from_numpy(trie.token[child]), child)


def _edges(
    model: LanguageModel, trie: TitleTrie, prompts: Sequence[Sequence[int]], chunks: Sequence[Chunk], allowed_only: bool
) -> Scores:
    """(B, n), the log-probability of each node's token after its parent; 0 for the root and where nothing else is allowed."""
    reading = Reading(model, prompts)
    found = np.zeros((len(prompts), len(trie)), dtype=model.precision)
    root = _choice(trie, np.array([0]))
    found[:, root.child] = _log_probabilities(model, reading.last[:, None], root, allowed_only)
    for chunk in chunks:
        ids, depth = (torch.from_numpy(each[chunk.nodes]).to(model.device) for each in (trie.token, trie.depth))
        sees = torch.from_numpy(chunk.sees).to(model.device)
        hidden = reading.grow(ids.expand(len(prompts), -1), depth, sees)
        reading.forget()
        choice = _choice(trie, chunk.nodes[chunk.scored])
        found[:, choice.child] = _log_probabilities(model, hidden[:, int(chunk.scored.argmax()) :], choice, allowed_only)
    return found


def _log_probabilities(model: LanguageModel, hidden: Tensor, choice: _Choice, allowed_only: bool) -> Scores:
    """(B, E), log-probabilities of the choices behind nodes of hidden states (B, F, d)."""
    nodes, width = hidden.shape[1:]
    found: list[Tensor] = []
    for rows in hidden.split(max(1, LOGITS * model.breadth // (nodes * model.tokenizer.size))):
        logits = model.head(rows.reshape(-1, width)).view(len(rows), nodes, -1)
        if allowed_only:
            found.append(_normalised(logits[:, choice.parent, choice.token], choice.parent, nodes))
        else:
            found.append(logits.log_softmax(dim=2)[:, choice.parent, choice.token])
    return torch.cat(found).cpu().numpy()


def _normalised(logits: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log-softmax of logits (B, E) within groups; group: (E,)."""
    where = group.to(logits.device).expand_as(logits)
    highest = logits.new_full((len(logits), groups), -torch.inf).scatter_reduce(1, where, logits, "amax")
    shifted = logits - highest.gather(1, where)
    mass = torch.zeros_like(highest).scatter_add(1, where, shifted.exp())
    return shifted - mass.log().gather(1, where)


def _check_finite(edges: Scores) -> None:
    bad = np.flatnonzero(~np.isfinite(edges).all(axis=1))
    if len(bad):
        raise FloatingPointError(
            f"a logit after the prompt of row {bad[0]} is not finite: training diverged, or the weights are damaged"
        )
