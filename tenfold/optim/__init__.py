"""Optimisers and schedules for stacks: as in `torch.optim`, with a value a member for every option.

`AdamW` and `SGD`; `Constant`, `Step`, `MultiStep`, `Exponential`,
`Linear`, `Cosine`, `CosineRestarts`, `OneCycle` and `Plateau`, with warm-up; `clip_grad_norm_` a member.
"""

from tenfold.optim.adamw import AdamW
from tenfold.optim.clipping import clip_grad_norm_, clip_grad_value_, normalize_grad_
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Schedule
from tenfold.optim.schedule_catalog import SCHEDULES, ScheduleEntry
from tenfold.optim.schedule_cosine import Cosine, CosineRestarts, OneCycle
from tenfold.optim.schedule_plateau import Plateau
from tenfold.optim.schedule_steps import Constant, Exponential, Linear, MultiStep, Step
from tenfold.optim.sgd import SGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "AdamW",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Plateau",
    "Schedule",
    "ScheduleEntry",
    "StackedOptimizer",
    "Step",
    "clip_grad_norm_",
    "clip_grad_value_",
    "normalize_grad_",
]
