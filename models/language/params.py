"""What a tuned row declares: the published settings of CFT's release, shared by BIGRec and whatever is tuned as it is."""

from __future__ import annotations

from ...core.params import Params, fixed, real
from .title_loss import Form


class TuningParams(Params):
    """AdamW in a line down to 0 after a warm-up; the epoch with the least validation loss is kept.

    The prompts, the adapter and how many rows there are to learn belong to the model that is tuned (`LanguageParams`).
    """

    lr: float = real(1e-4, low=3e-5, high=3e-3, log=True, minimum=0.0, help="AdamW's, at its highest")
    batch_size: int = fixed(64, minimum=1, help="rows of a step")
    micro_batch: int = fixed(0, minimum=0, help="rows of a pass; 0: all of a step's")
    denominator: str = fixed(
        "batch",
        options=("batch", "micro_batch"),
        help="micro_batch, as released: each pass is a mean of its own, so short titles weigh more",
    )
    warmup: int = fixed(20, minimum=0, help="steps until lr is reached")
    weight_decay: float = fixed(0.0, minimum=0.0)
    epochs: float = fixed(3.0, minimum=0.0, help="passes over the rows, at most; a part of one counts")
    valid_rows: int = fixed(2000, minimum=1, help="validation rows that the epoch is chosen by, at most")
    patience: int = fixed(1, minimum=0, help="epochs without a lower validation loss before it stops")


class PositionParams(TuningParams):
    """Weights that fall towards a title's end."""

    beta: float = real(
        0.25,
        low=0.09,
        high=1.0,
        minimum=0.0,
        maximum=1.0,
        grid=(0.09, 0.16, 0.29, 0.38, 0.5, 0.66, 0.9, 0.96),
        help="weight of the end token",
    )
    weights: Form = fixed("linear_from_1", options=("linear_from_1", "released_first"), help="how they fall")
