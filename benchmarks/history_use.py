"""How much a row uses the history: what becomes of its rankings and probabilities when the history is taken away or spoilt.

    kl                      mean KL(p_h || p_0) in nats; p_h and p_0 are the softmax over items of the scores with and without the
                            history; it means something where scores are log-probabilities
    drop_VARIANT            NDCG@10 on test less that on test-VARIANT: emptied, shuffled, replaced
    effect_T, size_T        mean of log p_h(y_T | y_<T) - log p_0(y_T | y_<T), and of its size, over the T-th tokens of the titles
                            taken next, T = 1..6; for rows that yield `token`
    effect_fall             effect_1 less effect_3, of titles that have both

In a simulated world, where all is known:

    kl_truth                mean KL(truth || p_h)
    truth_kl                mean KL(truth || pop): the `kl` of a row that knows the truth
    effect_match            correlation over items of log p_h - log p_0 with its true value, the mean over rows with any effect
    word_T, truth_word_T    as effect_T, by the words of titles and for any row, as p_h and p_0 are summed over the items that begin
                            alike; and the truth
    token_truth_T           truth_word_T on the rows of `tokens`: what effect_T is to be held against where each word is one token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.metrics.groups import Floats, Ints, user_group
from ..core.metrics.ranking import divergence, hit_rate, log_probabilities, ndcg, ranks
from ..core.metrics.watch_time import grouped_mean
from ..core.task import Predictions, Sequences, View
from ..datasets.sequences import NextItemTables
from ..datasets.sim_titles import by_word, truth, word_effects
from ..datasets.sim_titles_worlds import TitleWorld
from .benchmark import Measure

VIEW = "history"
GROUPS = 40
K = 10
POSITIONS = 6
THIRD = 2  # the third token
SEED = 1024
BEHIND = 0.5  # no log-probability is above 0, and behind a title's end stands 1


def emptied(rows: Sequences) -> Ints:
    """No history."""
    return np.zeros_like(rows.history)


def shuffled(rows: Sequences) -> Ints:
    """(N, H): each row's own history in another order; where chance leaves it as it is, back to front."""
    history = rows.history
    key = np.random.default_rng([SEED, 1]).random(history.shape) + (history > 0)  # those without item stay in front
    moved = np.take_along_axis(history, np.argsort(key, axis=1), axis=1)
    same = (moved == history).all(axis=1)
    back = np.take_along_axis(history, np.argsort(np.where(history > 0, -np.arange(history.shape[1]), -np.inf), axis=1), axis=1)
    return np.where(same[:, None], back, moved)


def replaced(rows: Sequences) -> Ints:
    """(N, H): for each row the history of one of another user.

    Rows are put in a random order in which a user's stand together, and each gets the history so many places on as the user with
    most rows has rows. Where one user has more than half of the rows, some of these keep a history of their own user's.
    """
    order = np.random.default_rng([SEED, 2]).permutation(len(rows))
    users, of_row = np.unique(rows.user[order], return_inverse=True)
    shuffled_users = np.random.default_rng([SEED, 3]).permutation(len(users))
    order = order[np.argsort(shuffled_users[of_row], kind="stable")]
    found = np.empty_like(rows.history)
    found[order] = rows.history[np.roll(order, -int(np.bincount(of_row).max()))]
    return found


VARIANTS: Mapping[str, Callable[[Sequences], Ints]] = {"emptied": emptied, "shuffled": shuffled, "replaced": replaced}


def averaged(value: Floats, user: NDArray[np.generic]) -> tuple[float, Floats]:
    """The mean over users of each one's mean over rows, and (GROUPS,) the same without each group of users.

    value: (N,), NaN where it is not defined; user: (N,).
    """
    defined = ~np.isnan(value)
    users, of_row, rows = np.unique(user[defined], return_inverse=True, return_counts=True)
    each = np.bincount(of_row, weights=value[defined]) / rows
    return grouped_mean(each, user_group(users, GROUPS), GROUPS)


def measures(
    views: Mapping[str, View], predictions: Mapping[str, Predictions], target: Ints, world: TitleWorld | None
) -> Iterator[Measure]:
    """All of the above. views, predictions: by name; target: int64 (rows of test,); world: None for a recorded dataset."""
    user, score = views["test"].columns["user"], predictions["test"]["score"]
    gain = ndcg(ranks(score, target), K)
    found = {f"drop_{name}": gain - ndcg(ranks(predictions[f"test-{name}"]["score"], target), K) for name in VARIANTS}
    found["kl"] = divergence(score, predictions["test-emptied"]["score"])
    if world is not None:
        known = truth(world, _history(views["test"]))
        found |= _against(world, known, score, predictions["test-emptied"]["score"], target)
    yield from _means(found, user)
    tokens = {name: predictions[name] for name in ("tokens", "tokens-emptied") if "token" in predictions.get(name, {})}
    if len(tokens) == 2:
        rows = len(views["tokens"].columns["user"])
        effect = _by_token(tokens["tokens"]["token"], tokens["tokens-emptied"]["token"], target[:rows])
        found = {**_places("effect", effect), **_places("size", np.abs(effect))}
        if effect.shape[1] > THIRD:
            found["effect_fall"] = effect[:, 0] - effect[:, THIRD]
        if world is not None:
            found |= _places("token_truth", word_effects(world, _history(views["tokens"]), target[:rows]))
        yield from _means(found, user[:rows])


def _history(view: View) -> Ints:
    return np.asarray(view.columns["history"], dtype=np.int64)


def _means(found: Mapping[str, Floats], user: NDArray[np.generic]) -> Iterator[Measure]:
    for name, value in found.items():
        defined = ~np.isnan(value)
        if defined.any():
            rows, users = int(defined.sum()), len(np.unique(user[defined]))
            yield Measure(VIEW, name, *averaged(value, user), users=users, positives=rows, rows=rows)


def _places(name: str, value: Floats) -> dict[str, Floats]:
    return {f"{name}_{place + 1}": value[:, place] for place in range(min(POSITIONS, value.shape[1]))}


def _by_token(with_history: NDArray[np.generic], without: NDArray[np.generic], target: Ints) -> Floats:
    """(N, longest title): the effect on each token of the target's title, NaN behind its end."""
    rows = np.arange(len(target))
    own, empty = (np.asarray(table, dtype=np.float64)[rows, target] for table in (with_history, without))
    return np.where((own > BEHIND) | (empty > BEHIND), np.nan, own - empty)


def _against(
    world: TitleWorld, known: Floats, score: NDArray[np.generic], empty: NDArray[np.generic], target: Ints
) -> dict[str, Floats]:
    """The measures that hold a row's scores against the truth; `known` (N, I + 1) as `sim_titles.truth` gives it."""
    pop = truth(world, np.zeros((1, 1), dtype=np.int64))
    log_h, log_0, effect = log_probabilities(score), log_probabilities(empty), known[:, 1:] - pop[:, 1:]
    words = by_word(world, _table(log_h), target) - by_word(world, _table(log_0), target)
    told = by_word(world, known, target) - by_word(world, pop, target)
    p = np.exp(known[:, 1:])
    return {
        "kl_truth": (p * (known[:, 1:] - log_h)).sum(axis=1),
        "truth_kl": (p * effect).sum(axis=1),
        "effect_match": _correlation(log_h - log_0, effect),
        **_places("word", words),
        **_places("truth_word", told),
    }


def _table(log_p: Floats) -> Floats:
    """With a column for id 0, which is never next."""
    return np.concatenate([np.full((len(log_p), 1), -np.inf), log_p], axis=1)


def _correlation(a: Floats, b: Floats) -> Floats:
    """(N,): of each row of two tables (N, I); 0 where only `a` is constant, NaN where `b` is."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    spread = [np.sqrt((x**2).mean(axis=1)) for x in (a, b)]
    flat = [size < 1e-9 for size in spread]
    scale = np.where(flat[0] | flat[1], 1, spread[0] * spread[1])
    return np.where(flat[1], np.nan, np.where(flat[0], 0, (a * b).mean(axis=1) / scale))


def ceilings(world: TitleWorld, tables: NextItemTables, cuts: Sequence[int]) -> dict[str, float]:
    """What a row that knows the truth reaches on test: truth_hr_K, truth_ndcg_K, and truth_kl, nats that the history tells."""
    known, user = truth(world, tables.test.history), tables.test.user
    found = ranks(known, tables.test.target)
    values = {f"truth_{name}_{k}": metric(found, k) for name, metric in (("hr", hit_rate), ("ndcg", ndcg)) for k in cuts}
    values["truth_kl"] = divergence(known, np.broadcast_to(truth(world, np.zeros((1, 1), dtype=np.int64)), known.shape))
    return {name: averaged(value, user)[0] for name, value in values.items()}
