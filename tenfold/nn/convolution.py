"""Convolution in its three modes, full, same and valid, as `scipy.signal` and NumPy name them.

B batch, C channels in, K channels out
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from tenfold.core.errors import did_you_mean

CONVOLUTION_MODES = ("full", "same", "valid")
_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def convolve(x: Tensor, weight: Tensor, *, mode: str = "valid", flip: bool = True) -> Tensor:
    """Convolves with zeros around: every overlap ("full"), as many as there are inputs ("same"), or whole ones alone.

    A convolution turns the kernel round; what torch's layers and everybody's networks call one is the
    cross-correlation, which does not (`flip=False`, as `scipy.signal.correlate2d`).

    Args:
        x: float, shape (B, C, n), (B, C, n, n) or (B, C, n, n, n).
        weight: float, shape (K, C, k, ...), with as many axes.
        mode: outputs a side: "full" n + k - 1, "same" n (the middle of the full), "valid" n - k + 1.
        flip: whether the kernel is turned round.

    Returns:
        Shape (B, K, ...).

    Raises:
        ValueError: there is no such mode, the axes do not agree, or the kernel is larger than the input of "valid".

    Example:
        >>> import torch
        >>> x, kernel = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[0.0, 1.0, 0.5]]])
        >>> [convolve(x, kernel, mode=mode).flatten().tolist() for mode in ("full", "same", "valid")]
        [[0.0, 1.0, 2.5, 4.0, 1.5], [1.0, 2.5, 4.0], [2.5]]

    References:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section 2.
    """
    if mode not in CONVOLUTION_MODES:
        fix = did_you_mean(str(mode), CONVOLUTION_MODES)
        raise ValueError(f"convolve: mode must be one of {CONVOLUTION_MODES}, got {mode!r}.{fix}")
    sizes = weight.shape[2:]
    if x.dim() != weight.dim() or len(sizes) not in _CONVOLVE:
        raise ValueError(
            f"convolve: x and weight must have the same 3 to 5 axes, got shapes {tuple(x.shape)} and "
            f"{tuple(weight.shape)}. Give (B, C, ...) and (K, C, ...)."
        )
    if mode == "valid" and any(size > given for size, given in zip(sizes, x.shape[2:], strict=True)):
        raise ValueError(
            f"convolve: a kernel of {tuple(sizes)} must fit into an input of {tuple(x.shape[2:])} for mode 'valid'. "
            "Use 'same' or 'full'."
        )
    kernel = weight.flip(*range(2, weight.dim())) if flip else weight
    return _CONVOLVE[len(sizes)](
        F.pad(x, [width for size in reversed(sizes) for width in _padding(mode, size)]), kernel
    )


def _padding(mode: str, size: int) -> tuple[int, int]:
    """Zeros before and behind; "same" is the middle of "full", the earlier one where there are two."""
    return {"full": (size - 1, size - 1), "same": (size // 2, (size - 1) // 2), "valid": (0, 0)}[mode]
