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
from functools import lru_cache

import numpy as np

from tenfold.statistics.scores import FloatArray


def _families(t_R: FloatArray) -> dict[str, FloatArray]:
    """For each family its shapes at the epochs, before they are scaled; rates are chosen for so many epochs."""
    last = t_R[-1]
    rate, exponent = _grid(np.geomspace(0.7 / last, 2.0, 10), np.array([0.5, 0.7, 1.5]))
    turn, slope = _grid(np.geomspace(0.7 / last, 2.0, 10), np.array([0.7, 1.0, 2.0]))
    power, shift = _grid(np.geomspace(0.2, 4.0, 6), np.array([1.0, 0.1 * last, 0.3 * last]))
    return {
        "power": t_R ** -np.geomspace(0.05, 3.0, 12)[:, None],
        "shifted power": (t_R + shift) ** -power,
        "exponential": np.exp(-np.geomspace(0.5 / last, 3.0, 16)[:, None] * t_R),
        "Weibull": np.exp(-((rate * t_R) ** exponent)),
        "Morgan-Mercer-Flodin": 1 / (1 + (turn * t_R) ** slope),
        "logarithmic": -np.log(t_R + np.array([[0.0], [1.0], [0.1 * last]])),
        "vapor pressure": 1 / t_R - np.array([[0.03], [0.1], [0.3]]) * np.log(t_R),
        "inverse logarithmic": 1 / np.log(t_R + 1)[None],
    }


def _grid(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """All pairs of two parameters, each as a column."""
    pairs = np.array(list(itertools.product(first, second)))
    return pairs[:, :1], pairs[:, 1:]


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
    families = _families(np.arange(1.0, max_resource + 1))
    raw_GR = np.concatenate(list(families.values()))
    scaled_GR = (raw_GR - raw_GR[:, -1:]) / (raw_GR[:, :1] - raw_GR[:, -1:])
    values_GR = np.concatenate([scaled_GR, np.zeros((1, max_resource))])
    values_GR.setflags(write=False)
    return values_GR, (*(name for name, rows in families.items() for _ in rows), "constant")
