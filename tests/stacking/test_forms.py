"""One program or one by one: when the stack falls back, what it says, and that no member notices."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import tenfold
from tenfold.core.errors import StackError
from tenfold.stacking import SerialFallbackWarning, Stack
from tenfold.stacking.stack import ForgottenAttributeWarning
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_plain_out, check_strangers


def total(model, x):
    return model(x).square().sum()


class Gated(nn.Module):
    """Control flow that depends on data."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        x = self.norm(x)
        if x.sum() > 1e9:
            x = -x
        return self.layer(x)


@pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
def test_control_flow_on_data_runs_one_by_one_and_the_sentence_names_the_users_line():
    stack = tenfold.stack([Gated() for _ in range(3)])
    with pytest.warns(SerialFallbackWarning, match=r"one after another.*test_forms.py:\d+: `if x.sum\(\) > 1e9:`"):
        stack.each(total, torch.randn(6, 3))
    assert stack.form == "serial"
    assert "test_forms.py" in stack.fallback
    assert "serial" in repr(stack)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.each(total, torch.randn(6, 3))


def test_the_warning_points_at_the_call_of_each():
    with pytest.warns(SerialFallbackWarning) as caught:
        tenfold.stack([Gated() for _ in range(2)]).each(total, torch.randn(6, 3))
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
def test_buffers_are_not_counted_twice_by_the_failed_try():
    models = [Gated() for _ in range(2)]
    x = torch.randn(6, 3)
    stack = tenfold.stack(models)
    stack.each(total, x)
    buffers = dict(stack.named_buffers())
    assert buffers["norm.num_batches_tracked"].tolist() == [1, 1]
    models[0](x)
    torch.testing.assert_close(buffers["norm.running_mean"][0], models[0].norm.running_mean)


def test_what_falls_back_keeps_all_promises():
    job = {
        "make_model": Gated,
        "batches": [(torch.randn(6, 3), torch.randn(6, 2))],
        "loss": lambda model, x, y: F.mse_loss(model(x), y),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SerialFallbackWarning)
        for check in (check_alone_or_together, check_strangers, check_leaving_is_free, check_plain_out):
            check(**job)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        y = self.layer(x)
        return y - y[y > 0].sum()


@pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
def test_a_selection_that_vmap_refuses_trains_alone_as_together():
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(6, 3, generator=generator), torch.randn(6, 2, generator=generator))]
    job = {"make_model": Masked, "batches": batches, "loss": lambda model, x, y: F.mse_loss(model(x), y)}
    check_alone_or_together(**job, num_steps=6)
    check_leaving_is_free(**job, num_steps=3)


REFUSED_BY_VMAP = {
    "item": lambda model, x: torch.tensor(model(x).sum().item()),
    "numpy": lambda model, x: torch.tensor(model(x).detach().numpy().sum()),
    "tolist": lambda model, x: torch.tensor(model(x).tolist()[0]),
    "mask": lambda model, x: model(x)[model(x) > 0].sum(),
    "gradient": lambda model, x: torch.autograd.grad(model(x).square().sum(), model.weight, create_graph=True)[
        0
    ].sum(),
    "gradient penalty": lambda model, x: torch.autograd.grad(
        model(xx := x.clone().requires_grad_()).square().sum(), xx, create_graph=True
    )[0].sum(),
}


@pytest.mark.parametrize("name", REFUSED_BY_VMAP)
def test_a_later_function_that_vmap_refuses_runs_one_by_one_and_the_others_stay_one_program(name):
    models = [nn.Linear(3, 2) for _ in range(2)]
    stack = tenfold.stack(models)
    x = torch.randn(6, 3)
    stack.each(total, x)
    with pytest.warns(SerialFallbackWarning, match="one after another"):
        got = stack.each(REFUSED_BY_VMAP[name], x)
    torch.testing.assert_close(got, torch.stack([REFUSED_BY_VMAP[name](model, x) for model in models]))
    assert stack.form == "stacked"
    assert stack.fallback is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.each(REFUSED_BY_VMAP[name], x)
        stack.each(total, x)


def test_the_form_stacked_insists_and_says_what_to_do():
    stack = tenfold.stack([Gated() for _ in range(2)], form="stacked")
    with pytest.raises(StackError, match=r"stack: .*data-dependent.*`if x.sum\(\) > 1e9:`.* Use form='serial'"):
        stack.each(total, torch.randn(6, 3))


class InPlace(nn.Module):
    """Changes what it is given, by something of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(3))
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        x -= self.mean
        return self.layer(x)


@pytest.mark.parametrize("form", ["auto", "serial"])
def test_a_batch_changed_in_place_is_refused_because_the_next_member_would_see_it(form):
    stack = tenfold.stack([InPlace() for _ in range(2)], form=form)
    with pytest.raises(StackError, match=r"each: the function changes its batch in place.*Write x = x - mean"):
        stack.each(total, torch.randn(6, 3))


def test_a_batch_a_member_may_be_changed_in_place():
    stack = tenfold.stack([InPlace() for _ in range(2)])
    x = torch.ones(2, 6, 3)
    out = stack.each(lambda model, x: model(x).detach(), tenfold.per_member(x))
    assert torch.equal(out, dict(stack.named_parameters())["layer.bias"].detach()[:, None].expand(2, 6, 2))
    assert stack.form == "stacked"


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
        self.reentrant = reentrant

    def forward(self, x):
        return self.head(checkpoint(lambda x: torch.tanh(self.body(x)), x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("form", ["auto", "serial"])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
def test_activation_checkpointing_is_refused_because_backward_would_run_another_model(reentrant, form):
    stack = tenfold.stack([Checkpointed(reentrant) for _ in range(2)], form=form)
    with pytest.raises(RuntimeError if not reentrant else StackError, match=r"activation checkpointing"):
        stack.backward(stack.each(total, torch.randn(6, 3, requires_grad=True)))


class Counting(nn.Module):
    """A Python counter that forward reads, and a tensor that it leaves behind to be looked at."""

    def __init__(self, shows):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.calls = 0
        self.shows = shows
        self.shown = None

    def forward(self, x):
        self.calls += 1
        y = self.layer(x) * self.calls
        if self.shows:
            self.shown = y
        return y


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_a_python_counter_counts_steps_and_not_members(form):
    models = [Counting(False) for _ in range(3)]
    stack = tenfold.stack(models, form=form)
    x = torch.ones(4, 3)
    for _ in range(2):
        got = stack.each(lambda model, x: model(x), x)
    torch.testing.assert_close(got, torch.stack([model.layer(x) * 2 for model in models]))
    assert [model.calls for model in stack.unstack()] == [2, 2, 2]


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_a_tensor_left_in_a_plain_attribute_is_forgotten_with_a_warning(form):
    stack = tenfold.stack([Counting(True) for _ in range(2)], form=form)
    with pytest.warns(
        ForgottenAttributeWarning, match="leaves a value of each member's own in the attribute 'shown'"
    ):
        stack.backward(stack.each(total, torch.ones(4, 3)))
    stack.each(total, torch.ones(4, 3))
    assert stack.unstack()[0].shown is None


def test_the_model_inside_each_is_the_users_with_its_methods_and_parameters():
    class Named(nn.Linear):
        def penalty(self):
            return sum(parameter.square().sum() for parameter in self.parameters())

    models = [Named(3, 2) for _ in range(2)]
    got = tenfold.stack(models).each(lambda model: model.penalty() + len(dict(model.named_parameters())))
    torch.testing.assert_close(got, torch.stack([model.penalty() + 2 for model in models]))


def test_outputs_may_be_nested_and_constant():
    out = tenfold.stack([nn.Linear(3, 2)] * 2).each(lambda m, x: {"a": (m(x), x)}, torch.ones(4, 3))
    assert out["a"][0].shape == (2, 4, 2)
    assert out["a"][1].shape == (2, 4, 3)


LINEAR_SHAPES = {
    "vector": ((3,), (2, 3)),
    "tokens": ((2, 5, 3), (2, 3)),
    "no rows": ((0, 3), (2, 3)),
    "no features": ((4, 0), (2, 0)),
    "vector weight": ((4, 3), (3,)),
}


@pytest.mark.parametrize("name", LINEAR_SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_rule_for_linear_is_linear_for_every_shape(name, bias):
    shape, weight_shape = LINEAR_SHAPES[name]
    bias = bias and len(weight_shape) == 2

    def make():
        model = nn.Module()
        model.weight = nn.Parameter(torch.randn(weight_shape))
        model.bias = nn.Parameter(torch.randn(2)) if bias else None
        return model

    def apply(model, x):
        return F.linear(x, model.weight, model.bias)

    models, x = [make() for _ in range(2)], torch.randn(shape)
    stack: Stack = tenfold.stack(models, form="stacked")
    torch.testing.assert_close(stack.each(apply, x), torch.stack([apply(model, x) for model in models]))
