"""How much of the difference between trials each hyper-parameter explains.

A random forest learns the ranks of the scores from the configurations; the importance of a hyper-parameter is
the loss of held-out R² when its column is shuffled. Ranks, because one diverged trial must not be the whole
story; held out, because a forest explains the trials it has seen even where there is nothing to explain. Scores
are taken after the same number of epochs for all trials, else the number of epochs would pass for an effect.

Known weakness: two hyper-parameters that the sampler moved together share their importance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from tenfold.core.seeds import derive_seed
from tenfold.report.ranking import TrialScore

MIN_TRIALS = 8
NUM_FOLDS = 5
_REPEATS = 8
_NUM_TREES = 30  # of each fold; each takes half of a millisecond to make


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What a forest found.

    Attributes:
        shares: for each hyper-parameter its share of the explained difference; they sum to 1, or are all 0.
        explained: held-out R² of the ranks; near or below 0 when the forest learnt nothing.
        epoch: the epoch after which the trials were compared.
        num_trials: number of trials compared.
    """

    shares: dict[str, float]
    explained: float
    epoch: int
    num_trials: int


def common_epoch(scores: Sequence[TrialScore]) -> int | None:
    """The last epoch that nine of ten trials with a score have reached, or None when there is none."""
    reached = [max(score.course) for score in scores if score.course]
    return int(np.quantile(reached, 0.1, method="lower")) if reached else None


def rate_importance(scores: Sequence[TrialScore], names: Sequence[str]) -> Importance | None:
    """The importance of hyper-parameters for the score after an equal number of epochs.

    Args:
        scores: the trials.
        names: the hyper-parameters to rate.

    Returns:
        The importance, or None for fewer than 8 trials with a score at the common epoch, no hyper-parameter
        that varies, or scores that are all equal.
    """
    epoch = common_epoch(scores)
    at_epoch = [(s, s.course[epoch]) for s in scores if epoch in s.course] if epoch is not None else []
    at_epoch = [(score, value) for score, value in at_epoch if np.isfinite(value)]
    if epoch is None or len(at_epoch) < MIN_TRIALS or not names:
        return None
    ranks = pd.Series([value for _, value in at_epoch]).rank().to_numpy()
    features = np.column_stack([_column([score.trial.config.get(n) for score, _ in at_epoch]) for n in names])
    if np.ptp(ranks) == 0 or not np.ptp(features, axis=0).any():
        return None
    drops, explained = _held_out(features, ranks)
    drops = np.maximum(drops, 0)
    shares = drops / drops.sum() if drops.sum() > 0 else drops
    return Importance(
        shares={name: float(share) for name, share in zip(names, shares, strict=True)},
        explained=explained,
        epoch=epoch,
        num_trials=len(at_epoch),
    )


def _column(values: Sequence[Any]) -> np.ndarray:
    """One number a trial: ranks of numbers (a forest sees but the order), codes of words; -1 where not set."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if numbers and all(v is None or v in numbers for v in values):
        return np.array([-1.0 if v is None else np.searchsorted(np.unique(numbers), v) for v in values])
    words = sorted({str(value) for value in values if value is not None})
    return np.array([-1.0 if value is None else float(words.index(str(value))) for value in values])


def _drops(forest: RandomForestRegressor, features: np.ndarray, ranks: np.ndarray, seed: int) -> tuple[Any, float]:
    """Loss of R² when a column is shuffled, the mean over repeats, shape (D,), and R² itself.

    As `sklearn.inspection.permutation_importance`, with one prediction for all repeats: a forest takes 10 ms to be
    asked at all, which were half of a second of every report.
    """
    numbers, spread = np.random.default_rng(seed), np.square(ranks - ranks.mean()).sum()

    def r2(predicted: np.ndarray) -> np.ndarray:
        return 1 - np.square(predicted - ranks).sum(-1) / spread

    shuffled = np.tile(features, (features.shape[1], _REPEATS, 1, 1))  # (D, R, N, D)
    for column in range(features.shape[1]):
        for repeat in range(_REPEATS):
            shuffled[column, repeat, :, column] = numbers.permutation(features[:, column])
    rows = np.concatenate([features, shuffled.reshape(-1, features.shape[1])])
    whole, others = np.split(forest.predict(rows), [len(features)])
    score = float(r2(whole))
    return score - r2(others.reshape(*shuffled.shape[:3])).mean(axis=1), score


def _held_out(features: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean loss of held-out R² a column, shape (D,), and the mean held-out R² itself."""
    seed = derive_seed(0, "sample") % 2**31
    drops, explained = [], []
    for train, test in KFold(NUM_FOLDS, shuffle=True, random_state=seed).split(features):
        if len(test) < 2 or np.ptp(ranks[test]) == 0:
            continue
        forest = RandomForestRegressor(_NUM_TREES, random_state=seed).fit(features[train], ranks[train])
        drop, score = _drops(forest, features[test], ranks[test], seed)
        drops.append(drop)
        explained.append(score)
    if not drops:
        return np.zeros(features.shape[1]), float("nan")
    return np.mean(drops, axis=0), float(np.mean(explained))
