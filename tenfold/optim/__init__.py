"""Optimisers and schedules for stacks: as in `torch.optim`, with a value a member for every option.

`AdamW` and `SGD`; `Constant`, `Cosine` and `OneCycle`, with warm-up; `clip_grad_norm_` a member.
"""

from tenfold.optim.adamw import AdamW
from tenfold.optim.clipping import clip_grad_norm_
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Constant, Cosine, OneCycle, Schedule
from tenfold.optim.sgd import SGD

__all__ = [
    "SGD",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Schedule",
    "StackedOptimizer",
    "clip_grad_norm_",
]
