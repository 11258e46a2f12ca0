"""Recorded operators as a Python function: one line a call, and what is no longer needed is let go of at once.

`torch.fx` writes such functions too, for graphs and modules of any kind; that takes as long as recording a small
network does (5 ms), and writing the lines alone 1 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

_PLAIN = (bool, int, str, type(None))


def as_python(
    inputs: Sequence[fx.Node], calls: Sequence[fx.Node], outputs: Sequence[fx.Node | None], views: frozenset[Any]
) -> Callable[..., list[Any]]:
    """The function of these inputs that makes the calls in their order and returns a list of the outputs.

    Args:
        inputs: nodes whose values are the arguments.
        calls: nodes that call something.
        outputs: what comes back, None where there is nothing.
        views: the operators that are methods of tensors and no functions.

    Example:
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> y = graph.call_function(torch.ops.aten.add.Tensor, (x, 1))
        >>> as_python([x], [y], [y, None], frozenset())(torch.ones(2))
        [tensor([2., 2.]), None]
    """
    names = {node: f"v{place}" for place, node in enumerate((*inputs, *calls))}
    held: dict[str, Any] = {}

    def word(value: Any) -> str:
        """A value as it stands in the source; what has no word of its own stands in `held`."""
        if isinstance(value, fx.Node):
            return names[value]
        if isinstance(value, list):
            return f"[{', '.join(map(word, value))}]"
        if isinstance(value, tuple):
            return f"({''.join(f'{word(part)}, ' for part in value)})"
        if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
            return repr(value)
        held[name := f"c{len(held)}"] = value
        return name

    last = {node: call for call in calls for node in call.all_input_nodes}
    kept = {node for node in outputs if node is not None}
    lines = [f"def run({', '.join(names[node] for node in inputs)}):"]
    for call in calls:
        arguments = [*map(word, call.args), *(f"{name}={word(value)}" for name, value in call.kwargs.items())]
        held[function := f"f{len(held)}"] = _quick(call, views)
        over = [names[node] for node in call.all_input_nodes if last[node] is call and node not in kept]
        gone = "".join(f"; {name} = None" for name in over)
        lines.append(f"    {names[call]} = {function}({', '.join(arguments)}){gone}")
    lines.append(f"    return {word(list(outputs))}")
    exec("\n".join(lines), held)
    run: Callable[..., list[Any]] = held["run"]
    return run


def _quick(node: fx.Node, views: frozenset[Any]) -> Any:
    """PyTorch's own function in the place of an operator: a microsecond less a call."""
    target: Any = node.target
    name = getattr(target, "_overloadpacket", target).__name__
    if node.kwargs or getattr(target, "namespace", "") != "aten":
        return target
    if target in views:
        return getattr(Tensor, name, target)
    return getattr(torch, name, target)
