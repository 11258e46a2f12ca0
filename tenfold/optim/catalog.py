"""The optimisers by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tenfold.core.registry import Registry
from tenfold.optim.adadelta import Adadelta
from tenfold.optim.adagrad import Adagrad
from tenfold.optim.adam import Adam
from tenfold.optim.adamw import AdamW
from tenfold.optim.asgd import ASGD
from tenfold.optim.nadam import NAdam
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.radam import RAdam
from tenfold.optim.rmsprop import RMSprop
from tenfold.optim.sgd import SGD


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry:
    """An optimiser, stacked and as PyTorch has it.

    Attributes:
        stacked: the class that moves a stack.
        plain: the class of torch.optim that it equals, member by member; it takes the same options but `l1`.
        tunable: options that a search would tune, the most telling first; each may be a value a member.
    """

    stacked: type[StackedOptimizer]
    plain: type[torch.optim.Optimizer]
    tunable: tuple[str, ...]


OPTIMIZERS: Registry[OptimizerEntry] = Registry("optimizer")


def _add(name: str, stacked: type[StackedOptimizer], plain: type[torch.optim.Optimizer], *tunable: str) -> None:
    OPTIMIZERS.add(name, OptimizerEntry(stacked=stacked, plain=plain, tunable=tunable))


_add("sgd", SGD, torch.optim.SGD, "lr", "momentum", "weight_decay", "l1")
_add("adagrad", Adagrad, torch.optim.Adagrad, "lr", "lr_decay", "weight_decay", "l1")
_add("adadelta", Adadelta, torch.optim.Adadelta, "lr", "rho", "eps", "weight_decay", "l1")
_add("rmsprop", RMSprop, torch.optim.RMSprop, "lr", "alpha", "momentum", "weight_decay", "l1")
_add("adam", Adam, torch.optim.Adam, "lr", "betas", "eps", "weight_decay", "l1")
_add("adamw", AdamW, torch.optim.AdamW, "lr", "weight_decay", "betas", "eps", "l1")
_add("nadam", NAdam, torch.optim.NAdam, "lr", "betas", "momentum_decay", "weight_decay", "l1")
_add("radam", RAdam, torch.optim.RAdam, "lr", "betas", "eps", "weight_decay", "l1")
_add("asgd", ASGD, torch.optim.ASGD, "lr", "lambd", "alpha", "weight_decay", "l1")
