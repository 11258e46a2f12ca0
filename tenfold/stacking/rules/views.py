"""`view` of what lies with its channels last: as in PyTorch, where the same tensor lies channels first.

Rules leave the results of convolution and pooling as they are quickest for the layer that follows. After the last one
`x.view(len(x), -1)` then needs a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from tenfold.stacking.rules.at_once import are_members


def _view(self: Tensor, *shape: Any) -> Tensor:
    is_last = self.dim() == 4 and self.size(1) > 1 == self.stride(1) and self.stride(3) != 1 and are_members(self)
    return (self.contiguous() if is_last else self).view(*shape)


VIEWS: dict[Any, Callable[..., Any]] = {Tensor.view: _view}
