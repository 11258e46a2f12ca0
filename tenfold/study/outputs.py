"""What networks say, by the kind of their targets: as probabilities or values, as answers, and as metrics take it.

N samples, K classes, L labels, Q quantiles
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tenfold.data import TargetEncoder
from tenfold.tasks import counts_of_maps

TINY = torch.finfo(torch.float64).tiny
EPSILON = torch.finfo(torch.float64).eps


def read_outputs(encoder: TargetEncoder, raw: Tensor) -> Tensor:
    """What a network says as probabilities, shape (N, K) or (N, L), or standardised values, shape (N,) or (N, Q).

    Of a segmentation's counts of pixels, shape (N, 3, K), what they are.

    Args:
        encoder: of the targets.
        raw: the network's outputs, or what its task predicts of them, shape (N, ...).
    """
    if encoder.codes is not None:
        return raw
    if encoder.classes is not None:
        return raw.softmax(dim=1)
    if encoder.labels is not None:
        return raw.sigmoid()
    return raw.sort(dim=1).values if encoder.quantiles else raw.reshape(len(raw))


def answers_of(encoder: TargetEncoder, outputs: np.ndarray) -> np.ndarray:
    """The likeliest class, the labels more probable than not, the middle quantile or the value, shape (N,).

    Of maps of places of classes, shape (N, H, W), masks as they are written.

    Example:
        >>> encoder = TargetEncoder(task="multilabel", labels=("rain", "sun", "wind"))
        >>> answers_of(encoder, np.array([[0.9, 0.2, 0.6], [0.1, 0.5, 0.2]])).tolist()
        ['rain;wind', '']
    """
    if encoder.codes is not None:
        return encoder.decode(outputs)
    if encoder.classes is not None:
        return encoder.decode(outputs.argmax(axis=1))
    return encoder.decode(outputs > 0.5 if encoder.labels is not None else middle(encoder, outputs))


def middle(encoder: TargetEncoder, outputs: np.ndarray) -> np.ndarray:
    """Of quantiles the middle one, shape (N,); other values as they are."""
    return outputs[:, len(encoder.quantiles) // 2] if encoder.quantiles else outputs


def confidence_of(encoder: TargetEncoder, outputs: np.ndarray) -> np.ndarray | None:
    """How probable the answers are, shape (N,), labels taken as independent; None for values."""
    if encoder.classes is not None:
        return outputs.max(axis=1)
    return np.maximum(outputs, 1 - outputs).prod(axis=1) if encoder.labels is not None else None


def for_metrics(encoder: TargetEncoder, outputs: Tensor, targets: Tensor | None = None) -> Tensor:
    """Probabilities as the log-probabilities or log-odds that metrics take; values as they are.

    Of maps of places of classes, shape (N, H, W), and encoded masks, the counts of pixels, shape (N, 3, K).
    """
    if encoder.codes is not None:
        assert targets is not None
        return counts_of_maps(outputs, targets.to(outputs.device), encoder.num_outputs)
    if encoder.classes is not None:
        return outputs.clamp(min=TINY).log()
    return outputs.logit(eps=EPSILON) if encoder.labels is not None else outputs


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities after dividing their logits by a temperature, shape (N, K).

    Example:
        >>> tempered(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
        [[0.75, 0.25]]
    """
    return (torch.from_numpy(probabilities).clamp(min=TINY).log() / temperature).softmax(dim=1).numpy()
