"""Max pooling in compiled steps: PyTorch's own kernel, channels last (`kernels/pooling.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.rules.tracing import is_traced

_NATIVE: Callable[..., Any] = F.max_pool2d


def _max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    is_on_cpu = input.device.type == "cpu" and input.dim() == 4
    if return_indices or not (is_traced() and is_on_cpu and are_members(input)):
        return _NATIVE(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    stride = stride if stride not in (None, [], ()) else kernel_size
    options = [list(_pair(option)) for option in (kernel_size, stride, padding, dilation)]

    def run(x_MBCHW: Tensor) -> Tensor:
        x = x_MBCHW.transpose(0, 1)
        largest = kernels.MaxPool.apply(x.flatten(1, 2), *options, ceil_mode)
        return largest.unflatten(1, x.shape[1:3]).transpose(0, 1)

    return at_once(run, input)


POOLING: dict[Any, Callable[..., Any]] = {_NATIVE: _max_pool2d}
