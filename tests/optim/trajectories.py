"""A stack beside plain models that torch.optim trains: the same values, the same gradients, every option."""

from __future__ import annotations

import inspect

import torch
from torch import nn

import tenfold
from tenfold.optim import OPTIMIZERS

M, STEPS = 3, 50
SHAPES = [(4, 4), (3, 5), (5, 1), (6,), (2, 3, 3, 2), ()]
LEFT_OUT = {2: (0, 3), 9: (0, 5), 20: (1,)}  # step -> parameters without a gradient
EXACT = {"rtol": 1e-10, "atol": 1e-10}

NUMBERS = {
    "lr": (0.05, [0.1, 0.02, 0.3]),
    "momentum": (0.9, [0.9, 0.0, 0.5]),
    "dampening": (0.3, [0.0, 0.3, 0.9]),
    "weight_decay": (0.1, [0.0, 0.1, 1.0]),
    "l1": (0.05, [0.0, 0.05, 0.2]),
    "betas": ((0.8, 0.95), ([0.9, 0.0, 0.5], [0.999, 0.9, 0.0])),
    "eps": (1e-3, [1e-8, 1e-3, 1.0]),
    "momentum_decay": (1e-2, [0.0, 4e-3, 0.1]),
    "rho": (0.8, [0.9, 0.0, 0.5]),
    "alpha": (0.6, [0.75, 0.9, 0.5]),
    "lambd": (1e-2, [1e-4, 0.0, 0.1]),
    "t0": (5, [0.0, 10.0, 1e6]),
    "lr_decay": (0.1, [0.0, 0.1, 1.0]),
    "initial_accumulator_value": (0.5, [0.0, 0.5, 2.0]),
}
FLAGS = ("nesterov", "amsgrad", "centered", "maximize", "decoupled_weight_decay")


class Parameters(nn.Module):
    """Parameters of every rank, square matrices and scalars among them."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ParameterList(nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES)


def options_of_class(kind):
    return [name for name in inspect.signature(kind).parameters if name != "params"]


def option_sets(name):
    """Sets of options by a name: each alone as a number and as a value a member, and all together."""
    own = options_of_class(OPTIMIZERS[name].stacked)
    numbers, flags = [n for n in own if n in NUMBERS], [n for n in own if n in FLAGS]
    needs = {"dampening": {"momentum": 0.9}, "nesterov": {"momentum": [0.9, 0.3, 0.5]}}
    sets = {"defaults": {}, "a rate of zero": {"lr": [0.1, 0.0, 0.3]}}
    for option in numbers:
        sets[option] = {option: NUMBERS[option][0]} | needs.get(option, {})
        sets[f"{option} a member"] = {option: NUMBERS[option][1]} | needs.get(option, {})
    sets |= {flag: {flag: True} | needs.get(flag, {}) for flag in flags}
    all_numbers, all_a_member = ({n: NUMBERS[n][k] for n in numbers} for k in (0, 1))
    switches = dict.fromkeys((flag for flag in flags if flag != "nesterov"), True)
    sets |= {"all numbers": all_numbers, "all a member": all_a_member}
    sets |= {"all numbers and flags": all_numbers | switches, "all a member and flags": all_a_member | switches}
    if "nesterov" in flags:
        no_dampening = {"nesterov": True, "momentum": [0.9, 0.3, 0.5], "dampening": 0.0}
        sets["all a member and nesterov"] = all_a_member | switches | no_dampening
    return sets


def everything_a_member(name):
    return list(option_sets(name).values())[-1]


def of_member(value, i):
    if isinstance(value, tuple):
        return tuple(of_member(part, i) for part in value)
    return value[i] if isinstance(value, list) else value


def for_members(value, members):
    if isinstance(value, tuple):
        return tuple(for_members(part, members) for part in value)
    return [value[i] for i in members] if isinstance(value, list) else value


def draw_gradients(step, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(M, *shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


GRADIENTS = [draw_gradients(step) for step in range(STEPS)]


def make(dtype=torch.float64):
    torch.manual_seed(0)
    models = [Parameters().to(dtype) for _ in range(M)]
    return tenfold.stack(models), models


class Race:
    """A stacked optimiser and torch.optim's, one a member, on the same gradients.

    Options may be given per group of parameters, as a list of (first parameter, end, options).
    """

    def __init__(self, name, options, *, dtype=torch.float64, groups=None):
        self.entry, self.options = OPTIMIZERS[name], options
        self.dtype, self.members = dtype, list(range(M))
        self.groups = groups or [(0, len(SHAPES), options)]
        self.stack, self.models = make(dtype)
        self.stacked = self.entry.stacked(
            [{"params": self.stack.parameters()[a:b], **own} for a, b, own in self.groups], **options
        )
        self.plain = [self.make_plain(i) for i in range(M)]

    def make_plain(self, i):
        def plain_options(given):
            return {k: of_member(v, i) for k, v in given.items() if k != "l1"}

        groups = [{"params": list(self.models[i].parts)[a:b], **plain_options(own)} for a, b, own in self.groups]
        return self.entry.plain(groups, **plain_options(self.options))

    def step(self, step):
        gradients = [g.to(self.dtype) for g in GRADIENTS[step]]
        given = [None if k in LEFT_OUT.get(step, ()) else g[self.members] for k, g in enumerate(gradients)]
        before = [None if g is None else g.clone() for g in given]
        for parameter, gradient in zip(self.stack.parameters(), given, strict=True):
            parameter.grad = gradient
        self.stacked.step()
        for g, old in zip(given, before, strict=True):
            assert g is None or torch.equal(g, old), "the gradient was changed"
        for i in self.members:
            self._step_plain(i, gradients, LEFT_OUT.get(step, ()))

    @torch.no_grad()
    def _step_plain(self, i, gradients, left_out):
        for a, b, own in self.groups:
            l1 = of_member(own.get("l1", 0.0), i)
            climb = -1.0 if own.get("maximize") else 1.0
            for k in range(a, b):
                part = self.models[i].parts[k]
                part.grad = None if k in left_out else gradients[k][i] + climb * l1 * part.sign()
        self.plain[i].step()

    def keep(self, places):
        self.stack.keep(places)
        self.members = [self.members[k] for k in places]

    def compare(self, **tolerance):
        for k, parameter in enumerate(self.stack.parameters()):
            self._compare(parameter.detach(), [self.models[i].parts[k].detach() for i in self.members], tolerance)
        state = self.stacked.state_dict()["state"]
        for k in [k for k, values in state.items() if "average" in values]:
            expected = [self.plain[i].state[self.models[i].parts[k]]["ax"] for i in self.members]
            self._compare(state[k]["average"], expected, tolerance)

    def _compare(self, stacked, plain, tolerance):
        assert stacked.isfinite().all()
        torch.testing.assert_close(stacked, torch.stack(plain), **(tolerance or EXACT))
