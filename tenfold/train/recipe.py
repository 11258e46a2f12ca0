"""How a member is trained: the part of a configuration that belongs to training, checked once at the door."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from tenfold.core.errors import did_you_mean
from tenfold.optim import OPTIMIZERS, SCHEDULES

PRECISIONS = ("float32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule and batch of one member; every field is a key of a search space.

    Numbers may differ between the members of a stack, but for `batch_size` and `accumulate`.

    Attributes:
        optimizer: a name in `tenfold.optim.OPTIMIZERS`.
        lr: learning rate, > 0 (the peak, where a schedule moves it).
        weight_decay: >= 0; decoupled for AdamW, an L2 penalty for the others.
        l1: L1 penalty, >= 0.
        decay_biases: whether decay and L1 reach biases and the parameters of norm layers, as in `torch.optim`.
        momentum: in [0, 1), of SGD and RMSprop; None is 0.9 for SGD and 0 for RMSprop.
        nesterov: whether SGD looks ahead along its momentum, which must be > 0.
        beta1: in [0, 1), of Adam and its relatives: how slowly the mean of the gradients forgets.
        beta2: likewise of their squares.
        eps: >= 0, what is added to a denominator; None is the optimiser's own.
        schedule: a name in `tenfold.optim.SCHEDULES`, over all the steps of the full budget.
        warmup_fraction: share of the steps with a linear warm-up, in [0, 1); "onecycle" has its own.
        lr_gamma: factor of a fall of "step", "multistep" and "plateau", in [0, 1).
        lr_milestones: shares of the steps after the warm-up at which "multistep" falls, each in [0, 1].
        plateau_patience: epochs without improvement that "plateau" bears before it falls, >= 0.
        lr_groups: factors of the rate by patterns of parameter names (as in `fnmatch`), each > 0, such as
            {"backbone.*": 0.1}; the first pattern that matches has the parameter, and what none matches has 1.
        freeze: patterns of the names of parameters that do not move. Buffers, such as batch statistics, do.
        clip_norm: largest 2-norm of the gradient, > 0; 0 switches it off.
        clip_value: largest size of a number of the gradient, > 0; 0 switches it off. It comes before clip_norm.
        batch_size: samples a step, >= 1.
        accumulate: pieces of nearly equal size that a batch is cut into, whose gradients add up to the batch's;
            >= 1. It takes less memory, and batch statistics are those of a piece.
        precision: of the forward pass in training: "float32" is that of the parameters; "bf16" and "fp16" are
            automatic mixed precision, the latter with a loss scale a member. Members are scored without it.
        ema_decay: decay of an exponential average of the weights, in [0, 1); 0 switches it off. The average is what
            is scored and kept.
        patience: epochs without improvement after which the member stops, a whole number; 0 is never.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    l1: float = 0.0
    decay_biases: bool = True
    momentum: float | None = None
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float | None = None
    schedule: str = "cosine"
    warmup_fraction: float = 0.05
    lr_gamma: float = 0.1
    lr_milestones: tuple[float, ...] = (0.5, 0.75)
    plateau_patience: int = 3
    lr_groups: tuple[tuple[str, float], ...] = ()
    freeze: tuple[str, ...] = ()
    clip_norm: float = 0.0
    clip_value: float = 0.0
    batch_size: int = 32
    accumulate: int = 1
    precision: str = "float32"
    ema_decay: float = 0.0
    patience: int = 0

    def __post_init__(self) -> None:
        _check_choice("optimizer", self.optimizer, list(OPTIMIZERS))
        _check_choice("schedule", self.schedule, list(SCHEDULES))
        _check_choice("precision", self.precision, PRECISIONS)
        for name, (requirement, holds) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            _check(is_number and holds(value), name, requirement, value)
        for name, (requirement, allowed) in _WHOLE.items():
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            _check(is_whole and allowed(value), name, requirement, value)
        for name in ("decay_biases", "nesterov"):
            _check(isinstance(getattr(self, name), bool), name, "True or False", getattr(self, name))
        _check(not self.nesterov or self.momentum != 0, "momentum", "> 0 with nesterov", self.momentum)
        self._set("lr_milestones", _milestones(self.lr_milestones))
        self._set("lr_groups", _lr_groups(self.lr_groups))
        self._set("freeze", _patterns(self.freeze))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def program(self) -> tuple[Any, ...]:
        """What members must share to take their steps as one program."""
        moved = (self.freeze, tuple(pattern for pattern, _ in self.lr_groups), self.decay_biases)
        return (
            self.optimizer,
            self.nesterov,
            self.schedule,
            self.batch_size,
            self.accumulate,
            self.precision,
            *moved,
        )


RECIPE_KEYS = frozenset(field.name for field in fields(Recipe))

_Rule = tuple[str, Callable[[Any], bool]]
_AT_LEAST_0: _Rule = (">= 0 and finite", lambda value: 0 <= value < math.inf)
_BELOW_1: _Rule = ("in [0, 1)", lambda value: 0 <= value < 1)
_FROM_1: _Rule = ("a whole number >= 1", lambda value: value >= 1)
_FROM_0: _Rule = ("a whole number >= 0", lambda value: value >= 0)
_NUMBERS: dict[str, _Rule] = {
    "lr": ("> 0 and finite", lambda value: 0 < value < math.inf),
    **dict.fromkeys(("weight_decay", "l1", "eps", "clip_norm", "clip_value"), _AT_LEAST_0),
    **dict.fromkeys(("momentum", "beta1", "beta2", "warmup_fraction", "lr_gamma", "ema_decay"), _BELOW_1),
}
_WHOLE: dict[str, _Rule] = {
    **dict.fromkeys(("batch_size", "accumulate"), _FROM_1),
    **dict.fromkeys(("plateau_patience", "patience"), _FROM_0),
}
_OPTIONAL = ("momentum", "eps")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """A configuration, cut by owner."""

    recipe: Recipe
    task_values: Mapping[str, float]
    network: Mapping[str, Any]


def split_config(config: Mapping[str, Any], task_values: Mapping[str, float]) -> SplitConfig:
    """Cuts a configuration into training's keys, the task's, and the rest, which is the network's.

    Args:
        config: key to value; the key "network" names the architecture and is left out.
        task_values: the task's hyper-parameters with their defaults.

    Raises:
        ValueError: a value out of its range.
    """
    recipe = Recipe(**{key: value for key, value in config.items() if key in RECIPE_KEYS})
    values = {key: float(config.get(key, default)) for key, default in task_values.items()}
    owned = RECIPE_KEYS | set(task_values) | {"network"}
    return SplitConfig(
        recipe=recipe,
        task_values=values,
        network={key: value for key, value in config.items() if key not in owned},
    )


def _milestones(value: Any) -> tuple[float, ...]:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    holds = listed and all(isinstance(share, Real) and 0 <= float(share) <= 1 for share in value)
    _check(holds, "lr_milestones", "a list of shares in [0, 1]", value)
    return tuple(float(share) for share in value)


def _lr_groups(value: Any) -> tuple[tuple[str, float], ...]:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    holds = isinstance(pairs, Sequence) and all(
        isinstance(pair, Sequence)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], Real)
        and 0 < float(pair[1]) < math.inf
        for pair in pairs
    )
    _check(holds, "lr_groups", "patterns with factors > 0, such as {'backbone.*': 0.1}", value)
    return tuple((pattern, float(factor)) for pattern, factor in pairs)


def _patterns(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    holds = isinstance(listed, Sequence) and all(isinstance(pattern, str) for pattern in listed)
    _check(holds, "freeze", "patterns of parameter names, such as ['backbone.*']", value)
    return tuple(listed)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}, got {value!r}.{did_you_mean(str(value), choices)}"
        )


def _check(holds: bool, name: str, requirement: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {requirement}, got {value!r}. Change it in the space or the configuration.")
