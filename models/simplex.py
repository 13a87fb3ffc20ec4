"""Small convex programs over the weights w >= 0, sum w = 1 of T points: the point of their hull that is nearest to 0."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from .gram import Matrix


def nearest_to_origin(points: Matrix) -> Matrix:
    """w (T,) = argmin of ||P w||^2 over the simplex, for the columns of P (d, T); exact, by an active set.

    min over v >= 0 of ||P v||^2 + (sum v - 1)^2 has v = w / (1 + ||P w||^2): along any direction w its value is
    ||P w||^2 / (1 + ||P w||^2), so both problems have the same best direction. Lawson and Hanson, chapter 23.
    """
    sizes = np.linalg.norm(points, axis=0)
    if not sizes.all():
        return np.eye(len(sizes))[int(sizes.argmin())]
    v, _ = nnls(np.vstack([points / sizes.min(), np.ones(len(sizes))]), np.append(np.zeros(len(points)), 1.0))
    return v / v.sum()
