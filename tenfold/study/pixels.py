"""Prepared pictures as a screen shows them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_pixels(images: Tensor) -> np.ndarray:
    """Normalised pictures stretched to 0..255, all channels set alike over the whole batch; uint8.

    Example:
        >>> as_pixels(torch.tensor([[[[-1.0, 0.0, 1.0]]]])).tolist()
        [[[[0, 128, 255]]]]
    """
    images = images.detach().float().cpu()
    low, high = images.amin(), images.amax()
    return ((images - low) / (high - low).clamp(min=1e-6) * 255).round().to(torch.uint8).numpy()
