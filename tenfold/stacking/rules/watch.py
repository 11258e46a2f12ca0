"""What runs and is rarely meant, seen while a function is called for the first time.

Softmax before cross-entropy, sigmoid before squared error, dropout that stays on in `eval()`: the rules see every
torch function with its arguments, and so can tell where a loss gets what has been squashed already. Only results
that are passed on as they are, or viewed otherwise, are followed; arithmetic on them is taken to be meant.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _functorch

_FOLLOWED: dict[Any, str] = {
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), "softmax"),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, Tensor.log_softmax), "log_softmax"),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, Tensor.sigmoid), "sigmoid"),
}
_PASSING = frozenset(
    {
        *(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.transpose, torch.permute),
        *(Tensor.flatten, Tensor.reshape, Tensor.view, Tensor.squeeze, Tensor.unsqueeze, Tensor.transpose),
        *(Tensor.permute, Tensor.contiguous, Tensor.float, Tensor.double, Tensor.to, Tensor.__getitem__),
    }
)
_LOSSES: dict[Any, dict[str, str]] = {
    F.cross_entropy: dict.fromkeys(
        ("softmax", "log_softmax", "sigmoid"), "takes logits and applies log_softmax itself. Give it the logits."
    ),
    F.binary_cross_entropy_with_logits: dict.fromkeys(
        ("softmax", "sigmoid"), "takes logits and applies the sigmoid itself. Give it the logits."
    ),
    F.mse_loss: dict.fromkeys(
        ("softmax", "sigmoid"),
        "its gradient vanishes where they are wrong and sure. For targets of 0 and 1 cross_entropy or "
        "binary_cross_entropy_with_logits on the logits often learns sooner.",
    ),
}
_DROPOUT = frozenset(
    {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout}
)
_TORCH, _OWN = Path(torch.__file__).parent, Path(__file__).parent.parent


class ModelWarning(UserWarning):
    """Something in a model or a loss runs, and is rarely meant."""


class Watch:
    """Looks at the torch functions of one call.

    Args:
        training: whether the model is in training mode.
    """

    def __init__(self, training: bool) -> None:
        self._training = training
        self._followed: list[tuple[Tensor, str]] = []
        self._found: dict[tuple[str, str, int], FrameType] = {}

    def look(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Looks at one function that has just run."""
        if function in _FOLLOWED:
            self._followed.append((result, _FOLLOWED[function]))
        elif function in _PASSING:
            squashed = self._squashed(args[0])
            if squashed is not None:
                self._followed.append((result, squashed))
        elif function in _LOSSES:
            given = args[0] if args else kwargs["input"]
            target = args[1] if len(args) > 1 else kwargs["target"]
            self._look_at_loss(function, given, target)
        elif function in _DROPOUT and not self._training:
            self._look_at_dropout(function, args, kwargs)

    def _squashed(self, tensor: Any) -> str | None:
        return next((what for seen, what in self._followed if seen is tensor), None)

    def _look_at_loss(self, loss: Any, given: Any, target: Any) -> None:
        squashed = self._squashed(given)
        if squashed is None or squashed not in _LOSSES[loss]:
            return
        if loss is F.mse_loss and not _are_labels(target):
            return
        joint = "and" if loss is F.mse_loss else "but it"
        self._find(f"{loss.__name__} is given the output of {squashed}, {joint} {_LOSSES[loss][squashed]}")

    def _look_at_dropout(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        default = function not in (F.alpha_dropout, F.feature_alpha_dropout)
        training = kwargs.get("training", args[2] if len(args) > 2 else default)
        if training and not _called_by_a_layer():
            self._find(
                f"{function.__name__} stays on although the model is in evaluation mode. "
                "Pass training=self.training, or use the layer of nn."
            )

    def _find(self, message: str) -> None:
        frame = _users_frame()
        self._found.setdefault((message, frame.f_code.co_filename, frame.f_lineno), frame)

    def warn(self) -> None:
        """Says what was found, at the user's own lines; Python shows each line's warning once."""
        for (message, filename, line), frame in self._found.items():
            registry = frame.f_globals.setdefault("__warningregistry__", {})
            warnings.warn_explicit(message, ModelWarning, filename, line, registry=registry)


def _are_labels(target: Tensor) -> bool:
    """Whether a target is of zeros and ones, and no picture: an autoencoder squashes its pixels with good reason."""
    if target.dim() > 2:
        return False
    values = target.detach()
    while _functorch.is_batchedtensor(values):
        values = _functorch.get_unwrapped(values)
    return bool(((values == 0) | (values == 1)).all())


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _users_frame() -> FrameType:
    frames = list(_frames())
    return next((frame for frame in frames if not _is_in(frame, _TORCH) and not _is_in(frame, _OWN)), frames[-1])


def _called_by_a_layer() -> bool:
    """Whether a module of `torch.nn` decided: a Dropout that is left in training mode on purpose (MC dropout)."""
    for frame in _frames():
        if _is_in(frame, _TORCH / "nn" / "modules"):
            return True
        if not _is_in(frame, _TORCH) and not _is_in(frame, _OWN):
            return False
    return False


def _is_in(frame: FrameType, folder: Path) -> bool:
    return Path(frame.f_code.co_filename).is_relative_to(folder)


_current: ContextVar[Watch | None] = ContextVar("watch", default=None)


def current_watch() -> Watch | None:
    """The watch of the call that is running, if it is watched."""
    return _current.get()


@contextmanager
def watched(training: bool) -> Iterator[None]:
    """Watches the torch functions of a block, and warns when it has ended well."""
    watch = Watch(training)
    token = _current.set(watch)
    try:
        yield
    finally:
        _current.reset(token)
    watch.warn()
