"""Metrics of how a classifier ranks the samples: area under the ROC curve, average precision.

Every metric is `(log_probabilities_MNK, targets, weights_MN=None) -> value_M`, as in `classification_metrics.py`.
They sort each member's scores once a class, which makes them the dearest metrics.

M members (or resamples, see `weighting.py`), N samples, K classes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tenfold.tasks.weighting import all_ones, nan_for_nan

ScoreOfRanking = Callable[[Tensor, Tensor, Tensor], Tensor]


@nan_for_nan()
def roc_auc(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The probability that a sample of a class scores higher than one of another class; equals count half.

    Two classes: of the second class against the first, by the log-odds; NaN when one is absent from the targets.
    More: the unweighted mean over the classes of each against the rest; a class that is absent, or that is all
    there is, is left out, and NaN when none remains.

    Example:
        >>> roc_auc(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]]).log(), torch.tensor([0, 1, 0])).item()
        1.0

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
            curve", Radiology 143, 1982.
        Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006, section 7 and 9.
    """
    return _one_vs_rest(_area, log_probabilities_MNK, targets_MN, weights_MN)


@nan_for_nan()
def average_precision(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The mean of the precisions at which each sample of a class is found; equal scores are found together.

    Two classes: of the second class, by the log-odds; NaN when it is absent from the targets, where scikit-learn
    says 0 with a warning. More: the unweighted mean over the classes of each against the rest, absent ones left out.

    Example:
        >>> probabilities = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]])
        >>> average_precision(probabilities.log(), torch.tensor([0, 0, 1])).item()
        0.5

    References:
        Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    return _one_vs_rest(precision_of_ranking, log_probabilities_MNK, targets_MN, weights_MN)


def _one_vs_rest(
    score: ScoreOfRanking, log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None
) -> Tensor:
    weights_MN = all_ones(log_probabilities_MNK[..., 0]) if weights_MN is None else weights_MN.double()
    if log_probabilities_MNK.shape[-1] == 2:
        log_odds_MN = log_probabilities_MNK[..., 1] - log_probabilities_MNK[..., 0]
        return score(log_odds_MN, targets_MN == 1, weights_MN)
    scores = [
        score(log_probabilities_MNK[..., k], targets_MN == k, weights_MN)
        for k in range(log_probabilities_MNK.shape[-1])
    ]
    return torch.stack(scores).nanmean(dim=0)


def _area(scores_MN: Tensor, positive_MN: Tensor, weights_MN: Tensor) -> Tensor:
    """The area under the ROC curve of each row, shape (M,); NaN without positives or without negatives."""
    if len(scores_MN) == len(positive_MN) == 1:
        duels = _duels(scores_MN[0], positive_MN[0], weights_MN)
        beaten_RP = (duels.below + duels.not_above) / 2
        return (duels.hits * beaten_RP).sum(dim=-1) / (duels.hits.sum(dim=-1) * duels.negatives)
    ranking = _rank(scores_MN, positive_MN, weights_MN)
    negatives_MN = ranking.weights - ranking.positives
    below_MN = _sums_before(negatives_MN)
    beaten_MP = (_take(below_MN, ranking.first) + _take(below_MN, ranking.end)) / 2
    pairs_M = ranking.positives.sum(dim=-1) * negatives_MN.sum(dim=-1)
    return (ranking.hits * beaten_MP).sum(dim=-1) / pairs_M


def precision_of_ranking(scores_MN: Tensor, positive_MN: Tensor, weights_MN: Tensor) -> Tensor:
    """The average precision of each row, shape (M,); NaN without positives.

    Args:
        scores_MN: float, shape (M, N), or (1, N) beside several rows of weights.
        positive_MN: bool, shape (M, N) or (1, N).
        weights_MN: float64, shape (M, N) or (1, N).

    Example:
        >>> precision_of_ranking(torch.tensor([[0.1, 0.2]]), torch.tensor([[True, False]]), torch.ones(1, 2)).item()
        0.5
    """
    if len(scores_MN) == len(positive_MN) == 1:
        duels = _duels(scores_MN[0], positive_MN[0], weights_MN)
        found_RP = duels.hits.sum(dim=-1, keepdim=True) - _take(_sums_before(duels.hits), duels.first[None])
        shown_RP = found_RP + duels.negatives[:, None] - duels.below
        precision_RP = torch.where(duels.hits > 0, found_RP / shown_RP, 0.0)
        return (duels.hits * precision_RP).sum(dim=-1) / duels.hits.sum(dim=-1)
    ranking = _rank(-scores_MN, positive_MN, weights_MN)
    found_MP = _take(_sums_before(ranking.positives), ranking.end)
    shown_MP = _take(_sums_before(ranking.weights), ranking.end)
    precision_MP = torch.where(ranking.hits > 0, found_MP / shown_MP, 0.0)
    return (ranking.hits * precision_MP).sum(dim=-1) / ranking.positives.sum(dim=-1)


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Samples in the order of rising scores, and the P places where positives may be.

    Attributes:
        weights: of the samples, shape (M, N).
        positives: the same, 0 for negatives.
        hits: weights of positives at the places, shape (M, P).
        first: where the equals of each place begin, shape (M, P).
        end: where the next group begins.
    """

    weights: Tensor
    positives: Tensor
    hits: Tensor
    first: Tensor
    end: Tensor


def _rank(scores_MN: Tensor, positive_MN: Tensor, weights_MN: Tensor) -> _Ranking:
    sorted_MN, order_MN = scores_MN.sort(dim=-1)
    first_MN, end_MN = _tie_bounds(sorted_MN)
    positive_MN = _take(positive_MN, order_MN)
    weights_MN = _take(weights_MN, order_MN)
    positives_MN = weights_MN * positive_MN
    return _Ranking(weights=weights_MN, positives=positives_MN, hits=positives_MN, first=first_MN, end=end_MN)


@dataclass(frozen=True, kw_only=True)
class _Duels:
    """One row of scores beside R rows of weights: its P positives in rising order, against the negatives.

    Attributes:
        hits: weights of the positives, shape (R, P).
        below: weights of the negatives that score less than each, shape (R, P).
        not_above: of those that score no more, shape (R, P).
        negatives: of all negatives, shape (R,).
        first: where the equals of each positive begin among the positives, shape (P,).
    """

    hits: Tensor
    below: Tensor
    not_above: Tensor
    negatives: Tensor
    first: Tensor


def _duels(scores_N: Tensor, positive_N: Tensor, weights_RN: Tensor) -> _Duels:
    """Of a thousand resamples only the negatives are summed up, and all else is done at the few positives."""
    order_N = scores_N.argsort()
    is_hit_N = positive_N[order_N]
    at_P, others_Q = order_N[is_hit_N], order_N[~is_hit_N]
    scores_P, scores_Q = scores_N[at_P], scores_N[others_Q]
    lost_RQ = _sums_before(weights_RN.index_select(1, others_Q))
    return _Duels(
        hits=weights_RN.index_select(1, at_P),
        below=lost_RQ.index_select(1, torch.searchsorted(scores_Q, scores_P)),
        not_above=lost_RQ.index_select(1, torch.searchsorted(scores_Q, scores_P, right=True)),
        negatives=lost_RQ[:, -1],
        first=torch.searchsorted(scores_P, scores_P),
    )


def _take(values_MN: Tensor, index_MP: Tensor) -> Tensor:
    """The values at these places of each row; one row of either stands beside several of the other."""
    if len(index_MP) == 1:
        return values_MN.index_select(1, index_MP[0])
    return values_MN.expand(len(index_MP), -1).gather(1, index_MP)


def _sums_before(weights_MN: Tensor) -> Tensor:
    """Sums of the weights before each place, and of all, shape (M, N + 1)."""
    sums = weights_MN.new_zeros(len(weights_MN), weights_MN.shape[1] + 1)
    torch.cumsum(weights_MN, dim=-1, out=sums[:, 1:])
    return sums


def _tie_bounds(sorted_MN: Tensor) -> tuple[Tensor, Tensor]:
    """For each place of sorted rows where its group of equal values begins, and where the next group does."""
    rows, n = sorted_MN.shape
    place_MN = torch.arange(n, device=sorted_MN.device).expand(rows, n)
    is_new_MN = torch.ones(rows, n, dtype=torch.bool, device=sorted_MN.device)
    is_new_MN[:, 1:] = sorted_MN[:, 1:] != sorted_MN[:, :-1]
    first_MN = torch.where(is_new_MN, place_MN, 0).cummax(dim=-1).values
    is_last_MN = torch.ones_like(is_new_MN)
    is_last_MN[:, :-1] = is_new_MN[:, 1:]
    end_MN = torch.where(is_last_MN, place_MN + 1, n).flip(-1).cummin(dim=-1).values.flip(-1)
    return first_MN, end_MN
