"""The stacked optimisers against torch.optim, member by member, on the same gradients."""

import numpy as np
import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import SGD, AdamW

M, STEPS = 3, 50
SHAPES = [(4, 4), (3, 5), (5, 1), (6,), (2, 3, 3, 2), (2, 2, 3), ()]


class Parameters(nn.Module):
    """Parameters of every rank, square matrices and scalars among them."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ParameterList(nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES)


SGD_OPTIONS = {
    "plain": {"lr": 0.1},
    "a rate a member": {"lr": [0.1, 0.01, 0.5]},
    "momentum": {"lr": 0.1, "momentum": 0.9},
    "momentum a member": {"lr": [0.1, 0.01, 0.5], "momentum": [0.9, 0.0, 0.5]},
    "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "nesterov a member": {"lr": [0.1, 0.01, 0.5], "momentum": [0.9, 0.3, 0.5], "nesterov": True},
    "weight decay": {"lr": 0.1, "weight_decay": 0.1},
    "all a member": {"lr": [0.1, 0.0, 0.5], "momentum": [0.9, 0.3, 0.5], "weight_decay": [0.0, 0.1, 0.01]},
    "all and nesterov": {
        "lr": [0.1, 0.01, 0.5],
        "momentum": [0.9, 0.3, 0.5],
        "weight_decay": [0.0, 0.1, 0.01],
        "nesterov": True,
    },
}
ADAMW_OPTIONS = {
    "defaults": {},
    "a rate a member": {"lr": [0.1, 0.01, 0.5]},
    "betas": {"betas": (0.8, 0.9)},
    "no memory": {"betas": (0.0, 0.0)},
    "betas a member": {"betas": ([0.9, 0.0, 0.5], [0.999, 0.9, 0.0])},
    "one beta a member": {"betas": (0.9, [0.999, 0.9, 0.99])},
    "eps a member": {"lr": 0.1, "eps": [1e-8, 1e-3, 1.0]},
    "weight decay a member": {"lr": 0.1, "weight_decay": [0.0, 0.1, 1.0]},
    "all a member": {
        "lr": [0.1, 0.0, 0.5],
        "betas": ([0.9, 0.0, 0.5], [0.999, 0.9, 0.5]),
        "eps": [1e-8, 1e-3, 1e-1],
        "weight_decay": [0.0, 0.1, 1.0],
    },
}
CASES = [
    *(pytest.param(SGD, torch.optim.SGD, options, id=f"sgd-{name}") for name, options in SGD_OPTIONS.items()),
    *(pytest.param(AdamW, torch.optim.AdamW, options, id=f"adamw-{name}") for name, options in ADAMW_OPTIONS.items()),
]


def of_member(value, i):
    if isinstance(value, tuple):
        return tuple(of_member(part, i) for part in value)
    return value[i] if isinstance(value, list) else value


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


def compare(stack, models, places=range(M)):
    for k, parameter in enumerate(stack.parameters()):
        for place, i in enumerate(places):
            torch.testing.assert_close(parameter[place], models[i].parts[k], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_fifty_steps_are_those_of_torch_for_every_member(ours, theirs, options):
    stack, models = make()
    optimizer = ours(stack.parameters(), **options)
    plain = [theirs(m.parameters(), **{k: of_member(v, i) for k, v in options.items()}) for i, m in enumerate(models)]
    for step in range(STEPS):
        feed(stack, models, step)
        for stepping in (optimizer, *plain):
            stepping.step()
    compare(stack, models)


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_members_that_stay_go_on_as_torch_does(ours, theirs, options):
    stack, models = make()
    optimizer = ours(stack.parameters(), **options)
    plain = [theirs(m.parameters(), **{k: of_member(v, i) for k, v in options.items()}) for i, m in enumerate(models)]
    places = list(range(M))
    for step in range(12):
        if step in (4, 8):
            kept = {4: [2, 0], 8: [1]}[step]
            stack.keep(kept)
            places = [places[k] for k in kept]
        feed(stack, models, step, places)
        for stepping in (optimizer, *plain):
            stepping.step()
    compare(stack, models, places)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_groups_have_options_of_their_own_a_member(name):
    ours, theirs = {"sgd": (SGD, torch.optim.SGD), "adamw": (AdamW, torch.optim.AdamW)}[name]
    stack, models = make()
    first, rest = {"lr": [0.1, 0.2, 0.3], "weight_decay": 0.0}, {"weight_decay": [0.1, 0.2, 0.3]}

    def groups(parameters, i=None):
        parameters = list(parameters)
        cut = [(parameters[:3], first), (parameters[3:], rest)]
        own = lambda options: options if i is None else {k: of_member(v, i) for k, v in options.items()}  # noqa: E731
        return [{"params": (p for p in part), **own(options)} for part, options in cut]

    optimizer = ours(groups(stack.parameters()), lr=0.05)
    plain = [theirs(groups(model.parameters(), i), lr=0.05) for i, model in enumerate(models)]
    for step in range(STEPS):
        feed(stack, models, step)
        for stepping in (optimizer, *plain):
            stepping.step()
    compare(stack, models)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_parameter_without_a_gradient_rests_and_counts_no_step(name):
    ours, theirs = {"sgd": (SGD, torch.optim.SGD), "adamw": (AdamW, torch.optim.AdamW)}[name]
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if name == "sgd" else {})
    stack, models = make()
    optimizer = ours(stack.parameters(), **options)
    plain = [theirs(model.parameters(), **options) for model in models]
    for step in range(12):
        feed(stack, models, step, left_out=(0, 3) if step < 5 or step == 9 else (1,))
        for stepping in (optimizer, *plain):
            stepping.step()
    compare(stack, models)


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


@pytest.mark.parametrize("ours", [SGD, AdamW])
def test_a_state_goes_on_in_another_optimiser_bit_for_bit(ours):
    options = {"lr": [0.1, 0.2, 0.3]} | ({"momentum": 0.9} if ours is SGD else {})
    (stack, models), (other, _) = make(), make()
    first, second = ours(stack.parameters(), **options), ours(other.parameters(), **(options | {"lr": 0.7}))
    for step in range(6):
        feed(stack, models, step)
        first.step()
        if step == 2:
            other.load_state_dict(stack.state_dict())
            state = first.state_dict()
            for place, values in state["state"].items():
                shapes = {v.shape for v in values.values() if isinstance(v, torch.Tensor)}
                assert shapes == {stack.parameters()[place].shape}
                # as a file would give it back, whatever the layout in memory was
                values.update({k: v.contiguous() for k, v in values.items() if isinstance(v, torch.Tensor)})
            second.load_state_dict(state)
        if step > 2:
            feed(other, models, step)
            second.step()
    for one, two in zip(stack.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


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
        ValueError, match=r"AdamW: a group has the unknown option 'momentum'. Options are betas, eps, lr"
    ):
        AdamW([{"params": stack.parameters(), "momentum": 0.9}])


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
