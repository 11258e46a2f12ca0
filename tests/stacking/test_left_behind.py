"""What forward leaves behind in Python: counters, lists, caches, features caught by hooks; parameters it makes."""

from __future__ import annotations

import random
import warnings
from collections import deque

import pytest
import torch
from torch import nn

import tenfold
from tenfold.core.errors import StackError
from tenfold.stacking import SerialFallbackWarning
from tenfold.stacking.stack import ForgottenAttributeWarning

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
FORMS = pytest.mark.parametrize("form", ["stacked", "serial"])


def out(model, x):
    return model(x)


def alone(models, num_calls):
    """What plain models give in their last call."""
    for _ in range(num_calls):
        results = [model(X) for model in models]
    return torch.stack(results).detach()


def together(models, num_calls, form):
    stack = tenfold.stack(models, form=form)
    for _ in range(num_calls):
        results = stack.each(out, X)
    return results.detach(), stack


class Net(nn.Module):
    """A layer, and whatever a test puts beside it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)


class Listing(Net):
    def __init__(self):
        super().__init__()
        self.log, self.nested, self.queue = [], {"seen": {"n": 0}, "shapes": set()}, deque(maxlen=4)

    def forward(self, x):
        self.log.append(1)
        self.nested["seen"]["n"] += 2
        self.nested["shapes"].add(len(self.log))
        self.queue.append(0.5)
        return self.layer(x) * len(self.log) * self.nested["seen"]["n"] * len(self.nested["shapes"]) * sum(self.queue)


@FORMS
def test_what_forward_appends_counts_calls_and_not_members(form):
    models = [Listing() for _ in range(3)]
    got, stack = together(models, 3, form)
    torch.testing.assert_close(got, alone(models, 3))
    assert [model.log for model in stack.unstack()] == [[1, 1, 1]] * 3


class Rotary(Net):
    """Caches a table under a Python key, as rotary embeddings do; it depends on a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rates", torch.tensor([1.0, 0.1, 0.01]))
        self.n, self.table, self.tables, self.built = 0, None, {}, 0

    def forward(self, x):
        if self.n != len(x):
            self.n, self.built = len(x), self.built + 1
            self.table = torch.outer(torch.arange(self.n), self.rates)
            self.tables[self.n] = (torch.arange(self.n)[:, None], self.table)
        return self.layer(x) * self.table.cos() + self.tables[self.n][1] * self.tables[self.n][0]


@FORMS
def test_a_table_that_is_the_same_for_all_members_is_cached_as_alone(form):
    models = [Rotary() for _ in range(2)]
    got, stack = together(models, 3, form)
    torch.testing.assert_close(got, alone(models, 3))
    torch.testing.assert_close(stack.each(out, X[:2]).detach(), torch.stack([m(X[:2]) for m in models]).detach())
    for model, one in zip(stack.unstack(), models, strict=True):
        assert model.built == one.built == 2
        torch.testing.assert_close(model(X[:2]), one(X[:2]))


class Lazy(Net):
    """A buffer that is there from the first call on."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", None)

    def forward(self, x):
        if self.mask is None:
            self.mask = torch.ones(len(x), 1).tril()
            self.register_buffer("more", torch.arange(3.0))
        return self.layer(x) * self.mask + self.more


@FORMS
def test_a_buffer_that_forward_makes_for_all_members_stays(form):
    models = [Lazy() for _ in range(2)]
    got, stack = together(models, 2, form)
    torch.testing.assert_close(got, alone(models, 2))
    assert stack.unstack()[1].state_dict().keys() == models[1].state_dict().keys()


class Catching(Net):
    """Features caught by hooks: in a dict, in a list, in an object and in a closure."""

    def __init__(self):
        super().__init__()
        self.features, self.history, kept = {}, [], []
        self.layer.register_forward_hook(self.catch)
        self.layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
        self.kept = kept

    def catch(self, module, inputs, output):
        self.features["layer"] = output
        self.history.append(output.detach())

    def forward(self, x):
        return self.layer(x) + self.features["layer"].mean()


@FORMS
def test_features_caught_by_hooks_are_forgotten_with_a_warning_and_the_models_come_out_plain(form):
    models = [Catching() for _ in range(2)]
    with pytest.warns(
        ForgottenAttributeWarning, match=r"a value of each member's own in the attribute '(features|hist)"
    ):
        got, stack = together(models, 2, form)
    torch.testing.assert_close(got, alone(models, 2))
    for model, one in zip(stack.unstack(), models, strict=True):
        assert (model.features, model.history, model.kept) == ({}, [], [])
        torch.testing.assert_close(model(X), one(X))


class Noting(Net):
    """A Python number of a member's own."""

    def __init__(self):
        super().__init__()
        self.largest = 0.0

    def forward(self, x):
        y = self.layer(x)
        self.largest = y.max().item()
        return y


def test_a_python_number_of_a_members_own_is_forgotten_with_a_warning():
    stack = tenfold.stack([Noting() for _ in range(2)], form="serial")
    with pytest.warns(ForgottenAttributeWarning, match="each member's own in the attribute 'largest'"):
        stack.each(out, X)
    assert [model.largest for model in stack.unstack()] == [0.0, 0.0]


class Deleting(Net):
    """Some members take an attribute away, and others do not."""

    def __init__(self):
        super().__init__()
        self.spare = 1

    def forward(self, x):
        y = self.layer(x)
        if y.sum() > 0:
            vars(self).pop("spare", None)
        return y


def test_an_attribute_that_only_some_members_take_away_is_put_back_with_a_warning():
    models = [Deleting(), Deleting()]
    models[1].load_state_dict({name: -value for name, value in models[0].state_dict().items()})
    with pytest.warns(ForgottenAttributeWarning, match="'spare'"):
        _, stack = together(models, 2, "serial")
    assert [model.spare for model in stack.unstack()] == [1, 1]


class OfTheClass(Net):
    """Caches at the level of the class."""

    table, calls, memory, last = None, 0, {}, None

    def forward(self, x):
        OfTheClass.calls += 1
        if OfTheClass.table is None:
            OfTheClass.table = torch.arange(3.0)
        OfTheClass.memory["last"] = OfTheClass.last = y = self.layer(x)
        return y * OfTheClass.table * self.memory["last"].sum()


@FORMS
def test_what_forward_keeps_in_its_class_is_treated_alike(form):
    OfTheClass.table, OfTheClass.calls, OfTheClass.last = None, 0, None
    OfTheClass.memory.clear()
    models = [OfTheClass() for _ in range(2)]
    with pytest.warns(ForgottenAttributeWarning, match="'OfTheClass.last'|'OfTheClass.memory'"):
        got, _ = together(models, 2, form)
    assert OfTheClass.calls == 2
    assert OfTheClass.memory == {}
    assert OfTheClass.last is None
    torch.testing.assert_close(got, alone(models, 2))


class Accumulating(Net):
    def __init__(self):
        super().__init__()
        self.usage = torch.zeros(3)

    def forward(self, x):
        self.usage += self.layer(x).detach().mean(0)
        return self.layer(x) * self.usage


def test_a_plain_tensor_that_forward_adds_to_is_refused_because_the_next_member_would_see_it():
    stack = tenfold.stack([Accumulating() for _ in range(2)], form="serial")
    with pytest.raises(
        StackError, match=r"each: forward changes the tensor in the attribute 'usage' in place.*buffer"
    ):
        stack.each(out, X)


class Growing(Net):
    """Makes a parameter, a layer, or another parameter in the place of its own, in forward."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.register_parameter("scale", None)

    def forward(self, x):
        if self.what == "parameter" and not hasattr(self, "w"):
            self.w = nn.Parameter(torch.ones(3))
        if self.what == "empty parameter" and self.scale is None:
            self.scale = nn.Parameter(torch.ones(3))
        if self.what == "layer" and not hasattr(self, "head"):
            self.head = nn.PReLU()
        if self.what == "anew":
            self.layer.weight = nn.Parameter(self.layer.weight.detach().clamp(-0.1, 0.1))
        return self.layer(x)


@FORMS
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("parameter", "makes the parameter 'w', which is in no optimiser. Create it in __init__"),
        ("empty parameter", "makes the parameter 'scale', which is in no optimiser"),
        ("layer", "makes the layer 'head', which is in no optimiser"),
        ("anew", "sets the parameter 'layer.weight' anew.*Change it in place, under torch.no_grad"),
    ],
)
def test_parameters_made_in_forward_are_refused_because_nobody_would_train_them(what, words, form):
    stack = tenfold.stack([Growing(what) for _ in range(2)], form=form)
    for _ in range(2):
        with pytest.raises(StackError, match=f"each: forward {words}"):
            stack.each(out, X)
    assert {name for name, _ in stack.unstack()[0].named_parameters()} == {"layer.weight", "layer.bias"}


def test_in_the_form_auto_too():
    with pytest.raises(StackError, match="makes the parameter 'w'"):
        tenfold.stack([Growing("parameter") for _ in range(2)]).each(out, X)


class Dropping(Net):
    """Drops whole layers by Python's and NumPy's random numbers."""

    def forward(self, x):
        import numpy as np

        return self.layer(x) * (1 + random.random()) + float(np.random.rand())


def test_pythons_and_numpys_random_numbers_are_a_members_own_and_the_callers_state_stays():
    models = [Dropping() for _ in range(3)]
    random.seed(1)
    before = random.getstate()
    stack = tenfold.stack(models, seeds=[4, 5, 6])
    with pytest.warns(SerialFallbackWarning, match="one after another.*draws from Python's or NumPy's random"):
        together = [stack.each(out, X).detach() for _ in range(2)]
    assert random.getstate() == before
    lone = tenfold.stack(models[1:2], seeds=[5], form="serial")
    for got in together:
        torch.testing.assert_close(lone.each(out, X)[0].detach(), got[1])
    drawn = [got[i] - models[i].layer(X).detach() for got in together for i in range(3)]
    assert not any(torch.allclose(one, two) for i, one in enumerate(drawn) for two in drawn[:i])


def test_the_form_stacked_refuses_pythons_random_numbers():
    with pytest.raises(StackError, match=r"draws from Python's or NumPy's random.*Use form='serial'"):
        tenfold.stack([Dropping() for _ in range(2)], form="stacked").each(out, X)


def test_functions_that_draw_nothing_in_python_do_not_touch_its_state():
    random.seed(1)
    before = random.getstate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in ("stacked", "serial"):
            tenfold.stack([nn.Linear(3, 3) for _ in range(2)], form=form).each(out, X)
    assert random.getstate() == before
