"""Activations by name: torch's, with torch's defaults, and Maxout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from tenfold.core.registry import Registry


class Maxout(nn.Module):
    """The largest of each group of `pieces` features side by side, along axis 1.

    It gives one feature for each `pieces` that it takes, so that the layer before it must be wider:
    `activation_inputs` says by how much. Behind a linear layer a unit is the largest of `pieces` linear functions.

    Args:
        pieces: features of a group, at least 1.

    Raises:
        ValueError: pieces is less than 1.

    Example:
        >>> import torch
        >>> Maxout(pieces=2)(torch.tensor([[1.0, 5.0, -3.0, -4.0]]))
        tensor([[ 5., -3.]])

    References:
        Goodfellow, Warde-Farley, Mirza, Courville and Bengio, "Maxout Networks", ICML 2013, section 3.
    """

    def __init__(self, pieces: int = 2) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"Maxout: pieces must be at least 1, got {pieces!r}. The paper has 2 to 5.")
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, pieces * D, ...) to (B, D, ...)."""
        return x.unflatten(1, (-1, self.pieces)).max(dim=2).values

    def extra_repr(self) -> str:
        """The number of pieces."""
        return f"pieces={self.pieces}"


_BY_NAME: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,  # one slope, learned
    "rrelu": nn.RReLU,  # a slope drawn for each element while training
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "softmax": partial(nn.Softmax, dim=1),  # over features or channels
    "maxout": Maxout,
    "identity": nn.Identity,
}
ACTIVATIONS: Registry[Callable[[], nn.Module]] = Registry("activation")
for _name, _make in _BY_NAME.items():
    ACTIVATIONS.add(_name, _make)


def activation(name: str) -> nn.Module:
    """A new module of the named activation.

    Args:
        name: a name in `ACTIVATIONS`.

    Raises:
        InputError: there is no such activation.

    Example:
        >>> activation("gelu")
        GELU(approximate='none')
    """
    return ACTIVATIONS[name]()


def activation_inputs(name: str) -> int:
    """How many features the named activation takes for each one that it gives: 1, and of "maxout" 2.

    Raises:
        InputError: there is no such activation.

    Example:
        >>> activation_inputs("relu"), activation_inputs("maxout")
        (1, 2)
    """
    return getattr(activation(name), "pieces", 1)
