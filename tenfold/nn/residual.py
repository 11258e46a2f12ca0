"""The residual connection."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """x + body(x).

    Args:
        body: gives back the shape that it takes.

    Example:
        >>> import torch
        >>> Residual(nn.ReLU())(torch.tensor([-1.0, 2.0]))
        tensor([-1.,  4.])

    References:
        He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016, equation 2.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The sum, of the shape of x."""
        return x + self.body(x)
