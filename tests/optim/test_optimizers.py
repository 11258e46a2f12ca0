"""What all stacked optimisers share: groups, options checked at the door, states; layouts of gradients."""

import numpy as np
import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import SGD, Adadelta, Adam, AdamW, NAdam, RMSprop

M = 3
SHAPES = [(4, 4), (3, 5), (5, 1), (6,), (2, 3, 3, 2), (2, 2, 3), ()]


class Parameters(nn.Module):
    """Parameters of every rank, square matrices and scalars among them."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ParameterList(nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES)


def gradients(step):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(M, *shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def make():
    torch.manual_seed(0)
    models = [Parameters() for _ in range(M)]
    return tenfold.stack(models), models


def feed(stack, models, step, places=range(M), left_out=()):
    for k, (parameter, gradient) in enumerate(zip(stack.parameters(), gradients(step), strict=True)):
        parameter.grad = None if k in left_out else gradient[list(places)]
        for i in range(M):
            models[i].parts[k].grad = None if k in left_out else gradient[i].clone()


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "expanded"])
@pytest.mark.parametrize("ours", [SGD, AdamW])
def test_a_gradient_of_any_layout_moves_the_parameter_the_same(ours, layout):
    moved = []
    for change in (
        lambda g: g,
        {
            "contiguous": lambda g: g.contiguous(),
            "transposed": lambda g: g.transpose(1, 2).contiguous().transpose(1, 2),
            "expanded": lambda g: g,
        }[layout],
    ):
        torch.manual_seed(0)
        stack = tenfold.stack([nn.Linear(4, 4, bias=False) for _ in range(M)])
        optimizer = ours(stack.parameters(), lr=0.1)
        gradient = torch.arange(16.0).view(1, 4, 4).expand(M, 4, 4)
        for _ in range(3):
            stack.parameters()[0].grad = change(gradient if layout == "expanded" else gradient.clone())
            optimizer.step()
        moved.append(stack.parameters()[0].detach().clone())
    assert torch.equal(*moved)
    plain = {SGD: torch.optim.SGD, AdamW: torch.optim.AdamW}[ours]
    torch.manual_seed(0)
    model = nn.Linear(4, 4, bias=False)
    reference = plain(model.parameters(), lr=0.1)
    for _ in range(3):
        model.weight.grad = torch.arange(16.0).view(4, 4)
        reference.step()
    torch.testing.assert_close(moved[0][0], model.weight.detach())


@pytest.mark.parametrize(
    "given", [[0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)]
)
def test_values_a_member_come_as_lists_arrays_and_tensors(given):
    stack, _ = make()
    assert SGD(stack.parameters(), lr=given).param_groups[0]["lr"].tolist() == [0.1, 0.2, 0.3]


def test_betas_may_be_a_list_as_json_has_them():
    stack, _ = make()
    assert AdamW(stack.parameters(), betas=[0.8, 0.9]).param_groups[0]["betas"] == (0.8, 0.9)
    two = tenfold.stack([nn.Linear(2, 2) for _ in range(2)])
    optimizer = AdamW(two.parameters(), betas=[0.8, [0.9, 0.99]])
    two.keep([1])
    assert optimizer.param_groups[0]["betas"][0] == 0.8
    assert optimizer.param_groups[0]["betas"][1].tolist() == [0.99]


def test_zero_grad_forgets_the_gradients():
    stack, models = make()
    optimizer = SGD(stack.parameters(), lr=0.1)
    feed(stack, models, 0)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in stack.parameters())


def test_a_state_of_other_groups_or_members_is_refused():
    stack, models = make()
    optimizer = AdamW(stack.parameters())
    feed(stack, models, 0)
    optimizer.step()
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"AdamW.load_state_dict: the state has 1 groups and the optimiser 2"):
        AdamW([{"params": p} for p in stack.parameters()[:2]]).load_state_dict(state)
    stack.keep([0])
    with pytest.raises(
        ValueError, match=r"the state of parameter 0 has shapes \[\(3, 4, 4\)\], expected \(1, 4, 4\)"
    ):
        AdamW(stack.parameters()).load_state_dict(state)
    with pytest.raises(ValueError, match="expected no such parameter"):
        AdamW(stack.parameters()[:1]).load_state_dict(state | {"state": {1: state["state"][1]}})
    with pytest.raises(ValueError, match="SGD: a group has the unknown option 'betas'"):
        SGD(stack.parameters()).load_state_dict(state | {"state": {}})
    other, _ = make()
    first = AdamW(other.parameters(), lr=[0.1, 0.2, 0.3]).state_dict()
    with pytest.raises(ValueError, match=r"AdamW: lr must be .* shape \(1,\), got shape \(3,\)"):
        AdamW(stack.parameters()).load_state_dict(first)


def two_stacks():
    one, two = make()[0], make()[0]
    return [one.parameters()[0], two.parameters()[0]], one, two


def test_parameters_that_are_none_or_strange_are_refused():
    stack, _ = make()
    for none in ([], [{"params": []}], iter(())):
        with pytest.raises(ValueError, match="SGD: params must hold at least one parameter, got none"):
            SGD(none, lr=0.1)
    with pytest.raises(ValueError, match=r"got parameters of no stack. For a plain model use torch.optim"):
        SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    parameters, *_alive = two_stacks()
    with pytest.raises(ValueError, match=r"AdamW: params must come from one stack's parameters\(\), .* 2 stacks"):
        AdamW(parameters)
    with pytest.raises(ValueError, match="params must hold each parameter once, got one twice"):
        SGD([{"params": stack.parameters()}, {"params": stack.parameters()[:1]}], lr=0.1)


def test_a_single_parameter_is_a_group():
    stack, _ = make()
    assert len(SGD([{"params": stack.parameters()[0]}], lr=0.1).param_groups[0]["params"]) == 1
    assert len(SGD(stack.parameters()[0], lr=0.1).param_groups[0]["params"]) == 1


def test_unknown_options_of_a_group_are_refused():
    stack, _ = make()
    with pytest.raises(
        ValueError, match=r"AdamW: a group has the unknown option 'momentum'. Choose from 'amsgrad', 'betas'"
    ):
        AdamW([{"params": stack.parameters(), "momentum": 0.9}])
    with pytest.raises(ValueError, match=r"'nestrov'. Did you mean 'nesterov'\?"):
        SGD([{"params": stack.parameters(), "nestrov": True}])


WRONG = {
    "too few": (
        SGD,
        {"lr": [0.1, 0.2]},
        r"SGD: lr must be a number or one value a member, shape \(3,\), got shape \(2,\)",
    ),
    "a matrix": (SGD, {"lr": torch.ones(3, 1)}, r"got shape \(3, 1\)"),
    "a 0-dimensional tensor": (SGD, {"lr": torch.tensor(0.1)}, r"got shape \(\)"),
    "negative": (SGD, {"lr": -0.1}, r"SGD: lr must be >= 0.0 and finite, got -0.1"),
    "one negative": (SGD, {"lr": [0.1, -0.2, 0.3]}, r"lr must be >= 0.0 and finite, got -0.2"),
    "infinite": (SGD, {"lr": float("inf")}, "lr must be >= 0.0 and finite, got inf"),
    "not a number": (AdamW, {"lr": float("nan")}, "lr must be .* got nan"),
    "one not a number": (AdamW, {"lr": [0.1, float("nan"), 0.1]}, "lr must be .* got nan"),
    "a string": (AdamW, {"lr": "0.1"}, "AdamW: lr must be a number or one value a member, got '0.1'"),
    "none": (AdamW, {"weight_decay": None}, "weight_decay must be a number or one value a member, got None"),
    "momentum of one": (SGD, {"momentum": 1.0}, r"momentum must be >= 0.0 and < 1.0 and finite, got 1.0"),
    "a momentum of one": (SGD, {"momentum": [0.0, 0.5, 1.0]}, r"momentum must be .* got 1.0"),
    "beta of one": (AdamW, {"betas": (0.9, 1.0)}, r"betas\[1\] must be >= 0.0 and < 1.0 and finite, got 1.0"),
    "betas too many": (AdamW, {"betas": (0.9, 0.9, 0.9)}, r"AdamW: betas must be a pair, got"),
    "betas a tensor": (AdamW, {"betas": torch.tensor([0.9, 0.9])}, r"AdamW: betas must be a pair, got"),
    "beta too few": (AdamW, {"betas": (0.9, [0.9])}, r"betas\[1\] must be a number or one value a member"),
    "momentum of one in another": (RMSprop, {"momentum": [0.0, 1.0, 0.0]}, "RMSprop: momentum must be .* got 1.0"),
    "alpha of one": (RMSprop, {"alpha": 1.0}, "RMSprop: alpha must be >= 0.0 and < 1.0 and finite, got 1.0"),
    "rho of one": (Adadelta, {"rho": 1.0}, "Adadelta: rho must be .* got 1.0"),
    "negative l1": (NAdam, {"l1": [0.0, -1.0, 0.0]}, "NAdam: l1 must be >= 0.0 and finite, got -1.0"),
    "negative momentum decay": (NAdam, {"momentum_decay": -1}, "momentum_decay must be >= 0.0 and finite, got -1.0"),
    "a truth for a rate": (SGD, {"lr": True}, "SGD: lr must be a number or one value a member, got True"),
    "a flag a member": (
        RMSprop,
        {"centered": [True, False, True]},
        r"RMSprop: centered must be True or False for all members of a group, got \[True, False, True\]",
    ),
    "a number for a flag": (AdamW, {"amsgrad": 1}, "AdamW: amsgrad must be True or False .* got 1. Stack members"),
    "nesterov alone": (
        SGD,
        {"nesterov": True},
        "SGD: nesterov must have momentum > 0 and dampening 0, got 0.0 and 0",
    ),
    "nesterov with dampening": (
        SGD,
        {"nesterov": True, "momentum": 0.9, "dampening": 0.5},
        "SGD: nesterov must have momentum > 0 and dampening 0, got 0.9 and 0.5",
    ),
    "negative eps": (AdamW, {"eps": -1.0}, "eps must be >= 0.0 and finite, got -1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_of_the_wrong_shape_or_range_are_refused(name):
    ours, options, words = WRONG[name]
    stack, _ = make()
    with pytest.raises((ValueError, TypeError), match=words):
        ours(stack.parameters(), **options)
    with pytest.raises((ValueError, TypeError), match=words):
        ours([{"params": stack.parameters(), **options}])


def test_an_optimiser_lets_go_of_nothing_when_it_is_gone():
    stack, _ = make()
    optimizer = SGD(stack.parameters(), lr=[0.1, 0.2, 0.3])
    del optimizer
    stack.keep([1])
    assert len(stack) == 1


def test_numbers_of_a_schedule_move_the_penalties_of_a_group():
    torch.manual_seed(0)
    model = nn.Linear(3, 2, dtype=torch.float64)
    stack = tenfold.stack([model, model])
    optimizer = AdamW(stack.parameters(), lr=0.1, weight_decay=0.5, betas=(0.0, 0.0), eps=0.0)
    optimizer.param_groups[0]["lr"] = torch.tensor([0.1, 0.2], dtype=torch.float64)
    for parameter in stack.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for i, lr in enumerate((0.1, 0.2)):
        expected = model.weight * (1 - lr * 0.5) - lr
        torch.testing.assert_close(stack.parameters()[0][i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("ours", "plain"), [(AdamW, torch.optim.AdamW), (Adam, torch.optim.Adam)])
def test_neighbours_that_share_a_rate_move_as_each_would_alone(ours, plain):
    """Wide enough for a call of the fused kernel a rate; the last two differ in their decay alone."""
    lr, decay = [0.1, 0.1, 0.01, 0.01], [0.1, 0.1, 0.1, 0.2]
    models = [nn.Linear(300, 300).double() for _ in lr]
    stack = tenfold.stack(models)
    optimizer = ours(stack.parameters(), lr=lr, weight_decay=decay)
    alone = [
        plain(model.parameters(), lr=own, weight_decay=wd) for model, own, wd in zip(models, lr, decay, strict=True)
    ]
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        for name, parameter in stack.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            for model, own in zip(models, parameter.grad, strict=True):
                model.get_parameter(name).grad = own.clone()
        for each in (optimizer, *alone):
            each.step()
    for model, expected in zip(stack.unstack(), models, strict=True):
        torch.testing.assert_close(model.weight, expected.weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(model.bias, expected.bias, rtol=0, atol=1e-12)
