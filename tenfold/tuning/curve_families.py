"""The shapes that learning curves take: families of functions of the epoch, on a grid of their shape parameters.

Every curve here is y(t) = end + drop * shape(t), with shape(1) = 1 and shape(R) = 0: `end` is the score at the full
resource R, which is what one wants to know, and it is linear. So is `drop`, the score of the first epoch minus that
of the last. What is not linear (an exponent, a rate) stands on a grid, and all shapes are compared at once
(`curve_model.py`), where Domhan et al. sample eleven families by Markov chains.

G shapes, n epochs

References:
    Domhan, Springenberg and Hutter, "Speeding Up Automatic Hyperparameter Optimization of Deep Neural Networks by
        Extrapolation of Learning Curves", IJCAI 2015, Table 1.
    Viering and Loog, "The shape of learning curves: a review", IEEE TPAMI 45, 2023.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Shape = Callable[[FloatArray], FloatArray]


def _families(last: int) -> Mapping[str, list[Shape]]:
    """For each family its shapes, before they are scaled; rates are chosen for curves of so many epochs."""
    rates = np.geomspace(0.7 / last, 2.0, 10)
    return {
        "power": [lambda t, a=a: t**-a for a in np.geomspace(0.05, 3.0, 12)],
        "shifted power": [
            lambda t, a=a, b=b: (t + b) ** -a
            for a, b in itertools.product(np.geomspace(0.2, 4.0, 6), (1.0, 0.1 * last, 0.3 * last))
        ],
        "exponential": [lambda t, k=k: np.exp(-k * t) for k in np.geomspace(0.5 / last, 3.0, 16)],
        "Weibull": [
            lambda t, k=k, d=d: np.exp(-((k * t) ** d)) for k, d in itertools.product(rates, (0.5, 0.7, 1.5))
        ],
        "Morgan-Mercer-Flodin": [
            lambda t, k=k, d=d: 1 / (1 + (k * t) ** d) for k, d in itertools.product(rates, (0.7, 1.0, 2.0))
        ],
        "logarithmic": [lambda t, b=b: -np.log(t + b) for b in (0.0, 1.0, 0.1 * last)],
        "vapor pressure": [lambda t, c=c: 1 / t - c * np.log(t) for c in (0.03, 0.1, 0.3)],
        "inverse logarithmic": [lambda t: 1 / np.log(t + 1)],
    }


@lru_cache(maxsize=16)
def shapes(max_resource: int) -> tuple[FloatArray, tuple[str, ...]]:
    """All shapes at every epoch.

    The last one is the constant curve, shape(t) = 0: a trial that learns nothing, or nothing any more.

    Args:
        max_resource: R, at least 2.

    Returns:
        The shapes, shape (G, R), read-only, column t - 1 for epoch t; and the family of each, G names.

    Example:
        >>> values, families = shapes(30)
        >>> values.shape == (len(families), 30), values[:-1, 0].min().item(), values[:, -1].max().item()
        (True, 1.0, 0.0)
    """
    epochs = np.arange(1.0, max_resource + 1)
    rows, names = [], []
    for name, family in _families(max_resource).items():
        for shape in family:
            values = shape(epochs)
            rows.append((values - values[-1]) / (values[0] - values[-1]))
            names.append(name)
    values_GR = np.stack([*rows, np.zeros(max_resource)])
    values_GR.setflags(write=False)
    return values_GR, (*names, "constant")
