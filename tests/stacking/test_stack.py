"""What is refused at the door of a stack, and what its methods do and refuse."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import tenfold
from tenfold.core.errors import StackError
from tenfold.stacking import stack_of


def linears(count=3, **options):
    return tenfold.stack([nn.Linear(3, 2) for _ in range(count)], **options)


def total(model, x):
    return model(x).square().sum()


def with_attribute(value):
    model = nn.Linear(3, 3)
    model.extra = value
    return model


def frozen():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    return model


DIFFERENT = {
    "bound": (nn.Hardtanh(-1.0, 1.0), nn.Hardtanh(-1.0, 2.0), "max_val is 1.0 in one and 2.0 in the other"),
    "training flag": (nn.Dropout(0.5), nn.Dropout(0.5).eval(), "training is True in one and False in the other"),
    "dropout": (nn.Dropout(0.5), nn.Dropout(0.5, inplace=True), "inplace is False in one and True in the other"),
    "shape": (nn.Linear(3, 2), nn.Linear(3, 4), "out_features is 2 in one and 4 in the other"),
    "dtype": (nn.Linear(3, 2), nn.Linear(3, 2).double(), r"weight is \(2, 3\) torch.float32 .* torch.float64"),
    "frozen": (nn.Linear(3, 2), frozen(), r"parameter bias is .* \(frozen\) in the other"),
    "class": (nn.ReLU(), nn.Tanh(), "is torch.nn.modules.activation.ReLU in one and .*Tanh in the other"),
    "more layers": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU()), "1"),
    "bias": (nn.Linear(3, 2), nn.Linear(3, 2, bias=False), "parameter bias"),
    "buffers": (nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), "track_running_stats"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_models_that_differ_are_refused_with_the_first_difference(name):
    one, two, words = DIFFERENT[name]
    with pytest.raises(StackError, match=rf"stack: models\[0\] and models\[1\] differ in structure: .*{words}"):
        tenfold.stack([one, two])


HIDDEN = {
    "list": lambda: [nn.Linear(3, 3)],
    "tuple": lambda: (nn.Linear(3, 3),),
    "dict": lambda: {"a": nn.Linear(3, 3)},
    "nested": lambda: [{"a": [nn.Linear(3, 3)]}],
    "set": lambda: {nn.ReLU()},
    "parameter": lambda: [nn.Parameter(torch.ones(2))],
    "function": lambda: (lambda layer: lambda x: layer(x))(nn.Linear(3, 3)),
    "method": lambda: nn.Linear(3, 3).forward,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_layers_that_pytorch_does_not_see_are_refused_even_in_a_single_model(name):
    with pytest.raises(StackError, match=r"extra.* holds a \w+ where PyTorch does not see it.* nn.ModuleList"):
        tenfold.stack([with_attribute(HIDDEN[name]())])


def test_a_parameter_or_buffer_reached_through_a_list_is_refused_because_the_list_goes_stale():
    model = nn.BatchNorm1d(3)
    model.extra = [model.weight]
    with pytest.raises(StackError, match=r"extra\[0\] holds a Parameter"):
        tenfold.stack([model])
    model.extra = [model.running_mean]
    with pytest.raises(StackError, match=r"extra\[0\] holds a Tensor"):
        tenfold.stack([model])


def test_lazy_layers_and_gradient_hooks_are_refused():
    with pytest.raises(StackError, match=r"weight has no shape yet. Run each model on a batch once"):
        tenfold.stack([nn.LazyLinear(2)])
    model = nn.Linear(3, 2)
    model.weight.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(StackError, match="weight has a gradient hook"):
        tenfold.stack([model])


COMPUTED = {
    "weight norm": (
        nn.utils.weight_norm,
        "torch.nn.utils.weight_norm.*Use torch.nn.utils.parametrizations.weight_norm",
    ),
    "spectral norm": (nn.utils.spectral_norm, "Use torch.nn.utils.parametrizations.spectral_norm"),
    "pruned": (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "torch.nn.utils.prune.remove"),
    "scripted": (torch.jit.script, r"is scripted \(torch.jit\).* Stack the plain module"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", COMPUTED)
def test_layers_whose_weight_is_computed_by_a_hook_or_compiled_are_refused_with_the_way_out(name):
    change, words = COMPUTED[name]
    with pytest.raises(StackError, match=rf"stack: 1 (has a hook of|is).*{words.split('.*')[-1]}"):
        tenfold.stack([nn.Sequential(nn.ReLU(), change(nn.Linear(3, 3)))])


def test_no_models_things_that_are_no_modules_and_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"stack: models must be at least one nn.Module, got none"):
        tenfold.stack([])
    with pytest.raises(TypeError, match=r"stack: models\[1\] must be an nn.Module, got function"):
        tenfold.stack([nn.ReLU(), F.relu])
    with pytest.raises(ValueError, match=r"form must be 'auto', 'stacked' or 'serial', got 'fast'"):
        linears(form="fast")
    with pytest.raises(ValueError, match=r"seeds must be one a model \(3\), got 2"):
        linears(seeds=[1, 2])
    with pytest.raises(TypeError, match=r"seeds must be integers, got 0.5"):
        linears(seeds=[0, 0.5, 1])


@pytest.mark.parametrize("indices", [[0, 0], [3], [-1]])
def test_keep_refuses_places_that_repeat_or_are_out_of_range(indices):
    with pytest.raises(ValueError, match=r"keep: indices must be distinct and in \[0, 3\), got"):
        linears().keep(indices)


@pytest.mark.parametrize(
    "indices", [[], [0.0, 1.0], [True, False, True], 1, torch.tensor([[0]]), torch.tensor([True, False, False])]
)
def test_keep_refuses_what_is_no_list_of_places(indices):
    with pytest.raises(ValueError, match="keep: indices must be a list of at least one place, got"):
        linears().keep(indices)


@pytest.mark.parametrize(
    "indices", [[2, 0], (2, 0), np.array([2, 0]), torch.tensor([2, 0]), torch.tensor([2, 0], dtype=torch.uint8)]
)
def test_keep_takes_places_of_any_kind(indices):
    stack = linears()
    before = stack.parameters()[0].detach().clone()
    stack.keep(indices)
    assert stack.members == (2, 0)
    assert len(stack) == 2
    assert torch.equal(stack.parameters()[0], before[[2, 0]])


def test_members_remember_their_first_places_through_two_keeps():
    stack = linears(5)
    stack.keep([4, 2, 0])
    stack.keep([1, 0])
    assert stack.members == (2, 4)


def test_keep_carries_gradients_and_leaves_none_where_there_are_none():
    stack = linears()
    stack.keep([2, 1])
    assert all(parameter.grad is None for parameter in stack.parameters())
    stack.backward(stack.each(total, torch.ones(4, 3)))
    before = [parameter.grad.clone() for parameter in stack.parameters()]
    stack.keep([1])
    assert all(torch.equal(p.grad, g[[1]]) for p, g in zip(stack.parameters(), before, strict=True))


def test_backward_refuses_a_loss_that_is_not_one_number_a_member():
    stack = linears()
    for loss in (torch.ones(2), torch.tensor(1.0), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r"backward: loss_M must have shape \(3,\), one loss a member"):
            stack.backward(loss)


def test_backward_into_some_parameters_leaves_the_others_alone():
    stack = linears()
    weight, bias = stack.parameters()
    stack.backward(stack.each(total, torch.ones(4, 3)), inputs=[bias])
    assert weight.grad is None
    assert bias.grad.shape == (3, 2)


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_a_batch_a_member_must_hold_one_value_for_each_member(form):
    stack = linears(form=form)
    x = torch.ones(3, 4, 3)
    assert stack.each(total, tenfold.per_member(x)).shape == (3,)
    stack.keep([0, 1])
    with pytest.raises(
        ValueError, match=r"per_member: values must have shape \(2, ...\), one a member, got \(3, 4, 3\)"
    ):
        stack.each(total, tenfold.per_member(x))
    with pytest.raises(TypeError, match="per_member: values must be tensors, got int"):
        stack.each(lambda model, k: model.weight.sum() * k, tenfold.per_member([1, 2]))
    with pytest.raises(TypeError, match="per_member must mark a whole argument, got it inside"):
        stack.each(lambda model, batch: total(model, batch["x"]), {"x": tenfold.per_member(x)})


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_each_member_sees_its_own_share_of_a_nested_batch(form):
    stack = linears(form=form)
    x = torch.randn(3, 4, 3)
    y = {"target": (torch.randn(3, 4, 2),)}
    loss = stack.each(lambda m, x, y: (m(x) - y["target"][0]).square().mean(), *map(tenfold.per_member, (x, y)))
    weights, biases = stack.parameters()
    expected = [F.mse_loss(F.linear(x[i], weights[i], biases[i]), y["target"][0][i]) for i in range(3)]
    torch.testing.assert_close(loss, torch.stack(expected))


@pytest.mark.parametrize("form", ["auto", "serial"])
def test_functions_that_return_no_tensors_are_refused(form):
    with pytest.raises(TypeError, match=r"each: the function must return tensors, got float. Return torch.tensor"):
        linears(form=form).each(lambda model, x: 1.0, torch.ones(2, 3))


def test_results_of_different_shapes_are_refused():
    stack = linears(2, form="serial")
    x = tenfold.per_member(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"must return the same shape for every member, got \(1,\) and \(2,\)"):
        stack.each(lambda model, n: torch.zeros(int(n)), x)


def test_the_functions_own_mistake_raises_in_plain_pytorchs_words():
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(2x4 and 3x2\)"):
        linears().each(total, torch.ones(2, 4))


def test_out_of_memory_is_not_hidden_by_the_serial_form():
    def too_much(model, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    stack = linears()
    with pytest.raises(torch.OutOfMemoryError):
        stack.each(too_much, torch.ones(2, 3))
    assert stack.form == "stacked"


def test_the_models_that_were_stacked_stay_as_they_are():
    models = [nn.BatchNorm1d(3) for _ in range(2)]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    stack = tenfold.stack(models)
    stack.backward(stack.each(total, torch.randn(5, 3)))
    tenfold.optim.SGD(stack.parameters(), lr=1.0).step()
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
        assert all(p.grad is None for p in model.parameters())


def test_one_model_given_three_times_becomes_three_members():
    model = nn.Linear(3, 2)
    stack = tenfold.stack([model] * 3)
    with torch.no_grad():
        stack.parameters()[0][1] = 0.0
    assert not torch.equal(stack.parameters()[0][0], stack.parameters()[0][1])
    assert torch.equal(stack.parameters()[0][0], model.weight)


def test_some_members_are_unstacked_in_the_order_asked_for():
    stack = tenfold.stack([nn.Linear(2, 1) for _ in range(4)])
    models = stack.unstack()
    for model, place in zip(stack.unstack([3, 1]), (3, 1), strict=True):
        assert torch.equal(model.weight, models[place].weight)


def test_unstack_gives_the_training_mode_of_the_stack_and_frozen_parameters():
    out = tenfold.stack([frozen(), frozen()]).eval().unstack()
    assert not out[0].training
    assert not out[1].bias.requires_grad
    assert out[1].weight.requires_grad


def test_a_state_goes_on_in_another_stack_bit_for_bit():
    def make():
        return tenfold.stack([nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(3)])

    first = make()
    x = torch.randn(6, 3)
    first.each(total, x)
    first.keep([2, 0])
    second = make()
    second.keep([0, 1])
    second.load_state_dict(first.state_dict())
    assert second.members == (2, 0)
    assert torch.equal(first.each(total, x), second.each(total, x))
    assert all(
        torch.equal(a, b) for (_, a), (_, b) in zip(first.named_buffers(), second.named_buffers(), strict=True)
    )


def test_an_older_state_without_values_and_missed_calls_is_taken_as_well():
    first, second = (tenfold.stack([nn.Dropout(p) for p in (0.1, 0.2)]) for _ in range(2))
    state = first.state_dict()
    del state["values"], state["missed"]
    second.load_state_dict(state)
    assert [model.p for model in second.unstack()] == [0.1, 0.2]


def test_a_state_of_another_number_of_members_is_refused():
    with pytest.raises(ValueError, match="load_state_dict: the state holds 3 members and the stack 2"):
        linears(2).load_state_dict(linears(3).state_dict())


def test_evaluating_does_not_move_the_training_draws():
    def losses(evaluate):
        stack = tenfold.stack([nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)) for _ in range(2)])
        with torch.no_grad():
            for parameter in stack.parameters():
                parameter.fill_(0.5)
        out = []
        for _ in range(3):
            out.append(stack.each(total, torch.ones(4, 3)).detach())
            if evaluate:
                with torch.no_grad():
                    stack.each(total, torch.ones(4, 3))
        return torch.stack(out)

    assert torch.equal(losses(False), losses(True))


def test_a_parameter_knows_its_stack_and_does_not_keep_it_alive():
    stack = linears()
    parameter = stack.parameters()[0]
    assert stack_of(parameter) is stack
    assert stack_of(torch.ones(3)) is None
    gone = weakref.ref(stack)
    del stack
    gc.collect()
    assert gone() is None
    assert stack_of(parameter) is None


def test_repr_and_sizes_say_what_is_in_it():
    stack = linears(4)
    assert repr(stack) == "Stack(4 x Linear, 8 parameters a member, stacked)"
    assert stack.memory_bytes == 4 * 8 * 4


def test_a_buffer_that_depends_on_parameters_does_not_hold_the_graph_when_set_anew():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.register_buffer("last", torch.zeros(2))

        def forward(self, x):
            y = self.layer(x)
            self.last = y.mean(0)
            return y

    stack = tenfold.stack([Net(), Net()])
    for _ in range(2):
        stack.backward(stack.each(total, torch.ones(4, 3)))
    assert not dict(stack.named_buffers())["last"].requires_grad


def test_a_buffer_that_grows_is_carried_in_its_new_shape():
    class Queue(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.register_buffer("seen", torch.zeros(0, 3))

        def forward(self, x):
            self.seen = torch.cat([self.seen, x])
            return self.layer(x)

    stack = tenfold.stack([Queue(), Queue()])
    stack.each(total, torch.ones(4, 3))
    stack.each(total, torch.ones(4, 3))
    assert dict(stack.named_buffers())["seen"].shape == (2, 8, 3)
    stack.keep([1])
    assert stack.unstack()[0].seen.shape == (8, 3)


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_members_may_leave_while_the_last_loss_is_still_held(form):
    stack = linears(form=form)
    held = stack.each(total, torch.ones(4, 3))
    stack.backward(held, inputs=stack.parameters())
    stack.keep([2, 0])
    stack.backward(stack.each(total, torch.ones(4, 3)))
    assert held.shape == (3,)
    assert all(parameter.grad.shape == parameter.shape for parameter in stack.parameters())
    assert {parameter.dtype for parameter in stack.parameters()} == {torch.float32}
