"""What is wrong with a network's training, in sentences: each with its number, its likely cause, and what to try.

The thresholds lie between what was measured in healthy networks (multilayer perceptrons, LeNet, ResNets, VGG with
batch norm, MobileNet, DenseNet, vision transformers, an LSTM, over several seeds) and in planted illnesses; see
`docs/inspect.md`.

References:
    Glorot and Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural Networks", AISTATS 2010,
    sections 3 and 4: saturation, and gradients from layer to layer.
    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2: the factor of a layer under ReLU;
    "Deep Residual Learning", CVPR 2016, section 4: plain networks that degrade.
    Yang et al., "A Mean Field Theory of Batch Normalization", ICLR 2019: plain networks with batch norm multiply the
    gradient by at least 1.2 a layer.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.core.wording import plural
from tenfold.diagnosis.watching import Health, WatchedActivation, WatchedLayer, middle

VANISHED = 1e-4
EXPLODED = 100.0
GROWING = 1.13  # a layer; residual networks with batch norm show up to 1.1, plain ones 1.17 and more
GROWN_SIGNAL = 1e3
DEAD_SHARE = 0.4  # more than are always active: where samples look alike, half of the units are off for all of them
FLAT_SHARE = 0.5
LARGE_UPDATE = 0.1
SMALL_UPDATE = 1e-6  # float32 resolves 6e-8
_FEWEST_LAYERS = 4  # below, there is no depth for a trend


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is likely to hold training back.

    Attributes:
        kind: "vanishing", "exploding", "dead", "saturated", "frozen", "unreached", "large updates", "small updates"
            or "not finite".
        layers: the names of those concerned.
        value: the number that stands in the sentence.
        says: what was seen, with its number.
        cause: what it is likely due to.
        remedy: what to try.
    """

    kind: str
    layers: tuple[str, ...]
    value: float
    says: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.says} Likely cause: {self.cause}. Try: {self.remedy}."

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; a number that is not finite is null."""
        return {**vars(self), "layers": list(self.layers), "value": self.value if math.isfinite(self.value) else None}


def find(health: Health) -> tuple[Finding, ...]:
    """What is wrong, the gravest first; nothing where all is well.

    Args:
        health: of a few training steps.

    Example:
        >>> from tenfold.diagnosis.watching import WatchedActivation
        >>> import torch
        >>> dead = WatchedActivation(name="1", kind="relu", is_active=torch.tensor([False, False, False, True]))
        >>> print(find(Health(activations=[dead], num_samples=64))[0].says)
        1: 3 of 4 ReLU units were active for none of 64 samples.
    """
    looks = (_not_finite, _trend, _dead, _saturated, _untrained, _updates)
    return tuple(finding for look in looks for finding in look(health))


def _not_finite(health: Health) -> Iterator[Finding]:
    if not health.losses or math.isfinite(health.losses[-1]):
        return
    step = len(health.losses)
    where = f"; the first output that is not is that of {health.first_bad}" if health.first_bad else ""
    yield Finding(
        kind="not finite",
        layers=(health.first_bad,) if health.first_bad else (),
        value=health.losses[-1],
        says=f"The loss of step {step} is not a finite number{where}.",
        cause="inputs or weights that are not finite or far too large"
        if step == 1
        else f"a rate that is too high ({health.optimizer}), or a division or logarithm of zero",
        remedy="standardised inputs and a smaller initialisation"
        if step == 1
        else "a tenth of the learning rate, clipping the gradient's norm at 1",
    )


def _trend(health: Health) -> Iterator[Finding]:
    """Gradients and signals from layer to layer: by the straight line through their logarithms."""
    layers = [layer for layer in health.layers if layer.gradients and layer.signals]
    is_cut = any(place.num_units and place.num_dead == place.num_units for place in health.activations)
    if len(layers) < _FEWEST_LAYERS or is_cut:  # a layer that is wholly dead is said to be, and lets nothing through
        return
    names = (layers[0].name, layers[-1].name)
    back = _growth([_known(layer.gradients) for layer in reversed(layers)])
    forth = _growth([_known(layer.signals) for layer in layers])
    depth = len(layers) - 1
    if back < VANISHED:
        yield Finding(
            kind="vanishing",
            layers=names,
            value=back,
            says=_gradient_sentence("vanish", back, depth),
            cause=_why_vanishing(health.activations),
            remedy="ReLU or GELU, Kaiming's initialisation, normalisation after each layer, residual connections",
        )
    elif (back > EXPLODED and back ** (1 / depth) > GROWING) or forth > GROWN_SIGNAL:
        grown = f" Activations grow by a factor of {forth:.2g} from the first to the last." if forth > 10 else ""
        yield Finding(
            kind="exploding",
            layers=names,
            value=max(back, forth),
            says=_gradient_sentence("explode", back, depth) + grown,
            cause="many layers in a row with batch normalisation and without a way around them, each of which "
            "multiplies the gradient: plain networks degrade as they get deeper"
            if health.has_norm
            else "initial weights too large for the number of inputs of each unit",
            remedy="residual connections, fewer layers, a warm-up of the rate, clipping the gradient's norm"
            if health.has_norm
            else "Xavier's or Kaiming's initialisation, normalisation, clipping the gradient's norm",
        )


def _gradient_sentence(verb: str, factor: float, depth: int) -> str:
    each = factor ** (1 / depth)
    return (
        f"Gradients {verb}: by a factor of {factor:.2g} from the last to the first of {depth + 1} layers, "
        f"{each:.2g} each."
    )


def _known(values: Sequence[float]) -> float:
    return max(middle(values) or 0.0, 1e-38)  # zeros of float32 count as its smallest


def _growth(values: Sequence[float]) -> float:
    """By what factor values change from the first to the last, by the straight line through their logarithms.

    Example:
        >>> round(_growth([1.0, 2.0, 4.0, 8.0]), 6)
        8.0
    """
    logs = [math.log(value) for value in values]
    slope, _ = statistics.linear_regression(range(len(logs)), logs)
    return math.exp(slope * (len(logs) - 1))


def _why_vanishing(activations: Iterable[WatchedActivation]) -> str:
    kinds = {place.kind for place in activations if not place.is_output}
    if "sigmoid" in kinds:
        return "sigmoids, whose slope is at most 1/4, in many layers in a row"
    if "tanh" in kinds:
        return "tanh in many layers in a row, with weights that are too small or that saturate it"
    return "weights too small for the depth: PyTorch's default initialisation shrinks ReLU layers by about 0.4 each"


def _dead(health: Health) -> Iterator[Finding]:
    relus = [place for place in health.activations if place.kind == "relu"]
    places = [p for p in relus if p.num_dead - p.num_always_active >= DEAD_SHARE * p.num_units > 0]
    if not places:
        return
    where = _enumerated([place.name or "forward" for place in places])
    units, dead = sum(place.num_units for place in places), sum(place.num_dead for place in places)
    yield Finding(
        kind="dead",
        layers=tuple(place.name for place in places),
        value=dead / units,
        says=f"{where}: {dead} of {units} ReLU units were active for none of {health.num_samples} samples.",
        cause="biases or weights that push inputs below zero, by initialisation or by a step that was too large",
        remedy="biases that start at zero, a smaller learning rate, normalisation before it, leaky ReLU",
    )


def _saturated(health: Health) -> Iterator[Finding]:
    shares = [(place, middle(place.flat_shares) or 0.0) for place in health.activations if not place.is_output]
    flat = [(place, share) for place, share in shares if share > FLAT_SHARE]
    if not flat:
        return
    where = _enumerated([place.name or "forward" for place, _ in flat])
    worst = max(share for _, share in flat)
    kinds = " and ".join(sorted({place.kind for place, _ in flat}))
    yield Finding(
        kind="saturated",
        layers=tuple(place.name for place, _ in flat),
        value=worst,
        says=f"{where}: up to {worst:.0%} of the values of {kinds} lie where it is flat.",
        cause="weights or inputs that are too large",
        remedy="standardised inputs, Xavier's initialisation, normalisation before it",
    )


def _untrained(health: Health) -> Iterator[Finding]:
    """Layers that do not learn; where gradients vanish that has been said."""
    if not health.can_learn:
        yield Finding(
            kind="frozen",
            layers=_names(health.layers),
            value=len(health.layers),
            says="Nothing can be trained: the network has no parameter that may learn.",
            cause="it has none, or requires_grad is off for all",
            remedy="requires_grad_(True), unless this is meant",
        )
        return
    frozen = [layer for layer in health.layers if layer.is_frozen]
    if frozen:
        yield Finding(
            kind="frozen",
            layers=_names(frozen),
            value=len(frozen),
            says=f"{_counted(frozen)} of {len(health.layers)} cannot learn: {_shown(frozen)}.",
            cause="requires_grad is off",
            remedy="requires_grad_(True), unless this is meant",
        )
    trained = [layer for layer in health.layers if not layer.is_frozen and layer.weight_gradients]
    lost = [layer for layer in trained if not layer.is_reached]
    vanished = any(finding.kind == "vanishing" for finding in _trend(health))
    if lost and not vanished:
        yield Finding(
            kind="unreached",
            layers=_names(lost),
            value=len(lost),
            says=f"No gradient arrives at {_counted(lost)} of {len(health.layers)}: {_shown(lost)}.",
            cause="its output is not used, is detached on the way, or meets units that are all dead"
            if len(lost) == 1
            else "their outputs are not used, are detached on the way, or meet units that are all dead",
            remedy="looking for detach(), no_grad() and .data in forward, and for layers that are never called",
        )


def _updates(health: Health) -> Iterator[Finding]:
    reached = [layer for layer in health.layers if layer.is_reached]
    ratios = [ratio for layer in reached if (ratio := middle(layer.updates)) is not None]
    if not ratios:
        return
    typical = statistics.median(ratios)
    if typical > LARGE_UPDATE or typical < SMALL_UPDATE:
        large = typical > LARGE_UPDATE
        yield Finding(
            kind="large updates" if large else "small updates",
            layers=(),
            value=typical,
            says=f"A step changes weights by {typical:.2g} of their size, where about 1e-3 is usual.",
            cause=f"a rate that is too {'high' if large else 'low'} ({health.optimizer})",
            remedy="a tenth of the learning rate, a warm-up" if large else "ten times the learning rate",
        )


def _names(layers: Sequence[WatchedLayer]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers)


def _counted(layers: Sequence[WatchedLayer]) -> str:
    return plural(len(layers), "layer")


def _shown(layers: Sequence[WatchedLayer]) -> str:
    return _enumerated([layer.name or "the network itself" for layer in layers])


def _enumerated(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
