"""`view` of what lies with its channels or samples last: as in PyTorch, where the same tensor lies channels first.

Rules leave the results of convolution and pooling as they are quickest for the layer that follows. After the last one
`x.view(len(x), -1)` then needs a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members


def _view(self: Tensor, *shape: Any) -> Tensor:
    if self.dim() != 4 or self.is_contiguous() or not are_members(self):
        return self.view(*shape)
    if self.size(1) > 1 == self.stride(1) and self.stride(3) != 1:
        return self.contiguous().view(*shape)
    try:
        return self.view(*shape)
    except RuntimeError:
        if not kernels.lies_samples_last(self):
            raise
        return self.contiguous().view(*shape)


VIEWS: dict[Any, Callable[..., Any]] = {Tensor.view: _view}
