"""GRU4Rec: a recurrent network over the ids of the history, with cross-entropy over all items in place of its sampled losses."""

from __future__ import annotations

from ...models.sequential_training import SequenceRunner


class GRU4Rec(SequenceRunner):
    """A gated recurrent unit."""

    name = "gru4rec"
    title = "GRU4Rec"
    network = "gru4rec"
    reference = "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016, arXiv 1511.06939"
