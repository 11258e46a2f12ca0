"""A stack's parameters cut into groups: what decays and what does not, and options by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from tenfold.core.errors import did_you_mean
from tenfold.stacking import Stack

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # batch and instance norms share a private base


def decay_groups(
    stack: Stack,
    weight_decay: float | Tensor | list[float],
    *,
    l1: float | Tensor | list[float] = 0.0,
    groups: Iterable[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Groups in which biases and the parameters of normalisation layers have neither decay nor L1 penalty.

    Spared are parameters of one dimension or none in a member, and all parameters of batch, layer, group, instance
    and RMS norms. Frozen parameters (`requires_grad` is False) are left out.

    Args:
        stack: the stack that is trained.
        weight_decay: of the other parameters, >= 0, a number or one value a member.
        l1: likewise.
        groups: what is cut, such as `groups_by_pattern` gives it; a group's own "weight_decay" and "l1" stand
            before the ones given here. All parameters of the stack by default.

    Returns:
        For each group those that decay and those that do not, in this order; none of them is empty.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2)])
        >>> for group in decay_groups(stack, 0.01):
        ...     print(len(group["params"]), group["weight_decay"])
        1 0.01
        3 0.0
        >>> optimizer = tenfold.optim.AdamW(decay_groups(stack, [0.01, 0.1]), lr=1e-3)

    References:
        He et al.: Bag of tricks for image classification with convolutional neural networks, CVPR 2019, section
        3.1, "No bias decay".
    """
    spared = _norm_names(stack)
    names = {id(parameter): name for name, parameter in stack.named_parameters()}
    cut = []
    for group in groups if groups is not None else [{"params": stack.parameters()}]:
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        decays = [parameter.dim() > 2 and names.get(id(parameter)) not in spared for parameter in trained]
        with_penalties = {"weight_decay": weight_decay, "l1": l1} | dict(group)
        for does, options in ((True, with_penalties), (False, {**group, "weight_decay": 0.0, "l1": 0.0})):
            members = [parameter for parameter, decay in zip(trained, decays, strict=True) if decay is does]
            if members:
                cut.append({**options, "params": members})
    return cut


def _norm_names(stack: Stack) -> set[str]:
    """The names of all parameters of normalisation layers."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in stack.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def groups_by_pattern(stack: Stack, patterns: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups with options of their own by the parameters' names, as fine-tuning wants them.

    Frozen parameters (`requires_grad` is False) are left out.

    Args:
        stack: the stack that is trained.
        patterns: a pattern in the shell's manner (`*`, `?`, `[abc]`) to the options of the parameters whose names in
            one member match; the first pattern that matches a name has it.

    Returns:
        A group for each pattern, in their order; none where all of a pattern's parameters are frozen.

    Raises:
        ValueError: a parameter that no pattern matches, or a pattern that no parameter is left for.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)) for _ in range(2)])
        >>> groups = groups_by_pattern(stack, {"0.*": {"lr": 1e-4}, "*": {"lr": [1e-3, 1e-2]}})
        >>> [len(group["params"]) for group in groups]
        [2, 2]
        >>> optimizer = tenfold.optim.AdamW(groups)

    References:
        Howard, Ruder: Universal language model fine-tuning for text classification, ACL 2018, section 3.2
        (discriminative rates).
    """
    taken: dict[str, list[Tensor]] = {pattern: [] for pattern in patterns}
    names = [name for name, _ in stack.named_parameters()]
    for name, parameter in stack.named_parameters():
        pattern = next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
        if pattern is None:
            raise ValueError(
                f"groups_by_pattern: patterns must match every parameter, got none for {name!r}."
                f"{did_you_mean(name, patterns)} A last pattern '*' takes the rest."
            )
        taken[pattern].append(parameter)
    for pattern, parameters in taken.items():
        if not parameters:
            raise ValueError(_nothing_left(pattern, patterns, names))
    trained = {pattern: [p for p in parameters if p.requires_grad] for pattern, parameters in taken.items()}
    return [{**patterns[pattern], "params": parameters} for pattern, parameters in trained.items() if parameters]


def _nothing_left(pattern: str, patterns: Iterable[str], names: list[str]) -> str:
    matched = next((name for name in names if fnmatchcase(name, pattern)), None)
    if matched is None:
        return f"groups_by_pattern: pattern {pattern!r} matches no parameter.{did_you_mean(pattern, names)}"
    earlier = next(other for other in patterns if fnmatchcase(matched, other))
    return (
        f"groups_by_pattern: pattern {pattern!r} has no parameter left, the first to match {matched!r} is "
        f"{earlier!r}. Put {pattern!r} before it."
    )
