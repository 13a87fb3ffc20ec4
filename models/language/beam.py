"""Beam search that can only say titles of the catalogue, all beams of a prompt side by side, without Python per beam."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import UsageError
from .model import LanguageModel
from .reading import Reading
from .scoring import batches
from .trie import TitleTrie

TOKENS = 320  # of a forward on a CPU

# (row (M,), node (M,), log p (M,) of that node's token after its parent) -> what the step adds to a beam's score, (M,)
StepScore = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def trie_beam(
    model: LanguageModel,
    trie: TitleTrie,
    prompts: Sequence[Sequence[int]],
    beams: int = 10,
    length_penalty: float = 0.0,
    step_score: StepScore | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best titles found after each prompt, best first: items and scores, both (N, beams), 0 and -inf where there are no more.

    A score is the sum of its steps over tokens ** length_penalty, the end counted as a token; a step is log p over the whole
    vocabulary, or what `step_score` makes of it (D3's takes a second model's opinion of the items below each node). Without it a
    search ends when no beam can overtake the worst of `beams` titles found. With as many beams as titles the order is that of
    `score_titles`; with fewer it need not be. Of items with equal tokens the lowest id is returned.

    Raises UsageError for a prompt without room for the longest title, FloatingPointError naming the row of a score that is NaN.
    """
    if beams < 1 or length_penalty < 0:
        raise UsageError(f"{beams} beams with length penalty {length_penalty} make no search; take 1 or more, and 0 or more")
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    model.check_length(lengths + (lengths > 0) * (trie.longest - 1))
    items = np.zeros((len(prompts), beams), dtype=np.int64)
    scores = np.full((len(prompts), beams), -np.inf, dtype=np.float32)
    for rows in batches(lengths, max(1, TOKENS * model.breadth // beams)):
        search = _Search(model, trie, [prompts[row] for row in rows], rows, beams, length_penalty, step_score)
        items[rows], scores[rows] = (each.cpu().numpy() for each in search.run())
    return items, scores


class _Search:
    """B prompts, K beams each. node, score: (B, K), -inf for no beam; path: bool (B, K, G), the tokens read that are its own."""

    def __init__(
        self,
        model: LanguageModel,
        trie: TitleTrie,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[int],
        beams: int,
        length_penalty: float,
        step_score: StepScore | None,
    ) -> None:
        self.model, self.longest, self.beams, self.length_penalty, self.step_score = (
            model, trie.longest, beams, length_penalty, step_score
        )  # fmt: skip
        device = model.device
        self.token, self.first, self.children, self.item = (
            torch.from_numpy(each).to(device) for each in (trie.token, trie.first, trie.children, trie.item)
        )
        self.rows = torch.tensor(rows, device=device)
        self.reading = Reading(model, prompts)
        count = len(rows)
        self.node = torch.zeros(count, 1, dtype=torch.int64, device=device)
        self.score = self.reading.last.new_zeros(count, 1)
        self.path = torch.zeros(count, 1, 0, dtype=torch.bool, device=device)
        self.found = torch.zeros(count, beams, dtype=torch.int64, device=device)
        self.found_score = self.score.new_full((count, beams), -torch.inf)

    def run(self) -> tuple[Tensor, Tensor]:
        hidden = self.reading.last[:, None]
        for depth in range(1, self.longest + 1):
            beam, node, score = self._candidates(hidden)
            self._finish(node, score, depth)
            self._continue(beam, node, score)
            if not self.score.isfinite().any():
                break
            hidden = self._read(depth)
        return self.item[self.found], self.found_score

    def _candidates(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The 2 K best children of all beams, best first: (B, 2 K) beam, node, score; of fewer, the rest has score -inf.

        A beam has one child at most that ends it, so K that go on are among them.
        """
        batch, beams = self.node.shape
        log_p = self.model.head(hidden.reshape(batch * beams, -1)).log_softmax(dim=1)
        count = torch.where(self.score.isfinite(), self.children[self.node], 0)
        flat = count.flatten()
        beam = torch.arange(batch * beams, device=flat.device).repeat_interleave(flat)
        node = self.first[self.node.flatten()[beam]] + torch.arange(len(beam), device=flat.device) - (flat.cumsum(0) - flat)[beam]
        row = beam // beams
        step = log_p[beam, self.token[node]]
        if self.step_score is not None:
            step = self.step_score(self.rows[row], node, step)
        score = self.score.flatten()[beam] + step
        bad = score.isnan().nonzero().flatten()
        if len(bad):
            raise FloatingPointError(f"a score after the prompt of row {int(self.rows[row[bad[0]]])} is NaN: training diverged")
        held = count.sum(dim=1)
        place = torch.arange(len(beam), device=flat.device) - (held.cumsum(0) - held)[row]
        table = score.new_full((batch, max(int(held.max()), 2 * self.beams)), -torch.inf)
        table[row, place] = score
        index = torch.zeros_like(table, dtype=torch.int64)
        index[row, place] = torch.arange(len(beam), device=flat.device)
        best, where = table.topk(2 * self.beams, dim=1)
        chosen = index.gather(1, where)
        return beam[chosen] % beams, node[chosen], best

    def _finish(self, node: Tensor, score: Tensor, depth: int) -> None:
        """Keep the titles that end among the K best candidates."""
        node, score = node[:, : self.beams], score[:, : self.beams]
        ended = torch.where(self.children[node] == 0, score / depth**self.length_penalty, -torch.inf)
        self.found_score, where = torch.cat([self.found_score, ended], dim=1).topk(self.beams, dim=1)
        node = torch.where(ended.isfinite(), node, 0)  # the root, which is no item
        self.found = torch.cat([self.found, node], dim=1).gather(1, where)

    def _continue(self, beam: Tensor, node: Tensor, score: Tensor) -> None:
        """The K best that go on, of the prompts where one can still overtake the worst title found."""
        open_ = score.masked_fill(self.children[node] == 0, -torch.inf)
        self.score, where = open_.topk(self.beams, dim=1)
        if self.step_score is None:  # a step of another score may rise
            hope = self.score[:, :1] / self.longest**self.length_penalty
            self.score = self.score.masked_fill(hope <= self.found_score[:, -1:], -torch.inf)
        beam, self.node = beam.gather(1, where), node.gather(1, where)
        self.path = self.path.gather(1, beam[:, :, None].expand(-1, -1, self.path.shape[2]))

    def _read(self, depth: int) -> Tensor:
        """Hidden states (B, K, d) of the beams' last tokens, each seeing its own path."""
        batch, beams = self.node.shape
        own = torch.eye(beams, dtype=torch.bool, device=self.path.device).expand(batch, -1, -1)
        self.path = torch.cat([self.path, own], dim=2)
        return self.reading.grow(self.token[self.node], torch.full((beams,), depth, device=self.path.device), self.path)
