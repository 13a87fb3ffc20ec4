"""Title n-gram: what a language model of titles gives that knows words, and no meaning.

    P(w | v)      = mix n(v w) / n(v) + (1 - mix) P(w | v without its first word)     down to 1 / words for no v; w may be the end
    P(title)      = prod_t P(w_t | the order - 1 words before it)
    P(w | h)      = share c_h(w) / c_h + (1 - share) P(w)       c_h: words of the history's titles, decay^age each
    score(title)  = log P(title) + cache sum_t log(P(w_t | h) / P(w_t))

n counts a title once for itself and once for every row of train that it is the target of, so P(title) is a prior of popularity;
`cache=0` is that prior alone. The sum is a log-linear mix of both models, not normalised over titles. No paper has this row.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from ...core.context import RunContext
from ...core.params import Params, fixed, integer, real
from ...core.runner import Runner
from ...core.task import NextItem, Predictions, View
from .histories import weighted
from .title_words import words

END = ""  # no word is empty
AT_ONCE = 256  # rows whose words are weighed together


class TitleNgramParams(Params):
    """Of the model of titles, and of the history's words."""

    order: int = integer(3, low=1, high=4, minimum=1, help="n: a word is predicted from the n - 1 before it")
    mix: float = real(0.7, low=0.1, high=0.95, minimum=0.0, maximum=0.99, help="weight of the longer context")
    cache: float = real(1.0, low=0.0, high=3.0, minimum=0.0, help="exponent of the history's words")
    share: float = real(0.3, low=0.05, high=0.9, minimum=0.0, maximum=0.99, help="of a word that comes from the history")
    decay: float = real(0.8, low=0.3, high=1.0, minimum=0.0, maximum=1.0, help="per place that a title lies further back")
    prior: str = fixed("targets", options=("targets", "titles"), help="whether n counts targets, or every title once")


class Ngrams:
    """An interpolated model of sentences (lists of words), which come `times` often."""

    def __init__(self, sentences: Sequence[Sequence[str]], times: Sequence[float], order: int, mix: float) -> None:
        self.order, self.mix = order, mix
        self.words = sorted({word for sentence in sentences for word in sentence} | {END})
        self.following: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for sentence, count in zip(sentences, times, strict=True):
            for context, word in self._steps(sentence):
                for start in range(len(context) + 1):
                    self.following[context[start:]][word] += count  # pyright: ignore[reportArgumentType]
        self.total = {context: sum(counts.values()) for context, counts in self.following.items()}

    def _steps(self, sentence: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
        """Each word and the end, behind the words that they are predicted from."""
        closed = [*sentence, END]
        return [(tuple(closed[max(t - self.order + 1, 0) : t]), word) for t, word in enumerate(closed)]

    def probability(self, word: str, context: tuple[str, ...] = ()) -> float:
        """P(word | context) of a word of the vocabulary; a context that never occurred is left for the shorter one."""
        shorter = self.probability(word, context[1:]) if context else 1 / len(self.words)
        if context not in self.total:
            return shorter
        return self.mix * self.following[context][word] / self.total[context] + (1 - self.mix) * shorter

    def log_probability(self, sentence: Sequence[str]) -> float:
        """Of all its words and its end."""
        return float(sum(np.log(self.probability(word, context)) for context, word in self._steps(sentence)))


@dataclass(frozen=True)
class FittedTitleNgram:
    """prior: log P(title), float64 (items + 1,); unigram: P(w), (words,); count: of words in titles, (items + 1, words)."""

    prior: NDArray[np.float64]
    unigram: NDArray[np.float64]
    count: csr_array
    cache: float
    share: float
    decay: float

    def predict(self, view: View) -> Predictions:
        """{score: float32 (rows, items + 1)}, log-probabilities up to a constant of the row."""
        items = len(self.prior) - 1
        score = np.empty((view.rows, items + 1), dtype=np.float32)
        for start in range(0, view.rows, AT_ONCE):
            history = weighted(view.columns["history"][start : start + AT_ONCE], items, self.decay)
            score[start : start + AT_ONCE] = self.prior + self.cache * (self.count @ self.gain(history).T).T
        return {"score": score}

    def gain(self, history: csr_array) -> NDArray[np.float64]:
        """log(P(w | h) / P(w)), (rows, words); 0 where a history has no word."""
        found = (history @ self.count).toarray()
        total = found.sum(1, keepdims=True)
        mixed = self.share * found / np.maximum(total, 1e-300) / self.unigram + 1 - self.share
        return np.where(total > 0, np.log(mixed), 0.0)

    def save(self, folder: Path) -> None:
        """Write `title_ngram.safetensors` and `title_ngram.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        sparse = {"offsets": self.count.indptr, "word": self.count.indices, "times": self.count.data}
        save_file({"prior": self.prior, "unigram": self.unigram, **sparse}, folder / "title_ngram.safetensors")
        numbers = {"cache": self.cache, "share": self.share, "decay": self.decay}
        (folder / "title_ngram.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedTitleNgram:
        """The inverse of `save`."""
        arrays = load_file(folder / "title_ngram.safetensors")
        shape = (len(arrays["prior"]), len(arrays["unigram"]))
        count = csr_array((arrays["times"], arrays["word"], arrays["offsets"]), shape=shape)
        numbers = json.loads((folder / "title_ngram.json").read_text(encoding="utf-8"))
        return cls(arrays["prior"], arrays["unigram"], count, **numbers)


class TitleNgram(Runner):
    """A word n-gram model of titles with a cache of the history's words."""

    name = "title_ngram"
    title = "Title n-gram"
    task = NextItem
    Params = TitleNgramParams
    fitted = FittedTitleNgram
    reference = "control of this house; cache models: Kuhn and De Mori, IEEE TPAMI 12(6), 1990, doi 10.1109/34.56193"

    def fit(self, task: NextItem, params: TitleNgramParams, run: RunContext) -> FittedTitleNgram:
        titles = [words(title) for title in task.titles]
        times = np.ones(task.items + 1)
        if params.prior == "targets":
            times += np.bincount(task.train.target, minlength=task.items + 1)
        model = Ngrams(titles[1:], times[1:].tolist(), params.order, params.mix)
        prior = np.array([model.log_probability(title) for title in titles])
        unigram = np.array([model.probability(word) for word in model.words])
        count = counts(titles, model.words)
        return FittedTitleNgram(prior, unigram, count, params.cache, params.share, params.decay)


def counts(titles: Sequence[Sequence[str]], known: Sequence[str]) -> csr_array:
    """float64 (titles, words): how often each title has each of the `known` words.

    >>> counts([["red", "tea"], ["tea", "tea"]], known=["red", "tea"]).toarray().tolist()
    [[1.0, 1.0], [0.0, 2.0]]
    """
    column = {word: place for place, word in enumerate(known)}
    pairs = Counter((row, column[word]) for row, title in enumerate(titles) for word in title)
    row, place = (np.array([pair[end] for pair in pairs], dtype=np.int64) for end in (0, 1))
    return csr_array((np.array(list(pairs.values()), dtype=np.float64), (row, place)), shape=(len(titles), len(known)))
