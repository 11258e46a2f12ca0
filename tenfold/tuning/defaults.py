"""The default search space of training itself: optimiser, learning rate, decay, schedule.

Ranges are for small and middle-sized networks trained from scratch for tens of epochs.

References:
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW; decay and rate
        decoupled).
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine, no
        restart).
    Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2 (warm-up).
    Godbole, Dahl, Gilmer, Shallue and Nado, "Deep Learning Tuning Playbook", 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.core.registry import Registry
from tenfold.tuning.choice import choice_space
from tenfold.tuning.parameters import Constant, Float, Parameter
from tenfold.tuning.space import Space

_DECAY_REASON = "its best value is unknown to orders of magnitude; the low end is as good as none"

OPTIMIZER_PARAMETERS: Registry[dict[str, Parameter]] = Registry("optimizer")
OPTIMIZER_PARAMETERS.add(
    "adamw",
    {
        "lr": Float(3e-4, 1e-2, log=True, reason="AdamW's useful rates for small networks; 1e-3 is near the middle"),
        "weight_decay": Float(1e-6, 1e-1, log=True, reason=_DECAY_REASON),
    },
)
OPTIMIZER_PARAMETERS.add(
    "sgd",
    {
        "lr": Float(3e-3, 3e-1, log=True, reason="SGD with momentum 0.9 wants ten to thirty times AdamW's rate"),
        "weight_decay": Float(
            1e-6, 1e-2, log=True, reason="acts through the rate, so that 5e-4 is usual and 1e-2 is strong"
        ),
        "momentum": Constant(0.9, reason="the usual value; its gain is mostly in the product with the rate"),
    },
)


def optimizer_space(optimizers: Sequence[str] = ("adamw",)) -> Space:
    """The default space of optimiser and schedule.

    Args:
        optimizers: names among "adamw" and "sgd"; with one of them the optimiser is not searched.

    Returns:
        A space of "optimizer", "lr", "weight_decay", with SGD "momentum", and the constants "schedule" and
        "warmup_fraction" (fraction of all steps, 0 to 1). Every entry says its reason.

    Raises:
        InputError: an optimiser has no such name.
        ValueError: no optimiser is named.

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
    if tuple(optimizers) != ("adamw",):
        reason = "asked for"
    options = {name: OPTIMIZER_PARAMETERS[name] for name in optimizers}
    return choice_space("optimizer", options, reason=reason) | {
        "schedule": Constant("cosine", reason="anneals to zero without a parameter of its own"),
        "warmup_fraction": Constant(0.05, reason="the first steps are small while the moments fill"),
    }
