"""The default search space of training itself: optimiser, learning rate, decay, schedule.

Ranges are for small and middle-sized networks trained from scratch for tens of epochs.

References:
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW; decay and rate
        decoupled).
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine, no
        restart).
    Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2 (warm-up).
    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012 (its step has no rate; a factor of 1).
    Choi et al., "On Empirical Comparisons of Optimizers for Deep Learning", 2019 (ranges that differ by optimiser).
    Godbole, Dahl, Gilmer, Shallue and Nado, "Deep Learning Tuning Playbook", 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.core.registry import Registry
from tenfold.tuning.choice import choice_space
from tenfold.tuning.parameters import Constant, Float, Int, Parameter
from tenfold.tuning.space import Space

_DECAY_REASON = "its best value is unknown to orders of magnitude; the low end is as good as none"
_PENALTY_REASON = "an L2 penalty here, which adaptive steps divide by the size of the gradients"
_ADAPTIVE_REASON = "steps have the size of the rate, as AdamW's, and so its rates are useful"


def _rate(low: float, high: float, reason: str) -> Float:
    return Float(low, high, log=True, reason=reason)


OPTIMIZER_PARAMETERS: Registry[dict[str, Parameter]] = Registry("optimizer")
OPTIMIZER_PARAMETERS.add(
    "adamw",
    {
        "lr": _rate(3e-4, 1e-2, "AdamW's useful rates for small networks; 1e-3 is near the middle"),
        "weight_decay": _rate(1e-6, 1e-1, _DECAY_REASON),
    },
)
OPTIMIZER_PARAMETERS.add(
    "sgd",
    {
        "lr": _rate(3e-3, 3e-1, "SGD with momentum 0.9 wants ten to thirty times AdamW's rate"),
        "weight_decay": _rate(1e-6, 1e-2, "acts through the rate, so that 5e-4 is usual and 1e-2 is strong"),
        "momentum": Constant(0.9, reason="the usual value; its gain is mostly in the product with the rate"),
    },
)
for _name in ("adam", "nadam", "radam"):
    OPTIMIZER_PARAMETERS.add(
        _name, {"lr": _rate(3e-4, 1e-2, _ADAPTIVE_REASON), "weight_decay": _rate(1e-6, 1e-2, _PENALTY_REASON)}
    )
OPTIMIZER_PARAMETERS.add(
    "rmsprop",
    {
        "lr": _rate(1e-4, 1e-2, "as Adam without momentum, whose first steps are larger: a lower end than AdamW's"),
        "weight_decay": _rate(1e-6, 1e-2, _PENALTY_REASON),
        "momentum": Constant(0.0, reason="torch's default; with 0.9 rates are to be a tenth of these"),
    },
)
OPTIMIZER_PARAMETERS.add(
    "adagrad",
    {
        "lr": _rate(3e-3, 3e-1, "steps only shrink, and so they begin about ten times as large as AdamW's"),
        "weight_decay": _rate(1e-6, 1e-2, _PENALTY_REASON),
    },
)
OPTIMIZER_PARAMETERS.add(
    "adadelta",
    {
        "lr": _rate(1e-1, 1e1, "a factor of a step that sizes itself; 1 is the paper's, and the middle"),
        "weight_decay": _rate(1e-6, 1e-2, _PENALTY_REASON),
    },
)
OPTIMIZER_PARAMETERS.add(
    "asgd",
    {
        "lr": _rate(1e-2, 1e0, "without momentum a step wants some three times the rate that SGD with 0.9 does"),
        "weight_decay": _rate(1e-6, 1e-2, "acts through the rate, so that 5e-4 is usual and 1e-2 is strong"),
    },
)

_FALL_REASON = "the usual fall is to a tenth; gentler ones cost little"
SCHEDULE_PARAMETERS: Registry[dict[str, Parameter]] = Registry("schedule")
for _name in ("cosine", "constant", "linear", "exponential", "cosine_restarts", "onecycle"):
    SCHEDULE_PARAMETERS.add(_name, {})  # their form follows from the number of steps
for _name in ("step", "multistep"):
    SCHEDULE_PARAMETERS.add(_name, {"lr_gamma": _rate(0.05, 0.5, _FALL_REASON)})
SCHEDULE_PARAMETERS.add(
    "plateau",
    {
        "lr_gamma": _rate(0.05, 0.5, _FALL_REASON),
        "plateau_patience": Int(2, 10, reason="fewer epochs are within the noise of a score, more are wasted"),
    },
)


def optimizer_space(optimizers: Sequence[str] = ("adamw",), schedules: Sequence[str] = ("cosine",)) -> Space:
    """The default space of optimiser and schedule.

    Args:
        optimizers: names in `OPTIMIZER_PARAMETERS`, which has all of `tenfold.optim.OPTIMIZERS`; with one of them
            the optimiser is not searched.
        schedules: names in `SCHEDULE_PARAMETERS`, which has all of `tenfold.optim.SCHEDULES`; likewise.

    Returns:
        A space of "optimizer", "lr", "weight_decay", "momentum" where an optimiser has one, "schedule" with its own
        parameters, and "warmup_fraction" (fraction of all steps, 0 to 1). Every entry says its reason.

    Raises:
        InputError: an optimiser or a schedule has no such name.
        ValueError: no optimiser or no schedule is named.

    Example:
        >>> for row in optimizer_space().to_json():
        ...     print(row["name"], row["type"], row["choices"] or (row["low"], row["high"]))
        optimizer constant ['adamw']
        lr float (0.0003, 0.01)
        weight_decay float (1e-06, 0.1)
        schedule constant ['cosine']
        warmup_fraction constant [0.05]
    """
    reason = "robust to the scale of gradients, so that one range of rates serves many networks"
    form = "anneals to zero without a parameter of its own"
    moved = choice_space(
        "optimizer",
        {name: OPTIMIZER_PARAMETERS[name] for name in optimizers},
        reason=reason if tuple(optimizers) == ("adamw",) else "asked for",
    )
    annealed = choice_space(
        "schedule",
        {name: SCHEDULE_PARAMETERS[name] for name in schedules},
        reason=form if tuple(schedules) == ("cosine",) else "asked for",
    )
    warmup = Constant(0.05, reason="the first steps are small while the moments fill")
    return moved | annealed | {"warmup_fraction": warmup}
