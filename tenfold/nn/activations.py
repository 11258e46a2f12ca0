"""Activations by name, with torch's defaults."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tenfold.core.registry import Registry

ACTIVATIONS: Registry[Callable[[], nn.Module]] = Registry("activation")
for _name, _make in {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}.items():
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
