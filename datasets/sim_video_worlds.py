"""The declared worlds of the short-video simulator: what each one fixes, before any method runs in it.

A result from the simulator is read over this grid (where a claim holds, where it reverses, where nothing can be told), never from
one world alone. The factors:

| factor                          | levels                       | field            |
| ------------------------------- | ---------------------------- | ---------------- |
| duration bias of watch time     | on, off                      | `duration_bias`  |
| taste and duration              | negative, none, positive     | `duration_taste` |
| noise of watching               | low, high                    | `predictable`, `skips`, `idle` |
| effect of diversity on return   | none, small, large           | `diversity`      |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..core.errors import UsageError

ENGAGEMENTS = ("like", "follow", "comment", "forward", "profile_enter")


@dataclass(frozen=True)
class VideoWorld:
    """The world's parameters; the defaults are the world `sim-video`.

    users, items, categories, days, seed: sizes, and what all randomness is derived from. A user visits on 28 % of the days and
    sees `depth` videos then: 2,000 users make about 40,000 impressions.
    durations: (share, median in seconds, standard deviation of the log) of each part of a log-normal mixture.
    willingness: (share of impressions, seconds): quantiles of how long somebody would watch a video that never ends.
    duration_bias: on, watching ends with the video (apart from repeats) and willingness grows with duration to the power
    `slope`; off, the watch time does not depend on the duration at all, given the match, and short videos repeat.
    duration_taste: correlation of an item's quality with its log duration, [-1, 1].
    predictable: share of willingness's variance (on the normal scale) that user and item determine; the rest is the moment's mood.
    skips, idle: shares of impressions swiped away by accident, and left running with nobody watching.
    like .. profile_enter: shares of impressions with that feedback under the logging policy.
    popularity: sigma of the log-normal weights by which items are logged; uniform, by_taste: shares of impressions logged uniformly
    at random and by the user's taste for categories; the rest is logged by popularity alone.
    activity, activity_spread: mean and standard deviation over users of the log odds of a visit on a day.
    depth: mean impressions of a visit.
    satisfied: what a fully satisfying day adds to the log odds of coming back the next day, against a day without any satisfaction.
    diversity: what a day of all different categories adds to these log odds, against a day of a single one.
    """

    users: int = 2_000
    items: int = 800
    categories: int = 20
    days: int = 14
    seed: int = 1024
    durations: tuple[tuple[float, float, float], ...] = ((0.28, 17.9, 0.51), (0.33, 185.0, 0.50), (0.39, 76.6, 0.44))
    willingness: tuple[tuple[float, float], ...] = (
        (0.001, 0.1),
        (0.01, 0.3),
        (0.05, 1.0),
        (0.10, 1.25),
        (0.25, 2.2),
        (0.50, 7.0),
        (0.60, 12.0),
        (0.70, 26.0),
        (0.80, 58.0),
        (0.90, 125.0),
        (0.95, 230.0),
        (0.99, 420.0),
        (0.999, 900.0),
    )
    duration_bias: bool = True
    slope: float = 0.35
    duration_taste: float = 0.0
    predictable: float = 0.5
    skips: float = 0.02
    idle: float = 0.005
    like: float = 0.06
    follow: float = 0.025
    comment: float = 0.02
    forward: float = 0.02
    profile_enter: float = 0.05
    popularity: float = 1.2
    uniform: float = 0.1
    by_taste: float = 0.5
    activity: float = -1.2
    activity_spread: float = 1.2
    depth: float = 4.9
    satisfied: float = 2.0
    diversity: float = 0.75

    def __post_init__(self) -> None:
        if self.users < 1 or self.days < 1 or not 2 <= self.categories <= self.items:
            sizes = f"{self.users} users, {self.items} items, {self.categories} categories, {self.days} days"
            raise UsageError(
                f"no video world has {sizes}; give at least one user and day, and 2 categories or more, all with items"
            )
        shares = ("predictable", "skips", "idle", "uniform", "by_taste", *ENGAGEMENTS)
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        if wrong or self.uniform + self.by_taste > 1 or self.skips + self.idle > 1 or abs(self.duration_taste) > 1:
            at = wrong[0] if wrong else "uniform + by_taste, skips + idle or duration_taste"
            raise UsageError(f"a video world's shares lie in 0..1, its correlation in -1..1; {at} does not, change it")
        if not 0 < sum(share for share, _, _ in self.durations) <= 1.0001 or self.depth < 1:
            raise UsageError("a video world's duration shares must sum to 1 and its depth be 1 or more; change them")

    def scaled(self, factor: float) -> VideoWorld:
        """The same world with `factor` times the users, hence impressions, and sqrt(factor) times the items."""
        items = max(self.categories, round(self.items * factor**0.5))
        return replace(self, users=max(1, round(self.users * factor)), items=items)


_TASTE = 0.7
DEFAULT = VideoWorld()
# KuaiRand-Pure, standard log of 25 April to 8 May 2022, tab 1 without repeated rows and unknown durations: 170,339 impressions of
# 23,502 users and 5,392 of 7,344 videos. `durations` are a Gaussian mixture of the videos' log durations and `willingness` the
# watch-time quantiles of videos of 90 to 190 s, both as in the default world; feedback shares, impressions per visit (1.76), days
# with a visit (4.1 of 14) and return rate (.436) are the log's. `slope`, `popularity`, `predictable` and `activity` were chosen by
# matching the quantiles of watch time by duration, of impressions per video and user, and the spread of users' and videos' rates.
KUAIRAND = VideoWorld(
    users=25_500,
    items=7_344,
    slope=0.15,
    predictable=0.4,
    idle=0.001,
    like=0.0190,
    follow=0.0014,
    comment=0.0029,
    forward=0.0010,
    profile_enter=0.0211,
    popularity=1.6,
    uniform=0.02,
    activity=-1.35,
    activity_spread=1.25,
    depth=1.76,
)

WORLDS: Mapping[str, VideoWorld] = MappingProxyType(
    {
        "sim-video": DEFAULT,
        "sim-video-neg": replace(DEFAULT, duration_taste=-_TASTE),
        "sim-video-pos": replace(DEFAULT, duration_taste=_TASTE),
        "sim-video-nobias": replace(DEFAULT, duration_bias=False),
        "sim-video-nobias-neg": replace(DEFAULT, duration_bias=False, duration_taste=-_TASTE),
        "sim-video-nobias-pos": replace(DEFAULT, duration_bias=False, duration_taste=_TASTE),
        "sim-video-noisy": replace(DEFAULT, predictable=0.2, skips=0.08, idle=0.03),
        "sim-video-nodiversity": replace(DEFAULT, diversity=0.0),
        "sim-video-diversity": replace(DEFAULT, diversity=3.0),
        "sim-video-kuairand": KUAIRAND,
        "sim-video-long": replace(DEFAULT, users=600, depth=20.0),
        "sim-video-small": replace(DEFAULT, users=400, items=200, like=0.12, follow=0.08, forward=0.08),
    }
)

# The grid over which a simulated claim is judged, beside the default: fixed before any method ran.
OTHER_WORLDS = tuple(
    f"sim-video-{name}" for name in ("neg", "pos", "nobias", "nobias-neg", "nobias-pos", "noisy", "nodiversity", "diversity")
)

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "sim-video": "Simulated short videos",
        "sim-video-neg": "Simulated short videos, short ones liked better",
        "sim-video-pos": "Simulated short videos, long ones liked better",
        "sim-video-nobias": "Simulated short videos without duration bias",
        "sim-video-nobias-neg": "Simulated short videos without duration bias, short ones liked better",
        "sim-video-nobias-pos": "Simulated short videos without duration bias, long ones liked better",
        "sim-video-noisy": "Simulated short videos, watched noisily",
        "sim-video-nodiversity": "Simulated short videos, diversity without effect on return",
        "sim-video-diversity": "Simulated short videos, diversity with a large effect on return",
        "sim-video-kuairand": "Simulated short videos with the marginals of KuaiRand",
        "sim-video-long": "Simulated short videos, many in a visit",
        "sim-video-small": "Simulated short videos, few of them, for trying things out",
    }
)
