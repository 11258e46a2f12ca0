"""Functions without a batching rule that are one kernel for one member: each member's in turn, inside the program.

What comes before and after them is still computed for all members at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.stacking.rules.at_once import are_members, at_once


def looped(native: Callable[..., Any]) -> Callable[..., Any]:
    """The rule that runs a function for one member after another and stacks what it returns."""

    def rule(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = pytree.tree_flatten((args, kwargs))
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        tensors = [leaves[place] for place in places]
        if not are_members(*tensors):
            return native(*args, **kwargs)

        def run(*stacked: Tensor) -> Any:
            results = []
            for own in zip(*(tensor.unbind(0) for tensor in stacked), strict=True):
                mine = list(leaves)
                for place, tensor in zip(places, own, strict=True):
                    mine[place] = tensor
                own_args, own_kwargs = pytree.tree_unflatten(mine, tree)
                results.append(native(*own_args, **own_kwargs))
            return pytree.tree_map(lambda *parts: torch.stack(parts), *results)

        return at_once(run, *tensors)

    return rule


_NATIVES: tuple[Any, ...] = (
    F.ctc_loss,
    F.multi_margin_loss,
    F.multilabel_margin_loss,
    F.soft_margin_loss,
    F.triplet_margin_loss,
    F.affine_grid,
    torch.pdist,
    torch._C._nn.fractional_max_pool2d,
    torch._C._nn.fractional_max_pool3d,
)
LOOPED: dict[Any, Callable[..., Any]] = {native: looped(native) for native in _NATIVES}
