"""How two trainings of the same members are compared: exactly in float64, within rounding in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tenfold.testing.trained import Trained

EXACT = 1e-9
_TIMES_A_NUDGE = 10.0
_LOSSES = "the losses"


def compare_exactly(
    contract: str, one: Trained, other: Trained, whom: str, nudged: Callable[[], Sequence[Trained]] | None = None
) -> None:
    """Losses, parameters, buffers and predictions agree to 1e-9, relative where they are larger than 1.

    A parameter, buffer or prediction that training alone does not determine so well (a bias before batch norm: its
    true gradient is zero, and Adam blows the rounding up to the size of the rate) agrees to 10 times what nudged
    inputs make of it. Losses have no such excuse, which also catches draws that are not the member's own.

    Args:
        contract: its name, for the message.
        one: what is checked.
        other: what it is held against, of the same members in the same order.
        whom: the other in words.
        nudged: trains the other on nudged inputs; asked for only where 1e-9 is not met.

    Raises:
        AssertionError: they do not; the sentence names the contract, the tensor and the distance.
    """
    others = _named_parts(other)
    for name, tensor in _named_parts(one).items():
        against = others[name]
        assert tensor.shape == against.shape, (
            f"{contract}: {name} has shape {tuple(tensor.shape)} and {tuple(against.shape)} against {whom}."
        )
        off, allowed = distance(tensor, against), EXACT
        if off > EXACT and nudged is not None and name != _LOSSES:
            noise = max(distance(_named_parts(trained)[name], against) for trained in nudged())
            allowed = max(EXACT, _TIMES_A_NUDGE * noise)
        assert off <= allowed, f"{contract}: {name} is off by {off:.1e} against {whom}, allowed are {allowed:.0e}."


def compare_within_noise(contract: str, one: Trained, alone: Trained, nudged: Sequence[Trained]) -> None:
    """Losses and predictions differ from `alone` by no more than 10 times what nudged inputs make.

    Raises:
        AssertionError: they differ by more.
    """
    seen, reference = _seen(one), _seen(alone)
    moved = [_seen(trained) for trained in nudged]
    for name, tensor in reference.items():
        # what the last place does to this very value, but never less than the last place of the value itself
        rounding = float(torch.finfo(tensor.dtype).eps) * _largest(tensor)
        noise = max(rounding, *(_largest(training[name] - tensor) for training in moved))
        off = _largest(seen[name] - tensor)
        assert off <= _TIMES_A_NUDGE * noise, (
            f"{contract}: {name} is off by {off:.1e}, allowed are {_TIMES_A_NUDGE:.0f} times the "
            f"{noise:.1e} that moving the input by one unit in the last place makes."
        )


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def distance(one: Tensor, two: Tensor) -> float:
    """The largest difference, relative where the values are larger than 1; NaN in one alone counts as infinite."""
    if one.numel() == 0:
        return 0.0
    wide = torch.complex128 if one.is_complex() else torch.float64
    one, two = one.to(wide), two.to(wide)
    off = (one - two).abs() / two.abs().clamp(min=1.0)
    off = torch.where(one.isnan() & two.isnan() | (one == two), 0.0, off)
    return float(off.nan_to_num(nan=torch.inf).max())


def same_bits(one: Tensor, two: Tensor) -> bool:
    """Bit for bit, so that a NaN equals itself."""
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, two)))


def _named_parts(trained: Trained) -> dict[str, Tensor]:
    predictions = {f"prediction {i}": leaf for i, leaf in enumerate(trained.predictions)}
    return {_LOSSES: trained.losses, **dict(trained.tensors), **predictions}


def _seen(trained: Trained) -> dict[str, Tensor]:
    """What users see: losses and float predictions."""
    predictions = {f"prediction {i}": leaf for i, leaf in enumerate(trained.predictions) if leaf.is_floating_point()}
    return {_LOSSES: trained.losses, **predictions}
