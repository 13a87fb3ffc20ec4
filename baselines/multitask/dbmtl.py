"""DB-MTL: log losses, and gradients of equal norm (Lin et al., Dual-Balancing for Multi-Task Learning, arXiv 2308.12029).

    g = sum_k (max_j m_j / m_k) grad log l_k,    m_k = ||grad log l_k|| = n_k / l_k

The paper sums: divided by T here. It takes the gradients' running means, which no Gram matrix of one batch can give: the forgetting
rate is 0 here. As released with GradCraft: neither logarithm nor running mean, g = max_j n_j sum_k g_k / n_k, a sum.
"""

from __future__ import annotations

from torch import Tensor

from ...core.context import RunContext
from ...core.params import fixed
from ...models.balanced import BalancedRunner, MultiTaskParams
from ...models.gradients import Balancer
from ...models.gram import inverse, matrix, norms, tensor


def dbmtl_weights(gram: Tensor, losses: Tensor | None = None) -> Tensor:
    """w (T,) from K and the losses (T,); without losses no logarithm is taken. A task without a gradient gets 0.

    >>> import torch
    >>> dbmtl_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    n = norms(matrix(gram))
    m = n if losses is None else n / losses.detach().cpu().double().clamp(min=1e-8).numpy()
    return tensor(m.max(initial=0.0) * inverse(n) / len(n), gram)


class DBMTLParams(MultiTaskParams):
    """With or without the logarithm."""

    variant: str = fixed("original", options=("original", "as_released"), help="gradients of log losses, or of losses, summed")


class DBMTL(BalancedRunner):
    """Dual balancing."""

    name = "dbmtl"
    title = "DBMTL"
    Params = DBMTLParams
    reference = "Lin et al., Dual-Balancing for Multi-Task Learning, arXiv 2308.12029"

    def balancer(self, tasks: int, params: DBMTLParams, run: RunContext) -> Balancer:
        if params.variant == "as_released":
            return Balancer.from_gram(lambda gram: tasks * dbmtl_weights(gram))

        def weights(losses: Tensor, gram: Tensor | None) -> Tensor:
            assert gram is not None
            return dbmtl_weights(gram, losses)

        return Balancer(weights)
