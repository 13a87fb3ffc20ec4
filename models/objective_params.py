"""Settings of whatever ascends a platform's objective, through labels or without."""

from __future__ import annotations

from ..core.errors import UsageError
from ..core.params import choice, fixed
from ..core.task import Watched
from .feed_training import FeedParams
from .platform_objectives import Objective, Scale


class ObjectiveParams(FeedParams):
    """The objectives, their scales and their balance, the paper's ablations of these, and what the released code does otherwise."""

    tau: float = choice(
        3.0,
        *(0.0, 1.0, 10.0, 30.0),
        also=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        help="of the balance; 0, w/o B: all weigh 1/3. As released, of sums: 0 to 1, and .5 where nothing is said",
    )
    knee_share: float = choice(0.9, 0.8, 0.95, help="beta, the quantile at the knee of a scale")
    knee_value: float = choice(0.2, 0.5, 0.8, grid=(0.2,), help="beta', the value of a scale at its knee")
    temperature: float = choice(0.3, 0.1, 1.0, also=(0.005, 0.01, 0.03), help="tau_s, of the soft top k")
    temperature_of: str = fixed("sd", options=("sd", "score"), help="tau_s in the batch's sd of scores, or in scores")
    holdout_users: int = fixed(64, minimum=1, help="users whose lists a step looks at")
    holdout_rows: int = fixed(100, minimum=2, help="rows of a user in it; of more, as many are drawn")
    gradient: str = fixed("constant", options=("constant", "literal"), help="w held constant, or differentiated")
    usage: bool = fixed(True, help="M1 counts; False: w/o WO")
    engagement: bool = fixed(True, help="M2 counts; False: w/o EO")
    spread: bool = fixed(True, help="M3 counts; False: w/o DO")
    two_slopes: bool = fixed(True, help="False, w/o S: one slope up to the top")
    released_scale: bool = fixed(False, help="as released: the objective's scales are 0 above the knee")
    released_spread: bool = fixed(False, help="as released: M3 over all candidates, chosen or not")
    released_weights: bool = fixed(False, help="as released: w of sums over users, times 10 until all exceed 1")
    released_sums: bool = fixed(False, help="as released: w of sums over users, else as here")
    released_top_k: bool = fixed(False, help="as released: the sorted Sinkhorn operator")

    def objective(self, k: int) -> Objective:
        """M of lists of k. UsageError where nothing counts, or where a user is left too few rows."""
        kept = (self.usage, self.engagement, self.spread)
        if not any(kept):
            raise UsageError("usage, engagement and spread are all off; leave one on, or nothing is aimed at")
        if self.holdout_rows < 2 * k:
            raise UsageError(f"holdout_rows={self.holdout_rows} for lists of {k}; take at least {2 * k}")
        return Objective(
            k,
            self.temperature,
            relative=self.temperature_of == "sd",
            tau=self.tau,
            kept=kept,
            literal=self.gradient == "literal",
            sinkhorn=self.released_top_k,
            released_spread=self.released_spread,
            released_weights=self.released_weights,
            sums=self.released_sums,
        )

    def scales(self, train: Watched, *, released: bool = False) -> tuple[Scale, Scale]:
        """Of watch time and duration, from train alone."""
        settings = {"two_slopes": self.two_slopes, "released": released}
        watch, duration = (
            Scale.of(each, self.knee_share, self.knee_value, **settings) for each in (train.watch_time, train.duration)
        )
        return watch, duration
