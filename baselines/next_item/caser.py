"""Caser: convolutions over the ids of the history, with cross-entropy over all items, and without the paper's user vector."""

from __future__ import annotations

from ...core.params import fixed
from ...models.sequential_training import SequenceParams, SequenceRunner


class CaserParams(SequenceParams):
    """How many filters."""

    horizontal: int = fixed(16, minimum=1, help="filters of each of the heights 2, 3 and 4")
    vertical: int = fixed(8, minimum=1, help="filters over the whole history")


class Caser(SequenceRunner):
    """Convolutions."""

    name = "caser"
    title = "Caser"
    Params = CaserParams
    network = "caser"
    sizes = ("horizontal", "vertical")
    reference = (
        "Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018, "
        "doi 10.1145/3159652.3159656"
    )
