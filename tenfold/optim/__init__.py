"""Optimisers and schedules for stacks: as in `torch.optim`, with a value a member for every option.

`SGD`, `Adagrad`, `Adadelta`, `RMSprop`, `Adam`, `AdamW`, `NAdam`, `RAdam` and `ASGD`; groups by `decay_groups` and
`groups_by_pattern`.

`Constant`, `Step`, `MultiStep`, `Exponential`, `Linear`, `Cosine`, `CosineRestarts`, `OneCycle` and `Plateau`, with
warm-up. Between `backward` and `step`: `clip_grad_norm_`, `clip_grad_value_`, `normalize_grad_`, `LossScaler`.
`WeightAverage` (EMA, SWA), `EarlyStopping`; `resting` for members that sit a step out.

Gradients of k micro-batches of equal size add up to the large batch's, for all members alike:

    optimizer.zero_grad()
    for x, y in micro_batches:
        stack.backward(stack.each(loss, x, y) / k)
    optimizer.step()  # clipping goes before it, once
"""

from tenfold.optim.adadelta import Adadelta
from tenfold.optim.adagrad import Adagrad
from tenfold.optim.adam import Adam
from tenfold.optim.adamw import AdamW
from tenfold.optim.asgd import ASGD
from tenfold.optim.averaging import WeightAverage
from tenfold.optim.catalog import OPTIMIZERS, OptimizerEntry
from tenfold.optim.clipping import clip_grad_norm_, clip_grad_value_, normalize_grad_
from tenfold.optim.early_stopping import EarlyStopping
from tenfold.optim.groups import decay_groups, groups_by_pattern
from tenfold.optim.loss_scaling import LossScaler
from tenfold.optim.nadam import NAdam
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.radam import RAdam
from tenfold.optim.resting import resting
from tenfold.optim.rmsprop import RMSprop
from tenfold.optim.schedule import Schedule
from tenfold.optim.schedule_catalog import SCHEDULES, ScheduleEntry
from tenfold.optim.schedule_cosine import Cosine, CosineRestarts, OneCycle
from tenfold.optim.schedule_plateau import Plateau
from tenfold.optim.schedule_steps import Constant, Exponential, Linear, MultiStep, Step
from tenfold.optim.sgd import SGD
from tenfold.optim.training_step import CompileFallbackWarning, TrainingStep

__all__ = [
    "ASGD",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "CompileFallbackWarning",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "EarlyStopping",
    "Exponential",
    "Linear",
    "LossScaler",
    "MultiStep",
    "NAdam",
    "OneCycle",
    "OptimizerEntry",
    "Plateau",
    "RAdam",
    "RMSprop",
    "Schedule",
    "ScheduleEntry",
    "StackedOptimizer",
    "Step",
    "TrainingStep",
    "WeightAverage",
    "clip_grad_norm_",
    "clip_grad_value_",
    "decay_groups",
    "groups_by_pattern",
    "normalize_grad_",
    "resting",
]
