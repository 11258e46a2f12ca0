"""Initialisers by name, and their use on the blocks of a model by name pattern.

They draw from torch's global stream, so that a network which is built and initialised under a member's `init` stream
starts at the member's own weights.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tenfold.core.errors import did_you_mean
from tenfold.core.registry import Registry

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Initializer:
    """Fills a tensor in place.

    Attributes:
        fill: `fill(tensor)`.
        min_dims: axes that the tensor must have at least: 2 where the filling depends on how many inputs a unit has.
    """

    fill: Callable[..., Any]
    min_dims: int = 1

    def __call__(self, tensor: Tensor) -> None:
        """Fills the tensor, outside of any gradient."""
        with torch.no_grad():
            self.fill(tensor)


def uniform_by_inputs_(tensor: Tensor) -> Tensor:
    """Uniform within 1 / sqrt(d), d the inputs of a unit: what torch's linear layers and convolutions begin with.

    Args:
        tensor: shape (out, in, ...), d = in * ..., filled in place.

    Example:
        >>> bool((uniform_by_inputs_(torch.empty(50, 4)).abs() <= 0.5).all())
        True

    References:
        LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.6 (a variance of 1/d there, 1/(3d) here).
    """
    bound = 1 / math.sqrt(tensor[0].numel())
    return nn.init.uniform_(tensor, -bound, bound)


def truncated_normal_(tensor: Tensor, std: float = 0.02) -> Tensor:
    """Normal of this standard deviation, cut at two of them (and not at 2, as by `nn.init`), filled in place.

    Example:
        >>> bool((truncated_normal_(torch.empty(500), std=0.1).abs() <= 0.2).all())
        True
    """
    return nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def normal_(tensor: Tensor, std: float = 0.01, mean: float = 0.0) -> Tensor:
    """Normal, small by default, filled in place."""
    return nn.init.normal_(tensor, mean, std)


INITIALIZERS: Registry[Initializer] = Registry("initialiser")
for _name, _initializer in {
    "uniform": Initializer(uniform_by_inputs_, min_dims=2),
    "normal": Initializer(normal_),
    "truncated_normal": Initializer(truncated_normal_),
    "xavier_uniform": Initializer(nn.init.xavier_uniform_, min_dims=2),
    "xavier_normal": Initializer(nn.init.xavier_normal_, min_dims=2),
    "kaiming_uniform": Initializer(nn.init.kaiming_uniform_, min_dims=2),
    "kaiming_normal": Initializer(nn.init.kaiming_normal_, min_dims=2),
    "orthogonal": Initializer(nn.init.orthogonal_, min_dims=2),
    "constant": Initializer(partial(nn.init.constant_, val=0.0)),
}.items():
    INITIALIZERS.add(_name, _initializer)


def initializer(name: str, **options: Any) -> Initializer:
    """One of `INITIALIZERS` with its options: those of `torch.nn.init`, such as `gain`, `mode`, `std` or `val`.

    The Kaiming ones are for ReLU unless `nonlinearity` says otherwise; "normal" has a standard deviation of 0.01,
    "truncated_normal" one of 0.02, "constant" a `val` of 0.

    Raises:
        InputError: there is no such initialiser.
        ValueError: it has no such option.

    Example:
        >>> weight = torch.empty(3)
        >>> initializer("constant", val=0.5)(weight)
        >>> weight
        tensor([0.5000, 0.5000, 0.5000])
    """
    found = INITIALIZERS[name]
    known = [option for option in inspect.signature(found.fill).parameters if option not in ("tensor", "generator")]
    for option in options:
        if option not in known:
            fix = did_you_mean(option, known) or " It has none."
            raise ValueError(f"initializer: {option!r} is not an option of {name!r}.{fix}")
    return Initializer(partial(found.fill, **options), found.min_dims)


def initialize(model: Model, patterns: Mapping[str, str | Callable[[Tensor], Any]]) -> Model:
    """Fills the parameters of a model anew, block by block.

    The first pattern that fits a parameter's name has it; what no pattern fits stays as it is. Initialisers that
    depend on how many inputs a unit has (all by name but "normal", "truncated_normal" and "constant") leave vectors,
    such as biases, to the patterns that come after: `{"*": "kaiming_normal", "*.bias": "constant"}`.

    Args:
        model: changed in place.
        patterns: from name patterns (as in `fnmatch`, such as "features.*") to an initialiser: a name in
            `INITIALIZERS`, an `initializer(...)` with options, or a function that fills a tensor in place.

    Returns:
        The same model.

    Raises:
        InputError: there is no such initialiser.
        ValueError: a pattern is left without a parameter; the message says why.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> _ = initialize(model, {"0.*": "orthogonal", "2.weight": initializer("normal", std=0.1), "*": "constant"})
        >>> weight, bias = model[0].parameters()
        >>> torch.allclose(weight.T @ weight, torch.eye(4), atol=1e-6), bool((bias == 0).all())
        (True, True)
    """
    chosen = {pattern: initializer(how) if isinstance(how, str) else how for pattern, how in patterns.items()}
    parameters = dict(model.named_parameters())
    users: dict[str, list[str]] = {pattern: [] for pattern in chosen}
    for name, parameter in parameters.items():
        for pattern, how in chosen.items():
            if fnmatchcase(name, pattern) and parameter.dim() >= getattr(how, "min_dims", 0):
                users[pattern].append(name)
                break
    for pattern, names in users.items():
        if not names:
            raise ValueError(f"initialize: {_why_unused(pattern, list(chosen), parameters)}")
    with torch.no_grad():
        for pattern, names in users.items():
            for name in names:
                chosen[pattern](parameters[name])
    return model


def _why_unused(pattern: str, patterns: Iterable[str], parameters: Mapping[str, Tensor]) -> str:
    matched = [name for name in parameters if fnmatchcase(name, pattern)]
    if not matched:
        fix = did_you_mean(pattern, parameters) or " The model has none."
        return f"pattern {pattern!r} must match a parameter, got none.{fix}"
    earlier = [other for other in patterns if other != pattern and any(fnmatchcase(name, other) for name in matched)]
    if earlier and any(parameters[name].dim() >= 2 for name in matched):
        return (
            f"pattern {pattern!r} must be left a parameter, but {earlier[0]!r} has all. Put the narrower one first."
        )
    return (
        f"pattern {pattern!r} matches vectors alone, such as {matched[0]!r}, and its initialiser is for weights of "
        "two axes and more. Use 'constant', 'normal' or a function of your own."
    )
